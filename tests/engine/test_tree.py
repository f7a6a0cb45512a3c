"""The prefix tree: what is matched, shared, split, evicted and counted."""

from collections import Counter
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from mullover.engine.blocks import Blocks
from mullover.engine.tree import Node, Tree

KEY = (0, "")
SIZE = 4


class Sitter:
    """It stands where its ids lead."""

    def __init__(self) -> None:
        self.tip: Node | None = None
        self.offset = 0
        self.ids: list[int] = []


def tree_of(count: int = 20) -> Tree:
    return Tree(Blocks(count, SIZE))


def enter(tree: Tree, ids: list[int]) -> tuple[Sitter, list[bool]]:
    """A sitter that walks what is there and advances over the rest; which of its tokens were new."""
    one = Sitter()
    node, offset, done = tree.match(KEY, ids)
    tree.enter(one, node, offset)
    new = [False] * done + [tree.advance(one, token) for token in ids[done:]]
    one.ids = [*ids]
    return one, new


def path(node: Node | None, offset: int) -> list[tuple[int, int, int]]:
    """(token, block, slot) of all that a place sees."""
    found: list[tuple[int, int, int]] = []
    seen = offset
    while node is not None and node.block >= 0:
        found += [(node.ids[i], node.block, node.start + i) for i in reversed(range(seen))]
        node = node.parent
        seen = len(node.ids) if node is not None else 0
    return found[::-1]


def nodes_of(tree: Tree) -> list[Node]:
    waiting = [child for root in tree.roots.values() for child in root.children.values()]
    found = []
    while waiting:
        node = waiting.pop()
        found.append(node)
        waiting += node.children.values()
    return found


def check(tree: Tree, sitters: list[Sitter]) -> None:
    """Everything that must hold, counted anew."""
    nodes = nodes_of(tree)
    users, standing = Counter[Node](), Counter[Node]()
    for one in sitters:
        assert one.tip is not None
        standing[one.tip] += 1
        assert 0 <= one.offset <= len(one.tip.ids)
        assert [token for token, _, _ in path(one.tip, one.offset)] == one.ids
        step: Node | None = one.tip
        while step is not None and step.block >= 0:
            users[step] += 1
            step = step.parent
    for node in nodes:
        assert node.ids and node.users == users[node]
        assert len(node.sitters) == standing[node] and all(one.tip is node for one in node.sitters)
        assert node.start >= 0 and node.start + len(node.ids) <= tree.blocks.size
        assert node.parent is not None and node.parent.children[node.ids[0]] is node
        assert node.at == node.parent.at + len(node.parent.ids)
    slots = [(node.block, node.start + i) for node in nodes for i in range(len(node.ids))]
    assert len(slots) == len(set(slots)), "a slot holds two tokens"
    for block in {node.block for node in nodes}:  # nodes of one block are one path
        line = sorted((node for node in nodes if node.block == block), key=lambda node: node.start)
        assert all(lower.parent is upper for upper, lower in pairwise(line))
    blocks = tree.blocks
    assert blocks.used == len({node.block for node in nodes})
    assert blocks.pinned == len({node.block for node in nodes if users[node]})
    assert blocks.used <= blocks.count


def test_what_was_said_is_found_as_far_as_it_is_equal() -> None:
    tree = tree_of()
    one, new = enter(tree, [1, 2, 3, 4, 5, 6])
    assert all(new)
    assert tree.match(KEY, [1, 2, 3, 4, 5, 6, 7])[2] == 6
    assert tree.match(KEY, [1, 2, 3, 9])[2] == 3
    assert tree.match(KEY, [1, 2])[2] == 2
    assert tree.match(KEY, [2])[2] == 0
    assert tree.match((1, ""), [1, 2])[2] == 0
    check(tree, [one])


def test_two_that_say_the_same_stand_at_the_same_place_and_their_tokens_are_new_once() -> None:
    tree = tree_of()
    one, _ = enter(tree, [1, 2, 3, 4, 5])
    other, new = enter(tree, [1, 2, 3, 4, 5])
    assert not any(new) and (one.tip, one.offset) == (other.tip, other.offset)
    assert tree.advance(one, 6) and not tree.advance(other, 6)
    one.ids.append(6)
    other.ids.append(6)
    assert tree.blocks.used == 2
    check(tree, [one, other])


def test_where_two_part_the_node_is_split_and_nothing_moves() -> None:
    tree = tree_of()
    one, _ = enter(tree, [1, 2, 3, 4])
    before = path(one.tip, one.offset)
    other, new = enter(tree, [1, 2, 9])
    assert new == [False, False, True]
    assert path(one.tip, one.offset) == before
    assert path(other.tip, other.offset)[:2] == before[:2]
    assert path(other.tip, other.offset)[2][1] != before[0][1]
    check(tree, [one, other])


def test_who_stands_before_the_split_comes_to_the_upper_part() -> None:
    tree = tree_of()
    early, _ = enter(tree, [1, 2])
    one, _ = enter(tree, [1, 2, 3, 4])
    other, _ = enter(tree, [1, 2, 9])
    check(tree, [early, one, other])
    assert tree.advance(early, 7)
    early.ids.append(7)
    check(tree, [early, one, other])


