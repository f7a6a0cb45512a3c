"""What one forward pass computes, as index tensors: which tokens, where their keys and values go, who attends to what.

All tokens of a step lie in one row, without padding: first those of sequences that grow by one token
(`rows`), then the runs of tokens that are read at once (`spans`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count

import torch
from torch import Tensor

from mullover.engine.tree import Node
from mullover.engine.work import Row, Work


@dataclass(frozen=True, slots=True)
class Group:
    """E entries, each some blocks (W of them) that U queries read: one matrix product for each entry and head.

    Where there are fewer blocks or queries than that, what stands in for them is hidden.
    """

    entries: int
    users: int  # U
    width: int  # W
    blocks: Tensor | slice  # (E * W,), or the blocks from here to there
    rows: Tensor | None  # (E * U,) queries; None: one entry, which all queries read in their order
    order: Tensor  # (E * U,) which of `rows` come first, second, ...: sorted by query
    begins: Tensor  # (queries,) where those of each query begin in `order`
    hidden: Tensor | None  # (E, U, W * size) 0 or -inf, by what each query may see; None: all of it
    ahead: Tensor  # (E, U, W * size) how many tokens each key is before its query


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens of one sequence that are read at once."""

    first: int  # where they begin in the row of all tokens
    count: int
    position: int  # of the first of them
    blocks: Tensor | None = None  # (position + count,) of all keys they may see; None: they see themselves alone
    slots: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    tokens: Tensor  # (T,)
    positions: Tensor  # (T,)
    wanted: Tensor  # (W,) those of which logits are wanted
    writes: Tensor | None  # which tokens are new; None: all
    blocks: Tensor  # (new,) where their keys and values go
    slots: Tensor
    rows: int  # how many of the tokens are single queries
    groups: tuple[Group, ...]
    spans: tuple[Span, ...]
    masks: dict[tuple[int, int], Tensor] = field(default_factory=dict)  # by (group, sliding window)

    def mask(self, index: int, window: int | None) -> Tensor | None:
        """Of one group; keys that are `window` tokens or more before their query are hidden. None: nothing is."""
        group = self.groups[index]
        if window is None:
            return group.hidden
        key = (index, window)
        if key not in self.masks:
            hidden = torch.zeros_like(group.ahead, dtype=torch.float32) if group.hidden is None else group.hidden
            self.masks[key] = hidden.masked_fill(group.ahead >= window, -torch.inf)
        return self.masks[key]


ALL = 1 << 30  # more tokens than any node has


@dataclass(slots=True)
class Shared:
    """Neighbouring nodes that the same queries read, and how much of it each query sees where it is one node."""

    nodes: list[Node]
    who: list[tuple[int, int]]


def groups_of(rows: Sequence[Row], size: int, device: torch.device) -> tuple[Group, ...]:
    """Every block that the queries may see, in few groups: each costs a dozen operations a layer, however small."""
    positions = torch.tensor([row.position for row in rows])
    alone, shared = readers(rows)
    whole, shared = most_share(shared, len(rows))
    shared.sort(key=lambda run: len(run.nodes) * len(run.who))
    spare = 8 + len(alone) // 4
    while shared and (few := len(shared[0].nodes) * len(shared[0].who)) <= spare:
        spare -= few
        run = shared.pop(0)
        alone += [Shared([node], [one]) for node in run.nodes for one in run.who]
    by_users: dict[int, list[Shared]] = {}
    for run in shared:
        by_users.setdefault(1 << (len(run.who) - 1).bit_length(), []).append(run)
    while len(by_users) > MOST_GROUPS:  # the fewest users are counted as the next more
        fewest, more = sorted(by_users)[:2]
        by_users[more] += by_users.pop(fewest)
    groups = [_group(1, 1, alone, positions, size, device)] if alone else []
    for users in sorted(by_users):
        runs = by_users[users]
        mean = round(sum(len(run.nodes) for run in runs) / len(runs))
        width = min(WIDEST, 1 << (max(1, mean) - 1).bit_length())
        parts = [part for run in runs for part in cut(run, width)]
        groups.append(_group(max(len(part.who) for part in parts), width, parts, positions, size, device))
    return (*groups, *([_whole(whole, positions, size, device)] if whole else []))


MOST_GROUPS = 2  # of blocks that some queries share
WIDEST = 16  # blocks that are read as one


def most_share(runs: Sequence[Shared], queries: int) -> tuple[list[Shared], list[Shared]]:
    """Runs that at least half of the queries read, with as much again of what fewer do; and the others.

    They are read by all queries at once, and hidden from those that may not see them.
    """
    ranked = sorted(runs, key=lambda run: -len(run.who))
    whole = [run for run in ranked if 2 * len(run.who) >= queries]
    room = sum(len(run.nodes) for run in whole)
    others = list[Shared]()
    for run in ranked[len(whole) :]:
        if room >= len(run.nodes):
            room -= len(run.nodes)
            whole.append(run)
        else:
            others.append(run)
    return whole, others


