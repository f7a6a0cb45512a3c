"""Five people who swap what they hold: who has what at the end."""

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from mullover.tasks.school.family import Chain, Family, Split
from mullover.tasks.school.words import NAMES

SWAPS = {1: 1, 2: 2, 3: 4, 4: 6, 5: 9}  # how many by grade
PEOPLE = 5
COLOURS = ("red", "blue", "green", "pink", "gold", "black", "white", "brown")
PRESENTS = ("book", "kite", "doll", "drum", "bike", "boat", "lamp", "ring")
BUSIEST = 0.8  # how often the one is asked for whose thing has changed hands most: else few swaps would matter


@dataclass(frozen=True, slots=True)
class Swapping:
    people: tuple[str, ...]
    things: tuple[str, ...]  # who has what at first; all different, and all colours or all presents
    swaps: tuple[tuple[int, int], ...]  # by the places of people
    asked: int


class Swaps(Family[Swapping]):
    """No two swaps in a row undo each other. Names are words: they are no part of the content."""

    name = "swaps"
    what = "who has what after some swaps"
    kind = "text"
    styles = ("follow", "state")
    principle = "Go through the swaps in order. The two who swap get what the other had; all others keep theirs."

    def draw(self, rng: Random, grade: int, split: Split) -> Swapping:
        things = rng.sample(rng.choice((COLOURS, PRESENTS)), PEOPLE)
        swaps = list[tuple[int, int]]()
        touched, held = [0] * PEOPLE, list(range(PEOPLE))  # how often each thing changes hands, and who has which
        while len(swaps) < SWAPS[grade]:
            a = rng.randrange(PEOPLE)
            b = (a + rng.randrange(1, PEOPLE)) % PEOPLE
            if swaps and {a, b} == set(swaps[-1]):
                continue
            swaps.append((a, b))
            held[a], held[b] = held[b], held[a]
            touched[held[a]] += 1
            touched[held[b]] += 1
        moves = [touched[thing] for thing in held]
        busiest = [place for place in range(PEOPLE) if moves[place] == max(moves)]
        asked = rng.choice(busiest) if rng.random() < BUSIEST else rng.randrange(PEOPLE)
        return Swapping(tuple(rng.sample(NAMES, PEOPLE)), tuple(things), tuple(swaps), asked)

    def content(self, facts: Swapping) -> str:
        """The same in whatever order the people are listed."""
        order = sorted(range(PEOPLE), key=lambda place: facts.things[place])
        swaps = [sorted((order.index(a), order.index(b))) for a, b in facts.swaps]
        return repr((sorted(facts.things), swaps, order.index(facts.asked)))

    def ask(self, facts: Swapping, rng: Random) -> str:
        colours = facts.things[0] in COLOURS
        owned = zip(facts.people, facts.things, strict=True)
        held = [f"{who} {thing if colours else 'a ' + thing}" for who, thing in owned]
        held[0] = held[0].replace(" ", " has ", 1)
        start = ", ".join(held)
        pairs = [f"{facts.people[a]} and {facts.people[b]}" for a, b in facts.swaps]
        who = facts.people[facts.asked]
        what = f"Which colour does {who}" if colours else f"What does {who}"
        form = rng.randrange(4)
        if form == 0:
            return f"{start}. {'. '.join(pair + ' swap' for pair in pairs)}. {what} have at the end?"
        if form == 1:
            return f"{start}. {', then '.join(pair + ' swap' for pair in pairs)}. {what} have now?"
        if form == 2:
            return f"{start}. They swap: {', '.join(pairs)}. {what} have at the end?"
        return f"{start}. Swaps: {', then '.join(pairs)}. {what} end up with?"

    def answer(self, facts: Swapping) -> str:
        held = list(facts.things)
        for a, b in facts.swaps:
            held[a], held[b] = held[b], held[a]
        return held[facts.asked]

    def accepted(self, facts: Swapping) -> tuple[str, ...]:
        """A present with its article."""
        thing = self.answer(facts)
        return () if thing in COLOURS else (f"a {thing}", f"the {thing}")

    def guess(self, facts: Swapping) -> float:
        return 1 / PEOPLE

    def shortcut(self, facts: Swapping) -> bool:
        """What the one who swapped last with them had at first."""
        last = next((pair for pair in reversed(facts.swaps) if facts.asked in pair), None)
        whose = facts.asked if last is None else sum(last) - facts.asked
        return facts.things[whose] == self.answer(facts)

    def chain(self, facts: Swapping, style: str, wording: int = 0, slip: int | None = None) -> Chain:
        rng, steps = Random(wording), list[str]()
        end = rng.choice(("End", "Now"))
        held = list(facts.things)
        for i, (a, b) in enumerate(facts.swaps):
            if slip != i:
                held[a], held[b] = held[b], held[a]
            elif rng.random() < 0.5:  # else the swap is forgotten
                held[a], held[b] = held[b], held[a]
                place = rng.choice((a, b))
                held[place] = rng.choice([thing for thing in facts.things if thing != held[place]])
            names = f"{facts.people[a]} and {facts.people[b]}"
            if style == "follow":
                steps.append(f"{names} swap: {shown(facts, held, (a, b))}")
            else:  # without the verb, as all five make long lines
                steps.append(f"{names}: {shown(facts, held, range(PEOPLE))}")
        last = held[facts.asked]
        if slip == len(steps):
            last = rng.choice([thing for thing in facts.things if thing != last])
        steps.append(f"{end}: {facts.people[facts.asked]} {last}")
        return Chain(tuple(steps), last, slip)


def shown(facts: Swapping, held: list[str], places: Iterable[int]) -> str:
    return ", ".join(f"{facts.people[place]} {held[place]}" for place in places)
