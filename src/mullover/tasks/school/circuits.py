"""Circuits of logic gates: the values go through them one gate after another."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from random import Random
from string import ascii_lowercase

from mullover.tasks.school.family import Chain, Family, Split

Gate = tuple[str, int, int]  # and, or, xor of two places; `not` of the first, which is then also the second
# how many inputs by grade, from and to, and how many gates
SIZES = {1: (3, 4, 2), 2: (3, 4, 3), 3: (2, 4, 5), 4: (2, 4, 8), 5: (2, 4, 12)}
BITS = ("F", "T")  # letters, as an answer of digits would be compared as a number
FLIPPED = {"F": "T", "T": "F"}
ONWARD = 0.9  # how often a gate takes an output that no gate took before
ASKED = (
    "{inputs}. {gates}. What are {asked}?",
    "{inputs}. {gates}. Give the values of {asked}.",
    "Inputs: {inputs}. Gates: {gates}. What are the values of {asked}?",
    "A circuit has the inputs {inputs} and the gates {gates}. Find {asked}.",
    "{inputs}. {gates}. Work out {asked}.",
)


@dataclass(frozen=True, slots=True)
class Circuit:
    inputs: tuple[int, ...]
    gates: tuple[Gate, ...]

    @property
    def asked(self) -> range:
        """The places of the last gates; of more where there are more, so that a guess is rarely right."""
        size = len(self.inputs) + len(self.gates)
        return range(size - min(len(self.gates), 2 + len(self.gates) // 3), size)


class Circuits(Family[Circuit]):
    """Later gates mostly take the output of earlier ones."""

    name = "circuits"
    what = "values that go through gates: and, or, not, xor"
    kind = "text"
    styles = ("short", "words")
    principle = "Work out one gate at a time, in order. Put in the values of its inputs and note its output."
    instruction = 'End with "ANSWER: " and the letters in order, without spaces.'

    def draw(self, rng: Random, grade: int, split: Split) -> Circuit:
        few, most, count = SIZES[grade]
        inputs = tuple(rng.randint(0, 1) for _ in range(rng.randint(few, most)))
        return Circuit(inputs, some_gates(rng, len(inputs), count))

    def ask(self, facts: Circuit, rng: Random) -> str:
        names = ascii_lowercase
        inputs = ", ".join(f"{names[i]} = {BITS[bit]}" for i, bit in enumerate(facts.inputs))
        gates = ". ".join(f"{names[i]} = {written(g, names)}" for i, g in enumerate(facts.gates, len(facts.inputs)))
        return rng.choice(ASKED).format(inputs=inputs, gates=gates, asked=listed(facts))

    def answer(self, facts: Circuit) -> str:
        bits = [BITS[bit] for bit in facts.inputs]
        for gate in facts.gates:
            bits.append(output(gate, bits))
        return "".join(bits[i] for i in facts.asked)

    def accepted(self, facts: Circuit) -> tuple[str, ...]:
        return tuple(sign.join(self.answer(facts)) for sign in (" ", ", ", ","))

    def guess(self, facts: Circuit) -> float:
        """By saying the commonest values, as counted over 8,000 problems of each grade."""
        return {2: 0.28, 3: 0.16, 4: 0.09, 6: 0.035}[len(facts.asked)]

    def content(self, facts: Circuit) -> str:
        """The same in whatever order the inputs are named."""
        forms = list[tuple[list[int], list[Gate]]]()
        for order in permutations(range(len(facts.inputs))):
            place = {old: new for new, old in enumerate(order)}
            gates = [plain((sign, place.get(a, a), place.get(b, b))) for sign, a, b in facts.gates]
            forms.append(([facts.inputs[old] for old in order], gates))
        return repr(min(forms))

    def chain(self, facts: Circuit, style: str, wording: int = 0, slip: int | None = None) -> Chain:
        rng, steps = Random(wording), list[str]()
        bits = [BITS[bit] for bit in facts.inputs]
        for at, gate in enumerate(facts.gates):
            seen, bit = mistaken(gate, bits, rng) if slip == at else (bits, output(gate, bits))
            name, shown = ascii_lowercase[len(bits)], written(gate, seen)
            words = f"{name} is {written(gate, ascii_lowercase)}, that is {shown}, so {name} is {bit}"
            steps.append(words if style == "words" else f"{name} = {shown} = {bit}")
            bits.append(bit)
        found = [bits[i] for i in facts.asked]
        if slip == len(steps):
            at = rng.randrange(len(found))
            found[at] = FLIPPED[found[at]]
        return Chain((*steps, f"{listed(facts)}: {' '.join(found)}"), "".join(found), slip)


def some_gates(rng: Random, inputs: int, count: int) -> tuple[Gate, ...]:
    """No two are the same, none undoes another, and few outputs go nowhere: they would not matter."""
    found, unused = dict[Gate, Gate](), set[int]()
    while len(found) < count:
        size = inputs + len(found)
        first = rng.choice(sorted(unused)) if unused and rng.random() < ONWARD else rng.randrange(size)
        sign = rng.choice(("and", "or", "xor", "not"))
        second = first if sign == "not" else (first + rng.randint(1, size - 1)) % size
        gate = (sign, first, second) if rng.random() < 0.5 else (sign, second, first)
        undoes = sign == "not" and ("not", first) in [(g[0], at) for at, g in enumerate(found, inputs)]
        if not undoes and plain(gate) not in found:
            found[plain(gate)] = gate
            unused = unused - {first, second} | {size}
    return tuple(found.values())


def plain(gate: Gate) -> Gate:
    """The same for both orders of its inputs."""
    sign, first, second = gate
    return sign, min(first, second), max(first, second)


def output(gate: Gate, bits: Sequence[str]) -> str:
    sign, first, second = gate
    true = (bits[first] + bits[second]).count("T")
    return BITS[{"and": true == 2, "or": true > 0, "xor": true == 1, "not": true == 0}[sign]]


def mistaken(gate: Gate, bits: Sequence[str], rng: Random) -> tuple[Sequence[str], str]:
    """The gate's output is wrong, or one of its inputs is misread so that it becomes wrong."""
    right = output(gate, bits)
    wrong: list[tuple[Sequence[str], str]] = [(bits, FLIPPED[right])]
    for place in gate[1:]:
        seen = [*bits[:place], FLIPPED[bits[place]], *bits[place + 1 :]]
        if output(gate, seen) != right:
            wrong.append((seen, FLIPPED[right]))
    return rng.choice(wrong)


def written(gate: Gate, names: Sequence[str]) -> str:
    sign, first, second = gate
    return f"not {names[first]}" if sign == "not" else f"{names[first]} {sign} {names[second]}"


def listed(facts: Circuit) -> str:
    return ", ".join(ascii_lowercase[i] for i in facts.asked)
