"""Who reads which cached tokens in one step, in as few groups as it takes: each costs a dozen operations a layer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from itertools import count
from typing import Any

import torch
from torch import Tensor

from mullover.engine.reads import Steady
from mullover.engine.tree import Node
from mullover.engine.work import Row

ALL = 1 << 30  # more tokens than any node has
MOST_GROUPS = 2  # of blocks that some queries share
WIDEST = 16  # blocks that are read as one


@dataclass(frozen=True, slots=True)
class Group:
    """E entries, each of K keys that U queries read: one matrix product for each entry and head.

    The keys are W whole blocks, or single slots. What stands in for missing keys or queries is hidden.
    """

    entries: int
    users: int  # U
    width: int  # W
    blocks: Tensor | slice  # (E * W,), or the blocks from here to there; (K,) if there are `slots`
    slots: Tensor | None  # (K,) of one entry
    rows: Tensor | None  # (E * U,) queries; None: one entry, which all queries read in their order
    order: Tensor  # (E * U,) which of `rows` come first, second, ...: sorted by query
    begins: Tensor  # (queries,) where those of each query begin in `order`
    hidden: Tensor | None  # (E, U, K) 0 or -inf, by what each query may see; None: all of it
    keys: Tensor  # (E, 1, K) positions
    queries: Tensor  # (E, U, 1) positions
    kept: dict[int, Tensor] = field(default_factory=dict)  # of `slots`: what was gathered there, by layer


@dataclass(slots=True)
class Shared:
    """Neighbouring nodes that the same queries read, and how much of it each query sees where it is one node."""

    nodes: list[Node]
    who: list[tuple[int, int]]

    @property
    def reads(self) -> int:
        return len(self.nodes) * len(self.who)


Alone = tuple[Node, int, int]  # a node, the only query that reads it, and how many of its tokens that sees


class Grouper(Steady):
    """Groups of one step after another. Where every query only saw one token more, those of the last step are kept."""

    def __init__(self, size: int, device: torch.device) -> None:
        super().__init__()
        self.size, self.device = size, device
        self._groups: tuple[Group, ...] = ()
        self._entries: Tensor | None = None  # of the first group: where each query's own block is

    def of(self, rows: Sequence[Row], version: int) -> tuple[Group, ...]:
        """Every block that the queries may see.

        Args:
            version: of the tree; equal for two steps between which it changed only where nodes grow in place.
        """
        if self.went_on(rows, version) and self._entries is not None:
            slots = torch.tensor([row.node.start + row.offset - 1 for row in rows], device=self.device)
            hidden = self._groups[0].hidden
            assert hidden is not None
            hidden[self._entries, 0, slots] = 0
            for group in self._groups:
                group.queries.add_(1)
        else:
            self._groups = groups_of(rows, self.size, self.device)
            self._entries = self._tips(rows)
        return self._groups

    def _tips(self, rows: Sequence[Row]) -> Tensor | None:
        """Where each query's own block is in the first group; None: not all are there."""
        first = self._groups[0] if self._groups else None
        if first is None or first.users != 1 or first.slots is not None or first.hidden is None:
            return None
        if isinstance(first.blocks, slice):
            at = [row.node.block - first.blocks.start for row in rows]
            inside = all(0 <= i < first.entries for i in at)
        else:
            where = {block: i for i, block in enumerate(first.blocks.tolist())}
            at = [where.get(row.node.block, -1) for row in rows]
            inside = min(at) >= 0 and len(where) == first.entries
        if not inside or first.rows is None:
            return None
        entries = torch.tensor(at, device=self.device)
        own = first.rows[entries] == torch.arange(len(rows), device=self.device)
        return entries if bool(own.all()) else None


