"""The Model behind one or several endpoints: n samples as requests, each retried, routed and counted."""

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise
from typing import Any

from mullover.backends.checks import seeds_of
from mullover.backends.http import asking, profile, scoring
from mullover.backends.http.draft import Draft
from mullover.backends.http.endpoint import Endpoint
from mullover.backends.http.failures import AttemptError
from mullover.backends.http.spec import Spec
from mullover.backends.http.transport import Timeouts
from mullover.backends.http.wire import Chunk
from mullover.backends.pool.router import Router
from mullover.backends.thinking import THINK, is_open
from mullover.errors import OptionError
from mullover.types import NOTHING, Event, Events, Model, Price, Prompt, Sampling, Usage

AT_ONCE = 1024  # requests of one call that may wait or run at the same time
WIDE = 16  # choices of one request, where the server gives many
HELD = 256  # events that wait for their reader
TURN = 8  # events between two turns of the event loop


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a request is made again, and how long apart: uniform in [0, base * 2^attempt] seconds.

    Source: Brooker 2015, "Exponential backoff and jitter" (full jitter).
    """

    attempts: int = 8
    base: float = 0.5
    longest: float = 30.0

    def most(self, tries: int) -> float:
        """Seconds to wait at most after so many failed tries."""
        return min(self.longest, self.base * 2.0 ** (tries - 1))


class Http(Model):
    """A model served by one endpoint, or by several that are alike.

    n samples are n requests, each with its own seed; where the server gives many choices and does not
    obey seeds, up to 16 samples share a request and its prompt. What it can do is what `mull doctor` found.
    """

    def __init__(
        self,
        specs: Sequence[Spec],
        *,
        price: Price | None = None,
        timeouts: Timeouts = Timeouts(),
        patience: Patience = Patience(),
        profiles: Sequence[profile.Profile] | None = None,
    ) -> None:
        """
        Args:
            profiles: one for each spec; by default what is on disk.

        Raises:
            OptionError: no endpoint, or a key's variable that is not set.
        """
        if not specs:
            raise OptionError("a pool needs at least one endpoint")
        self.specs, self.timeouts, self.patience = tuple(specs), timeouts, patience
        self.profiles = [profile.load(spec) for spec in specs] if profiles is None else list(profiles)
        for spec in specs:
            spec.key()
        self.common = profile.common(self.profiles)
        more = f" and {len(specs) - 1} more" if len(specs) > 1 else ""
        self.info = self.common.info(specs[0].label + more, price)
        self._of_loop: dict[asyncio.AbstractEventLoop, Router] = {}

    async def stream(self, prompt: Prompt, n: int, sampling: Sampling) -> Events:
        seeds = seeds_of(self.info, prompt, n, sampling)
        asking.check(self.info, self.common, sampling)
        call = Call(self.here(), self.patience, prompt, sampling, seeds)
        alike = self.common.seeds or sampling.temperature == 0  # vLLM refuses greedy choices beyond one
        width = WIDE if self.common.many and not alike else 1
        groups = iter([range(at, min(n, at + width)) for at in range(0, n, width)])
        workers = [asyncio.create_task(call.work(groups)) for _ in range(min(AT_ONCE, -(-n // width)))]
        left, said = n, 0
        try:
            while left:
                said += 1
                if said % TURN == 0:
                    await asyncio.sleep(0)
                event = await call.events.get()
                if isinstance(event, BaseException):
                    raise event
                left -= event.sample is not None
                yield event
        finally:  # finished, failed or closed: no request goes on without a reader
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def score(self, prompt: Prompt, texts: Sequence[str]) -> list[tuple[float, ...]]:
        if not self.common.scores:
            return await super().score(prompt, texts)
        router = self.here()
        return await scoring.scored(router, self.patience, prompt, texts)

    async def aclose(self) -> None:
        """Close the connections of this event loop now, and not only when they were idle for a while."""
        for endpoint in self.here().endpoints:
            await endpoint.transport.aclose()

    def here(self) -> Router:
        """The endpoints as this event loop sees them."""
        loop = asyncio.get_running_loop()
        if loop not in self._of_loop:
            for other in [other for other in list(self._of_loop) if other.is_closed()]:
                self._of_loop.pop(other, None)
            pairs, room = zip(self.specs, self.profiles, strict=True), files() // (2 * len(self.specs))
            self._of_loop[loop] = Router([Endpoint(spec, found, self.timeouts, room=room) for spec, found in pairs])
        return self._of_loop[loop]


def files() -> int:
    """How many files and connections this process may have open; 512 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 512
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if soft == resource.RLIM_INFINITY else soft