def readers(rows: Sequence[Row]) -> tuple[list[Shared], list[Shared]]:
    """Nodes that one query reads, one by one, and runs of nodes that several read."""
    alone, shared = list[Shared](), list[Shared]()
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
            alone.append(Shared([node], [(i, seen)]))
            node, seen = above(node), ALL
        reads(node, [(i, seen)])
    runs = dict[int, Shared]()  # by the identity of `who`
    while waiting:  # from the furthest to the root, so that all readers of a node are known
        node = heappop(waiting)[2]
        who = found.pop(node)
        if any(seen != ALL for _, seen in who):  # who stands here sees a part of it, and all of what is above
            run = Shared([node], who)
            (shared if len(who) > 1 else alone).append(run)
            reads(above(node), [(i, ALL) for i, _ in who])
            continue
        if id(who) in runs:
            runs[id(who)].nodes.append(node)
        else:
            run = runs[id(who)] = Shared([node], who)
            (shared if len(who) > 1 else alone).append(run)
        reads(above(node), who)
    return [part for run in alone for part in cut(run, 1)], shared


def cut(run: Shared, width: int) -> Iterator[Shared]:
    """In parts of at most `width` nodes."""
    for at in range(0, len(run.nodes), width):
        yield Shared(run.nodes[at : at + width], run.who)


def _group(users: int, width: int, parts: list[Shared], positions: Tensor, size: int, device: torch.device) -> Group:
    """Of parts of `width` nodes at most, each read by `users` at most."""
    parts.sort(key=lambda part: part.nodes[0].block)  # blocks that lie together need no copying
    many = len(parts)
    chosen = [part.nodes[at] if at < len(part.nodes) else None for part in parts for at in range(width)]
    pairs = [pair for part in parts for pair in (*part.who, *[(0, 0)] * (users - len(part.who)))]
    rows, furthest = torch.tensor(pairs).view(many * users, 2).unbind(1)
    there = torch.tensor([0 if node is None else len(node.ids) for node in chosen]).view(many, 1, width)
    seen = torch.minimum(furthest.view(many, users, 1), there)
    order = torch.argsort(rows, stable=True)
    firsts = torch.searchsorted(rows[order], torch.arange(len(positions)))
    hidden, ahead = _masks(chosen, seen, positions[rows].view(many, users), size)
    return Group(
        many, users, width, _blocks(chosen, device), rows.to(device), order.to(device), firsts.to(device),
        None if hidden is None else hidden.to(device), ahead.to(device),
    )  # fmt: skip


def _whole(runs: Sequence[Shared], positions: Tensor, size: int, device: torch.device) -> Group:
    """One entry that all queries read."""
    reads = sorted(((node, run) for run in runs for node in run.nodes), key=lambda read: read[0].block)
    nodes = [node for node, _ in reads]
    seen = torch.zeros(1, len(positions), len(nodes), dtype=torch.long)
    for at, (node, run) in enumerate(reads):
        who, parts = torch.tensor(run.who).unbind(1)
        seen[0, who, at] = parts.clamp(max=len(node.ids))
    hidden, ahead = _masks(nodes, seen, positions.view(1, -1), size)
    none = torch.empty(0, dtype=torch.long)
    return Group(
        1, len(positions), len(nodes), _blocks(nodes, device), None, none, none,
        None if hidden is None else hidden.to(device), ahead.to(device),
    )  # fmt: skip


def _blocks(nodes: Sequence[Node | None], device: torch.device) -> Tensor | slice:
    blocks = [0 if node is None else node.block for node in nodes]
    if blocks == [*range(blocks[0], blocks[0] + len(blocks))]:
        return slice(blocks[0], blocks[0] + len(blocks))
    return torch.tensor(blocks, device=device)


def _masks(nodes: Sequence[Node | None], seen: Tensor, positions: Tensor, size: int) -> tuple[Tensor | None, Tensor]:
    """What is hidden, and how far ahead each query is, of entries of W nodes each.

    Args:
        nodes: E * W.
        seen: (E, U, W) how many tokens of each node each query sees.
        positions: (E, U) of the queries.
    """
    many, users, width = seen.shape
    bounds = [(0, 0) if node is None else (node.start, node.at - node.start) for node in nodes]
    starts, begins = torch.tensor(bounds).view(many, 1, width, 1, 2).unbind(-1)
    slots = torch.arange(size).view(1, 1, 1, size)
    open_ = (slots >= starts) & (slots < starts + seen.unsqueeze(-1))
    ahead = positions.view(many, users, 1, 1) - (begins + slots)
    if bool(open_.all()):
        return None, ahead.view(many, users, -1)
    hidden = torch.zeros(open_.shape).masked_fill_(~open_, -torch.inf)
    return hidden.view(many, users, -1), ahead.view(many, users, -1)


def above(node: Node) -> Node:
    assert node.parent is not None
    return node.parent


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


def plan_of(work: Work, size: int, device: torch.device) -> Plan:
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
    groups = groups_of(rows, size, device) if rows else ()
    return Plan(table[0], table[1], wanted, writes, places[0], places[1], len(rows), groups, tuple(spans))