def groups_of(rows: Sequence[Row], size: int, device: torch.device) -> tuple[Group, ...]:
    """Every block that the queries may see."""
    positions = torch.tensor([row.position for row in rows])
    alone, shared = readers(rows)
    whole, shared = most_share(shared, len(rows))
    shared.sort(key=lambda run: run.reads)
    spare = 8 + len(alone) // 4  # reads of one query each that cost less than one more group would
    while shared and shared[0].reads <= spare:
        run = shared.pop(0)
        spare -= run.reads
        alone += [(node, i, seen) for node in run.nodes for i, seen in run.who]
    if whole:
        alone, far = neighbours(alone, _tokens(whole))
        whole += [Shared([node], [(i, seen)]) for node, i, seen in far]
    groups = [_alone(alone, positions, size)] if alone else []
    by_users: dict[int, list[Shared]] = {}
    for run in shared:
        by_users.setdefault(1 << (len(run.who) - 1).bit_length(), []).append(run)
    while len(by_users) > MOST_GROUPS:  # the fewest users are counted as the next more
        fewest, more = sorted(by_users)[:2]
        by_users[more] += by_users.pop(fewest)
    groups += [_some(by_users[users], positions, size) for users in sorted(by_users)]
    groups += [_whole(whole, positions)] if whole else []
    return tuple(groups) if device.type == "cpu" else tuple(_moved(group, device) for group in groups)


def readers(rows: Sequence[Row]) -> tuple[list[Alone], list[Shared]]:
    """Nodes that one query reads, one by one, and runs of nodes that several read."""
    alone, shared = list[Alone](), list[Shared]()
    found = dict[Node, list[tuple[int, int]]]()
    waiting: list[tuple[int, int, Node]] = []
    ticket = count()

    def reads(node: Node, who: list[tuple[int, int]]) -> None:
        if node in found:
            found[node] = found[node] + who
        elif node.block >= 0:
            found[node] = who
            heappush(waiting, (-node.at, next(ticket), node))

    for i, row in enumerate(rows):
        node, seen = row.node, row.offset
        while node.users == 1 and node.block >= 0:
            alone.append((node, i, seen))
            node, seen = above(node), ALL
        reads(node, [(i, seen)])
    runs = dict[int, Shared]()  # by the identity of `who`
    while waiting:  # from the furthest to the root, so that all readers of a node are known
        node = heappop(waiting)[2]
        who = found.pop(node)
        if len(who) == 1:
            alone.append((node, *who[0]))
        elif id(who) in runs:
            runs[id(who)].nodes.append(node)
        else:
            runs[id(who)] = Shared([node], who)
            shared.append(runs[id(who)])
        if any(seen != ALL for _, seen in who):  # who stands here sees a part of it, and all of what is above
            who = [(i, ALL) for i, _ in who]
        reads(above(node), who)
    return alone, shared


def most_share(runs: Sequence[Shared], queries: int) -> tuple[list[Shared], list[Shared]]:
    """Runs that at least half of the queries read, with as many tokens again of what fewer do; and the others.

    All queries read them, slot by slot; they are hidden from those that may not see them.
    """
    ranked = sorted(runs, key=lambda run: -len(run.who))
    whole = [run for run in ranked if 2 * len(run.who) >= queries]
    room = _tokens(whole)
    others = list[Shared]()
    for run in ranked[len(whole) :]:
        if room >= (tokens := _tokens([run])):
            room -= tokens
            whole.append(run)
        else:
            others.append(run)
    return whole, others


def neighbours(reads: list[Alone], room: int) -> tuple[list[Alone], list[Alone]]:
    """The most reads whose blocks lie nearly together, and the others, if these have `room` tokens at most.

    Blocks that lie together are read where they are; else all would have to be copied for the sake of a few.
    """
    ranked = sorted(reads, key=lambda read: read[0].block)
    best, first = (0, 0), 0
    for last, (node, _, _) in enumerate(ranked):
        while node.block - ranked[first][0].block >= _near(last - first + 1):
            first += 1
        if last + 1 - first > best[1] - best[0]:
            best = (first, last + 1)
    far = ranked[: best[0]] + ranked[best[1] :]
    if sum(len(node.ids) for node, _, _ in far) > room:
        return reads, []
    return ranked[best[0] : best[1]], far


def _near(blocks: int) -> int:
    """How many places blocks may be spread over and still be read where they lie."""
    return blocks + blocks // 4 + 8


def _tokens(runs: Sequence[Shared]) -> int:
    return sum(len(node.ids) for run in runs for node in run.nodes)


