"""Which blocks of the KV cache are in use: counting only, no tensors."""

import heapq


class Blocks:
    """`count` blocks of `size` token slots. A block is held by tree nodes, and pinned while a live sequence needs one.

    The lowest free block is given first, so that blocks taken together lie together and memory that was
    never needed is never touched.
    """

    def __init__(self, count: int, size: int) -> None:
        self.count, self.size = count, size
        self.pinned = 0  # blocks that a live sequence needs; the other used ones may be evicted
        self._fresh = 0  # blocks from here on were never taken
        self._freed: list[int] = []
        self._holders = dict[int, int]()
        self._pins = dict[int, int]()

    @property
    def used(self) -> int:
        return len(self._holders)

    @property
    def free(self) -> int:
        return self.count - len(self._holders)

    @property
    def available(self) -> int:
        """Free, or free once what no live sequence needs is evicted."""
        return self.count - self.pinned

    def take(self) -> int | None:
        """A free block, held once; None: there is none."""
        if self._freed:
            block = heapq.heappop(self._freed)
        elif self._fresh < self.count:
            block = self._fresh
            self._fresh += 1
        else:
            return None
        self._holders[block] = 1
        return block

    def hold(self, block: int) -> None:
        self._holders[block] += 1

    def drop(self, block: int) -> None:
        self._holders[block] -= 1
        if not self._holders[block]:
            del self._holders[block]
            heapq.heappush(self._freed, block)

    def pin(self, block: int) -> None:
        pins = self._pins.get(block, 0)
        self._pins[block] = pins + 1
        self.pinned += not pins

    def unpin(self, block: int) -> None:
        self._pins[block] -= 1
        if not self._pins[block]:
            del self._pins[block]
            self.pinned -= 1
