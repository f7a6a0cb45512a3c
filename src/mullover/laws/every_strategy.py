"""Laws every strategy must keep. Subclass `StrategyLaws` to hold your own to them:

class TestMine(StrategyLaws):
    strategy = "my_package.my_module:my_strategy"
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, ClassVar

import pytest

from mullover.backends.toy import APPLES, Toy
from mullover.errors import ModelError, OptionError
from mullover.running import Budget, Run, run
from mullover.seeds import canonical
from mullover.strategies import checked, docs, load, needs, parameters
from mullover.types import Answer, AnswerSpec, Candidate, Events, Model, ModelInfo, Prompt, Sampling, Score, Scorer

PROMPT = Prompt.of("I have 3 apples, my dad has 2 more. How many have we?", AnswerSpec("number"))
SMALL = {"n": 6, "depth": 3, "width": 2, "branch": 2, "k": 3, "at_once": 2}
AT_ONCE = 6  # calls that are alive together in the small runs above, at most


async def by_length(prompt: Prompt, candidates: Sequence[Candidate]) -> list[Score]:
    """A scorer for tests: longer is better, and every third it cannot judge."""
    return [Score(None if i % 3 == 2 else float(len(c.text))) for i, c in enumerate(candidates)]


class Watched(Model):
    """A model that counts what it computed and whether every stream it opened was closed."""

    def __init__(self, model: Model) -> None:
        self.model, self.info = model, model.info
        self.tokens = self.open = self.calls = 0

    async def stream(self, prompt: Prompt, n: int, sampling: Sampling) -> Events:
        self.open += 1
        self.calls += 1
        events = self.model.stream(prompt, n, sampling)
        try:
            async for event in events:
                self.tokens += event.usage.tokens
                yield event
        finally:
            await events.aclose()
            self.open -= 1


class Failing(Model):
    """It fails on its call number `at`, before any word."""

    def __init__(self, at: int, error: Exception) -> None:
        self.inner, self.at, self.error = Toy(APPLES), at, error
        self.info = ModelInfo("failing", self.inner.info.can)
        self.calls = 0

    async def stream(self, prompt: Prompt, n: int, sampling: Sampling) -> Events:
        self.calls += 1
        if self.calls > self.at:
            raise self.error
        async for event in self.inner.stream(prompt, n, sampling):
            yield event


class Mute(Model):
    """Each of its samples fails."""

    def __init__(self) -> None:
        self.info = ModelInfo("mute", Toy(APPLES).info.can)

    async def stream(self, prompt: Prompt, n: int, sampling: Sampling) -> Events:
        from mullover.types import Event, Sample

        for i in range(n):
            await asyncio.sleep(0)
            yield Event(i, sample=Sample("", "error", error="no such words"))


class StrategyLaws:
    strategy: ClassVar[str]
    options: ClassVar[dict[str, Any]] = {}  # beyond small numbers and a scorer, if it needs more

    def chosen(self) -> dict[str, Any]:
        known = parameters(load(self.strategy))
        small = {option: value for option, value in SMALL.items() if option in known}
        scored = {option: by_length for option, p in known.items() if p.annotation is Scorer}
        return {**small, **scored, **self.options}

    def solve(self, model: Model, **more: Any) -> Run:
        return asyncio.run(run(load(self.strategy), model, PROMPT, **self.chosen(), **more))

    def test_answers_completely_and_watchers_hear_the_answer_last(self) -> None:
        heard: list[Answer] = []
        result = self.solve(Toy(APPLES), watch=heard.append)
        assert result.answer.complete and heard[-1] == result.answer

    def test_it_is_shaped_as_a_strategy_and_says_where_it_comes_from(self) -> None:
        strategy = load(self.strategy)
        assert checked(strategy, self.strategy) is strategy
        assert docs(strategy).summary
        assert docs(strategy).source

    def test_what_it_fixes_cannot_be_wished_away(self) -> None:
        fixed = needs(load(self.strategy)).sampling
        for name, value in fixed.items():
            assert all(getattr(c.sampling, name) == value for c in self.solve(Toy(APPLES)).calls if c.sampling)
            with pytest.raises(OptionError, match=name):
                self.solve(Toy(APPLES), sampling={name: 0.5 if value != 0.5 else 0.25})

    def test_usage_is_what_the_model_computed(self) -> None:
        watched = Watched(Toy(APPLES))
        result = self.solve(watched)
        assert result.total.tokens == watched.tokens
        assert result.total.calls == watched.calls
        assert watched.open == 0

    def test_same_seed_same_requests_and_another_seed_others(self) -> None:
        def asked(seed: int) -> list[str]:
            calls = self.solve(Toy(APPLES), seed=seed).calls
            return sorted(canonical([c.prompt, c.sampling, c.sampling and c.sampling.seeds]) for c in calls)

        assert asked(7) == asked(7)
        assert asked(7) != asked(8)

    def test_same_seed_same_answer(self) -> None:
        assert self.solve(Toy(APPLES), seed=3).answer == self.solve(Toy(APPLES), seed=3).answer

    def test_every_sample_has_its_own_seed(self) -> None:
        seeds = [seed for call in self.solve(Toy(APPLES)).calls if call.sampling for seed in call.sampling.seeds]
        assert len(seeds) == len(set(seeds)) > 0

    def test_a_budget_cut_at_any_token_still_yields_an_answer(self) -> None:
        whole = self.solve(Toy(APPLES))
        step = 1 + max(call.usage.prompt_tokens for call in whole.calls)  # a first step pays for its prompt too
        for tokens in range(whole.total.tokens + 1):
            cut = self.solve(Toy(APPLES), budget=Budget(tokens=tokens))
            assert cut.answer.complete == (tokens == whole.total.tokens)
            assert cut.total.tokens <= tokens + AT_ONCE * step  # each live call may still be charged for one step
        assert cut.answer == whole.answer

    def test_leaving_early_leaves_no_stream_open(self) -> None:
        async def leave(ticks: int) -> None:
            watched = Watched(Toy(APPLES))
            job = asyncio.create_task(run(load(self.strategy), watched, PROMPT, **self.chosen()))
            for _ in range(ticks):
                await asyncio.sleep(0)
            job.cancel()
            try:
                await job
            except asyncio.CancelledError as cancelled:
                if isinstance(got := getattr(cancelled, "run", None), Run):
                    assert not got.answer.complete
            assert watched.open == 0

        for ticks in range(1, 40, 3):
            asyncio.run(leave(ticks))

    def test_closing_it_at_any_answer_leaves_no_stream_open(self) -> None:
        class LeavingError(Exception):
            """The watcher leaves."""

        for heard in range(4):
            watched, answers = Watched(Toy(APPLES)), list[Answer]()

            def watch(answer: Answer, most: int = heard, got: list[Answer] = answers) -> None:
                got.append(answer)
                if len(got) > most:
                    raise LeavingError

            with suppress(LeavingError):
                self.solve(watched, watch=watch)
            assert watched.open == 0

    @pytest.mark.parametrize("error", [ConnectionError("gone"), ModelError("gone")], ids=["foreign", "ours"])
    def test_a_failing_model_is_not_swallowed(self, error: Exception) -> None:
        with pytest.raises(type(error), match="gone"):
            self.solve(Failing(0, error))

    def test_samples_that_all_fail_are_an_error(self) -> None:
        with pytest.raises(ModelError, match="no such words"):
            self.solve(Mute())

    def test_what_it_needs_is_checked_before_the_first_call(self) -> None:
        need = needs(load(self.strategy))
        if not need.can:
            pytest.skip("it needs nothing of a model beyond samples")
        watched = Watched(Toy(APPLES))
        watched.info = ModelInfo("bare", frozenset())
        with pytest.raises(ValueError, match="bare"):
            self.solve(watched)
        assert watched.calls == 0
