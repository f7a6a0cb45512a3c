"""What one forward pass computes, as index tensors: which tokens, where their keys and values go, who attends to what.

All tokens of a step lie in one row, without padding: first those of sequences that grow by one token
(`rows`), then the runs of tokens that are read at once (`spans`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from mullover.engine.groups import Group, Grouper, above
from mullover.engine.reads import Reader, Reads
from mullover.engine.tree import Node
from mullover.engine.work import Work


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens of one sequence that are read at once."""

    first: int  # where they begin in the row of all tokens
    count: int
    position: int  # of the first of them
    blocks: Tensor | None = None  # (position + count,) of all keys they may see; None: they see themselves alone
    slots: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Mask:
    """What the rows of queries may not see of the keys of their entry."""

    hidden: Tensor | None  # (E, 1, U * each or 1, K) 0 or -inf; None: they see all
    blind: Tensor | None  # (E, 1, U * each or 1) do they see nothing? None: all see something

    @classmethod
    def of(cls, hidden: Tensor | None, each: int, dtype: torch.dtype) -> Mask:
        """From (E, U, K)."""
        if hidden is None:
            return cls(None, None)
        blind = (hidden == -torch.inf).all(-1)
        hidden = hidden.to(dtype)
        if hidden.shape[1] > 1:
            hidden, blind = hidden.repeat_interleave(each, 1), blind.repeat_interleave(each, 1)
        return cls(hidden.unsqueeze(1), blind.unsqueeze(1) if bool(blind.any()) else None)


@dataclass(frozen=True, slots=True)
class Plan:
    tokens: Tensor  # (T,)
    positions: Tensor  # (T,)
    wanted: Tensor  # (W,) those of which logits are wanted
    writes: Tensor | None  # which tokens are new; None: all
    blocks: Tensor  # (new,) where their keys and values go
    slots: Tensor
    rows: int  # how many of the tokens are single queries
    reads: Reads | tuple[Group, ...]  # by the rows
    spans: tuple[Span, ...]
    masks: dict[tuple[int, int | None], Mask] = field(default_factory=dict)  # by (group, sliding window)

    @property
    def places(self) -> tuple[Tensor | None, Tensor, Tensor]:
        return self.writes, self.blocks, self.slots

    def mask(self, index: int, window: int | None, each: int, dtype: torch.dtype) -> Mask:
        """Of one group; keys that are `window` tokens or more before their query are hidden too.

        Args:
            each: query heads of a key head: that many rows a query.
        """
        key = (index, window)
        if key not in self.masks:
            assert not isinstance(self.reads, Reads)
            group = self.reads[index]
            hidden = group.hidden
            if window is not None:
                far = group.queries - group.keys >= window
                hidden = torch.zeros(far.shape, device=far.device) if hidden is None else hidden
                hidden = hidden.masked_fill(far, -torch.inf)
            self.masks[key] = Mask.of(hidden, each, dtype)
        return self.masks[key]


def slots_of(node: Node, offset: int, count: int) -> tuple[list[int], list[int]]:
    """(block, slot) of each of the last `count` tokens before a place, in their order."""
    blocks, slots = list[int](), list[int]()
    step, seen = node, offset
    while len(blocks) < count:
        some = min(seen, count - len(blocks))
        blocks += [step.block] * some
        slots += range(step.start + seen - 1, step.start + seen - 1 - some, -1)
        if len(blocks) < count:
            step = above(step)
            seen = len(step.ids)
    return blocks[::-1], slots[::-1]


def plan_of(work: Work, reader: Reader | Grouper, version: int, device: torch.device) -> Plan:
    """Single queries first, each place of the tree once; then the runs that are read at once."""
    rows, spans = work.rows, list[Span]()
    tokens = [row.token for row in rows]
    positions = [row.position for row in rows]
    new = [row.new for row in rows]
    blocks = [row.node.block for row in rows if row.new]
    slots = [row.node.start + row.offset - 1 for row in rows if row.new]
    for run in work.runs:
        many, end = len(run.tokens), run.node.at + run.offset
        where = slots_of(run.node, run.offset, end)
        keys = [torch.tensor(one, device=device) for one in where] if end > many else [None, None]
        spans.append(Span(len(tokens), many, end - many, keys[0], keys[1]))
        tokens += run.tokens
        positions += range(end - many, end)
        new += run.new
        blocks += [block for block, fresh in zip(where[0][-many:], run.new, strict=True) if fresh]
        slots += [slot for slot, fresh in zip(where[1][-many:], run.new, strict=True) if fresh]
    table = torch.tensor([tokens, positions], device=device)
    places = torch.tensor([blocks, slots], dtype=torch.long, device=device)
    writes = (
        None if all(new) else torch.tensor([i for i, fresh in enumerate(new) if fresh], dtype=torch.long, device=device)
    )
    wanted = torch.tensor(work.wanted, dtype=torch.long, device=device)
    reads = reader.of(rows, version) if rows else ()
    return Plan(table[0], table[1], wanted, writes, places[0], places[1], len(rows), reads, tuple(spans))
