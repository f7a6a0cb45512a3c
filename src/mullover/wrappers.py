"""What `run` puts around every Model and Scorer, in one order:

    Seeded(Budgeted(Recorder(Cached(Retrying(backend)))))

Each is a Model around a Model, so strategies never seed, stop, count, cache or retry by themselves.
"""

import asyncio
import json
import math
import random
import time
from collections import Counter
from collections.abc import Callable, MutableMapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2b

from mullover.errors import ModelError, OptionError, TransientError
from mullover.meter import Meter, Promise
from mullover.seeds import canonical
from mullover.types import (
    NOTHING,
    AnswerSpec,
    Candidate,
    Event,
    Events,
    Model,
    Prompt,
    Role,
    Sample,
    Sampling,
    Score,
    Scorer,
    Usage,
)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a model, or of a scorer (then there is no sampling); also one that was cut short."""

    role: Role
    prompt: Prompt
    n: int
    sampling: Sampling | None
    samples: tuple[Sample, ...]  # those that ended, failed ones too, in index order
    usage: Usage
    model: str = ""
    error: str = ""  # why the whole call failed, if it did
    scores: tuple[Score, ...] = ()  # of a scorer
    seeds: tuple[int, ...] = ()  # one for each of `samples`: what it was drawn with


class Wrapper(Model):
    def __init__(self, model: Model) -> None:
        self.model, self.info = model, model.info

    def stream(self, prompt: Prompt, n: int, sampling: Sampling) -> Events:
        return self.model.stream(prompt, n, sampling)

    async def score(self, prompt: Prompt, texts: Sequence[str]) -> list[tuple[float, ...]]:
        return await self.model.score(prompt, texts)


class Retrying(Wrapper):
    """Asks again, after a random wait, when a call failed before it said anything and may succeed.

    Waits are full jitter: uniform in [0, base * 2^attempt] seconds, or what the model asked for.
    """

    attempts = 4
    base = 0.5
    longest = 30.0

    async def stream(self, prompt: Prompt, n: int, sampling: Sampling) -> Events:
        for attempt in range(self.attempts):
            begun = False
            try:
                async with aclosing(self.model.stream(prompt, n, sampling)) as events:
                    async for event in events:
                        begun = True
                        yield event
                return
            except TransientError as error:
                if begun or attempt + 1 == self.attempts:
                    raise
                # The wait's length is no part of any result, so it needs no seed.
                wait = random.uniform(0, self.base * 2**attempt) if error.after is None else error.after
            yield Event(usage=Usage(retries=1))
            await asyncio.sleep(min(wait, self.longest))


class Cached(Wrapper):
    """Samples that were drawn before are not drawn again; a hit carries what it first cost."""

    def __init__(self, model: Model, memory: MutableMapping[str, Sample]) -> None:
        super().__init__(model)
        self.memory = memory

    async def stream(self, prompt: Prompt, n: int, sampling: Sampling) -> Events:
        if len(sampling.seeds) != n:
            raise OptionError("a cache needs one seed per sample; use it through `run`")
        keys = sample_keys(sampling.seeds, self.info.name, prompt, sampling)
        missing = [i for i in range(n) if keys[i] not in self.memory]
        for i in range(n):
            if i not in missing:
                sample = self.memory[keys[i]]
                yield Event(i, sample.text, sample.ids, sample.usage, sample)
        start = 0
        while start < len(missing):  # runs of neighbours, so that each sample keeps its place in the request
            end = start + 1
            while end < len(missing) and missing[end] == missing[end - 1] + 1:
                end += 1
            at = missing[start]
            part = replace(sampling, seeds=sampling.seeds[at : at + end - start], first=sampling.first + at)
            async with aclosing(self.model.stream(prompt, end - start, part)) as events:
                async for event in events:
                    moved = replace(event, index=event.index + at)
                    if event.sample is not None and event.sample.finish not in ("error", "cancelled"):
                        self.memory[keys[moved.index]] = event.sample
                    yield moved
            start = end


class Recorder(Wrapper):
    """Writes down every call, with what it cost up to the moment it ended or was cut.

    `live` holds a way to write down each call that has not ended: a run that is cut must not forget them.
    """

    def __init__(self, model: Model, calls: list[Call], live: dict[int, Callable[[], Call]]) -> None:
        super().__init__(model)
        self.calls, self.live = calls, live

    async def stream(self, prompt: Prompt, n: int, sampling: Sampling) -> Events:
        started, spent, ended, error = time.perf_counter(), list[Usage](), dict[int, Sample](), ""

        def call() -> Call:
            which = sorted(ended)
            samples = tuple([ended[i] for i in which])
            seeds = tuple([sampling.seeds[i] for i in which]) if sampling.seeds else ()
            total = self._usage(summed(spent), time.perf_counter() - started)
            if self.info.metered == "call" and len(ended) < n and not error:  # cut before their usage was told
                total = replace(total, partial=total.partial + n - len(ended))
            return Call(sampling.role, prompt, n, sampling, samples, total, self.info.name, error, (), seeds)

        events = self.model.stream(prompt, n, sampling)
        self.live[id(events)] = call
        try:
            async for event in events:
                if event.usage is not NOTHING:
                    spent.append(event.usage)
                    if len(spent) == MANY:
                        spent[:] = [summed(spent)]
                if event.sample is not None:
                    ended[event.index] = event.sample
                yield event
        except Exception as failure:
            error = f"{type(failure).__name__}: {failure}"
            raise
        finally:
            await events.aclose()
            del self.live[id(events)]  # together with the next line: a call is always in one of both
            self.calls.append(call())

    async def score(self, prompt: Prompt, texts: Sequence[str]) -> list[tuple[float, ...]]:
        started, tokens, error = time.perf_counter(), 0, ""
        try:
            logprobs = await self.model.score(prompt, texts)
            tokens = sum(map(len, logprobs))
        except Exception as failure:
            error = f"{type(failure).__name__}: {failure}"
            raise
        finally:
            usage = self._usage(Usage(prompt_tokens=tokens), time.perf_counter() - started)
            self.calls.append(Call("score", prompt, len(texts), None, (), usage, self.info.name, error))
        return logprobs

    def _usage(self, spent: Usage, seconds: float) -> Usage:
        money = self.info.price.of(spent) if self.info.price else 0.0
        return replace(spent, calls=1, seconds=seconds, money=money)


MANY = 1024  # events whose usage is kept before it is added up


def summed(spent: Sequence[Usage]) -> Usage:
    """The sum of many, at less than a sum two by two would take."""
    if len(spent) == 1:
        return spent[0]
    return Usage(
        0,
        sum([usage.prompt_tokens for usage in spent]),
        sum([usage.cached_tokens for usage in spent]),
        sum([usage.completion_tokens for usage in spent]),
        sum([usage.reasoning_tokens for usage in spent]),
        sum([usage.retries for usage in spent]),
        sum([usage.partial for usage in spent]),
        flops=sum([usage.flops for usage in spent]),
        sandbox_runs=sum([usage.sandbox_runs for usage in spent]),
    )


class Budgeted(Wrapper):
    """Cuts a call when the budget is gone: at the event that is one too many where usage is live,
    and by reserving the most a call may cost, and giving back the rest, where usage comes at its end."""

    def __init__(self, model: Model, meter: Meter) -> None:
        super().__init__(model)
        self.meter = meter

    def stream(self, prompt: Prompt, n: int, sampling: Sampling) -> Events:
        if not self.meter.limited:
            return self.model.stream(prompt, n, sampling)
        if self.info.metered == "live":
            return self._metered(prompt, n, sampling)
        return self._reserved(prompt, n, sampling)

    async def _metered(self, prompt: Prompt, n: int, sampling: Sampling) -> Events:
        self.meter.open()
        async with aclosing(self.model.stream(prompt, n, sampling)) as events:
            async for event in events:
                self._add(event.usage)
                yield event

    async def _reserved(self, prompt: Prompt, n: int, sampling: Sampling) -> Events:
        meter, info = self.meter, self.info
        asks = n if info.prompt_each else 1
        guess = asks * (1 + (len(prompt.text) + len(prompt.said)) // 3)  # characters a token; English has about 4
        promise, each = await meter.reserve(guess, n, sampling.max_tokens, info.price)
        share_tokens, share_money = promise.tokens // n, promise.money / n
        left = n
        events = self.model.stream(prompt, n, replace(sampling, max_tokens=each))
        try:
            async for event in events:
                self._add(event.usage, promise)
                if event.sample is not None:
                    left -= 1
                    promise.tokens = min(promise.tokens, left * (share_tokens + 1))
                    promise.money = min(promise.money, left * share_money)
                promise.idle = True
                meter.tell()
                yield event
                promise.idle = False
        finally:
            await events.aclose()
            meter.end(promise)

    async def score(self, prompt: Prompt, texts: Sequence[str]) -> list[tuple[float, ...]]:
        self.meter.open()
        logprobs = await self.model.score(prompt, texts)
        self._add(Usage(prompt_tokens=sum(map(len, logprobs))))
        return logprobs

    def _add(self, usage: Usage, promise: Promise | None = None) -> None:
        if usage is not NOTHING:
            self.meter.add(usage, self.info.price.of(usage) if self.info.price else 0.0, promise)


class Seeded(Wrapper):
    """Gives each sample its own seed, equal on every rerun.

    The k-th sample ever asked of one request gets `seeds(run seed, request, k, 1)`, however the asking is
    split into calls: n=8 is a prefix of n=16, and one by one equals batched. `seen` counts what was asked;
    the models of one run share it, so that two of them never draw with one seed.
    """

    def __init__(self, model: Model, seed: int, seen: Counter[str] | None = None) -> None:
        super().__init__(model)
        self.seed, self.seen = seed, Counter[str]() if seen is None else seen

    def stream(self, prompt: Prompt, n: int, sampling: Sampling) -> Events:
        if n < 1:
            raise OptionError(f"n is {n}; ask for at least 1 sample")
        asked = request(prompt, sampling)
        first = self.seen[asked]
        self.seen[asked] = first + n
        return self.model.stream(prompt, n, sampling.seeded(seeds(self.seed, asked, first, n), first))


def sample_keys(seeds: Sequence[int], model: str, prompt: Prompt, sampling: Sampling) -> list[str]:
    """Under which a cache holds samples: all that each depends on."""
    asked = f"{model}:{request(prompt, sampling)}"
    return [f"{seed}:{asked}" for seed in seeds]


def request(prompt: Prompt, sampling: Sampling) -> str:
    """`canonical((prompt, sampling))`, faster for the usual prompt: turns of one text each."""
    turns = []
    for message in prompt.messages:
        part = message.parts[0] if len(message.parts) == 1 else {}
        if part.keys() != TEXT or not isinstance(part["text"], str) or part["type"] != "text":
            return canonical((prompt, sampling))
        turns.append(f'{{"parts":[{{"text":{quoted(part["text"])},"type":"text"}}],"role":"{message.role}"}}')
    if prompt.segments:
        return canonical((prompt, sampling))
    expects = "" if prompt.expects == DEFAULT else f'"expects":{_canonical(prompt.expects)},'
    # True and 1 are equal, and one cache entry, but as `thinking` they are two wishes.
    how = _canonical(sampling) if sampling.thinking is None else canonical(sampling)
    return f'[{{{expects}"messages":[{",".join(turns)}]}},{how}]'


TEXT = {"type", "text"}
DEFAULT = AnswerSpec()
quoted = json.JSONEncoder(ensure_ascii=False).encode


@lru_cache(maxsize=1024)
def _canonical(value: AnswerSpec | Sampling) -> str:
    return canonical(value)


def seeds(seed: int, asked: str, first: int, n: int) -> tuple[int, ...]:
    """63-bit seeds of samples `first` to `first + n - 1` of one request; the request is hashed once."""
    place = blake2b(f"{seed}:{asked}".encode("utf-8", "surrogatepass"), digest_size=16)
    numbers = []
    for k in range(first, first + n):
        one = place.copy()
        one.update(b":%d" % k)
        numbers.append(int.from_bytes(one.digest()[:8], "big") >> 1)
    return tuple(numbers)


@dataclass(frozen=True)
class Judged:
    """The wrapper of a Scorer: what it costs is recorded and metered; its failure is None, not 0."""

    scorer: Scorer
    calls: list[Call]
    meter: Meter

    async def __call__(self, prompt: Prompt, candidates: Sequence[Candidate]) -> list[Score]:
        started, error = time.perf_counter(), ""
        try:
            scores = self.checked(await self.scorer(prompt, candidates), len(candidates))
        except ModelError as failure:
            error = str(failure)
            scores = [Score(None, why=error)] * len(candidates)
        own = sum([score.usage for score in scores if score.usage is not NOTHING], NOTHING)
        usage = own + Usage(seconds=time.perf_counter() - started)
        self.calls.append(Call("score", prompt, len(candidates), None, (), usage, "", error, tuple(scores)))
        self.meter.add(own, own.money)
        return scores

    def checked(self, scores: object, count: int) -> list[Score]:
        """One Score a candidate; what is no number is no judgement."""
        name = getattr(self.scorer, "__name__", type(self.scorer).__name__)
        if not isinstance(scores, list) or not all(isinstance(score, Score) for score in scores):
            raise OptionError(f"the scorer {name} must return a list of Score")
        if len(scores) != count:
            raise OptionError(
                f"the scorer {name} gave {len(scores)} scores for {count} candidates; it must give one each"
            )
        return [
            replace(score, value=None, why="not a number")
            if score.value is not None and math.isnan(score.value)
            else score
            for score in scores
        ]
