"""Checks a 4x4 sudoku by its rules, because a puzzle may have more than one right grid."""

import re
from collections.abc import Iterator, Sequence

from mullover.errors import OptionError
from mullover.scorers.exact import said, stated
from mullover.types import AnswerSpec, Candidate, Prompt, Score, Scorer

TEXT = AnswerSpec("text")
CELLS = range(16)
BETWEEN = re.compile(r"[\s,;|\[\]()'\"]+")  # what models write between cells
TRAILING = re.compile(r"(?:[1-4][\s,;|\[\]()]*){16}\.?\s*\Z")


def sudoku(puzzle: str) -> Scorer:
    """Does the stated grid keep the puzzle's digits, with 1 to 4 once in each row, column and 2x2 block?

    Args:
        puzzle: 16 digits, row by row; 0 is an empty cell.

    Returns:
        Scorer: 1.0 if so, 0.0 for any other stated answer, None if none is stated. A grid may be written over several
            lines, or with spaces or commas between its digits.

    Raises:
        OptionError: the puzzle is no such text.
    """
    if not re.fullmatch(r"[0-4]{16}", puzzle):
        raise OptionError(f"the puzzle is {puzzle[:40]!r}; give 16 digits from 0 to 4")

    async def score(prompt: Prompt, candidates: Sequence[Candidate]) -> list[Score]:
        return [judge(grid(prompt, candidate)) for candidate in candidates]

    def judge(cells: str | None) -> Score:
        if cells is None:
            return Score(None, why="no grid stated")
        if not re.fullmatch(r"[1-4]{16}", cells):
            return Score(0.0, why=f"{cells[:40]!r} is not 16 digits from 1 to 4")
        if any(given not in ("0", cell) for given, cell in zip(puzzle, cells, strict=True)):
            return Score(0.0, why="changes a given digit")
        wrong = next((unit for unit in units() if len({cells[i] for i in unit}) < 4), None)
        return Score(float(wrong is None), why=f"{cells} repeats a digit" if wrong else f"{cells} is complete")

    return score


def grid(prompt: Prompt, candidate: Candidate) -> str | None:
    """The stated answer without what stands between its digits; a whole grid that ends the text counts as stated."""
    text = said(prompt, candidate)
    cut = candidate.sample is not None and candidate.sample.finish == "length"
    if candidate.value is None and not cut and (ending := TRAILING.search(text)):
        return re.sub(r"\D", "", ending[0])
    value = stated(prompt, candidate, TEXT)
    return None if value is None else BETWEEN.sub("", value)


def units() -> Iterator[list[int]]:
    """The cells of each row, column and block."""
    for k in range(4):
        yield [i for i in CELLS if i // 4 == k]
        yield [i for i in CELLS if i % 4 == k]
        yield [i for i in CELLS if (i // 8, i % 4 // 2) == divmod(k, 2)]
