"""Sums and differences of several numbers."""

from random import Random

from mullover.tasks.school.family import Chain, Family, Split, off

Terms = tuple[int, ...]  # signed; the first is positive
SIZES = {1: (2, 20), 2: (3, 50), 3: (4, 99), 4: (6, 99), 5: (8, 400)}  # how many terms by grade, and up to which number
ASKED = (
    "What is {}?",
    "Work out {}.",
    "Calculate {}.",
    "Compute {}.",
    "How much is {}?",
    "{} = ?",
)


class Sums(Family[Terms]):
    """Partial sums stay at 0 or above, so every step is one of school."""

    name = "sums"
    what = "sums and differences of several numbers"
    kind = "number"
    styles = ("equations", "running", "places")
    principle = "Go from left to right. Add or take away one number at a time and keep the total."

    def draw(self, rng: Random, grade: int, split: Split) -> Terms:
        terms, most = SIZES[grade]
        total = rng.randint(1, most)
        found = [total]
        while len(found) < terms:
            term = rng.randint(1, most)
            if term <= total and rng.random() < 0.5:
                term = -term
            found.append(term)
            total += term
        return tuple(found)

    def ask(self, facts: Terms, rng: Random) -> str:
        return rng.choice(ASKED).format(written(facts))

    def answer(self, facts: Terms) -> str:
        return str(sum(facts))

    def content(self, facts: Terms) -> str:
        """The same numbers in another order are the same problem."""
        return repr(sorted(facts))

    def guess(self, facts: Terms) -> float:
        """Among all totals between 0 and the sum of the sizes."""
        return 1 / (1 + sum(map(abs, facts)))

    def chain(self, facts: Terms, style: str, wording: int = 0, slip: int | None = None) -> Chain:
        total, steps = facts[0], list[str]()
        rng = Random(wording)
        for i, term in enumerate(facts[1:]):
            right = total + term
            new = off(right, rng, low=0)
            new = new if slip == i else right
            steps.append(SAY[style](total, term, new))
            total = new
        return Chain(tuple(steps), str(total), slip)


def written(terms: Terms) -> str:
    """`23 + 45 - 17`."""
    return str(terms[0]) + "".join(f" {'-' if term < 0 else '+'} {abs(term)}" for term in terms[1:])


def equation(total: int, term: int, new: int) -> str:
    return f"{written((total, term))} = {new}"


def running(total: int, term: int, new: int) -> str:
    return f"{'Add' if term > 0 else 'Take'} {abs(term)}{' to' if term > 0 else ' from'} {total}: {new}"


def places(total: int, term: int, new: int) -> str:
    """The tens first, then the ones: longer, and each part is small."""
    tens = term // 10 * 10 if term > 0 else -(-term // 10 * 10)
    if not tens or tens == term:
        return equation(total, term, new)
    ones = term - tens
    return f"{written((total, tens))} = {new - ones}, {written((new - ones, ones))} = {new}"


SAY = {"equations": equation, "running": running, "places": places}
