"""Puzzles in which numbers are joined one pair at a time until a target is reached."""

from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from random import Random
from typing import ClassVar

from mullover.scorers.arithmetic import parse
from mullover.tasks.school.family import Family

Step = tuple[int, str, int]  # 7 * 3: the larger number first
Move = tuple[Step, int]  # a step and what it is said to give
SIGNS = "+-*"


@dataclass(frozen=True, slots=True)
class Puzzle:
    numbers: tuple[int, ...]
    target: int
    steps: tuple[Step, ...]  # one way to the target

    def __str__(self) -> str:
        """The same for all orders of the numbers and all ways to the target."""
        return f"{sorted(self.numbers)} to {self.target}"


class Combining(Family[Puzzle], ABC):
    """What `make` and `countdown` share. The same numbers and target are in the same split in both."""

    space = "numbers"
    kind = "expression"
    asked: ClassVar[tuple[str, ...]]  # wordings, with {target} and {numbers}
    whole: ClassVar[bool]  # must all numbers be used?

    def ask(self, facts: Puzzle, rng: Random) -> str:
        return rng.choice(self.asked).format(target=facts.target, numbers=", ".join(map(str, facts.numbers)))

    def answer(self, facts: Puzzle) -> str:
        return self.chain(facts, self.styles[0]).answer

    def guess(self, facts: Puzzle) -> float:
        """By joining any pair by any sign until the target is there or one number is left."""
        return luck(tuple(sorted(facts.numbers)), facts.target, self.whole)

    def content(self, facts: Puzzle) -> str:
        return str(facts)


class Table:
    """The numbers that are left, each with the expression that it stands for."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._items = [(number, str(number), 3) for number in numbers]  # 3, 2, 1: a number, a product, a sum

    def __str__(self) -> str:
        return " ".join(str(number) for number, _, _ in self._items)

    @property
    def newest(self) -> str:
        return self._items[-1][1]

    def join(self, step: Step, value: int) -> str:
        a, sign, b = step
        (left, left_binds), (right, right_binds) = self._take(a), self._take(b)
        binds = 2 if sign == "*" else 1
        left = f"({left})" if left_binds < binds else left
        right = f"({right})" if right_binds < binds or (sign == "-" and right_binds == 1) else right
        self._items.append((value, f"{left} {sign} {right}", binds))
        return f"{a} {sign} {b} = {value}"

    def _take(self, value: int) -> tuple[str, int]:
        """The newest of equal ones: what was just made is made to be used."""
        at = max(i for i, item in enumerate(self._items) if item[0] == value)
        return self._items.pop(at)[1:]


def result(step: Step) -> int:
    a, sign, b = step
    return a + b if sign == "+" else a - b if sign == "-" else a * b


def said(steps: Sequence[Step]) -> list[Move]:
    return [(step, result(step)) for step in steps]


@cache
def luck(numbers: tuple[int, ...], target: int, whole: bool) -> float:
    """The chance to reach the target where pairs and signs are picked blindly, the larger number first."""
    if target in numbers and (len(numbers) == 1 or not whole):
        return 1.0
    if len(numbers) == 2:
        return sum(result((numbers[1], sign, numbers[0])) == target for sign in SIGNS) / len(SIGNS)
    ways = [
        luck(tuple(sorted((*numbers[:i], *numbers[i + 1 : j], *numbers[j + 1 :], result((b, sign, a))))), target, whole)
        for (i, a), (j, b) in combinations(enumerate(numbers), 2)
        for sign in SIGNS
    ]
    return sum(ways) / len(ways) if ways else 0.0


def some_numbers(rng: Random, count: int, ranges: Sequence[int]) -> tuple[int, ...]:
    return tuple(rng.randint(1, rng.choice(ranges)) for _ in range(count))


def some_way(rng: Random, numbers: Sequence[int], limit: int) -> tuple[Step, ...]:
    """Join all of them at random, between 1 and `limit` all the way; empty where they get stuck."""
    left, steps = list(numbers), list[Step]()
    while len(left) > 1:
        b, a = sorted(left.pop(rng.randrange(len(left))) for _ in range(2))
        signs = "+" * (a + b <= limit) + "-" * (a > b) + "**" * (b > 1 and a * b <= limit)
        if not signs:
            return ()
        steps.append((a, rng.choice(signs), b))
        left.append(result(steps[-1]))
    return tuple(steps)


def rest(numbers: Sequence[int], steps: Sequence[Step], at: int) -> tuple[int, ...]:
    """The numbers that lie beside those of step `at`."""
    left = list(numbers)
    for a, sign, b in steps[: at + 1]:
        left.remove(a)
        left.remove(b)
        left.append(result((a, sign, b)))
    return tuple(left[:-1])


def ways_on(others: tuple[int, ...], target: int, whole: bool) -> dict[int, tuple[Step, ...]]:
    """From which values, joined with the others one by one, the target is reached, and how.

    Args:
        whole: must all of the others be used?
    """
    found: dict[int, tuple[Step, ...]] = {} if whole and others else {target: ()}
    for i, c in enumerate(others):
        for new, after in ways_on(others[:i] + others[i + 1 :], target, whole).items():
            steps = [(new - c, "+"), (new + c, "-"), (c - new, "-"), (new // c if new % c == 0 and c > 1 else 0, "*")]
            for value, sign in steps:
                if value > (sign == "*"):
                    found.setdefault(value, ((max(value, c), sign, min(value, c)), *after))
    return found


def spoilt(steps: Sequence[Step], at: int, ways: Mapping[int, tuple[Step, ...]], rng: Random) -> list[Move]:
    """The steps with a false one, from which one of the ways goes on; most false ones are near the truth."""
    a, _, b = steps[at]
    false = [((a, sign, b), value) for sign in SIGNS for value in ways if result((a, sign, b)) != value]
    step, value = rng.choice(sorted(false, key=lambda move: abs(result(move[0]) - move[1]))[:3])
    return [*said(steps[:at]), (step, value), *said(ways[value])]


def misread(text: str, target: int, rng: Random) -> str:
    """The expression without its parentheses or with another sign, so that it misses the target."""
    plain = text.replace("(", "").replace(")", "")
    others = [text[:i] + sign + text[i + 1 :] for i, now in enumerate(text) if now in SIGNS for sign in SIGNS]
    return rng.choice([wrong for wrong in (plain, plain, plain, *others) if parse(wrong)[0] != target])
