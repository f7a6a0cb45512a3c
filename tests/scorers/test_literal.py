"""Python literals are compared by value, and read without running anything."""

import asyncio
import gzip
import json
import os
from pathlib import Path

import pytest

from mullover.scorers.literal import literal
from mullover.types import AnswerSpec, Candidate, Prompt

CODE = AnswerSpec("code")


def values(truth: str, *texts: str) -> list[float | None]:
    candidates = [Candidate("", value=text) for text in texts]
    return [score.value for score in asyncio.run(literal(truth, CODE)(Prompt.of("?", CODE), candidates))]


def test_the_same_value_may_be_written_in_many_ways() -> None:
    assert values("['a', 1]", '["a", 1]', "[ 'a',1, ]", "['a', 1.0]", "('a', 1)") == [1.0, 1.0, 1.0, 0.0]


def test_a_needless_backslash_is_no_reason_to_warn() -> None:
    assert values(r"'\d'", r'"\d"', r"'\\d'") == [1.0, 1.0]


def test_a_text_is_not_the_number_it_spells() -> None:
    assert values("'5'", "5", '"5"', "'5 '") == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("text", ["'a' + str(1)", "__import__('os').getpid()", "(" * 5000, "9" * 9000, "{[]: 1}", ""])
def test_what_is_no_literal_is_only_equal_to_its_own_text(text: str) -> None:
    assert values("'a1'", text) == [0.0] and values(text, text) == [1.0]


def test_a_literal_is_found_in_a_fenced_block() -> None:
    said = Candidate("So it returns:\n```python\n['a']\n```")
    silent = Candidate("I do not know.")
    scores = asyncio.run(literal('["a"]', CODE)(Prompt.of("?", CODE), [said, silent]))
    assert [score.value for score in scores] == [1.0, None]


def test_it_agrees_with_all_8000_recorded_runs_of_cruxeval() -> None:
    given = os.environ.get("MULLOVER_DATA")
    folder = Path(given) if given else Path(__file__).parents[2].parent / "shared" / "data"
    recorded = folder / "rec_cruxeval_codellama7b" / "scored_output_temp0.2.json.gz"
    if not recorded.is_file():
        pytest.skip(f"no recordings in {folder}; set MULLOVER_DATA")
    with gzip.open(recorded, "rt") as file:
        runs = json.load(file)
    rows = map(json.loads, (folder / "cruxeval" / "cruxeval.jsonl").read_text().splitlines())
    golds = {row["id"]: row["output"] for row in rows}
    for name, texts in runs["raw_generations"].items():
        assert [bool(v) for v in values(golds[name], *texts)] == runs["raw_scored_generations"][name]
