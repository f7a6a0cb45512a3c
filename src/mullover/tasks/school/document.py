"""What a model is shown and what it should say: one lesson, or one examination question."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from mullover.prompts import style
from mullover.tasks.kinds import spec
from mullover.tasks.school.family import Chain, Drawn, Split, drawn
from mullover.types import AnswerSpec, Kind, Prompt

Turns = tuple[tuple[str, str], ...]  # role and text; the last is the user's


@dataclass(frozen=True, slots=True)
class Document:
    """One exchange."""

    turns: Turns
    said: str  # what is to be learned
    wants: str  # the part of it that counts in an examination
    kind: Kind | None = None  # of an answer; None: a text
    thinking: bool | None = None  # how the template opens the assistant's turn
    given: str = ""  # of the assistant's turn, what stands already: part of what is asked
    by: str = "answer"  # answer, first_line
    item: Drawn[Any] | None = field(default=None, compare=False)

    @property
    def expects(self) -> AnswerSpec:
        return spec(self.kind or "text")


@dataclass(frozen=True, slots=True)
class Draw:
    """A problem, with what a lesson about it is made of: everything is drawn from `rng`."""

    item: Drawn[Any]
    split: Split
    rng: Random
    wording: int

    @staticmethod
    def of(family: Any, grade: int, split: Split, seed: int, index: int) -> "Draw":
        return Draw.about(drawn(family, grade, split, seed, index), split, seed, index)

    @staticmethod
    def about(item: Drawn[Any], split: Split, seed: int, index: int) -> "Draw":
        """A problem that was drawn at that place."""
        rng = Random(f"lesson/{item.family.name}/{item.grade}/{split}/{seed}/{index}")
        return Draw(item, split, rng, rng.getrandbits(32))

    @property
    def question(self) -> str:
        return self.item.question

    @property
    def answer(self) -> str:
        return str(self.item.family.answer(self.item.facts))

    @property
    def kind(self) -> Kind:
        return self.item.family.kind

    @property
    def instruction(self) -> str:
        """How to state the answer: mostly as is usual for its kind; at times as for a text, which is always true."""
        if self.wording % 4 == 0 and self.item.family.instruction is None:
            return spec("text").instruction
        return spec(self.kind, instruction=self.item.family.instruction).instruction

    def chain(self, name: str | None = None) -> Chain:
        """Without a slip, in a style that is named or drawn."""
        family = self.item.family
        return family.chain(self.item.facts, name or self.rng.choice(family.styles), self.wording)

    def slipped(self) -> tuple[Chain, Chain, int]:
        """One with a planted slip, the same without, and which step is the slip."""
        family, facts = self.item.family, self.item.facts
        name = self.rng.choice(family.styles)
        at = self.rng.choice(family.slips(facts, name))
        return family.chain(facts, name, self.wording, at), family.chain(facts, name, self.wording), at

    def asked(self, name: str, instructed: bool = True) -> str:
        """The question in one of the styles of `prompts`."""
        expects = spec(self.kind, instruction=self.instruction if instructed else "")
        return style(name).ask(Prompt.of(self.question, expects)).question.strip()

    def again(self) -> "Draw":
        """Another problem of the family and grade, from training, for what is shown beside this one."""
        family = self.item.family
        rng = Random(f"beside/{self.wording}")
        return Draw.of(family, self.item.grade, "train", rng.getrandbits(40), 0)

    def lesson(self, asked: str, said: str, **more: Any) -> Document:
        """About this problem's answer, unless `wants` says otherwise."""
        known = {"wants": self.answer, "kind": self.kind, "item": self.item, **more}
        return Document((("user", asked),), said, **known)


def concluded(chain: Chain, instructed: bool = False) -> str:
    """Steps and answer."""
    return "\n".join((*chain.steps, stated(chain.answer, instructed)))


def stated(answer: str, instructed: bool = False) -> str:
    return f"ANSWER: {answer}" if instructed else f"The answer is {answer.removesuffix('.')}."


def numbered(steps: tuple[str, ...]) -> str:
    return "\n".join(f"{i}. {step}" for i, step in enumerate(steps, 1))


Lesson = Callable[[Draw], Document]
