"""A number to be made from others, each used exactly once."""

from collections.abc import Sequence
from random import Random

from mullover.scorers.arithmetic import countdown
from mullover.tasks.school.combine import (
    Combining,
    Puzzle,
    Table,
    misread,
    rest,
    result,
    said,
    some_numbers,
    some_way,
    spoilt,
    ways_on,
)
from mullover.tasks.school.family import Chain, Split
from mullover.types import Scorer

# how many numbers by grade, up to which (one of them, drawn for each number), and the largest target
SIZES = {1: (2, (15, 99), 99), 2: (3, (13, 50), 99), 3: (3, (13, 60), 199), 4: (4, (13,), 99), 5: (5, (13,), 199)}
ASKED = (
    "Make {target} from the numbers {numbers}: use each exactly once.",
    "Make {target} with + - * from {numbers}, each used exactly once.",
    "Combine all of {numbers} with + - * to make {target}.",
    "How do you make {target} from {numbers}, if each must be used once?",
    "{numbers}: use every one of them once, with + - *, and make {target}.",
)


class MakeNumber(Combining):
    """Steps are written as proposals of the Game of 24 are in Yao et al. 2023, arXiv:2305.10601."""

    name = "make"
    asked = ASKED
    whole = True
    what = "a number to be made from others, each used once"
    styles = ("short", "goal")
    principle = "Join two numbers into one and note which numbers are left, until only the goal is left."

    def draw(self, rng: Random, grade: int, split: Split) -> Puzzle:
        count, ranges, limit = SIZES[grade]
        while True:
            numbers = some_numbers(rng, count, ranges)
            steps = some_way(rng, numbers, limit)
            if steps:
                return Puzzle(numbers, result(steps[-1]), steps)

    def scorer(self, facts: Puzzle) -> Scorer:
        return countdown(facts.numbers, facts.target, all_numbers=True)

    def slips(self, facts: Puzzle, style: str) -> Sequence[int]:
        """All but the line of the goal: what follows from a false one is no way at all."""
        first = int(style == "goal")
        return range(first, first + len(facts.steps) + 1)

    def chain(self, facts: Puzzle, style: str, wording: int = 0, slip: int | None = None) -> Chain:
        rng, table, moves = Random(wording), Table(facts.numbers), said(facts.steps)
        a, sign, b = facts.steps[-1]
        lines = [f"Goal {facts.target}: {facts.target} = {a} {sign} {b}"] if style == "goal" else []
        if slip is not None and slip - len(lines) < len(moves):
            at = slip - len(lines)
            ways = {} if style == "goal" else ways_on(rest(facts.numbers, facts.steps, at), facts.target, whole=True)
            moves = spoilt(facts.steps, at, ways | {moves[at][1]: facts.steps[at + 1 :]}, rng)
        lines += [f"{table.join(*move)} (left: {table})" for move in moves]
        text = misread(table.newest, facts.target, rng) if slip == len(lines) else table.newest
        return Chain((*lines, f"{text} = {facts.target}"), text, slip)
