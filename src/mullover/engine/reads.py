"""Who reads which cached tokens in one step, as the kernels of a CPU take it: block by block, for a tile of queries."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mullover.engine.tree import Node
from mullover.engine.work import Row

TILE = 16  # queries that read what they share at the same time


@dataclass(frozen=True, slots=True)
class Reads:
    """Of a tile the entries, of an entry the readers. All are int32; what follows the last of them ends it."""

    tiles: Tensor  # (T + 1, 2) its first entry, and its first query
    entries: Tensor  # (E + 1, 4) block, first slot, position of slot 0, first reader
    rows: Tensor  # (U,) the query of each reader
    ends: Tensor  # (U,) where in the block it sees no further
    positions: Tensor  # (queries,)


class Steady:
    """Remembers the queries of the last step, to tell whether the next ones are the same, each a token further."""

    def __init__(self) -> None:
        self._version = -1  # of the tree
        self._places: list[tuple[Node, int]] = []

    def forget(self) -> None:
        """The tree is another one."""
        self._places = []

    def went_on(self, rows: Sequence[Row], version: int) -> bool:
        """Are these the queries of the last step, each one token further in its node? They are the last from now on."""
        same = version == self._version and len(rows) == len(self._places) > 0
        same = same and all(
            row.new and row.node is node and row.offset == offset + 1
            for row, (node, offset) in zip(rows, self._places, strict=True)
        )
        self._version, self._places = version, [(row.node, row.offset) for row in rows]
        return same


class Reader(Steady):
    """Reads of one step after another. Where every query only saw one token more, those of the last step are kept."""

    def __init__(self) -> None:
        super().__init__()
        self._reads: Reads | None = None
        self._tips = torch.empty(0)  # the reader of each query's own block
        self._one = torch.ones(1, dtype=torch.int32)

    def of(self, rows: Sequence[Row], version: int) -> Reads:
        """Every block that the queries may see.

        Args:
            version: of the tree; equal for two steps between which it changed only where nodes grow in place.
        """
        if self.went_on(rows, version) and self._reads is not None:
            self._reads.ends.index_add_(0, self._tips, self._one.expand(len(rows)))
            self._reads.positions.add_(1)
        else:
            self._reads, self._tips = reads_of(rows)
        return self._reads


def reads_of(rows: Sequence[Row]) -> tuple[Reads, Tensor]:
    """The reads, and (queries,) the reader of each query's own block."""
    tiles, entries = list[tuple[int, int]](), list[tuple[int, int, int, int]]()
    who, ends, tips = list[int](), list[int](), [0] * len(rows)
    for begin in range(0, len(rows), TILE):
        tiles.append((len(entries), begin))
        found = dict[Node, list[tuple[int, int]]]()
        for i, row in enumerate(rows[begin : begin + TILE], begin):
            node, seen = row.node, row.offset
            while node.block >= 0:
                found.setdefault(node, []).append((i, seen))
                assert node.parent is not None
                node = node.parent
                seen = len(node.ids)
        for node, readers in found.items():
            entries.append((node.block, node.start, node.at - node.start, len(who)))
            for i, seen in readers:
                if rows[i].node is node:
                    tips[i] = len(who)
                who.append(i)
                ends.append(node.start + seen)
    tiles.append((len(entries), len(rows)))
    entries.append((0, 0, 0, len(who)))
    told = (tiles, entries, who, ends, [row.position for row in rows])
    return Reads(*(torch.tensor(one, dtype=torch.int32) for one in told)), torch.tensor(tips)
