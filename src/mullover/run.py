"""Run one strategy on one prompt: reproducible seeds, a hard budget, a full record."""

import asyncio
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import aclosing, nullcontext
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

from mullover.errors import BudgetSpent, CapabilityError, ModelError, OptionError
from mullover.prompts import Style
from mullover.strategies import needs, parameters
from mullover.types import (
    NOTHING,
    Answer,
    Event,
    Events,
    Model,
    ModelInfo,
    Needs,
    Prompt,
    Role,
    Sample,
    Sampling,
    Scorer,
    Strategy,
    Usage,
)
from mullover.wrappers import Budget, Budgeted, Cached, Call, Judged, Meter, Recorder, Retrying, Seeded

__all__ = ["Budget", "Call", "Run", "as_model", "run"]


@dataclass(frozen=True, slots=True)
class Run:
    answer: Answer
    calls: tuple[Call, ...]  # in the order they ended
    oracle: bool = False  # a scorer that knew the truth was used for choosing

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
    """What `run` wraps models and scorers in."""

    seed: int
    meter: Meter
    cache: MutableMapping[str, Sample] | None
    calls: list[Call] = field(default_factory=list)

    def model(self, model: Model) -> Model:
        if isinstance(model, StrategyModel):  # it folds its own seeds, one for each of its samples
            model = StrategyModel(model.strategy, self.costed(model.model), self.options(model.strategy, model.options))
            return Seeded(model, self.seed)
        return Seeded(self.costed(model), self.seed)

    def costed(self, model: Model) -> Model:
        if self.meter.money is not None and model.info.price is None:
            raise OptionError(
                f"a budget in money needs a price, and {model.info.name} has none; use a budget in tokens"
            )
        if model.info.metered == "call":
            model = Retrying(model)
        if self.cache is not None:
            model = Cached(model, self.cache)
        return Budgeted(Recorder(model, self.calls), self.meter)

    def value(self, value: Any) -> Any:
        """Models wherever they hide in an option, a judge's for one, are wrapped too."""
        if type(value) in PLAIN:
            return value
        if isinstance(value, Model):
            return self.model(value)
        if is_dataclass(value) and not isinstance(value, type):
            held = {f.name: getattr(value, f.name) for f in fields(value) if f.init}
            changed = {name: new for name, old in held.items() if (new := self.value(old)) is not old}
            return replace(value, **changed) if changed else value
        return value

    def options(self, strategy: Strategy, options: Mapping[str, Any]) -> dict[str, Any]:
        known = parameters(strategy)
        return {
            name: Judged(self.value(value), self.calls, self.meter)
            if known[name].annotation is Scorer
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
        budget: hard; when it is spent the last answer comes back marked incomplete.
        sampling: the user's words. They go before the model's generation config, and that before
            the strategy's default; what the strategy needs cannot be changed.
        cache: samples by request and seed; those in it are not drawn again.
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
    oracle = any(getattr(value, "oracle", False) for value in arguments.values())
    answers = strategy(around.model(model), prompt, **around.options(strategy, arguments))
    answer = Answer(None, complete=False, why="no answer yet")
    clock = nullcontext() if budget.seconds is None else asyncio.timeout(budget.seconds)
    try:
        async with clock, aclosing(answers):
            async for answer in answers:
                if watch is not None:
                    watch(answer)
    except BudgetSpent as spent:
        answer = _cut(answer, str(spent))
    except TimeoutError:
        if not isinstance(clock, asyncio.Timeout) or not clock.expired():
            raise
        answer = _cut(answer, f"{budget.seconds} seconds are over")
    except (asyncio.CancelledError, ModelError) as ended:
        why = "cancelled" if isinstance(ended, asyncio.CancelledError) else str(ended)
        ended.run = Run(_cut(answer, why), tuple(around.calls), oracle)  # type: ignore[union-attr]
        raise
    return Run(answer, tuple(around.calls), oracle)


def _cut(answer: Answer, why: str) -> Answer:
    return replace(answer, complete=False, why=f"{answer.why}; stopped: {why}")


def prepared(
    strategy: Strategy, model: Model, sampling: Mapping[str, Any], options: Mapping[str, Any]
) -> dict[str, Any]:
    """The strategy's arguments, checked before anything is asked.

    Raises:
        OptionError: an unknown or missing option, an n below 1, or a wish against what the strategy fixes.
        CapabilityError: the model cannot do what the strategy needs.
    """
    known, need = parameters(strategy), needs(strategy)
    name = getattr(strategy, "__name__", str(strategy))
    if unknown := [option for option in options if option not in known]:
        raise OptionError(f"{name} has no option {', '.join(sorted(unknown))}; it has {', '.join(known) or 'none'}")
    if missing := [option for option, p in known.items() if p.default is p.empty and option not in options]:
        raise OptionError(f"{name} needs {', '.join(missing)}; give it as --{missing[0].replace('_', '-')}")
    for option, value in options.items():
        if known[option].annotation is int and isinstance(value, int) and value < 1:
            raise OptionError(f"{name}: {option} is {value}; it must be at least 1")
    if lacking := need.can - model.info.can:
        raise CapabilityError(
            f"{name} needs {', '.join(sorted(lacking))}, which {model.info.name} cannot do; {need.why}"
        )
    if "sampling" not in known or "sampling" in options:
        return dict(options)
    return {**options, "sampling": settled_sampling(name, known["sampling"].default, need, model.info, sampling)}


def settled_sampling(name: str, default: Sampling, need: Needs, info: ModelInfo, words: Mapping[str, Any]) -> Sampling:
    """What the strategy fixes, then the user's word, the model's own config, the strategy's default."""
    if deaf := [key for key in {**words, **need.sampling} if key not in info.can]:
        who = name if deaf[0] in need.sampling else "you"
        raise CapabilityError(f"{info.name} cannot do {', '.join(sorted(deaf))}, which {who} asked for; leave it out")
    for key, value in need.sampling.items():
        if key in words and words[key] != value:
            raise OptionError(f"{name} needs {key} {value}, not {words[key]}; {need.why or 'leave it out'}")
    return replace(default, **{**info.defaults, **words, **need.sampling})


@dataclass(frozen=True)
class StrategyModel(Model):
    """A strategy that answers as if it were a model: each of its samples is one whole run of it."""

    strategy: Strategy
    model: Model
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def info(self) -> ModelInfo:  # type: ignore[override]
        inner = self.model.info
        name = f"{inner.name}/{self.strategy.__name__}"
        return replace(inner, name=name, can=inner.can - {"score", "top_logprobs", "signals", "halt", "segments"})

    async def stream(self, prompt: Prompt, n: int, sampling: Sampling) -> Events:
        """One event for each sample, without usage: what the strategy asks is counted where it asks.

        The caller's sampling reaches the strategy's own calls as far as it differs from the defaults.
        """
        self.info.check(prompt, sampling)
        words = {
            key: getattr(sampling, key) for key in ("temperature", "top_p", "top_k", "min_p") if key in _said(sampling)
        }
        for i, seed in enumerate(sampling.seeds or range(n)):
            inner = Seeded(self.model, seed)
            options = prepared(self.strategy, inner, words if not needs(self.strategy).sampling else {}, self.options)
            last = Answer(None)
            async with aclosing(self.strategy(inner, prompt, **options)) as answers:
                async for answer in answers:
                    last = answer
            yield Event(i, last.text, (), NOTHING, Sample(last.text, "eos"))


def _said(sampling: Sampling) -> Sequence[str]:
    default = Sampling()
    return [
        key for key in ("temperature", "top_p", "top_k", "min_p") if getattr(sampling, key) != getattr(default, key)
    ]


def as_model(strategy: Strategy | str, model: Model, **options: Any) -> Model:
    """A strategy as a Model, to vote, choose or search over its answers instead of a model's samples.

    Raises:
        OptionError: the strategy has no such option, or needs one that is missing.
    """
    if isinstance(strategy, str):
        from mullover.strategies import load

        strategy = load(strategy)
    prepared(strategy, model, {}, options)
    return StrategyModel(strategy, model, options)
