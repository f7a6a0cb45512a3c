"""The engine's step: what waits is planned, computed in one pass, drawn and delivered."""

from collections.abc import Mapping
from concurrent.futures import Future

import torch
from torch import Tensor

from mullover.engine.blocks import Blocks
from mullover.engine.plan import plan_of
from mullover.engine.request import Request
from mullover.engine.runner import Output, Runner
from mullover.engine.sampler import draw
from mullover.engine.scheduler import Scheduler
from mullover.engine.sequence import Live
from mullover.engine.text import Vocabulary
from mullover.engine.tree import Tree
from mullover.engine.work import Work
from mullover.errors import OptionError
from mullover.types import Event, Sample

BLOCK = 32  # tokens; a smaller one wastes less memory, a larger one is read faster


class Engine:
    """Many sequences over one runner. One thread at a time may use it: `Service` has one of its own.

    Args:
        memory: bytes for cached keys and values; sequences wait, or are put off and computed again, for want of it.
        most: sequences that grow at the same time.
        chunk: prompt tokens that are read in one step, so that long prompts do not hold up the others.

    Raises:
        OptionError: the memory holds not even two blocks.
    """

    def __init__(
        self, runner: Runner, vocabulary: Vocabulary, *, memory: int, most: int = 256, chunk: int = 512
    ) -> None:
        count = min(memory // (BLOCK * runner.slot_bytes), most * (-(-runner.context // BLOCK) + 1))
        if count < 2:
            least = 2 * BLOCK * runner.slot_bytes
            raise OptionError(f"a KV memory of {memory} bytes holds no sequence; give at least {least}")
        self.runner, self.vocabulary = runner, vocabulary
        self.blocks = Blocks(count, BLOCK)
        self.tree = Tree(self.blocks)
        self.scheduler = Scheduler(self.tree, vocabulary, most, chunk)
        self.version = 0  # of the weights
        self._epoch = 0  # of what is cached
        self.computed = 0  # tokens that went through the model, ever
        self.steps = 0
        self._swaps: list[tuple[Mapping[str, Tensor], Future[int]]] = []
        self._reader = runner.allocate(count, BLOCK)

    @property
    def busy(self) -> bool:
        return self.scheduler.busy or bool(self._swaps)

    def add(self, request: Request) -> None:
        self.scheduler.add(request)

    def cancel(self, request: Request) -> None:
        self.scheduler.drop(request)

    def step(self) -> bool:
        """Advance what can be. False: nothing could be, since nobody waits or all deliveries are unread."""
        if self._swaps and not self.scheduler.live and not self.scheduler.put_off:
            self._swap()
        work = self.scheduler.work(self._epoch)
        for one, error in work.failed:
            one.request.live.discard(one)
            self._deliver({one.request: [one.failed(error)]})
        if not work.due:
            return bool(work.failed) or work.delayed
        events = dict[Request, list[Event]]()
        try:
            plan = plan_of(work, self._reader, self.tree.version, self.runner.device)
            output = self.runner.forward(plan)
            self.computed += len(plan.tokens)
            self.steps += 1
            self._scored(work, output, events)
            if work.grown:
                self._grown(work, output, events)
        except Exception as error:  # noqa: BLE001  it is told to everyone who waits for this pass
            self._failed(work, f"the engine failed: {type(error).__name__}: {str(error)[:300]}", events)
        self._deliver(events)
        return True

    def swap(self, weights: Mapping[str, Tensor]) -> int:
        """Take other weights; the new version. What was cached is not found again.

        Raises:
            OptionError: they do not fit, or sequences are alive: those would go on with half of each.
        """
        if self.scheduler.live or self.scheduler.put_off:
            raise OptionError("sequences are alive; swap when they have ended")
        self.runner.swap(weights)
        self.version += 1
        self._forget()
        return self.version

    def swap_soon(self, weights: Mapping[str, Tensor], done: Future[int]) -> None:
        """`swap` once every live sequence has ended; what has not begun by then comes after it."""
        self.scheduler.closed = True
        self._swaps.append((weights, done))

    def _swap(self) -> None:
        for weights, done in self._swaps:
            try:
                done.set_result(self.swap(weights))
            except Exception as error:  # noqa: BLE001  handed to who waits for it
                done.set_exception(error)
        self._swaps.clear()
        self.scheduler.closed = False

    def abandon(self, error: str) -> None:
        """The engine itself is broken: everyone who waits is told, and it begins anew with nothing cached."""
        live, events = [*self.scheduler.live, *self.scheduler.put_off], dict[Request, list[Event]]()
        for one in live:
            events.setdefault(one.request, []).append(one.failed(error))
        for request in self.scheduler.requests:
            begun = [Live(request, index, self.vocabulary) for index in request.waiting]
            events.setdefault(request, []).extend(one.failed(error) for one in begun)
        self.blocks = Blocks(self.blocks.count, self.blocks.size)
        self.tree = Tree(self.blocks)
        self.scheduler = Scheduler(self.tree, self.vocabulary, self.scheduler.most, self.scheduler.chunk)
        self._reader.forget()
        self._deliver(events)

    def clear(self) -> None:
        """Free every block that no live sequence needs."""
        self.tree.evict(self.blocks.count)

    def _forget(self) -> None:
        """What is cached is wrong from now on: it is not found again, and evicted in time."""
        self._epoch += 1

    def _scored(self, work: Work, output: Output, events: dict[Request, list[Event]]) -> None:
        for one, where in work.read:
            request = one.request
            start = len(one.logprobs)
            text = request.texts[one.index]
            ids = text[start : start + len(where)]
            logits = output.logits[where[: len(ids)]]
            chosen = torch.tensor(ids, device=logits.device, dtype=torch.long).unsqueeze(1)
            if not bool(torch.isfinite(logits).any(-1).all()) or bool(torch.isnan(logits).any()):
                self._broken(one)
                events.setdefault(request, []).append(one.failed("the model's logits are no finite numbers"))
                continue
            one.logprobs += torch.log_softmax(logits, -1).gather(1, chosen)[:, 0].clamp(max=0).tolist()
            if len(one.logprobs) < len(text) or (request.hidden and one.todo):
                continue
            if request.hidden:
                request.states[one.index] = output.hidden[where[-1]].float().cpu()
            self.scheduler.end(one)
            told = Sample("", "length", text, tuple(one.logprobs))
            events.setdefault(request, []).append(Event(one.index, sample=told))

    def _grown(self, work: Work, output: Output, events: dict[Request, list[Event]]) -> None:
        which = [logits for _, logits in work.grown]
        logits = output.logits if which == [*range(len(output.logits))] else output.logits[which]
        live = [one for one, _ in work.grown]
        for one, drawn in zip(live, draw(logits, live, self.vocabulary), strict=True):
            event = one.failed(drawn.error) if drawn.error else one.grow(drawn, self.vocabulary, self.runner.cost)
            events.setdefault(one.request, []).append(event)
            if drawn.broken:
                self._broken(one)
            if event.sample is not None:
                self.scheduler.end(one)

    def _broken(self, one: Live) -> None:
        """The model computed no numbers: nobody may find what it left in the cache, nor be multiplied with it."""
        self.runner.wipe(self.tree.alone(one))
        self._forget()
        self.scheduler.end(one)

    def _failed(self, work: Work, error: str, events: dict[Request, list[Event]]) -> None:
        """Every sequence of a pass fails; the others are computed again, since they may share what it left behind."""
        for one in work.ones:
            if one in self.scheduler.live:
                self.scheduler.end(one)
                events.setdefault(one.request, []).append(one.failed(error))
        for one in [*self.scheduler.live]:
            self.scheduler.delay(one)
        self._forget()

    def _deliver(self, events: Mapping[Request, list[Event]]) -> None:
        for request, some in events.items():
            request.told += 1
            request.deliver(request, some)
