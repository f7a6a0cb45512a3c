"""One step's work: who looks from where in the prefix tree, and with which tokens."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from mullover.engine.sequence import Live
from mullover.engine.tree import Node


@dataclass(frozen=True, slots=True)
class Row:
    """One query: the token just before a place of the tree."""

    token: int
    node: Node
    offset: int  # tokens of the node that it may see, itself among them
    new: bool  # its keys and values are not yet there

    @property
    def position(self) -> int:
        return self.node.at + self.offset - 1


@dataclass(slots=True)
class Run:
    """Tokens of one sequence that are read at once; they end at a place of the tree."""

    tokens: list[int]
    new: list[bool]  # are its keys and values to be stored?
    node: Node
    offset: int


@dataclass(slots=True)
class Work:
    """One step. `wanted` are the tokens, counted over rows and then runs, whose logits are wanted."""

    rows: list[Row] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    wanted: list[int] = field(default_factory=list)
    grown: list[tuple[Live, int]] = field(default_factory=list)  # who draws a token, and from which of `wanted`
    read: list[tuple[Live, list[int]]] = field(default_factory=list)  # scored texts, with which of `wanted`
    failed: list[tuple[Live, str]] = field(default_factory=list)
    delayed: bool = False  # a sequence that was alone must begin again

    @property
    def due(self) -> bool:
        return bool(self.rows or self.runs)


@dataclass(slots=True)
class Placed:
    """What one sequence looks from in this step: its `tokens`, the first of which is number `first` of all its own."""

    one: Live
    first: int
    tokens: list[int]
    new: list[bool]

    @property
    def place(self) -> tuple[Node, int]:
        assert self.one.tip is not None
        return self.one.tip, self.one.offset


def arrange(work: Work, placed: Sequence[Placed]) -> None:
    """Rows and runs, now that no node will be split any more. A place that several look from is looked from once."""
    looks = dict[tuple[Node, int], tuple[bool, int]]()  # from a run (or else a row), and from which of their tokens
    fresh = {p.place for p in placed if p.new[-1]}
    read = 0
    for p in placed:
        if len(p.tokens) > 1:
            work.runs.append(Run(p.tokens, p.new, *p.place))
            read += len(p.tokens)
            looks[p.place] = (True, read - 1)
            p.one.computed += len(p.tokens)
    for p in placed:
        if len(p.tokens) == 1 and p.place not in looks:
            looks[p.place] = (False, len(work.rows))
            work.rows.append(Row(p.tokens[0], *p.place, p.place in fresh))
            p.one.computed += 1
    which = dict[int, int]()
    for p in placed:
        in_run, token = looks[p.place]
        token += len(work.rows) if in_run else 0
        if p.one.request.texts:
            start = max(p.first, len(p.one.request.ids) - 1)
            ahead = range(token - (p.first + len(p.tokens) - 1 - start), token + 1)
            work.read.append((p.one, [which.setdefault(i, len(which)) for i in ahead]))
        elif p.one.placed == p.one.length:
            work.grown.append((p.one, which.setdefault(token, len(which))))
    work.wanted = [*which]
