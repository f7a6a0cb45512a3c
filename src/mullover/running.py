"""Run one strategy on one prompt: reproducible seeds, a hard budget, a full record."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import aclosing, nullcontext
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

from mullover.composed import StrategyModel, as_model
from mullover.errors import BudgetSpent, ModelError, OptionError
from mullover.meter import Budget, Meter
from mullover.preparing import bound, prepared, scorers
from mullover.prompts import Style
from mullover.types import NOTHING, Answer, Model, Prompt, Role, Sample, Sampling, Strategy, Usage
from mullover.wrappers import Budgeted, Cached, Call, Judged, Recorder, Retrying, Seeded

__all__ = ["Budget", "Call", "Mark", "Run", "as_model", "prepared", "run", "run_prepared"]


@dataclass(frozen=True, slots=True)
class Mark:
    """The answer became this one when so much was spent."""

    value: str | None
    spent: Usage  # by all calls until then, those in flight too; `seconds` since the run began


@dataclass(frozen=True, slots=True)
class Run:
    answer: Answer
    calls: tuple[Call, ...]  # in the order they ended
    oracle: bool = False  # a scorer that knew the truth was used for choosing
    trail: tuple[Mark, ...] = ()  # one for each change of the answer, the first one too

    @property
    def usage(self) -> dict[Role, Usage]:
        """What each role has cost."""
        spent: dict[Role, Usage] = {}
        for call in self.calls:
            spent[call.role] = spent[call.role] + call.usage if call.role in spent else call.usage
        return spent

    @property
    def total(self) -> Usage:
        return sum(self.usage.values(), NOTHING)

    def __str__(self) -> str:
        return self.answer.text if self.answer.value is None else self.answer.value


PLAIN = frozenset({int, float, str, bool, type(None), Sampling, Style})  # what holds no model, and is met most


@dataclass(slots=True)
class _Around:
    """What `run` wraps models and scorers in, wherever they hide: in options, their fields, or another strategy."""

    seed: int
    meter: Meter
    cache: MutableMapping[str, Sample] | None
    calls: list[Call] = field(default_factory=list)
    live: dict[int, Callable[[], Call]] = field(default_factory=dict)  # calls that have not ended
    seen: Counter[str] = field(default_factory=Counter)
    oracle: bool = False
    began: float = field(default_factory=time.perf_counter)
    trail: list[Mark] = field(default_factory=list)

    def model(self, model: Model) -> Model:
        return Seeded(self.costed(model), self.seed, self.seen)

    def costed(self, model: Model) -> Model:
        """Without seeds of the run: what a composed strategy asks is seeded by that strategy's sample."""
        if type(model) is StrategyModel:
            options = bound(model.strategy, model.options)
            if "sampling" not in model.options:  # it is settled for each sample
                options.pop("sampling", None)
            return StrategyModel(model.strategy, self.costed(model.model), self.options(model.strategy, options))
        info, meter = model.info, self.meter
        if meter.money is not None and info.price is None:
            raise OptionError(f"a budget in money needs a price, and {info.name} has none; use a budget in tokens")
        if meter.limited and info.metered == "call" and "max_tokens" not in info.can:
            raise OptionError(f"{info.name} does not take max_tokens, so no budget in tokens or money can bind it")
        if info.metered == "call":
            model = Retrying(model)
        if self.cache is not None:
            model = Cached(model, self.cache)
        return Budgeted(Recorder(model, self.calls, self.live), meter)

    def value(self, value: Any) -> Any:
        if type(value) in PLAIN:
            return value
        if isinstance(value, Model):
            return self.model(value)
        if isinstance(value, (list, tuple)):
            inner = [self.value(item) for item in value]
            return value if all(new is old for new, old in zip(inner, value, strict=True)) else type(value)(inner)
        if isinstance(value, Mapping):
            return {name: self.value(item) for name, item in value.items()}
        self.oracle |= bool(getattr(value, "oracle", False))
        if is_dataclass(value) and not isinstance(value, type):
            held = {f.name: getattr(value, f.name) for f in fields(value) if f.init}
            changed = {name: new for name, old in held.items() if (new := self.value(old)) is not old}
            return replace(value, **changed) if changed else value
        return value

    def run(self, answer: Answer) -> Run:
        """With the calls that a strategy left open, as far as they went."""
        return Run(answer, self._all_calls(), self.oracle, tuple(self.trail))

    def heard(self, answer: Answer) -> None:
        """Note what a new answer had cost; one that says the same again is the same answer."""
        if not self.trail or self.trail[-1].value != answer.value:
            spent = sum([call.usage for call in self._all_calls()], NOTHING)
            self.trail.append(Mark(answer.value, replace(spent, seconds=time.perf_counter() - self.began)))

    def _all_calls(self) -> tuple[Call, ...]:
        return (*self.calls, *[call() for call in self.live.values()])

    def options(self, strategy: Strategy, options: Mapping[str, Any]) -> dict[str, Any]:
        judges = scorers(strategy)
        return {
            name: Judged(self.value(value), self.calls, self.meter)
            if name in judges and value is not None
            else self.value(value)
            for name, value in options.items()
        }


