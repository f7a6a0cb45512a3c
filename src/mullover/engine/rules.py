"""Logit rules as small state machines: which of a sample's rules hold at its next token, and what is forced on it."""

from collections.abc import Sequence
from dataclasses import dataclass

from mullover.types import Where


@dataclass(frozen=True, eq=False)
class Bias:
    """A `Rule` whose text has become tokens."""

    ids: frozenset[int]
    bias: float  # nats
    where: Where = "always"
    window: int = 0
    before: int = 0


@dataclass(frozen=True, eq=False)
class Forced:
    """A `Force` whose text has become tokens."""

    ids: tuple[int, ...]
    at: int
    where: Where = "always"


Compiled = Bias | Forced


class RuleState:
    """Of one sample. Positions count its own tokens, from 0."""

    __slots__ = ("_began", "_done", "_forcing", "_rules", "_said")

    def __init__(self, rules: Sequence[Compiled]) -> None:
        self._rules = rules
        self._said = {"always": 0, "thinking": 0, "answer": 0}  # tokens drawn
        self._began = [0] * len(rules)  # where the thought that a rule's window counts from began
        self._done = set[int]()
        self._forcing: list[int] = []  # what is still to be said of a forced text, last first

    def holding(self, inside: bool) -> list[Bias]:
        """The biases on the next token. `inside`: it would be reasoning."""
        at = self._said["always"]
        return [
            rule
            for rule, began in zip(self._rules, self._began, strict=True)
            if isinstance(rule, Bias)
            and _here(rule.where, inside)
            and not (rule.before and at >= rule.before)
            and not (rule.window and at >= began + rule.window)
        ]

    def forced(self, inside: bool) -> int | None:
        """The token that comes next whatever the model says; None: it is free."""
        if not self._forcing:
            for i, rule in enumerate(self._rules):
                due = isinstance(rule, Forced) and rule.ids and i not in self._done and _here(rule.where, inside)
                if due and isinstance(rule, Forced) and self._said[rule.where] >= rule.at:
                    self._done.add(i)
                    self._forcing = [*reversed(rule.ids)]
                    break
        return self._forcing[-1] if self._forcing else None

    def drew(self, token: int, inside: bool) -> None:
        """A token came. `inside`: it was drawn as reasoning."""
        if self._forcing:
            self._forcing.pop()
        for i, rule in enumerate(self._rules):
            if isinstance(rule, Bias) and rule.window and token in rule.ids:
                self._began[i] = self._said["always"]
        self._said["always"] += 1
        self._said["thinking" if inside else "answer"] += 1


def _here(where: Where, inside: bool) -> bool:
    return where == "always" or (where == "thinking") == inside
