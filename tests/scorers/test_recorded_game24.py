"""GPT-4's recorded Game of 24 (Yao et al. 2023): our checker agrees with every label, our figures with INDEX.md."""

import asyncio
import csv
import gzip
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from math import comb
from pathlib import Path
from typing import Any

import pytest

from mullover.scorers.arithmetic import NotArithmetic, game24, parse
from mullover.types import AnswerSpec, Candidate, Prompt

SPEC = AnswerSpec("expression")
Marks = list[tuple[list[str], list[float | None], list[int]]]  # per puzzle: texts, our scores, their labels


@pytest.fixture(scope="session")
def data() -> Path:
    given = os.environ.get("MULLOVER_DATA")
    folder = Path(given) if given else Path(__file__).parents[2].parent / "shared" / "data"
    if not (folder / "rec_tot_game24_gpt4").is_dir():
        pytest.skip(f"no recordings in {folder}; set MULLOVER_DATA")
    return folder


@lru_cache(maxsize=2)
def recorded(data: Path, style: str) -> Marks:
    with (data / "game24" / "24.csv").open() as file:
        puzzles = [[int(n) for n in row["Puzzles"].split()] for row in csv.DictReader(file)]
    name = f"gpt-4_0.7_naive_{style}_sample_100_start900_end1000.json.gz"
    with gzip.open(data / "rec_tot_game24_gpt4" / name, "rt") as rows:
        return [(row["ys"], marks(puzzles[row["idx"]], row["ys"]), labels(row)) for row in json.load(rows)]


def marks(numbers: Sequence[int], texts: Sequence[str]) -> list[float | None]:
    scores = asyncio.run(game24(numbers)(Prompt.of("", SPEC), [Candidate(text) for text in texts]))
    return [score.value for score in scores]


def labels(row: dict[str, Any]) -> list[int]:
    return [info["r"] for info in row["infos"]] if "infos" in row else [int(right) for right in row["accs"]]


def pass_at(k: int, rows: Marks) -> float:
    """Chen et al. 2021, arXiv:2107.03374: 1 - C(n-c, k) / C(n, k), the mean over puzzles."""
    chances = [1 - comb(len(s) - s.count(1.0), k) / comb(len(s), k) for _, s, _ in rows]
    return round(sum(chances) / len(rows), 4)


def vote_at(k: int, rows: Marks, ballot: Callable[[str], str | None]) -> float:
    """The share of puzzles whose most frequent ballot among the first k is right; the first seen wins a tie."""
    right = 0.0
    for texts, scores, _ in rows:
        ballots = [(name, score) for text, score in zip(texts[:k], scores, strict=False) if (name := ballot(text))]
        if ballots:
            winner = Counter(name for name, _ in ballots).most_common(1)[0][0]
            right += next(score for name, score in ballots if name == winner) or 0
    return round(right / len(rows), 4)


def stated(text: str) -> str | None:
    """What stands behind the last `Answer:`, up to a `=`; words such as "none" vote too."""
    said = re.findall(r"(?i)answer:(.*)", text)
    return "".join(said[-1].partition("=")[0].casefold().split()) if said else None


def expressed(text: str) -> str | None:
    """As `stated`, where it is an expression."""
    name = stated(text)
    try:
        return name if name and parse(name) else None
    except NotArithmetic:
        return None


@pytest.mark.parametrize("style", ["cot", "standard"])
def test_the_checker_agrees_with_all_10000_recorded_labels(data: Path, style: str) -> None:
    for texts, ours, theirs in recorded(data, style):
        differing = [(t, a, b) for t, a, b in zip(texts, ours, theirs, strict=True) if (a == 1.0) != bool(b)]
        assert differing == []


@pytest.mark.parametrize(
    "style, k, share",
    [("cot", 1, 0.0403), ("cot", 10, 0.2148), ("cot", 100, 0.49), ("standard", 1, 0.0734), ("standard", 100, 0.33)],
)
def test_one_of_k_samples_is_right_as_often_as_published(data: Path, style: str, k: int, share: float) -> None:
    assert pass_at(k, recorded(data, style)) == share


@pytest.mark.parametrize("k, share", [(1, 0.05), (5, 0.07), (10, 0.05), (20, 0.06), (40, 0.06), (100, 0.08)])
def test_a_vote_over_what_is_stated_gains_next_to_nothing(data: Path, k: int, share: float) -> None:
    assert vote_at(k, recorded(data, "cot"), stated) == share


@pytest.mark.parametrize("k, share", [(1, 0.05), (5, 0.08), (10, 0.06), (20, 0.07), (40, 0.06), (100, 0.08)])
def test_nor_does_it_where_only_expressions_vote(data: Path, k: int, share: float) -> None:
    assert vote_at(k, recorded(data, "cot"), expressed) == share
