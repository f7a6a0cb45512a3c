"""The prefix tree: every run of tokens whose keys and values are cached, once, shared by whoever goes through it.

A node is a run of tokens within one block. A place is (node, offset): just after the node's first `offset`
tokens. Sequences that say the same stand at the same place, and a fork is two of them at one place, so
nothing is ever copied: where they part, the node is split in two over the same block.
"""

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Protocol

from mullover.engine.blocks import Blocks


class Node:
    __slots__ = ("at", "block", "children", "ids", "parent", "sitters", "start", "used", "users")

    def __init__(self, parent: "Node | None", block: int, start: int, at: int) -> None:
        self.parent, self.block, self.start = parent, block, start
        self.at = at  # tokens before it
        self.ids: list[int] = []
        self.children: dict[int, Node] = {}  # by their first token
        self.users = 0  # sequences that stand here or further on
        self.sitters: set[Sitter] = set()  # those that stand here
        self.used = 0  # when it was last left by its last user


class Sitter(Protocol):
    """Who stands in the tree: a live sequence."""

    tip: Node | None
    offset: int


class Tree:
    """Cached runs by key (weights version, adapter); of the unused ones, the least recently used go first."""

    def __init__(self, blocks: Blocks) -> None:
        self.blocks = blocks
        self.roots: dict[tuple[int, str], Node] = {}
        self.version = 0  # of who stands where, but for nodes that grow in place
        self._clock = count(1)

    def root(self, key: tuple[int, str]) -> Node:
        if key not in self.roots:
            self.roots[key] = Node(None, -1, 0, 0)
        return self.roots[key]

    def match(self, key: tuple[int, str], ids: Sequence[int]) -> tuple[Node, int, int]:
        """The furthest place along `ids`: (node, offset, how many of `ids` lead there)."""
        node, offset, done = self.root(key), 0, 0
        while done < len(ids):
            child = node.children.get(ids[done])
            if child is None:
                break
            run = child.ids
            same = len(run)
            if tuple(ids[done : done + same]) != tuple(run):
                ahead = zip(run, ids[done:], strict=False)
                same = next((i for i, (a, b) in enumerate(ahead) if a != b), min(same, len(ids) - done))
            node, offset, done = child, same, done + same
            if same < len(run):
                break
        return node, offset, done

    def enter(self, sitter: Sitter, node: Node, offset: int) -> None:
        """`sitter` comes to stand at a place; what leads there is kept for it."""
        sitter.tip, sitter.offset = node, offset
        self.version += 1
        node.sitters.add(sitter)
        step: Node | None = node
        while step is not None and step.block >= 0:
            self._use(step)
            step = step.parent

    def leave(self, sitter: Sitter) -> None:
        """`sitter` needs nothing any more; what it leaves stays until its block is wanted."""
        node = sitter.tip
        if node is None:
            return
        sitter.tip = None
        self.version += 1
        node.sitters.discard(sitter)
        now = next(self._clock)
        while node is not None and node.block >= 0:
            self._unuse(node, now)
            node = node.parent

    def walk(self, sitter: Sitter, ids: Sequence[int]) -> int:
        """`sitter` goes on along `ids` as far as they are here; how many."""
        done = 0
        while done < len(ids):
            node = sitter.tip
            assert node is not None
            if sitter.offset == len(node.ids):
                child = node.children.get(ids[done])
                if child is None:
                    break
                self._step(sitter, child, 0)
                continue
            if node.ids[sitter.offset] != ids[done]:
                break
            sitter.offset += 1
            done += 1
        return done

    def room(self, sitter: Sitter, token: int) -> bool:
        """Can `sitter` go on to `token` without a new block?"""
        node = sitter.tip
        assert node is not None
        if sitter.offset < len(node.ids):
            return node.ids[sitter.offset] == token
        return token in node.children or self._open(node)

    def advance(self, sitter: Sitter, token: int) -> bool:
        """`sitter` goes on to `token`. True if the token is new here: its keys and values must be computed.

        Raises:
            MemoryError: a block is needed and none is free, even after evicting.
        """
        node = sitter.tip
        assert node is not None
        if sitter.offset < len(node.ids):
            if node.ids[sitter.offset] == token:
                sitter.offset += 1
                return False
            node = self.split(node, sitter.offset)
        elif (child := node.children.get(token)) is not None:
            self._step(sitter, child, 1)
            return False
        elif self._open(node):
            node.ids.append(token)
            sitter.offset += 1
            return True
        block = self.blocks.take()
        if block is None:
            self.evict(max(1, self.blocks.count // 16))
            block = self.blocks.take()
        if block is None:
            raise MemoryError("no block is free")
        child = Node(node, block, 0, node.at + len(node.ids))
        child.ids.append(token)
        node.children[token] = child
        self._step(sitter, child, 1)
        return True

    def alone(self, sitter: Sitter) -> list[tuple[int, int]]:
        """(block, slot): of each block that leads to where it stands, the slot from which nobody else needs it."""
        found, node = dict[int, int](), sitter.tip
        while node is not None and node.block >= 0 and node.users == 1:
            found[node.block] = node.start  # the last one told is the first in its block
            node = node.parent
        return [*found.items()]

    def idle(self, node: Node | None) -> int:
        """Blocks that lead to a node and that no live sequence needs until now."""
        found = set[int]()
        while node is not None and node.block >= 0 and not node.users:
            found.add(node.block)
            node = node.parent
        return len(found)

    def split(self, node: Node, offset: int) -> Node:
        """Part a node in two over its block; the new first part, which whoever stands in it comes to stand at."""
        self.version += 1
        upper = Node(node.parent, node.block, node.start, node.at)
        assert node.parent is not None
        upper.ids, node.ids = node.ids[:offset], node.ids[offset:]
        upper.children = {node.ids[0]: node}
        node.parent.children[upper.ids[0]] = upper
        node.parent, node.start, node.at = upper, node.start + offset, node.at + offset
        upper.users, upper.used = node.users, node.used
        self.blocks.hold(upper.block)
        if upper.users:
            self.blocks.pin(upper.block)
        for sitter in [*node.sitters]:
            if sitter.offset > offset:
                sitter.offset -= offset
                continue
            node.sitters.discard(sitter)
            self._unuse(node, 0)
            upper.sitters.add(sitter)
            sitter.tip = upper
        return upper

    def evict(self, wanted: int) -> int:
        """Free at least `wanted` blocks of what nobody uses, if there are so many; how many were freed."""
        before = self.blocks.free
        idle = sorted((node for root in self.roots.values() for node in _below(root) if not node.users), key=_age)
        for node in idle:  # a child was never used after its parent, and comes first
            if self.blocks.free - before >= wanted:
                break
            assert node.parent is not None and not node.children
            del node.parent.children[node.ids[0]]
            self.blocks.drop(node.block)
        for key in [key for key, root in self.roots.items() if not root.children and not root.sitters]:
            del self.roots[key]
        return self.blocks.free - before

    def _open(self, node: Node) -> bool:
        """Can a token be added to the node itself?"""
        return node.block >= 0 and not node.children and node.start + len(node.ids) < self.blocks.size

    def _step(self, sitter: Sitter, child: Node, offset: int) -> None:
        assert sitter.tip is not None
        self.version += 1
        sitter.tip.sitters.discard(sitter)
        child.sitters.add(sitter)
        sitter.tip, sitter.offset = child, offset
        self._use(child)

    def _use(self, node: Node) -> None:
        node.users += 1
        if node.users == 1:
            self.blocks.pin(node.block)

    def _unuse(self, node: Node, now: int) -> None:
        node.users -= 1
        if not node.users:
            node.used = now or next(self._clock)
            self.blocks.unpin(node.block)


def _age(node: Node) -> tuple[int, int]:
    return node.used, -node.at


def _below(root: Node) -> Iterator[Node]:
    waiting = [*root.children.values()]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(node.children.values())
