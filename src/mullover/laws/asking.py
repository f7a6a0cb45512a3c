"""What the laws of the Model port ask with: seeds as `run` gives them, and what a subclass tells of its model."""

import asyncio
import math
from collections import Counter
from collections.abc import Mapping, Sequence, Sized
from contextlib import aclosing
from dataclasses import fields, replace
from typing import Any, ClassVar

import pytest

from mullover.seeds import canonical, fold
from mullover.types import NOTHING, Event, Model, Prompt, Sample, Sampling, Token


class Asking:
    """A stand-in for the seeding of `run`: sample k of a request gets its own seed, however it is asked for."""

    def __init__(self, model: Model) -> None:
        self.model, self.seen = model, Counter[str]()

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Sample]:
        request = canonical([prompt, sampling])
        first = self.seen[request]
        self.seen[request] += n
        seeds = tuple(fold(3, request, k) for k in range(first, first + n))
        return await self.model.sample(prompt, n, replace(sampling, seeds=seeds, first=first))


def bare(samples: Sequence[Sample]) -> list[Sample]:
    """Without what may differ between equal samples: who paid for the prompt."""
    return [replace(sample, usage=NOTHING) for sample in samples]


def alike(some: Sequence[Any], others: Sequence[Any], tolerance: float) -> None:
    """Fail unless both are equal, floats up to `tolerance`; what else a batch holds may change their last bits.

    Raises:
        AssertionError: with the place of the first difference.
    """
    if found := _difference(some, others, tolerance, ""):
        raise AssertionError(f"samples differ at {found}")


def _difference(a: Any, b: Any, tolerance: float, at: str) -> str | None:
    """Where and how two values differ, as "[3].logprobs[0]: -1.5 and -1.6"; None: they do not."""
    if isinstance(a, float) and isinstance(b, float):
        return None if math.isclose(a, b, rel_tol=0, abs_tol=tolerance) else f"{at}: {a!r} and {b!r}"
    parts: list[tuple[str, Any, Any]] | None = None
    if isinstance(a, (Sample, Token)) and type(a) is type(b):
        parts = [(f".{f.name}", getattr(a, f.name), getattr(b, f.name)) for f in fields(a) if f.compare]
    elif isinstance(a, Mapping) and isinstance(b, Mapping) and a.keys() == b.keys():
        parts = [(f"[{key!r}]", a[key], b[key]) for key in a]
    elif isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        if len(a) != len(b):
            return f"{at}: {len(a)} and {len(b)} of them"
        parts = [(f"[{i}]", *pair) for i, pair in enumerate(zip(a, b, strict=True))]
    if parts is None:
        return None if a == b else f"{at}: {a!r} and {b!r}"
    found = (_difference(one, other, tolerance, at + name) for name, one, other in parts)
    return next((difference for difference in found if difference), None)


class ModelCase:
    """Override `make`; the rest where the defaults do not fit."""

    prompt: ClassVar[Prompt] = Prompt.of("How many apples are there?", origin="problem 1")
    other: ClassVar[Prompt] = Prompt.of("How many pears are there?", origin="problem 2")
    sampling: ClassVar[Sampling] = Sampling()  # what every request asks beside its own
    exempt: ClassVar[Mapping[str, str]] = {}  # laws it does not keep, by the name of their test, each with the reason
    huge: ClassVar[int] = 100_000  # samples that surely take longer than 0.05 seconds
    tolerance: ClassVar[float] = 1e-9  # of log-probabilities and signals, nats

    def make(self) -> Model:
        """A fresh model, equal to every other that this gives."""
        raise NotImplementedError

    def failing(self) -> tuple[Model, Sampling] | None:
        """A model and a sampling of which some of 16 samples fail, and not all; None: the model has none."""
        return None

    def dead(self) -> Model | None:
        """A model of which every sample fails; None: there is none."""
        return None

    def left(self, model: Model) -> Sized:
        """What a closed stream has left behind in the model; it must become empty."""
        return ()

    @pytest.fixture(autouse=True)
    def _exempted(self, request: pytest.FixtureRequest) -> None:
        if why := self.exempt.get(request.node.originalname):
            pytest.skip(why)

    def needs(self, *what: str) -> None:
        info = self.make().info
        if missing := [name for name in what if name not in info.can]:
            pytest.skip(f"{info.name} does not claim {', '.join(missing)}")

    def needs_determinism(self) -> None:
        info = self.make().info
        if not info.deterministic:
            pytest.skip(f"{info.name} does not claim that equal seeds give equal samples")

    def wish(self, **fields: Any) -> Sampling:
        return replace(self.sampling, **fields)

    def asked(self, *ns: int, prompt: Prompt | None = None, **fields: Any) -> list[Sample]:
        """The samples of several calls of one fresh model, one call after the other, seeded as `run` does."""

        async def main() -> list[Sample]:
            model = Asking(self.make())
            return [s for n in ns for s in await model.sample(prompt or self.prompt, n, self.wish(**fields))]

        return asyncio.run(main())

    def drawn(self, n: int, prompt: Prompt | None = None, **fields: Any) -> list[Sample]:
        """n samples of a fresh model with the same seeds whatever is asked."""
        seeds = tuple(fold(5, k) for k in range(n))
        return asyncio.run(self.make().sample(prompt or self.prompt, n, self.wish(seeds=seeds, **fields)))

    def alike(self, some: Sequence[Sample], others: Sequence[Sample]) -> None:
        alike(some, others, self.tolerance)

    def events(self, n: int, **fields: Any) -> list[Event]:
        async def main() -> list[Event]:
            async with aclosing(self.make().stream(self.prompt, n, self.wish(**fields))) as events:
                return [event async for event in events]

        return asyncio.run(main())
