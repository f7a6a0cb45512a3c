"""Who is the oldest, the second tallest, ...: people to put in order, by comparisons of two."""

from dataclasses import dataclass
from itertools import pairwise
from random import Random

from mullover.tasks.school.family import Chain, Family, Split
from mullover.tasks.school.words import NAMES

SIZES = {1: 3, 2: 4, 3: 5, 4: 6, 5: 8}  # how many people by grade
SCALES = (
    (("older", "oldest"), ("younger", "youngest")),
    (("taller", "tallest"), ("shorter", "shortest")),
    (("faster", "fastest"), ("slower", "slowest")),
    (("richer", "richest"), ("poorer", "poorest")),
)
RANKS = ("", "second ", "third ", "fourth ", "fifth ", "sixth ", "seventh ", "eighth ")
FIRST = ("Nobody is {than} than {name}, so number 1 is {name}.", "{name} is the {most}: number 1 is {name}.")
NEXT = ("After {before} comes {name}: number {n} is {name}.", "{before}, then {name}: number {n} is {name}.")


@dataclass(frozen=True, slots=True)
class Line:
    scale: int  # which pair of SCALES
    end: int  # from which end the question counts: 0 the older, 1 the younger, or the like
    rank: int  # who is asked for, from that end, from 0
    people: tuple[str, ...]  # in order from that end
    clues: tuple[tuple[int, bool], ...]  # in the order told: the upper one's place, and whether it is named first


class Order(Family[Line]):
    """Clues compare neighbours, so that the order is the only one. A chain first tells them all in one direction."""

    name = "order"
    what = "putting people in order by comparisons of two"
    kind = "text"
    styles = ("list", "sentences")
    principle = "Find the one that no clue puts behind another. Then look for the clue that says who comes next."

    def draw(self, rng: Random, grade: int, split: Split) -> Line:
        size = SIZES[grade]
        clues = [(i, rng.random() < 0.5) for i in range(size - 1)]
        rng.shuffle(clues)
        depth = size * 3 // 4
        # Rather deep where there are many, so that most clues matter; of three, the middle one must not be usual.
        rank = max(rng.randrange(depth) for _ in range(1 if grade == 1 else 2))
        people = tuple(rng.sample(NAMES, size))
        return Line(rng.randrange(len(SCALES)), rng.randrange(2), rank, people, tuple(clues))

    def content(self, facts: Line) -> str:
        """The same from either end and however the clues are told: the scale, who is where, and who is asked for."""
        people, rank = facts.people, facts.rank
        if facts.end:
            people, rank = people[::-1], len(people) - 1 - rank
        return repr((facts.scale, people, rank))

    def ask(self, facts: Line, rng: Random) -> str:
        upper, lower = (SCALES[facts.scale][end][0] for end in (facts.end, 1 - facts.end))
        clues = list[str]()
        for i, direct in facts.clues:
            first, second = facts.people[i : i + 2]
            clues.append(f"{first} is {upper} than {second}" if direct else f"{second} is {lower} than {first}")
        who = f"the {asked(facts)}"
        form = rng.randrange(5)
        if form == 0:
            return f"If {', '.join(clues[:-1])} and {clues[-1]}, who is {who}?"
        if form == 1:
            return f"{', '.join(clues)}. Who is {who}?"
        if form == 2:
            return f"Who is {who}? {'. '.join(clues)}."
        return f"{'. '.join(clues)}. {('Who is', 'Which of them is')[form - 3]} {who}?"

    def answer(self, facts: Line) -> str:
        return facts.people[facts.rank]

    def guess(self, facts: Line) -> float:
        """By how often people are named: the two ends once, all others twice."""
        between = len(facts.people) - 2
        return 1 / between if 0 < facts.rank <= between else 0.5

    def slips(self, facts: Line, style: str) -> list[int]:
        """Not in the clues, and not where only one is left to be named."""
        size = len(facts.people)
        forced = size - 1 if style == "list" else size
        return [i for i in range(1, forced + 2) if i != forced]

    def chain(self, facts: Line, style: str, wording: int = 0, slip: int | None = None) -> Chain:
        rng = Random(wording)
        size, (than, most) = len(facts.people), SCALES[facts.scale][facts.end]
        first, following = rng.choice(FIRST), rng.choice(NEXT)
        lines = size if style == "list" else size + 1  # before the last one
        wrong = None if slip is None or slip == lines else slip - 1
        if wrong is not None and style == "list":
            wrong = rng.choice((0, 1)) if wrong == 0 else wrong + 1
        found = ordered(facts.people, wrong, rng)
        sign = "<" if facts.end else ">"
        steps = [", ".join(f"{facts.people[i]} {sign} {facts.people[i + 1]}" for i, _ in facts.clues)]
        if style == "list":
            steps += [f"{n} {a} {sign} {n + 1} {b}" for n, (a, b) in enumerate(pairwise(found), 1)]
        else:
            steps.append(first.format(than=than, most=most, name=found[0]))
            steps += [following.format(before=found[n - 1], n=n + 1, name=found[n]) for n in range(1, size)]
        name = found[facts.rank]
        if slip == lines:
            name = rng.choice([other for other in found if other != name])
        said = asked(facts)
        steps.append(f"{said[0].upper()}{said[1:]}: {name}" if style == "list" else f"The {said} is {name}.")
        return Chain(tuple(steps), name, slip)


def asked(facts: Line) -> str:
    """`oldest`, `second oldest`."""
    return RANKS[facts.rank] + SCALES[facts.scale][facts.end][1]


def ordered(people: tuple[str, ...], wrong: int | None, rng: Random) -> list[str]:
    """The order that is found by going from each one to the next, with another name at the place `wrong`.

    Behind a wrong name comes who follows it by the clues; where nobody new does, the first one of those left.
    """
    left, found = list(people), list[str]()
    while left:
        place = people.index(found[-1]) + 1 if found else 0
        name = people[place] if place < len(people) and people[place] in left else left[0]
        if len(found) == wrong:
            name = rng.choice([other for other in left if other != name])
        left.remove(name)
        found.append(name)
    return found
