"""Recorded chains of thought of five models: votes on what `find` reads give the published figures.

First n samples in file order; an unreadable answer never votes; a tie goes to the answer seen first. The figures are of
a script that reads a little differently, so a vote may differ by one of the 45 problems.
"""

import gzip
import json
import os
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from mullover.answers import find
from mullover.types import AnswerSpec

DATA = (
    Path(os.environ.get("MULLOVER_DATA") or Path(__file__).parents[2].parent / "shared" / "data")
    / "rec_epoch_otis_mock_aime"
)
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no recordings at {DATA}; set MULLOVER_DATA")

FIGURES: dict[str, tuple[float, dict[int, float]]] = {
    "claude-3-7-sonnet-20250219_x16": (0.2236, {8: 0.2667, 16: 0.2889}),
    "o3-mini-2025-01-31_x16": (0.6444, {8: 0.7556, 16: 0.6889}),
    "gemini-1.5-flash-002_x16": (0.1681, {8: 0.1778, 16: 0.2222}),
    "phi-4_x16": (0.1347, {8: 0.2000, 16: 0.2000}),
    "gpt-4.1-nano-2025-04-14_x8": (0.2889, {8: 0.3333}),
}


@pytest.mark.parametrize("model", FIGURES)
def test_votes_on_recorded_chains_give_the_published_figures(model: str) -> None:
    single, majorities = FIGURES[model]
    keys: dict[tuple[str, str], list[str | None]] = defaultdict(list)
    with gzip.open(DATA / f"completions_{model}.jsonl.gz", "rt") as file:
        for line in file:
            row = json.loads(line)
            found = find(row["completion"], AnswerSpec("number"))
            keys[row["id"], str(int(row["target"]))].append(found.key if found else None)
    right = [own == target for (_, target), group in keys.items() for own in group]
    assert sum(right) / len(right) == pytest.approx(single, abs=0.003)
    for k, figure in majorities.items():
        votes = [Counter(filter(None, group[:k])).most_common(1)[0][0] == target for (_, target), group in keys.items()]
        assert sum(votes) / len(votes) == pytest.approx(figure, abs=1.1 / 45)
