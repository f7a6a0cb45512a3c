"""What the tally needs of a finished problem: less than a kilobyte, whatever its record holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mullover.running import Run
from mullover.types import Role, Usage

SHOWN = 80


@dataclass(frozen=True, slots=True)
class Done:
    id: str
    correct: bool | None = None  # None: not judged, or nothing to judge
    answer: str | None = None  # its first 80 characters: for tables, not for comparing; None: unanswered
    complete: bool = True
    oracle: bool = False
    samples: int = 0  # graded ones, those among them that could not be judged too
    right: int = 0
    usage: Mapping[Role, Usage] = field(default_factory=dict)
    seconds: float = 0.0  # from the problem's start to its end
    error: str = ""  # why it failed: such a problem is asked again by the same command

    @property
    def answered(self) -> bool:
        return self.answer is not None

    @property
    def tokens(self) -> int:
        return sum([usage.tokens for usage in self.usage.values()])

    @staticmethod
    def of(
        problem_id: str,
        run: Run,
        correct: bool | None,
        grades: Sequence[bool | None] | None,
        *,
        seconds: float = 0.0,
        error: str = "",
    ) -> Done:
        """Of a run that just ended; the arguments are those of `encode`."""
        answer = run.answer
        value = None if answer.value is None else answer.value[:SHOWN]
        samples, right = _count(grades)
        return Done(problem_id, correct, value, answer.complete, run.oracle, samples, right, run.usage, seconds, error)

    @staticmethod
    def read(record: Mapping[str, Any]) -> Done:
        """Of a stored record, parsed; equal to what `of` made of its run."""
        clock, value = record.get("clock", {}), record.get("answer")
        seconds = clock.get("roles", {})
        usage = {
            role: Usage(**spent, seconds=seconds.get(role, 0.0)) for role, spent in record.get("usage", {}).items()
        }
        samples, right = _count(record.get("grades"))
        return Done(
            record["id"],
            record.get("correct"),
            None if value is None else value[:SHOWN],
            record.get("complete", True),
            record.get("oracle", False),
            samples,
            right,
            usage,
            clock.get("seconds", 0.0),
            record.get("error", ""),
        )


def _count(grades: Sequence[bool | None] | None) -> tuple[int, int]:
    return (len(grades), grades.count(True)) if grades else (0, 0)
