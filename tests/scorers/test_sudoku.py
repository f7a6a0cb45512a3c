"""A 4x4 sudoku is checked by its rules, not by one grid."""

import asyncio

import pytest

from mullover.errors import OptionError
from mullover.scorers.sudoku import sudoku
from mullover.types import AnswerSpec, Candidate, Prompt, Sample

PUZZLE = "3102200002100320"
SOLVED = "3142243142131324"


def value(said: str, puzzle: str = PUZZLE) -> float | None:
    (score,) = asyncio.run(sudoku(puzzle)(Prompt.of("Fill it.", AnswerSpec("text")), [Candidate(said)]))
    return score.value


@pytest.mark.parametrize(
    "said",
    [
        f"ANSWER: {SOLVED}",
        f"It is done. \\boxed{{{SOLVED}}}",
        "ANSWER: 3142 2431 4213 1324",
        "ANSWER: 3,1,4,2, 2,4,3,1, 4,2,1,3, 1,3,2,4",
        "ANSWER:\n3142\n2431\n4213\n1324",
        "The grid:\n3 1 4 2\n2 4 3 1\n4 2 1 3\n1 3 2 4\n",
    ],
)
def test_a_right_grid_may_be_written_in_many_ways(said: str) -> None:
    assert value(said) == 1.0


def test_any_grid_that_keeps_the_rules_is_right() -> None:
    assert [value(f"ANSWER: {grid}", "0" * 16) for grid in (SOLVED, "1234341221434321")] == [1.0, 1.0]


@pytest.mark.parametrize(
    "grid", ["1234341221434321", "3142243142131342", "314224314213132", "none", "3142243142131325"]
)
def test_a_grid_that_breaks_a_rule_or_the_puzzle_is_wrong(grid: str) -> None:
    assert value(f"ANSWER: {grid}") == 0.0


def test_no_grid_and_a_cut_grid_are_not_judged() -> None:
    assert value("This is hard.\nI give up.") is None
    cut = Candidate.of(Sample("3142 2431 4213 1324", "length"))
    assert asyncio.run(sudoku(PUZZLE)(Prompt.of("Fill it."), [cut]))[0].value is None


def test_a_puzzle_must_be_one() -> None:
    with pytest.raises(OptionError, match="16 digits"):
        sudoku("123")