def _alone(reads: list[Alone], positions: Tensor, size: int) -> Group:
    """One block and one query an entry. Blocks that lie together, or nearly so, need no copying."""
    told = [(n.block, n.start, n.at - n.start, i, n.start + min(seen, len(n.ids))) for n, i, seen in reads]
    told.sort()
    lowest, many = told[0][0], len(told)
    span = told[-1][0] - lowest + 1
    table = torch.tensor(told)
    blocks: Tensor | slice = table[:, 0]
    if span <= _near(many) and len({one[0] for one in told}) == many:
        blocks = slice(lowest, lowest + span)
        if span > many:  # blocks between them that are another's are hidden
            table = torch.zeros(span, 5, dtype=torch.long).index_copy_(0, table[:, 0] - lowest, table)
    _, starts, begins, rows, ends = table.unbind(1)
    slots = torch.arange(size).view(1, 1, size)
    closed = (slots < starts.view(-1, 1, 1)) | (slots >= ends.view(-1, 1, 1))
    keys = begins.view(-1, 1, 1) + slots
    return Group(
        len(table), 1, 1, blocks, None, rows, *_sorted(rows, len(positions)), _hidden(closed), keys,
        positions[rows].view(-1, 1, 1),
    )  # fmt: skip


def _some(runs: Sequence[Shared], positions: Tensor, size: int) -> Group:
    """As many blocks an entry as a run has in the mean, and as many queries as the most of them have."""
    mean = round(sum(len(run.nodes) for run in runs) / len(runs))
    width = min(WIDEST, 1 << (max(1, mean) - 1).bit_length())
    users = max(len(run.who) for run in runs)
    parts = sorted((part for run in runs for part in cut(run, width)), key=lambda part: part.nodes[0].block)
    nodes = [part.nodes[at] if at < len(part.nodes) else None for part in parts for at in range(width)]
    told = [(0, 0, 0, 0) if n is None else (n.block, n.start, n.at - n.start, n.start + len(n.ids)) for n in nodes]
    blocks, starts, begins, ends = torch.tensor(told).view(len(parts), 1, width, 1, 4).unbind(-1)
    pairs = [pair for part in parts for pair in (*part.who, *[(0, 0)] * (users - len(part.who)))]
    rows, seen = torch.tensor(pairs).unbind(1)
    slots = torch.arange(size)
    closed = (slots < starts) | (slots >= torch.minimum(ends, starts + seen.view(len(parts), users, 1, 1)))
    keys = (begins + slots).view(len(parts), 1, -1)
    return Group(
        len(parts), users, width, blocks.flatten(), None, rows, *_sorted(rows, len(positions)),
        _hidden(closed.view(len(parts), users, -1)), keys, positions[rows].view(len(parts), users, 1),
    )  # fmt: skip


def _whole(runs: Sequence[Shared], positions: Tensor) -> Group:
    """One entry of single slots that all queries read."""
    places = [
        (node.block, slot, node.at - node.start + slot)
        for run in runs
        for node in run.nodes
        for slot in range(node.start, node.start + len(node.ids))
    ]
    blocks, slots, keys = torch.tensor(places).unbind(1)
    closed, at = torch.ones(1, len(positions), len(places), dtype=torch.bool), 0
    for run in runs:
        who, seen = torch.tensor(run.who).unbind(1)
        end = at + _tokens([run])
        closed[0, who, at:end] = torch.arange(end - at) >= seen.unsqueeze(1)
        at = end
    none = torch.empty(0, dtype=torch.long)
    return Group(
        1, len(positions), 1, blocks, slots, None, none, none, _hidden(closed), keys.view(1, 1, -1),
        positions.view(1, -1, 1),
    )  # fmt: skip


def _hidden(closed: Tensor) -> Tensor | None:
    return torch.zeros(closed.shape).masked_fill_(closed, -torch.inf) if bool(closed.any()) else None


def _sorted(rows: Tensor, queries: int) -> tuple[Tensor, Tensor]:
    """`order` and `begins` of a group."""
    order = torch.argsort(rows, stable=True)
    return order, torch.searchsorted(rows[order], torch.arange(queries))


def _moved(group: Group, device: torch.device) -> Group:
    moved: dict[str, Any] = {name: getattr(group, name).to(device) for name in ("order", "begins", "keys", "queries")}
    for name in ("blocks", "slots", "rows", "hidden"):
        value = getattr(group, name)
        moved[name] = value.to(device) if isinstance(value, Tensor) else value
    return replace(group, **moved)


def cut(run: Shared, width: int) -> Iterator[Shared]:
    """In parts of at most `width` nodes."""
    for at in range(0, len(run.nodes), width):
        yield Shared(run.nodes[at : at + width], run.who)


def above(node: Node) -> Node:
    assert node.parent is not None
    return node.parent
