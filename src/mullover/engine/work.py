"""One step's work: who looks from where in the prefix tree, and with which tokens."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from mullover.engine.sequence import Live
from mullover.engine.tree import Node


@dataclass(slots=True)
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
    ones: list[Live] = field(default_factory=list)  # who takes part
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
    where = [p.place for p in placed]
    work.ones = [p.one for p in placed]
    looks = dict[tuple[Node, int], int]()  # from a token, counted from the first run's
    fresh = {place for p, place in zip(placed, where, strict=True) if p.new[-1]}
    read = 0
    for p, place in zip(placed, where, strict=True):
        if len(p.tokens) > 1:
            work.runs.append(Run(p.tokens, p.new, *place))
            read += len(p.tokens)
            looks[place] = read - 1
            p.one.computed += len(p.tokens)
    singles = dict[tuple[Node, int], int]()  # rows, whose number is known only now
    for p, place in zip(placed, where, strict=True):
        if len(p.tokens) == 1 and place not in looks and place not in singles:
            singles[place] = len(work.rows)
            work.rows.append(Row(p.tokens[0], *place, place in fresh))
            p.one.computed += 1
    rows, which = len(work.rows), dict[int, int]()
    for p, place in zip(placed, where, strict=True):
        token = singles[place] if place in singles else rows + looks[place]
        if p.one.request.texts:
            start = max(p.first, len(p.one.request.ids) - 1)
            ahead = range(token - (p.first + len(p.tokens) - 1 - start), token + 1)
            work.read.append((p.one, [which.setdefault(i, len(which)) for i in ahead]))
        elif p.one.placed == len(p.one.tokens):
            work.grown.append((p.one, which.setdefault(token, len(which))))
    work.wanted = [*which]