async def run(
    strategy: Strategy,
    model: Model,
    prompt: Prompt,
    *,
    seed: int = 0,
    budget: Budget = Budget(),
    sampling: Mapping[str, Any] = {},
    cache: MutableMapping[str, Sample] | None = None,
    watch: Callable[[Answer], object] | None = None,
    **options: Any,
) -> Run:
    """The last answer the strategy yielded, with everything that was asked on the way.

    Args:
        strategy: an async generator function of (model, prompt, *, options).
        seed: folded into every sample's own seed.
        budget: hard; when it is spent the last answer comes back marked incomplete. Seconds pass only where
            the model gives the event loop its turn.
        sampling: the user's words. They go before the model's generation config, and that before
            the strategy's default; what the strategy needs cannot be changed.
        cache: samples by model, request and seed; those in it are not drawn again.
        watch: hears of each better answer as it comes.
        options: the strategy's own. Models and Scorers among them are wrapped as well.

    Returns:
        Run: `answer.complete` is False if the budget ran out before the strategy was done; the answer
            is then the last it had, or one without a value.

    Raises:
        OptionError: an option the strategy does not have, or a model that lacks what it needs.
        ModelError: a call of which no sample succeeded, unless the strategy handles it.
        asyncio.CancelledError: the caller left. The run so far is the `run` attribute of both.
    """
    arguments = prepared(strategy, model, sampling, options)
    return await run_prepared(strategy, model, prompt, arguments, seed=seed, budget=budget, cache=cache, watch=watch)


async def run_prepared(
    strategy: Strategy,
    model: Model,
    prompt: Prompt,
    arguments: Mapping[str, Any],
    *,
    seed: int,
    budget: Budget,
    cache: MutableMapping[str, Sample] | None = None,
    watch: Callable[[Answer], object] | None = None,
) -> Run:
    """`run` with arguments that `prepared` made: for many prompts, checked once."""
    around = _Around(seed, Meter(budget), cache)
    answers = strategy(around.model(model), prompt, **around.options(strategy, arguments))
    answer = none = Answer(None, complete=False, why="no answer yet")
    clock = nullcontext() if budget.seconds is None else asyncio.timeout(budget.seconds)
    try:
        async with clock, aclosing(answers):
            async for answer in answers:
                if not isinstance(answer, Answer):
                    raise OptionError(f"{strategy.__name__} yields {type(answer).__name__}; a strategy yields Answers")
                around.heard(answer)
                if watch is not None:
                    watch(answer)
        if around.meter.refused:
            answer = _cut(answer, "the budget is spent")
        elif answer is none:
            raise OptionError(f"{strategy.__name__} ended without yielding an Answer; mend it")
    except BudgetSpent as spent:
        answer = _cut(answer, str(spent))
    except TimeoutError:
        if not isinstance(clock, asyncio.Timeout) or not clock.expired():
            raise
        answer = _cut(answer, f"{budget.seconds} seconds are over")
    except (asyncio.CancelledError, ModelError) as ended:
        why = "cancelled" if isinstance(ended, asyncio.CancelledError) else str(ended)
        ended.run = around.run(_cut(answer, why))  # type: ignore[union-attr]
        raise
    return around.run(answer)


def _cut(answer: Answer, why: str) -> Answer:
    return replace(answer, complete=False, why=f"{answer.why}; stopped: {why}")
