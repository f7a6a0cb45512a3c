"""Strategies as models, models inside options, scorers of one's own: nothing escapes ledger, budget, seeds or mark."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import pytest

from mullover.aio import together
from mullover.backends.called import called
from mullover.backends.scripted import Scripted
from mullover.backends.toy import APPLES, Toy
from mullover.errors import CapabilityError, ModelError, OptionError
from mullover.laws.every_model import ModelLaws
from mullover.laws.every_strategy import Watched
from mullover.running import Budget, Run, as_model, run
from mullover.scorers.oracle import Oracle
from mullover.strategies import checked
from mullover.strategies.best_of_n import best_of_n
from mullover.strategies.chain_of_thought import chain_of_thought
from mullover.strategies.self_consistency import self_consistency
from mullover.types import (
    Answer,
    Answers,
    AnswerSpec,
    Candidate,
    Event,
    Events,
    Model,
    ModelInfo,
    Price,
    Prompt,
    Sample,
    Sampling,
    Score,
    Scorer,
    Usage,
)

PROMPT = Prompt.of("apples?", AnswerSpec("number"))


def solve(strategy: Any, model: Model, **more: Any) -> Run:
    return asyncio.run(run(strategy, model, PROMPT, **more))


async def flat(prompt: Prompt, candidates: Sequence[Candidate]) -> list[Score]:
    return [Score(1.0) for _ in candidates]


class TestComposedModels(ModelLaws):
    exempt: ClassVar[dict[str, str]] = {
        "test_what_is_counted_is_what_was_generated": "what a strategy asks is counted where it asks",
    }

    def make(self) -> Model:
        return as_model("self_consistency", Toy(APPLES), n=3)


def test_the_ledger_is_exact_three_strategies_deep() -> None:
    watched = Watched(Toy(APPLES))
    deep = as_model(
        "self_consistency", as_model("best_of_n", as_model("chain_of_thought", watched), n=2, scorer=flat), n=2
    )
    result = solve(self_consistency, deep, n=3)
    assert result.total.tokens == watched.tokens > 0
    assert sum(len(call.samples) for call in result.calls if call.sampling) == 12
    seeds = [seed for call in result.calls for seed in call.seeds]
    assert len(set(seeds)) == len(seeds) == 12


def test_a_budget_binds_three_strategies_deep() -> None:
    deep = as_model("self_consistency", as_model("self_consistency", Toy(APPLES), n=3), n=3)
    cut = solve(self_consistency, deep, n=3, budget=Budget(tokens=60))
    assert not cut.answer.complete
    assert cut.total.tokens <= 60 + 9 * 17  # each live call may be charged for one step, a first one for its prompt


def test_one_failed_run_inside_is_one_failed_sample() -> None:
    says: list[str | Exception] = ["ANSWER: 1", ConnectionError("gone"), "ANSWER: 1"]
    inner = as_model("chain_of_thought", Scripted(says))
    assert solve(self_consistency, inner, n=3).answer.why == "2 of 2 samples agree"
    with pytest.raises(ModelError, match="gone"):
        solve(self_consistency, as_model("chain_of_thought", Scripted([ConnectionError("gone")])), n=2)


def test_the_callers_sampling_goes_on_to_the_strategy_inside() -> None:
    for words in ({"temperature": 1.0}, {"temperature": 0.3, "top_p": 0.5}):
        result = solve(self_consistency, as_model("chain_of_thought", Toy(APPLES)), n=2, sampling=words)
        for call in result.calls:
            assert call.sampling is not None
            assert {name: getattr(call.sampling, name) for name in words} == words
    fixed = solve(self_consistency, as_model("direct", Toy(APPLES)), n=2, sampling={"temperature": 1.0})
    assert all(call.sampling is not None and call.sampling.temperature == 0 for call in fixed.calls)
    with pytest.raises(CapabilityError, match="stop"):
        asyncio.run(as_model("direct", Toy(APPLES)).sample(PROMPT, 1, Sampling(stop=("x",))))


def test_a_composed_judge_counts_as_a_judge() -> None:
    @dataclass(frozen=True)
    class Asks:
        model: Model

        async def __call__(self, prompt: Prompt, candidates: Sequence[Candidate]) -> list[Score]:
            told = [await self.model.sample(Prompt.of(c.text), 1, Sampling(role="judge")) for c in candidates]
            return [Score(float(len(reply[0].text))) for reply in told]

    judge = Asks(as_model("self_consistency", Toy(APPLES), n=2))
    usage = solve(best_of_n, Toy(APPLES), n=2, scorer=judge).usage
    assert usage["judge"].calls == 2
    assert usage["solve"].calls == 1


@dataclass(frozen=True)
class Ensemble:
    """A scorer that asks several models, in a list and in a mapping."""

    models: list[Model]
    named: dict[str, Model] = field(default_factory=dict)

    async def __call__(self, prompt: Prompt, candidates: Sequence[Candidate]) -> list[Score]:
        asked = [await m.sample(prompt, 1, Sampling(role="judge")) for m in (*self.models, *self.named.values())]
        return [Score(float(len(asked))) for _ in candidates]


async def by_default(model: Model, prompt: Prompt, *, scorer: Scorer | None = Ensemble([Toy(APPLES)])) -> Answers:
    """Scores by a scorer that nobody gave."""
    (sample,) = await model.sample(prompt, 1, Sampling())
    scores = await scorer(prompt, [Candidate.of(sample)]) if scorer else []
    yield Answer(str(scores[0].value) if scores else "unscored")


def test_models_in_lists_and_mappings_and_defaults_are_in_the_ledger() -> None:
    ensemble = Ensemble([Toy(APPLES), Toy(APPLES)], {"third": Toy(APPLES)})
    assert solve(best_of_n, Toy(APPLES), n=2, scorer=ensemble).usage["judge"].calls == 3
    assert solve(by_default, Toy(APPLES)).usage["judge"].calls == 1
    assert solve(by_default, Toy(APPLES), scorer=None).answer.value == "unscored"

    async def down(prompt: Prompt, candidates: Sequence[Candidate]) -> list[Score]:
        raise ModelError("down")

    assert solve(by_default, Toy(APPLES), scorer=down).answer.value == "None"


def test_two_models_of_one_run_never_draw_with_one_seed() -> None:
    async def both(model: Model, prompt: Prompt, *, other: Model) -> Answers:
        for asked in (model, other, model):
            await asked.sample(prompt, 2, Sampling())
        yield Answer("done")

    seeds = [seed for call in solve(both, Toy(APPLES), other=Toy(APPLES)).calls for seed in call.seeds]
    assert len(set(seeds)) == 6


@dataclass(frozen=True)
class Blend:
    """A scorer around another."""

    inner: Any

    async def __call__(self, prompt: Prompt, candidates: Sequence[Candidate]) -> list[Score]:
        scores: list[Score] = await self.inner(prompt, candidates)
        return scores


def test_an_oracle_is_marked_wherever_it_hides() -> None:
    assert not solve(best_of_n, Toy(APPLES), n=2, scorer=flat).oracle
    assert solve(best_of_n, Toy(APPLES), n=2, scorer=Oracle(flat)).oracle
    assert solve(best_of_n, Toy(APPLES), n=2, scorer=Blend(Oracle(flat))).oracle
    assert solve(self_consistency, as_model("best_of_n", Toy(APPLES), n=2, scorer=Oracle(flat)), n=2).oracle


@pytest.mark.parametrize(
    "scores, message",
    [([Score(1.0)], "gave 1 scores for 3"), (None, "must return a list"), ([1.0, 2.0, 3.0], "must return a list")],
)
def test_a_scorer_that_scores_wrongly_is_named(scores: Any, message: str) -> None:
    async def wrong(prompt: Prompt, candidates: Sequence[Candidate]) -> list[Score]:
        return scores  # type: ignore[no-any-return]

    with pytest.raises(OptionError, match=f"the scorer wrong .*{message}"):
        solve(best_of_n, Scripted(["ANSWER: 1"]), n=3, scorer=wrong)


def test_a_score_that_is_not_a_number_is_no_judgement() -> None:
    async def odd(prompt: Prompt, candidates: Sequence[Candidate]) -> list[Score]:
        return [Score(float("nan")), Score(-5.0), Score(None)]

    answer = solve(best_of_n, Scripted(["ANSWER: 1", "ANSWER: 2", "ANSWER: 3"]), n=3, scorer=odd).answer
    assert answer.value == "2"


class Slow(Model):
    """Usage comes with the end of each sample, as over HTTP; each pays its own prompt."""

    def __init__(self, words: int, price: Price | None = None, can: tuple[str, ...] = ("max_tokens",)) -> None:
        self.info = ModelInfo("slow", frozenset(can), metered="call", prompt_each=True, price=price)
        self.words = words

    async def stream(self, prompt: Prompt, n: int, sampling: Sampling) -> Events:
        for i in range(n):
            await asyncio.sleep(0.001)
            length = min(self.words, sampling.max_tokens)
            usage = Usage(prompt_tokens=1, completion_tokens=length)
            yield Event(i, "ANSWER: 1", (), usage, Sample("ANSWER: 1", "eos", usage=usage))


async def asks_between(model: Model, prompt: Prompt, *, sampling: Sampling = Sampling(max_tokens=10)) -> Answers:
    """Asks again while its first call still runs."""
    async for i, _ in model.growing(prompt, 4, sampling):
        await model.sample(prompt.then(str(i)), 1, sampling)
        await together(*(model.sample(prompt.then(f"{i}{k}"), 1, sampling) for k in range(2)))
        yield Answer(str(i))


def test_a_call_within_a_call_waits_for_no_one_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mullover.meter.PATIENCE", 0.05)

    async def main(tokens: int) -> Run:
        return await asyncio.wait_for(run(asks_between, Slow(3), PROMPT, budget=Budget(tokens=tokens)), timeout=5)

    for tokens in (5, 20, 60, 100, 200, 500):
        result = asyncio.run(main(tokens))
        assert result.total.tokens <= tokens
    assert result.answer.complete
    assert result.answer.value == "3"


def test_money_of_models_with_different_prices_is_one_purse() -> None:
    async def both(model: Model, prompt: Prompt, *, dear: Model) -> Answers:
        await together(*(m.sample(prompt, 4, Sampling(max_tokens=40)) for m in (model, dear, model, dear)))
        yield Answer("done")

    for money in (0.5, 5, 50, 200):
        cheap, dear = Slow(40, Price(0.001, 0, 0.001)), Slow(40, Price(1.0, 0, 1.0))
        assert solve(both, cheap, dear=dear, budget=Budget(money=money)).total.money <= money * (1 + 1e-9)


def test_a_model_that_takes_no_limit_cannot_be_bound_by_tokens() -> None:
    async def reply(text: str) -> str:
        return "ANSWER: 1"

    with pytest.raises(OptionError, match="reply does not take max_tokens"):
        solve(self_consistency, called(reply), n=2, budget=Budget(tokens=100))
    assert solve(self_consistency, called(reply), n=2, budget=Budget(seconds=5)).answer.value == "1"


def test_a_strategy_that_swallows_the_end_of_its_budget_is_still_marked() -> None:
    async def stubborn(model: Model, prompt: Prompt, *, sampling: Sampling = Sampling()) -> Answers:
        with suppress(BaseException):
            await model.sample(prompt, 50, sampling)
        yield Answer("anyway")

    result = solve(stubborn, Toy(APPLES), budget=Budget(tokens=20))
    assert not result.answer.complete


async def two(model: Model, prompt: Prompt, extra: int) -> Answers:
    yield Answer("")


async def starred(model: Model, prompt: Prompt, **options: int) -> Answers:
    yield Answer("")


async def clashing(model: Model, prompt: Prompt, *, seed: int = 0) -> Answers:
    yield Answer("")


async def untyped(model: Model, prompt: Prompt, *, depth=3) -> Answers:  # type: ignore[no-untyped-def]
    yield Answer("")


async def lost(model: Model, prompt: Prompt, *, depth: "Nowhere" = 3) -> Answers:  # type: ignore[name-defined]  # noqa: F821
    yield Answer("")


async def unsampled(model: Model, prompt: Prompt, *, sampling: Sampling | None = None) -> Answers:
    yield Answer("")


@pytest.mark.parametrize(
    "strategy, message",
    [
        (two, "two arguments, then options by name"),
        (starred, "two arguments, then options by name"),
        (clashing, "seed of .* has the name of a common flag"),
        (untyped, "has no type"),
        (lost, "cannot be read"),
        (unsampled, "must have a Sampling as its default"),
        (len, "must be an async generator function"),
    ],
)
def test_what_is_not_shaped_as_a_strategy_is_refused_at_once(strategy: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        checked(strategy, "mine")


def test_what_a_strategy_yields_must_be_answers() -> None:
    async def texts(model: Model, prompt: Prompt) -> Answers:
        yield "42"  # type: ignore[misc]

    async def silent(model: Model, prompt: Prompt) -> Answers:
        if prompt.text == "":
            yield Answer("")

    with pytest.raises(OptionError, match="texts yields str"):
        solve(texts, Toy(APPLES))
    with pytest.raises(OptionError, match="silent ended without"):
        solve(silent, Toy(APPLES))


@pytest.mark.parametrize("n", [0, -1, 2.5, True, None, 10**7])
def test_n_is_a_whole_number_within_reason(n: Any) -> None:
    with pytest.raises(OptionError, match=r"n is .*; it must be a whole number, at least 1"):
        solve(self_consistency, Toy(APPLES), n=n)


def test_a_style_that_asks_twice_needs_a_model_that_can_before_anything_is_asked() -> None:
    from mullover.prompts import style

    asked = []

    async def reply(text: str) -> str:
        asked.append(text)
        return "ANSWER: 1"

    with pytest.raises(CapabilityError, match="asks twice"):
        solve(chain_of_thought, called(reply), style=style("two_stage"))
    assert not asked


def test_seeding_a_sampling_changes_nothing_else() -> None:
    every: dict[str, Any] = {
        "temperature": 0.1,
        "top_p": 0.2,
        "top_k": 3,
        "min_p": 0.4,
        "max_tokens": 5,
        "stop": ("x",),
        "top_logprobs": 6,
        "thinking": "low",
        "rules": (),
        "signals": ("entropy",),
        "halt": None,
        "distinct_first": True,
        "role": "judge",
    }
    sampling = Sampling(**every)
    assert sampling.seeded((7,), 8) == replace(sampling, seeds=(7,), first=8)
    assert repr(sampling.seeded((7,), 8)) == repr(replace(sampling, seeds=(7,), first=8))
    assert {*every, "seeds", "first"} == set(Sampling.__slots__)
