"""What a family of school problems is: problems that are drawn, asked, worked out step by step, and graded."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import count
from random import Random
from typing import Any, ClassVar, Generic, Literal, TypeVar, get_args

from mullover.errors import OptionError
from mullover.scorers.exact import SHOWN, exact, stated
from mullover.tasks.kinds import spec
from mullover.tasks.problem import Problem
from mullover.types import AnswerSpec, Candidate, Kind, Prompt, Score, Scorer

Split = Literal["train", "dev", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
GRADES = (1, 2, 3, 4, 5)
TENTHS: tuple[Split, ...] = ("test", "dev")  # a tenth of all contents each; the rest is for training

NUMERAL = re.compile(r"[+-]?\d[\d, ]*(?:\.\d*)?|[A-Za-z][A-Za-z, -]*")  # in digits or words; no sum of numbers

F = TypeVar("F")


@dataclass(frozen=True, slots=True)
class Chain:
    """A solution, one step a line; it does not state the answer itself."""

    steps: tuple[str, ...]
    answer: str  # where the steps lead: the right one, unless a slip was planted
    slip: int | None = None  # which step is the first wrong one, from 0; those behind it follow from it


@dataclass(frozen=True, slots=True)
class Drawn(Generic[F]):
    """One problem of a family, with what only its family knows of it."""

    family: "Family[F]"
    grade: int
    facts: F
    question: str


class Family(ABC, Generic[F]):
    """Problems without end. `facts` (frozen and hashable) say all that matters about one; words are drawn apart.

    Chains of equal `facts`, `style` and `wording` are equal up to a planted slip, so the right form of a wrong
    step is the step of the same place in the chain without a slip.
    """

    name: ClassVar[str]
    what: ClassVar[str]  # in a few words, for `mull tasks`
    kind: ClassVar[Kind]
    styles: ClassVar[tuple[str, ...]]  # of chains, the shortest first
    principle: ClassVar[str]  # what all its problems come down to, in one or two plain sentences
    instruction: ClassVar[str | None] = None  # how to state an answer; None: as for all of its kind
    space: ClassVar[str] = ""  # families of one space share their contents, so a problem is in the same split in all
    held: ClassVar[frozenset[str]] = frozenset()  # contents that are for testing, whatever their hash says

    @abstractmethod
    def draw(self, rng: Random, grade: int, split: Split) -> F:
        """Facts of a problem of grade 1 (easy) to 5. `split` matters where words must be unseen."""

    @abstractmethod
    def ask(self, facts: F, rng: Random) -> str:
        """The question, in one of several wordings."""

    @abstractmethod
    def answer(self, facts: F) -> str:
        """The right answer; one of them where there are several."""

    def accepted(self, facts: F) -> tuple[str, ...]:
        """Other ways to write the right answer."""
        return ()

    @abstractmethod
    def chain(self, facts: F, style: str, wording: int = 0, slip: int | None = None) -> Chain:
        """Steps in one of `styles`; `wording` seeds free choices of words.

        Args:
            slip: the step to go wrong, one of `slips(facts, style)`: it states something false, and all behind it
                follows from that. The final answer is usually wrong then, and `Chain.answer` says which it is.
        """

    @abstractmethod
    def guess(self, facts: F) -> float:
        """The chance of a right answer by a rule that needs no working out: any number in range, the commonest, ..."""

    def slips(self, facts: F, style: str) -> Sequence[int]:
        """Steps in which a slip can be planted; all of them, unless a family says otherwise."""
        return range(len(self.chain(facts, style).steps))

    def content(self, facts: F) -> str:
        """Problems of equal content are the same problem, however they are worded."""
        return repr(facts)

    def split(self, facts: F) -> Split:
        """Where a problem belongs, by a hash of its content: none is in two splits, in any grade or wording."""
        content = self.content(facts)
        return "test" if content in self.held else split_of(f"{self.space or self.name}:{content}")

    def shortcut(self, facts: F) -> bool:
        """Is the answer right that a rule gives which reads the question without working it out? No rule: False."""
        return False

    def fits(self, facts: F, answer: str) -> bool:
        """Is this answer, of a chain with a slip, right all the same? By its text, unless many are."""
        return answer == self.answer(facts)

    def scorer(self, facts: F) -> Scorer:
        """Who grades: the answer's value, unless a family has a rule. A number must be worked out."""
        found = exact((self.answer(facts), *self.accepted(facts)), spec(self.kind))
        return plain_number(found, spec(self.kind)) if self.kind == "number" else found


def plain_number(scorer: Scorer, expects: AnswerSpec) -> Scorer:
    """0 for an answer that is no number by itself: the question's own expression would have the right value."""

    async def score(prompt: Prompt, candidates: Sequence[Candidate]) -> list[Score]:
        scores = await scorer(prompt, candidates)
        values = [stated(prompt, candidate, expects) for candidate in candidates]
        return [
            old if value is None or NUMERAL.fullmatch(value.strip()) else Score(0.0, why=f"no number: {value[:SHOWN]}")
            for old, value in zip(scores, values, strict=True)
        ]

    return score


def split_of(text: str) -> Split:
    tenth = int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "big") % 10
    return TENTHS[tenth] if tenth < len(TENTHS) else "train"


def drawn(family: Family[Any], grade: int, split: Split, seed: int, index: int) -> Drawn[Any]:
    """The problem of that place: a pure function of its arguments.

    Raises:
        OptionError: no such grade or split.
    """
    if grade not in GRADES or split not in SPLITS:
        raise OptionError(f"there is no grade {grade!r} of split {split!r}; grades are 1 to 5, splits {SPLITS}")
    for attempt in count():
        rng = Random(f"{family.name}/{grade}/{split}/{seed}/{index}/{attempt}")
        facts = family.draw(rng, grade, split)
        if family.split(facts) == split:
            return Drawn(family, grade, facts, family.ask(facts, rng))
    raise AssertionError("unreachable")


def different(
    family: Family[Any], grade: int, split: Split, seed: int, many: int, tries: int
) -> Iterator[tuple[int, Drawn[Any]]]:
    """The first `many` different problems and their places; fewer if `tries` draws for each find no more."""
    seen = set[str]()
    for index in range(tries * many):
        item = drawn(family, grade, split, seed, index)
        content = family.content(item.facts)
        if content not in seen:
            seen.add(content)
            yield index, item
        if len(seen) == many:
            return


def problem(item: Drawn[Any], id: str) -> Problem:
    """As tasks hold it: the grade and what blind answers get are told, the facts stay for the grader."""
    family = item.family
    blind = {"guess": family.guess(item.facts), "shortcut": family.shortcut(item.facts)}
    told = {"family": family.name, "grade": item.grade, **blind, "facts": item.facts}
    expects = spec(family.kind, instruction=family.instruction)
    return Problem(id, item.question, family.answer(item.facts), expects, family.accepted(item.facts), told)


def off(value: int, rng: Random, low: int | None = None) -> int:
    """A number that someone who slips would write for `value`: near it, or a ten away; never below `low`."""
    near = [value + d for d in (-10, -2, -1, 1, 2, 10) if low is None or value + d >= low]
    return rng.choice(near)