@dataclass(slots=True)
class Call:
    """One call of `stream`: its requests put their events where it reads them."""

    router: Router
    patience: Patience
    prompt: Prompt
    sampling: Sampling
    seeds: Sequence[int]
    key: str = ""
    opened: bool = False
    made: dict[Any, tuple[str, Any]] = field(default_factory=dict)
    events: asyncio.Queue[Event | BaseException] = field(default_factory=lambda: asyncio.Queue(HELD))

    def __post_init__(self) -> None:
        self.key = self.prompt.text
        self.opened = bool(self.prompt.segments) and is_open(self.prompt.said, THINK)

    async def work(self, groups: Iterator[range]) -> None:
        """Serve groups until there are none. What nobody expects goes to the reader of the events."""
        try:
            for group in groups:
                await self.serve(group)
        except Exception as error:  # noqa: BLE001  handed on, not swallowed
            await self.events.put(error)

    async def serve(self, group: range) -> None:
        """Ask for the samples of a group until each has ended, or cannot be had."""
        drafts = [Draft(i, self.opened) for i in group]
        avoid, tries = None, 0
        while True:
            try:
                endpoint = await self.router.enter(self.key, avoid)
            except AttemptError as failure:
                await self._give_up(drafts, str(failure))
                return
            asked = len(drafts)
            failed = await self._attempt(endpoint, drafts)
            drafts = [draft for draft in drafts if not draft.finish]
            if not drafts:
                return
            if failed is None and len(drafts) == asked:
                failed = AttemptError(f"{endpoint.spec.host} answered without the choice that it was asked for")
            tries += failed is not None
            if failed is not None and (tries >= self.patience.attempts or self.router.is_hopeless(failed)):
                unknown = failed.status in (400, 422) and not endpoint.profile.seen
                hint = f"; `mull doctor --model {endpoint.spec.url}#{endpoint.spec.name}` finds what it takes"
                often = f" (asked {tries} times)" if tries > 1 else ""
                await self._give_up(drafts, f"{failed}{often}{hint if unknown else ''}")
                return
            for i, draft in enumerate(drafts):  # those of a choice too few as well: asked for anew
                await self.events.put(draft.again(NOTHING if i else Usage(retries=1)))
            if failed is not None:
                avoid = endpoint
                await self._pause(tries, failed, endpoint)

    async def _attempt(self, endpoint: Endpoint, drafts: Sequence[Draft]) -> AttemptError | None:
        """One request: what its choices say goes into the drafts, and out as events."""
        usage: Usage | None = None
        failed, heard = None, False
        stops, entered = () if endpoint.profile.stops else self.sampling.stop, time.monotonic()

        async def take(chunks: list[Chunk]) -> bool:
            nonlocal usage, heard
            heard = True
            for chunk in chunks:
                usage = chunk.usage or usage
                for piece in chunk.pieces:
                    if piece.index < len(drafts):
                        drafts[piece.index].add(piece, stops)
            for draft in drafts:
                if (grown := draft.grown()) is not None:
                    await self.events.put(grown)
                if draft.is_beyond(self.sampling.max_tokens):
                    raise AttemptError(f"{endpoint.spec.host} said far more than it was asked for; it was cut off")
            # A server that does not know the stop strings would go on.
            return not any(d.cut for d in drafts) or not all(d.finish for d in drafts)

        try:
            seed = self.seeds[drafts[0].index]
            await endpoint.ask(self.prompt, self.sampling, len(drafts), seed, take, self.made)
        except AttemptError as error:
            failed = error
        finally:
            endpoint.gate.leave(entered)
        if failed is None:
            self.router.succeeded()
        words = self._words() if heard and usage is None else None
        for draft, cost in zip(drafts, shares(drafts, usage, words), strict=True):
            if draft.finish or cost != NOTHING:
                await self.events.put(draft.paid(cost))
        return failed

    def _words(self) -> int:
        """Of the prompt: each is a token at least."""
        return len(self.key.split()) + len(self.prompt.said.split())

    async def _give_up(self, drafts: Sequence[Draft], why: str) -> None:
        for draft in drafts:
            await self.events.put(draft.failed(why))

    async def _pause(self, tries: int, failed: AttemptError, endpoint: Endpoint) -> None:
        """No wait where another endpoint can be asked at once; but it may be the request that breaks them."""
        others = [e for e in self.router.endpoints if e is not endpoint and not e.gate.is_broken]
        if tries == 1 and failed.again == "down" and others:
            return
        # The wait's length is no part of any result, so it needs no seed.
        most = self.patience.most(tries) if failed.after is None else self.patience.base
        await asyncio.sleep(random.uniform(0, most))


def shares(drafts: Sequence[Draft], usage: Usage | None, words: int | None) -> list[Usage]:
    """What each sample of one request cost beyond what events told; together exactly what the server said.

    The first pays for the prompt. Completion and reasoning tokens are shared by what was seen of each.

    Args:
        usage: None if the server never told it: then what was seen is counted, a lower bound.
        words: of the prompt, which has as many tokens at least; None: nothing was ever heard.
    """
    if usage is not None and len(drafts) == 1:  # the usual case, the short way
        told = drafts[0].counted
        return [replace(usage, completion_tokens=usage.completion_tokens - told) if told else usage]
    if usage is None:
        if words is None:
            return [NOTHING] * len(drafts)
        return [
            Usage(
                prompt_tokens=0 if i else words,
                completion_tokens=draft.seen - draft.counted,
                partial=0 if i else 1,
            )
            for i, draft in enumerate(drafts)
        ]
    seen = [draft.seen for draft in drafts]
    if not any(seen):
        seen = [1] * len(drafts)
    completion = parts(usage.completion_tokens, seen)
    reasoning = parts(usage.reasoning_tokens, completion)
    return [
        Usage(
            prompt_tokens=0 if i else usage.prompt_tokens,
            cached_tokens=0 if i else usage.cached_tokens,
            completion_tokens=completion[i] - drafts[i].counted,
            reasoning_tokens=reasoning[i],
        )
        for i in range(len(drafts))
    ]


def parts(total: int, weights: Sequence[int]) -> list[int]:
    """`total` in whole parts, proportional to the weights; none exceeds its weight if `total` does not their sum."""
    whole, ends = max(1, sum(weights)), [0]
    for below in accumulate(weights):
        ends.append(total * below // whole)
    return [after - before for before, after in pairwise(ends)]
