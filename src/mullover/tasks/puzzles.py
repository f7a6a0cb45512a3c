"""Puzzles with a rule that checks them, and small combinatorial ones with one answer."""

from collections.abc import Mapping

from mullover.scorers.arithmetic import countdown, game24
from mullover.scorers.sudoku import sudoku
from mullover.tasks.entry import Entry, Row, jsonl, table
from mullover.tasks.kinds import spec
from mullover.tasks.problem import Problem
from mullover.types import Scorer

GRID = 'End with "ANSWER: " and the 16 digits of the finished grid, row by row, without spaces between them.'


def puzzle24(row: Row, i: int) -> Problem:
    """The id is the row's place in the file, from 0, as in the recordings."""
    numbers = tuple(int(number) for number in row["Puzzles"].split())
    facts = {"numbers": numbers, "target": 24}
    return Problem(str(i), arithmetic(numbers, 24), None, spec("expression"), facts=facts)


def countdown3(row: Row, i: int) -> Problem:
    numbers = tuple(int(number) for number in row["input"].split(","))
    target = int(row["output"])
    facts = {"numbers": numbers, "target": target}
    return Problem(str(i), arithmetic(numbers, target), None, spec("expression"), facts=facts)


def arithmetic(numbers: tuple[int, ...], target: int) -> str:
    given = ", ".join(map(str, numbers[:-1])) + f" and {numbers[-1]}"
    return (
        f"Write an arithmetic expression that equals {target}. It must use each of the numbers {given} exactly once, "
        "and nothing else but +, -, *, / and parentheses."
    )


def makes_24(problem: Problem) -> Scorer:
    return game24(problem.facts["numbers"], problem.facts["target"])


def counts_down(problem: Problem) -> Scorer:
    """All three numbers must be used: each of the 256 puzzles can be solved so, and the set asks for it."""
    return countdown(problem.facts["numbers"], problem.facts["target"], all_numbers=True)


def sudoku_4x4(row: Row, i: int) -> Problem:
    """124 of the 500 puzzles have several right grids, so a rule decides; the gold is one of them."""
    rows = "\n".join(row["Puzzle"][at : at + 4] for at in range(0, 16, 4))
    question = (
        "Complete this 4x4 sudoku: each row, each column and each of the four 2x2 blocks must hold 1, 2, 3 and 4 once. "
        f"A 0 is an empty cell.\n\n{rows}"
    )
    return Problem(str(i), question, row["Solution"], spec("text", instruction=GRID), facts={"puzzle": row["Puzzle"]})


def completes(problem: Problem) -> Scorer:
    return sudoku(problem.facts["puzzle"])


def binpacking(row: Row, i: int) -> Problem:
    sizes = ", ".join(row["item_sizes"].split())
    question = (
        f"Items of sizes {sizes} are to be packed into bins that each hold a total size of at most "
        f"{row['bin_capacity']}. What is the smallest number of bins that is enough?"
    )
    return Problem(str(i), question, row["optimal_bins"], spec("number"))


def _game24(what: str, problems: int, part: tuple[int, int | None] = (0, None)) -> Entry:
    return Entry(what, "expression", problems, "MIT", "game24/24.csv", puzzle24, table, grader=makes_24, part=part)


TASKS: Mapping[str, Entry] = {
    "game24": _game24("make 24 from four numbers, the hard puzzles 900 to 999", 100, (900, 1000)),
    "game24/all": _game24("make 24 from four numbers, easiest first", 1362),
    "countdown": Entry(
        "make a target from three numbers",
        "expression",
        256,
        "MIT or Apache-2.0",
        "countdown/countdown_cd3_test.jsonl",
        countdown3,
        jsonl,
        grader=counts_down,
    ),
    "sudoku_4x4": Entry(
        "complete a 4x4 sudoku",
        "text",
        500,
        "MIT or Apache-2.0",
        "sudoku_4x4/4x4_test_sudoku.csv",
        sudoku_4x4,
        table,
        completes,
    ),
    "binpacking": Entry(
        "the smallest number of bins", "number", 100, "MIT or Apache-2.0", "binpacking/test.csv", binpacking, table
    ),
}
