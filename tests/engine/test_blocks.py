"""Blocks are held, pinned and given back exactly."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mullover.engine.blocks import Blocks


def test_the_lowest_free_block_is_given_first() -> None:
    blocks = Blocks(4, 32)
    assert [blocks.take() for _ in range(5)] == [0, 1, 2, 3, None]
    for block in (2, 0, 3):
        blocks.drop(block)
    assert [blocks.take() for _ in range(4)] == [0, 2, 3, None]


def test_a_block_is_free_when_its_last_holder_drops_it() -> None:
    blocks = Blocks(1, 32)
    block = blocks.take()
    assert block == 0
    blocks.hold(block)
    blocks.drop(block)
    assert blocks.take() is None and (blocks.used, blocks.free) == (1, 0)
    blocks.drop(block)
    assert (blocks.used, blocks.free) == (0, 1)
    assert blocks.take() == 0


def test_a_block_that_is_pinned_twice_is_one_pinned_block() -> None:
    blocks = Blocks(3, 32)
    first, second = blocks.take(), blocks.take()
    assert first is not None and second is not None
    for block in (first, first, second):
        blocks.pin(block)
    assert (blocks.pinned, blocks.available) == (2, 1)
    blocks.unpin(first)
    assert blocks.pinned == 2
    blocks.unpin(first)
    blocks.unpin(second)
    assert (blocks.pinned, blocks.available) == (0, 3)


STEPS = st.lists(st.tuples(st.sampled_from(["take", "hold", "drop", "pin", "unpin"]), st.integers(0)))


@given(st.integers(1, 6), STEPS)
def test_counts_are_those_of_a_naive_model(count: int, steps: list[tuple[str, int]]) -> None:
    blocks = Blocks(count, 32)
    held, pinned = Counter[int](), Counter[int]()
    for do, which in steps:
        taken = sorted(held)
        if do == "take":
            free = [i for i in range(count) if i not in held]
            assert blocks.take() == (free[0] if free else None)
            if free:
                held[free[0]] = 1
        elif do == "unpin":
            if pinned:
                block = sorted(pinned)[which % len(pinned)]
                blocks.unpin(block)
                pinned -= Counter([block])
        elif taken:
            block = taken[which % len(taken)]
            if do == "drop":
                if held[block] == 1 and pinned[block]:
                    continue  # nobody drops what is pinned
                blocks.drop(block)
                held -= Counter([block])
            else:
                getattr(blocks, do)(block)
                (held if do == "hold" else pinned)[block] += 1
        pinned = +pinned
        assert (blocks.used, blocks.free) == (len(held), count - len(held))
        assert (blocks.pinned, blocks.available) == (len(pinned), count - len(pinned))
