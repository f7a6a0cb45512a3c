"""Who takes part in the next step, and with which tokens."""

from collections.abc import Sequence

from mullover.engine.request import Request
from mullover.engine.sequence import Live
from mullover.engine.text import Vocabulary
from mullover.engine.tree import Tree
from mullover.engine.work import Placed, Work, arrange


class Scheduler:
    """Continuous batching: sequences join and leave at any step.

    A free place goes to the request with the fewest live sequences, the oldest of these. When blocks run
    out, the sequence that joined last is put off: it gives up its blocks and is computed again later.
    """

    def __init__(self, tree: Tree, vocabulary: Vocabulary, most: int, chunk: int) -> None:
        self.tree, self.vocabulary, self.most, self.chunk = tree, vocabulary, most, chunk
        self.live = dict[Live, None]()  # in the order of joining
        self.requests = dict[Request, None]()  # of which samples wait
        self.put_off = list[Live]()
        self._arrivals = 0
        self.closed = False  # to what has not begun

    @property
    def busy(self) -> bool:
        return bool(self.live or self.requests or self.put_off)

    def add(self, request: Request) -> None:
        self._arrivals += 1
        request.order = self._arrivals
        request.waiting = [*reversed(range(request.size))]
        if request.waiting:
            self.requests[request] = None

    def drop(self, request: Request) -> None:
        """Its sequences end now; whatever only they needed may be evicted."""
        self.requests.pop(request, None)
        self.put_off = [one for one in self.put_off if one.request is not request]
        for one in [*request.live]:
            self.end(one)

    def end(self, one: Live) -> None:
        self.tree.leave(one)
        self.live.pop(one, None)
        one.request.live.discard(one)

    def delay(self, one: Live) -> None:
        """Put off: computed again when there is room."""
        self.tree.leave(one)
        self.live.pop(one, None)
        one.placed, one.again = 0, True
        self.put_off.append(one)

    def work(self, epoch: int) -> Work:
        """Whoever is due, with places in the tree for what will be computed; new ones as room allows.

        Args:
            epoch: only what was cached in this one is found.
        """
        work, placed = Work(), list[Placed]()
        budget = self.chunk  # tokens of runs; what grows by one token is always taken
        for old in [*self.live]:
            if old in self.live and not old.request.stalled:
                budget -= self._place(old, max(budget, 1), work, placed)
        reading = [one for one in self.live if one.todo > 0 and not one.request.stalled]
        held = set[Request]()
        while (
            budget > 0
            and len(self.live) < self.most
            and not self._has_one_alone()
            and (one := self._next(held)) is not None
        ):
            key = (epoch, one.request.adapter)
            if self._meets(one, key, reading):
                held.add(one.request)
                self._back(one)
                continue
            if not self._fits(one, key):
                self._back(one)
                if not self._take_from_idle():
                    break
                continue
            node, offset, one.placed = self.tree.match(key, one.tokens[: one.shareable])
            self.tree.enter(one, node, offset)
            self.live[one] = None
            budget -= self._place(one, budget, work, placed)
            if one not in self.live and self.live:
                break  # there was no room after all
            if one in self.live and one.todo > 0:
                reading.append(one)
        arrange(work, placed)
        return work

    def _next(self, held: set[Request]) -> Live | None:
        """Put-off sequences first, the oldest of them; then a new sample of who has the fewest."""
        if ready := [one for one in self.put_off if not one.request.stalled]:
            if ready[0].request in held:
                return None
            self.put_off.remove(ready[0])
            return ready[0]
        if self.closed:
            return None
        open_ = [request for request in self.requests if request not in held and not request.stalled]
        if not open_:
            return None
        request = min(open_, key=lambda request: (len(request.live), request.order))
        one = Live(request, request.waiting.pop(), self.vocabulary)
        request.live.add(one)
        if not request.waiting:
            del self.requests[request]
        return one

    def _back(self, one: Live) -> None:
        """It could not join after all."""
        if one.again:
            self.put_off.insert(0, one)
            return
        one.request.live.discard(one)
        one.request.waiting.append(one.index)
        self.requests.setdefault(one.request)

    def _meets(self, one: Live, key: tuple[int, str], reading: Sequence[Live]) -> bool:
        """Is another just reading what this one would read next? Then it waits, and finds it read."""
        if not reading:
            return False
        node, offset, done = self.tree.match(key, one.tokens[: one.shareable])
        return done < one.shareable and any(
            other.tip is node and other.offset == offset and other.tokens[other.placed] == one.tokens[done]
            for other in reading
        )

    def _fits(self, one: Live, key: tuple[int, str]) -> bool:
        """Room for what is not cached yet, and for one more block each of those that grow. Alone, anything may try."""
        if not self.live:
            return True
        node, _, done = self.tree.match(key, one.tokens)
        missing = -(-(one.length - done) // self.tree.blocks.size)
        return missing + self.tree.idle(node) + len(self.live) < self.tree.blocks.available

    def _place(self, one: Live, budget: int, work: Work, placed: list[Placed]) -> int:
        """Walk over what is cached, then take places for new tokens; how many will be read at once."""
        if one.todo == 1 and one.ids:  # the usual case, a token that was just drawn
            tokens = one.tokens[one.placed :]
            if self._room(one, tokens, work):
                placed.append(Placed(one, one.placed, tokens, [self.tree.advance(one, tokens[0])]))
                one.placed += 1
            return 0
        end = max(1, one.length - (1 if one.request.texts and not one.request.hidden else 0))
        one.placed += self.tree.walk(one, one.tokens[one.placed : min(end, one.shareable)])
        first = one.placed
        tokens = one.tokens[first : min(end, first + budget)]
        if not tokens:  # all of it is cached: only look again from its end
            placed.append(Placed(one, end - 1, [one.tokens[end - 1]], [False]))
            return 0
        if not self._room(one, tokens, work):
            return 0
        new = [self.tree.advance(one, token) for token in tokens]
        one.placed += len(tokens)
        placed.append(Placed(one, first, tokens, new))
        return len(tokens) if len(tokens) > 1 else 0

    def _has_one_alone(self) -> bool:
        """Is there one that fits only where it shares with nobody?"""
        return any(one.tries for one in self.live)

    def _take_from_idle(self) -> bool:
        """Put off who does not read what was delivered to it, the last of them; False: there is nobody."""
        for one in reversed(self.live):
            if one.request.stalled:
                self.delay(one)
                return True
        return False

    def _room(self, one: Live, tokens: Sequence[int], work: Work) -> bool:
        """Make room for new tokens by putting off who joined last. False: that was `one` itself, or it failed."""
        blocks = self.tree.blocks
        wanted = -(-len(tokens) // blocks.size)
        if len(tokens) == 1 and self.tree.room(one, tokens[0]):
            return True
        while blocks.available < (wanted if len(tokens) > 1 else 1):
            last = next(reversed(self.live))
            if self._take_from_idle():
                continue
            if last is not one:
                self.delay(last)
                continue
            alone = len(self.live) == 1
            if alone and one.tries:
                self.end(one)
                work.failed.append((one, self._too_small(one)))
                return False
            work.delayed = True
            one.tries += alone  # once more on an empty tree, where it leaves no block half full
            self.delay(one)
            if alone:
                self.put_off.insert(0, self.put_off.pop())
                self.tree.evict(blocks.count)
            return False
        return True

    def _too_small(self, one: Live) -> str:
        tokens = self.tree.blocks.count * self.tree.blocks.size
        return f"the KV memory holds {tokens} tokens, too few for a sequence of {one.length}; give more by --kv-memory"
