"""People who have things: each has so many more, fewer, or twice as many as another."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from mullover.tasks.school.family import Chain, Family, Split, off
from mullover.tasks.school.words import NAMES

How = Literal["more", "fewer", "twice"]
Tree = tuple[str, int, bool, tuple["Tree", ...]]  # how many, or more or fewer than above; asked for?; those below
Relation = tuple[How, int, int]  # by how many (2 for twice), and than whom, by place
PEOPLE = {1: (2, 3), 2: (3, 4), 3: (4, 5), 4: (5, 6), 5: (7, 7)}  # by grade: for a total, for the last one's
THINGS = ("coins", "pens", "books", "cards", "nuts", "eggs", "pears", "plums", "shells", "stamps", "beads", "balls")
KIN = ("I", "my mum", "my dad", "my sister", "my brother")
ASKED = ("if {2}, {0}?", "{1} if {2}?", "{3}. {1}?", "{2}. {1}?", "{4} {1}?")
TOTALS = ("in total", "altogether", "together", "in all")
SIGNS = {"more": "+", "fewer": "-", "twice": "*"}
MOST, STEP, TWICE_UP_TO = 30, 12, 60  # the first number, a difference, and what may come of doubling


@dataclass(frozen=True, slots=True)
class Tale:
    start: int  # what the first one has
    relations: tuple[Relation, ...]  # what the others have, in order
    asked: Literal["last", "total"]
    people: tuple[str, ...]
    thing: str  # in the plural


class Story(Family[Tale]):
    """Numbers stay at 1 or above. Names and things are words: they are no part of the content."""

    name = "story"
    what = "people who have more, fewer or twice as many things as others"
    kind = "number"
    styles = ("short", "sentences")
    principle = "Work out how many each one has, in the order told. For a total, then add them one at a time."
    held = frozenset({"('total', ('has', 3, False, (('more', 2, False, ()),)))"})  # the lecture's three apples

    def draw(self, rng: Random, grade: int, split: Split) -> Tale:
        asked: Literal["last", "total"] = rng.choice(("last", "total"))
        size = PEOPLE[grade][asked == "last"]
        counts = [rng.randint(2, MOST)]
        relations = list[Relation]()
        while len(counts) < size:
            than = len(counts) - 1 if rng.random() < 0.6 else rng.randrange(len(counts))
            relations.append(related(counts[than], than, rng))
            counts.append(applied(relations[-1], counts[than]))
        people = rng.sample(NAMES, size)
        if rng.random() < 0.4:
            kin = rng.sample(KIN, rng.choice((1, 2)))
            for place, who in zip(rng.sample(range(size), len(kin)), kin, strict=True):
                people[place] = who
        return Tale(counts[0], tuple(relations), asked, tuple(people), rng.choice(THINGS))

    def content(self, facts: Tale) -> str:
        """The same in whatever order the others are told: who hangs on whom, as a tree."""
        last = len(facts.relations) if facts.asked == "last" else None

        def tree(place: int) -> Tree:
            how, by = facts.relations[place - 1][:2] if place else ("has", facts.start)
            below = (tree(at) for at, relation in enumerate(facts.relations, 1) if relation[2] == place)
            return how, by, place == last, tuple(sorted(below))

        return repr((facts.asked, tree(0)))

    def ask(self, facts: Tale, rng: Random) -> str:
        brief = len(facts.people) > 3 or rng.random() < 0.3
        clauses = told(facts, brief, rng.random() < 0.5, len(facts.people) < 6 and rng.random() < 0.3)
        asked = f"how many {facts.thing} {wanted(facts, rng)}"
        listed, commas = ", ".join(clauses[:-1]) + " and " + clauses[-1], ", ".join(clauses)
        told_apart = " ".join(f"{capital(clause)}." for clause in clauses)
        return capital(rng.choice(ASKED).format(asked, capital(asked), listed, commas, told_apart))

    def answer(self, facts: Tale) -> str:
        return str(result(facts, counted([facts.start], facts.relations)))

    def guess(self, facts: Tale) -> float:
        """Among all numbers up to the one that it would be if nobody had fewer."""
        never = [("more" if how == "fewer" else how, by, than) for how, by, than in facts.relations]
        return 1 / result(facts, counted([facts.start], never))

    def chain(self, facts: Tale, style: str, wording: int = 0, slip: int | None = None) -> Chain:
        rng, steps = Random(wording), list[str]()
        so = rng.choice((", so", ". So"))
        counts = [facts.start]
        for i, relation in enumerate(facts.relations):
            done, new = slipped(counts, facts.relations[i:], rng) if slip == i else (relation, None)
            than = counts[relation[2]]
            new = applied(done, than) if new is None else new
            counts.append(new)
            equation = f"{than} {SIGNS[done[0]]} {done[1]} = {new}"
            me, whom = (voiced(facts.people[place]) for place in (i + 1, relation[2]))
            claim = f"{me} {has(me)} {compared(relation)} {whom}{so} {me} {has(me)} {equation}."
            steps.append(capital(f"{me.removeprefix('your ')}: {equation}" if style == "short" else claim))
        if facts.asked == "last":
            return Chain(tuple(steps), str(counts[-1]), slip)
        total = counts[0]
        for i, more in enumerate(counts[1:], 1):
            new = off(total + more, rng, low=1) if slip == len(steps) else total + more
            steps.append(lead(facts, style, i) + f"{total} + {more} = {new}" + "." * (style != "short"))
            total = new
        return Chain(tuple(steps), str(total), slip)


def related(base: int, than: int, rng: Random) -> Relation:
    how: How = rng.choice(("more", "fewer", "twice"))
    if how == "twice" and 2 * base <= TWICE_UP_TO:
        return how, 2, than
    if how == "fewer" and base > 1:
        return how, rng.randint(1, min(STEP, base - 1)), than
    return "more", rng.randint(1, STEP), than


def applied(relation: Relation, base: int) -> int:
    how, by, _ = relation
    return base + by if how == "more" else base - by if how == "fewer" else base * by


def counted(counts: list[int], relations: Sequence[Relation]) -> list[int]:
    """What everyone has, given what the first ones have."""
    counts = list(counts)
    for relation in relations:
        counts.append(applied(relation, counts[relation[2]]))
    return counts


def result(facts: Tale, counts: list[int]) -> int:
    return counts[-1] if facts.asked == "last" else sum(counts)


def slipped(counts: list[int], relations: Sequence[Relation], rng: Random) -> tuple[Relation, int]:
    """A wrong sign or a wrong result for the next one, such that nobody gets less than 1 by it."""
    (how, by, than), base = relations[0], counts[relations[0][2]]
    right = applied(relations[0], base)
    other: Relation = ("fewer" if how == "more" else "more", by, than)
    wrong = [(other, applied(other, base))] * 2 + [(relations[0], right + d) for d in (-10, -2, -1, 1, 2, 10)]
    return rng.choice([w for w in wrong if w[1] != right and min(counted([*counts, w[1]], relations[1:])) > 0])


def compared(relation: Relation, thing: str = "", thing_first: bool = True) -> str:
    """`2 more coins than`, `2 coins more than`, `twice as many coins as`."""
    how, by, _ = relation
    thing = f" {thing[:-1] if by == 1 else thing}" if thing else ""
    if how == "twice":
        return f"twice as many{thing} as"
    return f"{by} {how}{thing} than" if thing_first else f"{by}{thing} {how} than"


def told(facts: Tale, brief: bool, thing_first: bool, do: bool) -> list[str]:
    """What the question says of each; `brief` names the thing once, `do` says `than I do` instead of `than me`."""
    clauses = [f"{facts.people[0]} {has(facts.people[0])} {facts.start} {facts.thing}"]
    for me, relation in zip(facts.people[1:], facts.relations, strict=True):
        whom = facts.people[relation[2]]
        whom = f"{whom} {'do' if whom == 'I' else 'does'}" if do else "me" if whom == "I" else whom
        clauses.append(f"{me} {has(me)} {compared(relation, '' if brief else facts.thing, thing_first)} {whom}")
    return clauses


def wanted(facts: Tale, rng: Random) -> str:
    if facts.asked == "total":
        return f"do {'we' if 'I' in facts.people else 'they'} have {rng.choice(TOTALS)}"
    return f"{'do' if facts.people[-1] == 'I' else 'does'} {facts.people[-1]} have"


def lead(facts: Tale, style: str, i: int) -> str:
    """How the line starts that adds what number `i` has."""
    if style == "short":
        return "Total: " if i == 1 else ""
    if len(facts.people) == 2:
        return f"Together {'you' if 'I' in facts.people else 'they'} have "
    first, me = voiced(facts.people[0]), voiced(facts.people[i])
    return capital(f"{first} and {me} have ") if i == 1 else f"With {me}: "


def voiced(who: str) -> str:
    """As the one who answers says it."""
    return who.replace("my ", "your ") if who != "I" else "you"


def has(who: str) -> str:
    return "have" if who in ("I", "you") else "has"


def capital(text: str) -> str:
    return text[0].upper() + text[1:]
