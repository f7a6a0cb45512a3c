"""A question with its truth, and many of them with the one who grades."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mullover.errors import OptionError
from mullover.scorers.exact import exact
from mullover.types import AnswerSpec, Kind, Prompt, Scorer


@dataclass(frozen=True, slots=True)
class Problem:
    """What is asked, and what is right. Only `prompt` leaves this module's friends; the truth never does."""

    id: str
    question: str
    answer: str | None  # the gold answer; None where many answers are right and a rule decides (Game of 24)
    expects: AnswerSpec = field(default_factory=AnswerSpec)
    accepted: tuple[str, ...] = ()  # other ways to write a right answer
    facts: Mapping[str, Any] = field(default_factory=dict)  # what a rule needs, or a table groups by; never shown

    def prompt(self, system: str = "") -> Prompt:
        """What a model may see: the question and how to state an answer, never the gold."""
        return Prompt.of(self.question, self.expects, self.id, system)


Grader = Callable[[Problem], Scorer]


@dataclass(frozen=True, slots=True)
class Task:
    """Problems in file order, and the grader that builds the closure holding a problem's truth."""

    name: str
    problems: Sequence[Problem]
    grader: Grader
    source: str  # the file, or the id on the Hugging Face hub
    sha256: str  # of the file's bytes once unzipped, or of the hub's rows as canonical JSON

    def __iter__(self) -> Iterator[Problem]:
        return iter(self.problems)

    def __len__(self) -> int:
        return len(self.problems)

    def grade(self, problem: Problem) -> Scorer:
        """A scorer that knows the truth of `problem`: for evaluation and rewards, never for choosing.

        Its scores are 1.0 or 0.0, and None where no answer is stated.

        Raises:
            OptionError: the problem has no gold answer and the task no rule of its own.
        """
        return self.grader(problem)

    @property
    def kind(self) -> Kind:
        """The kind of answer most of its problems expect."""
        kinds = Counter(problem.expects.kind for problem in self.problems)
        return max(kinds, key=kinds.__getitem__, default="text")


def by_answer(problem: Problem) -> Scorer:
    """The usual grader: the stated answer equals the gold, or another accepted way to write it.

    Raises:
        OptionError: the problem has no gold answer.
    """
    if problem.answer is None:
        raise OptionError(f"problem {problem.id} has no gold answer; its task needs a grader of its own")
    return exact((problem.answer, *problem.accepted), problem.expects)
