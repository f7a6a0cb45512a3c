"""Countdown: some of the given numbers are joined to reach a target."""

from collections.abc import Sequence
from functools import cache
from itertools import combinations
from random import Random

from mullover.scorers.arithmetic import countdown
from mullover.tasks.school.combine import (
    Combining,
    Puzzle,
    Step,
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

# how many numbers by grade, up to which (one of them, drawn for each number), the largest target, are all needed?
SIZES = {
    1: (2, (15, 99), 99, True),
    2: (3, (12, 40), 99, False),
    3: (3, (12, 50), 99, True),
    4: (4, (12,), 99, False),
    5: (4, (12, 30), 199, True),
}
SOME = 0.25  # how often one number is left over, where not all are needed
TRIES = 3  # that fail, at most
LONG = 2  # steps of a try that fails, at most
ASKED = (
    "Use some of the numbers {numbers} with + - * to reach {target}.",
    "Reach {target} from {numbers} with + - *, each number at most once.",
    "Countdown: the numbers are {numbers}, the target is {target}. Use + - * and each number at most once.",
    "Get to {target} with + - * and {numbers}. No number may be used twice, not all need be used.",
    "The target is {target}. You have {numbers}, each at most once, and + - *.",
)


class Countdown(Combining):
    """Partial results are whole and above 0; what is left is told in every line."""

    name = "countdown"
    asked = ASKED
    whole = False
    what = "a target to be reached with some of the given numbers"
    styles = ("straight", "search")
    principle = "Join two of the numbers that are left and note what is left then. Start again if it is a dead end."

    def draw(self, rng: Random, grade: int, split: Split) -> Puzzle:
        count, ranges, limit, needed = SIZES[grade]
        while True:
            numbers = some_numbers(rng, count, ranges)
            uses = count if needed or rng.random() >= SOME else count - 1
            steps = some_way(rng, rng.sample(numbers, uses), limit)
            if not steps or result(steps[-1]) in numbers:
                continue
            target = result(steps[-1])
            if not needed or not any(reaches(part, target) for part in combinations(numbers, count - 1)):
                return Puzzle(numbers, target, steps)

    def scorer(self, facts: Puzzle) -> Scorer:
        return countdown(facts.numbers, facts.target, all_numbers=False)

    def chain(self, facts: Puzzle, style: str, wording: int = 0, slip: int | None = None) -> Chain:
        """A slip pretends to lead to the target, also in a try that would have failed: then the search ends there.

        The tries do not depend on `wording`: `slips` must know how many lines there are.
        """
        numbers, target, rng = facts.numbers, facts.target, Random(wording)
        tries = [*(failing(Random(str(facts)), numbers, target) if style == "search" else ()), facts.steps]
        lines = list[str]()
        for steps in tries:
            table, moves, at = Table(numbers), said(steps), (slip - len(lines) if slip is not None else -1)
            if 0 <= at < len(moves):
                ways = ways_on(rest(numbers, steps, at), target, whole=False)
                moves = spoilt(steps, at, ways | ({moves[at][1]: steps[at + 1 :]} if steps is facts.steps else {}), rng)
            lines += [f"{table.join(*move)}, left {table}" for move in moves]
            if moves[-1][1] == target:
                break
            lines[-1] += f", not {target}"
        text = misread(table.newest, target, rng) if slip == len(lines) else table.newest
        return Chain((*lines, f"{target} = {text}"), text, slip)


def failing(rng: Random, numbers: Sequence[int], target: int) -> list[tuple[Step, ...]]:
    """Different tries, none of which can still reach the target where it ends."""
    found = list[tuple[Step, ...]]()
    wanted = rng.randint(0, TRIES)
    for _ in range(4 * wanted):
        steps = some_way(rng, numbers, 2 * target)[:LONG]
        if not steps or steps in found or any(result(step) == target for step in steps):
            continue
        left = (*rest(numbers, steps, len(steps) - 1), result(steps[-1]))
        if not reaches(left, target) and len(found) < wanted:
            found.append(steps)
    return found


def reaches(numbers: Sequence[int], target: int) -> bool:
    """Can the target be made of some of at most three numbers?"""
    if len(numbers) < 3:
        return target in reach(*numbers)
    for i, c in enumerate(numbers):
        parts = reach(*numbers[:i], *numbers[i + 1 :])
        if not parts.isdisjoint((target, target - c, target + c, c - target, target / c)):
            return True
    return False


@cache
def reach(a: int, b: int | None = None) -> frozenset[int]:
    """What can be made of one number or two."""
    return frozenset((a,) if b is None else (a, b, a + b, abs(a - b), a * b))
