"""What `run` puts around every Model and Scorer, in one order:

    Seeded(Budgeted(Recorder(Cached(Retrying(backend)))))

Each is a Model around a Model, so strategies never seed, stop, count, cache or retry by themselves.
"""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import MutableMapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2b

from mullover.errors import BudgetSpent, MulloverError, OptionError, TransientError
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
class Budget:
    """Hard limits for one run.

    tokens: generated, computed prompt and verifier tokens together.
    seconds: of wall clock.
    money: in the currency of the model's price; a model without one is refused.
    """

    tokens: int | None = None
    seconds: float | None = None
    money: float | None = None

    def __post_init__(self) -> None:
        for name in ("tokens", "seconds", "money"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise OptionError(f"the budget in {name} is {value}; it must be 0 or more")


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


class Meter:
    """Counts what is spent while it is being spent, and holds what is promised to calls in flight."""

    def __init__(self, budget: Budget) -> None:
        self.tokens, self.money = budget.tokens, budget.money
        self.limited = self.tokens is not None or self.money is not None
        self.spent = 0
        self.paid = 0.0
        self.reserved = 0
        self._changed = asyncio.Event()

    def open(self) -> None:
        """Refuse to begin what cannot be paid for."""
        if self.tokens is not None and self.spent >= self.tokens:
            raise BudgetSpent(f"{self.spent} of {self.tokens} tokens are spent")
        if self.money is not None and self.paid >= self.money:
            raise BudgetSpent(f"{self.paid:.6g} of {self.money:.6g} in money is spent")

    def add(self, usage: Usage, money: float) -> None:
        self.spent += usage.tokens
        self.paid += money
        if self.tokens is not None and self.spent > self.tokens:
            raise BudgetSpent(f"{self.spent} of {self.tokens} tokens are spent")
        if self.money is not None and self.paid > self.money:
            raise BudgetSpent(f"{self.paid:.6g} of {self.money:.6g} in money is spent")

    async def reserve(self, prompt_tokens: int, n: int, max_tokens: int, price: float) -> tuple[int, int]:
        """Set tokens aside for n samples: (what was set aside, the most each may generate).

        Waits while other calls hold what is left, since most give some of it back.
        """
        while True:
            self.open()
            left = self._left(price)
            each = min(max_tokens, (left - self.reserved - prompt_tokens) // n)
            if each >= 1:
                self.reserved += prompt_tokens + n * each
                return prompt_tokens + n * each, each
            if not self.reserved:
                raise BudgetSpent(f"{left} tokens are left, too few for {n} samples of a prompt of {prompt_tokens}")
            self._changed.clear()
            await self._changed.wait()

    def refund(self, tokens: int) -> None:
        self.reserved -= tokens
        self._changed.set()

    def _left(self, price: float) -> int:
        by_tokens = self.tokens - self.spent if self.tokens is not None else 1 << 62
        if self.money is None or price <= 0:
            return by_tokens
        return min(by_tokens, int((self.money - self.paid) / price))


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
        asked = request(prompt, sampling)
        keys = [f"{seed}:{self.info.name}:{asked}" for seed in sampling.seeds]
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
    """Writes down every call, with what it cost up to the moment it ended or was cut."""

    def __init__(self, model: Model, calls: list[Call]) -> None:
        super().__init__(model)
        self.calls = calls

    async def stream(self, prompt: Prompt, n: int, sampling: Sampling) -> Events:
        started, spent, ended, error = time.perf_counter(), [0, 0, 0, 0, 0], dict[int, Sample](), ""
        events = self.model.stream(prompt, n, sampling)
        try:
            async for event in events:
                usage = event.usage
                if usage is not NOTHING:
                    spent[0] += usage.prompt_tokens
                    spent[1] += usage.cached_tokens
                    spent[2] += usage.completion_tokens
                    spent[3] += usage.reasoning_tokens
                    spent[4] += usage.retries
                if event.sample is not None:
                    ended[event.index] = event.sample
                yield event
        except Exception as failure:
            error = f"{type(failure).__name__}: {failure}"
            raise
        finally:
            await events.aclose()
            which = sorted(ended)
            samples = tuple([ended[i] for i in which])
            seeds = tuple([sampling.seeds[i] for i in which]) if sampling.seeds else ()
            total = self._usage(spent, time.perf_counter() - started)
            call = Call(sampling.role, prompt, n, sampling, samples, total, self.info.name, error, (), seeds)
            self.calls.append(call)

    async def score(self, prompt: Prompt, texts: Sequence[str]) -> list[tuple[float, ...]]:
        started = time.perf_counter()
        logprobs = await self.model.score(prompt, texts)
        usage = self._usage([sum(map(len, logprobs)), 0, 0, 0, 0], time.perf_counter() - started)
        self.calls.append(Call("score", prompt, len(texts), None, (), usage, self.info.name))
        return logprobs

    def _usage(self, spent: Sequence[int], seconds: float) -> Usage:
        prompt, cached, completion, reasoning, retries = spent
        usage = Usage(1, prompt, cached, completion, reasoning, retries, seconds)
        return usage if self.info.price is None else replace(usage, money=self.info.price.of(usage))


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
        price = max(self.info.price.prompt, self.info.price.completion) if self.info.price else 0.0
        guess = 1 + (len(prompt.text) + len(prompt.said)) // 3  # characters a token; English has about 4
        held, each = await self.meter.reserve(guess, n, sampling.max_tokens, price)
        try:
            async for event in self._metered(prompt, n, replace(sampling, max_tokens=each)):
                yield event
        finally:
            self.meter.refund(held)

    async def score(self, prompt: Prompt, texts: Sequence[str]) -> list[tuple[float, ...]]:
        self.meter.open()
        logprobs = await self.model.score(prompt, texts)
        self._add(Usage(prompt_tokens=sum(map(len, logprobs))))
        return logprobs

    def _add(self, usage: Usage) -> None:
        if usage is not NOTHING:
            self.meter.add(usage, self.info.price.of(usage) if self.info.price else 0.0)


class Seeded(Wrapper):
    """Gives each sample its own seed, equal on every rerun.

    The k-th sample ever asked of one request gets fold(run seed, request, k), however the asking is
    split into calls: n=8 is a prefix of n=16, and one by one equals batched.
    """

    def __init__(self, model: Model, seed: int) -> None:
        super().__init__(model)
        self.seed, self.seen = seed, Counter[str]()

    def stream(self, prompt: Prompt, n: int, sampling: Sampling) -> Events:
        if n < 1:
            raise OptionError(f"n is {n}; ask for at least 1 sample")
        asked = request(prompt, sampling)
        first = self.seen[asked]
        self.seen[asked] = first + n
        return self.model.stream(prompt, n, sampling.seeded(seeds(self.seed, asked, first, n), first))


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
    return f'[{{{expects}"messages":[{",".join(turns)}]}},{_canonical(sampling)}]'


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
            scores = await self.scorer(prompt, candidates)
        except MulloverError as failure:
            if isinstance(failure, OptionError):
                raise
            error = str(failure)
            scores = [Score(None, why=error)] * len(candidates)
        own = sum((score.usage for score in scores if score.usage is not NOTHING), NOTHING)
        usage = own + Usage(seconds=time.perf_counter() - started)
        self.calls.append(Call("score", prompt, len(candidates), None, (), usage, "", error, tuple(scores)))
        self.meter.add(own, own.money)
        return scores