def test_walk_goes_as_far_as_the_tree_does() -> None:
    tree = tree_of()
    one, _ = enter(tree, [1, 2, 3, 4, 5, 6, 7])
    other, _ = enter(tree, [1, 2])
    assert tree.walk(other, [3, 4, 5, 9]) == 3
    other.ids += [3, 4, 5]
    check(tree, [one, other])
    assert tree.walk(other, [6, 7, 8]) == 2
    other.ids += [6, 7]
    assert tree.walk(other, [8]) == 0
    check(tree, [one, other])


def test_room_is_told_exactly() -> None:
    tree = tree_of(1)
    one, _ = enter(tree, [1, 2, 3])
    assert tree.room(one, 4)
    tree.advance(one, 4)
    one.ids.append(4)
    assert not tree.room(one, 5)
    other, _ = enter(tree, [1, 2])
    assert tree.room(other, 3) and not tree.room(other, 9)


def test_the_least_recently_used_goes_first_and_children_before_parents() -> None:
    tree = tree_of()
    for ids in ([1, 1, 1, 1, 1], [2, 2, 2, 2, 2], [3, 3, 3, 3]):
        tree.leave(enter(tree, ids)[0])
    tree.leave(enter(tree, [1, 1, 1, 1])[0])
    assert tree.evict(1) == 1
    assert tree.match(KEY, [1] * 5)[2] == 4, "the end of the oldest goes, its beginning was used later"
    assert tree.evict(1) == 1
    assert tree.match(KEY, [2] * 5)[2] == 4
    assert tree.evict(1) == 1
    assert tree.match(KEY, [2])[2] == 0
    assert tree.match(KEY, [1] * 4)[2] == 4 and tree.match(KEY, [3] * 4)[2] == 4
    assert tree.evict(99) == 2
    assert tree.blocks.used == 0 and not tree.roots


def test_what_somebody_needs_is_never_evicted() -> None:
    tree = tree_of(3)
    one, _ = enter(tree, [1, 2, 3, 4, 5])
    tree.leave(enter(tree, [1, 2, 9])[0])
    assert tree.blocks.free == 0 and tree.blocks.available == 1
    other, new = enter(tree, [1, 2, 3, 4, 5, 6])
    assert new[-1]
    last, _ = enter(tree, [1, 2, 8])
    assert tree.match(KEY, [1, 2, 9])[2] == 2
    check(tree, [one, other, last])


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), st.lists(st.integers(0, 2), max_size=11)),
        st.tuples(st.just("advance"), st.lists(st.integers(0, 50), min_size=2, max_size=2)),
        st.tuples(st.just("walk"), st.lists(st.integers(0, 2), min_size=1, max_size=6)),
        st.tuples(st.sampled_from(["leave", "evict"]), st.lists(st.integers(0, 9), min_size=1, max_size=1)),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(st.integers(4, 14), STEPS)
def test_whatever_is_done_everything_is_counted_right(count: int, steps: list[tuple[str, list[int]]]) -> None:
    tree, sitters = tree_of(count), list[Sitter]()
    where: dict[tuple[int, int], tuple[int, ...]] = {}  # (block, slot): what leads there, written when it was new
    for do, some in steps:
        if do == "enter":
            one = Sitter()
            node, offset, done = tree.match(KEY, some)
            found = [token for token, _, _ in path(node, offset)]
            assert found == some[:done]
            known = {tuple(t for t, _, _ in path(n, len(n.ids)))[:k] for n in nodes_of(tree) for k in range(1, 40)}
            assert done == max((k for k in range(1, len(some) + 1) if tuple(some[:k]) in known), default=0)
            tree.enter(one, node, offset)
            one.ids = found
            sitters.append(one)
            going = some[done:]
        elif not sitters:
            continue
        elif do == "advance":
            one, going = sitters[some[0] % len(sitters)], [some[1] % 3]
        elif do == "walk":
            one = sitters[some[0] % len(sitters)]
            done = tree.walk(one, some)
            one.ids += some[:done]
            going = []
        elif do == "leave":
            tree.leave(sitters.pop(some[0] % len(sitters)))
            going = []
        else:
            free = tree.blocks.free
            freed = tree.evict(some[0])
            assert tree.blocks.free - free == freed
            assert freed >= some[0] or tree.blocks.free == tree.blocks.available
            going = []
        for token in going:
            roomy = tree.room(one, token)
            if not roomy and not tree.blocks.available:
                break
            used = tree.blocks.used
            if tree.advance(one, token):
                assert one.tip is not None
                where[one.tip.block, one.tip.start + one.offset - 1] = (*one.ids, token)
            assert not roomy or tree.blocks.used == used
            one.ids.append(token)
        check(tree, sitters)
        for one in sitters:  # what was written there is what is read there
            for i, (_, block, slot) in enumerate(path(one.tip, one.offset)):
                assert where[block, slot] == tuple(one.ids[: i + 1])
    for one in sitters:
        tree.leave(one)
    assert tree.blocks.pinned == 0
    tree.evict(count)
    assert tree.blocks.used == 0 and not tree.roots
