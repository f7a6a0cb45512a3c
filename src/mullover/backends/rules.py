"""The rules of a toy's samples: which of them hold at the next token, and what is forced on it."""

from collections.abc import Mapping, Sequence

from mullover.backends.table import Table
from mullover.types import Force, Rule, Where


class Rules:
    """What the samples of one call share: rules and forced texts as tokens of a table.

    Raises:
        ModelError: the language cannot spell a forced text.
    """

    __slots__ = ("any", "biases", "forces")

    def __init__(self, rules: Sequence[Rule | Force], table: Table) -> None:
        self.any = bool(rules)
        self.biases = tuple([(rule, table.begins(rule.text)) for rule in rules if isinstance(rule, Rule)])
        self.forces = tuple([(force, table.encode(force.text)) for force in rules if isinstance(force, Force)])

    def bias(self, holding: Sequence[int]) -> Mapping[int, float]:
        """Nats by token, of those of `biases` that hold; they add up."""
        bias: dict[int, float] = {}
        for which in holding:
            rule, ids = self.biases[which]
            for i in ids:
                bias[i] = bias.get(i, 0.0) + rule.bias
        return bias


class Ruled:
    """Where one sample stands with its rules. A token is of the kind that its place was when it was drawn."""

    __slots__ = ("_begun", "_coming", "_drawn", "_due", "_rules")

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._drawn: dict[Where, int] = {"always": 0, "thinking": 0, "answer": 0}  # tokens
        self._begun = [0] * len(rules.biases)  # the position at which each rule's thought began
        self._due = list(rules.forces)
        self._coming: list[int] = []  # what is left of a forced text, last token first

    def holding(self, thinking: bool) -> tuple[int, ...]:
        """Which of `Rules.biases` hold at the next token. `thinking`: it would be reasoning."""
        at = self._drawn["always"]
        return tuple(
            [
                i
                for i, (rule, _) in enumerate(self._rules.biases)
                if _here(rule.where, thinking)
                and not (rule.window and at >= self._begun[i] + rule.window)
                and not (rule.before and at >= rule.before)
            ]
        )

    def forced(self, thinking: bool) -> int | None:
        """The token that must come next; None: any may."""
        if not self._coming:
            for due in self._due:
                force, ids = due
                if _here(force.where, thinking) and self._drawn[force.where] >= force.at:
                    self._due.remove(due)
                    self._coming = [*reversed(ids)]
                    break
        return self._coming[-1] if self._coming else None

    def drew(self, token: int, thinking: bool) -> None:
        if self._coming:
            self._coming.pop()
        at = self._drawn["always"]
        self._begun = [
            at if token in ids else begun for begun, (_, ids) in zip(self._begun, self._rules.biases, strict=True)
        ]
        self._drawn["always"] += 1
        self._drawn["thinking" if thinking else "answer"] += 1


def _here(where: Where, thinking: bool) -> bool:
    """Where a table has no delimiters of reasoning, all of it is answer."""
    return where == "always" or (where == "thinking") == thinking
