"""A strategy that answers as if it were a model: how methods compose, and the server's virtual models."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from mullover.aio import each
from mullover.errors import ModelError, OptionError
from mullover.preparing import prepared
from mullover.strategies import load, needs
from mullover.types import NOTHING, Answer, Event, Events, Model, ModelInfo, Prompt, Sample, Sampling, Strategy
from mullover.wrappers import Seeded, Wrapper

FORWARDED = ("temperature", "top_p", "top_k", "min_p")  # the caller's sampling is a whole: all four go on


@dataclass(frozen=True)
class StrategyModel(Model):
    """Each sample is one whole run of a strategy, with a seed of its own; the sample's text is its answer's.

    Usage is counted where the strategy asks. A run in which the model fails is a sample that failed.
    """

    strategy: Strategy
    model: Model
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def info(self) -> ModelInfo:  # type: ignore[override]
        inner = self.model.info
        can = inner.can & {*FORWARDED, "thinking", "turns"}
        return replace(inner, name=f"{inner.name}/{self.strategy.__name__}", can=can, metered="live")

    async def stream(self, prompt: Prompt, n: int, sampling: Sampling) -> Events:
        self.info.check(prompt, sampling)
        if n < 1 or len(sampling.seeds) not in (0, n):
            raise OptionError(
                f"{n} samples with {len(sampling.seeds)} seeds; ask for at least 1, with one seed each or none"
            )
        words = self._words(sampling)

        async def numbers() -> AsyncGenerator[tuple[int, int], None]:
            for numbered in enumerate(sampling.seeds or range(n)):
                yield numbered

        async def one(numbered: tuple[int, int]) -> Event:
            index, seed = numbered
            try:
                answer = await self._answer(prompt, seed, sampling, words)
            except ModelError as error:
                return Event(index, sample=Sample("", "error", error=str(error)))
            return Event(index, answer.text, (), NOTHING, Sample(answer.text, "eos"))

        async with aclosing(each(numbers(), one)) as events:
            async for event in events:
                yield event

    async def _answer(self, prompt: Prompt, seed: int, sampling: Sampling, words: Mapping[str, Any]) -> Answer:
        inner: Model = Seeded(self.model, seed)
        if sampling.role != "solve":
            inner = _InRole(inner, sampling)
        last = Answer(None)
        async with aclosing(
            self.strategy(inner, prompt, **prepared(self.strategy, inner, words, self.options))
        ) as answers:
            async for answer in answers:
                last = answer
        return last

    def _words(self, sampling: Sampling) -> dict[str, Any]:
        fixed, can = needs(self.strategy).sampling, self.model.info.can
        words = {name: getattr(sampling, name) for name in FORWARDED}
        if sampling.thinking is not None:
            words["thinking"] = sampling.thinking
        return {name: said for name, said in words.items() if name in can and name not in fixed}


class _InRole(Wrapper):
    """What the strategy asks counts under the role it was asked in."""

    def __init__(self, model: Model, sampling: Sampling) -> None:
        super().__init__(model)
        self.role = sampling.role

    def stream(self, prompt: Prompt, n: int, sampling: Sampling) -> Events:
        asked = replace(sampling, role=self.role) if sampling.role == "solve" else sampling
        return self.model.stream(prompt, n, asked)


def as_model(strategy: Strategy | str, model: Model, **options: Any) -> Model:
    """A strategy as a Model, to vote, choose or search over its answers instead of a model's samples.

    Raises:
        OptionError: the strategy has no such option, or needs one that is missing.
    """
    chosen = load(strategy) if isinstance(strategy, str) else strategy
    prepared(chosen, model, {}, options)
    return StrategyModel(chosen, model, options)
