"""run(), its wrappers, and what they do at the edges."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from mullover.aio import each, settled, together
from mullover.backends.scripted import Scripted
from mullover.backends.table import Table
from mullover.backends.toy import Toy
from mullover.errors import CapabilityError, ModelError, OptionError, TransientError
from mullover.running import Budget, Run, as_model, run
from mullover.strategies import load
from mullover.strategies.adaptive_consistency import adaptive_consistency, sure
from mullover.strategies.best_of_n import best_of_n
from mullover.strategies.chain_of_thought import chain_of_thought
from mullover.strategies.direct import direct
from mullover.strategies.self_consistency import self_consistency
from mullover.types import (
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
    Usage,
)
from mullover.wrappers import Cached, Retrying, Seeded

PROMPT = Prompt.of("6*7?", AnswerSpec("number"))
IS = "|. ANSWER: |"
PATHS = Table({f"u{IS}1": 0.3, f"v{IS}2": 0.2, f"w{IS}2": 0.2, f"x{IS}2": 0.15, "Hmm.": 0.15})


def solve(strategy: Any, model: Model, prompt: Prompt = PROMPT, **more: Any) -> Run:
    return asyncio.run(run(strategy, model, prompt, **more))


def vote(*says: str) -> str | None:
    return solve(self_consistency, Scripted(says), n=len(says)).answer.value


def test_samples_without_an_answer_do_not_vote_and_a_tie_goes_to_the_first() -> None:
    assert vote("hmm", "hmm", "ANSWER: 42") == "42"
    assert vote("ANSWER: 1", "ANSWER: 2") == "1"
    assert vote("ANSWER: 2", "ANSWER: 1", "ANSWER: 1.0") == "1"
    assert vote("hmm") is None


def test_the_likeliest_path_is_wrong_and_the_vote_is_right() -> None:
    assert solve(chain_of_thought, Toy(PATHS)).answer.value == "1"
    assert solve(self_consistency, Toy(PATHS), n=200, sampling={"temperature": 1}).answer.value == "2"


def test_weighted_votes_sum_probabilities() -> None:
    table = Table({f"a{IS}1": 0.5, f"b|c|d{IS}2": 0.25, f"e|f|g{IS}2": 0.25})
    equal = solve(self_consistency, Toy(table), n=60, sampling={"temperature": 1}).answer
    summed = solve(self_consistency, Toy(table), n=60, sampling={"temperature": 1}, weights="unnormalized").answer
    ones = sum(c.value == "1" for c in equal.candidates)
    assert (equal.value == "1") == (ones > 30 or (ones == 30 and equal.candidates[0].value == "1"))
    assert summed.value == ("1" if ones * 0.5 > (60 - ones) * 0.25 else "2")


def test_votes_weighted_by_probability_need_a_model_that_gives_it() -> None:
    with pytest.raises(CapabilityError, match="scripted cannot do top_logprobs"):
        solve(self_consistency, Scripted(["ANSWER: 1"]), n=2, weights="normalized")


def test_adaptive_consistency_stops_at_four_of_four() -> None:
    certain = solve(adaptive_consistency, Toy(Table({f"u{IS}1": 1.0})), at_once=1)
    assert certain.answer.complete
    assert sum(len(call.samples) for call in certain.calls) == 4


def test_the_stopping_rule_has_its_golden_values() -> None:
    assert [sure(*votes) for votes in ((1, 0), (3, 0), (4, 0))] == [0.75, 0.9375, 0.96875]
    assert sure(9, 1) == pytest.approx(0.99414, abs=5e-6)
    assert sure(7, 2) == pytest.approx(0.94531, abs=5e-6)
    assert [next(v for v in range(99) if sure(v, r) >= 0.95) for r in range(8)] == [4, 6, 8, 9, 11, 12, 14, 15]


def test_best_of_n_takes_the_highest_score_and_what_nobody_could_judge_comes_last() -> None:
    marks = {"ANSWER: 1": None, "ANSWER: 2": -3.0, "ANSWER: 3": -1.0, "ANSWER: 4": -1.0}

    async def scorer(prompt: Prompt, candidates: Sequence[Candidate]) -> list[Score]:
        return [Score(marks[c.text]) for c in candidates]

    answer = solve(best_of_n, Scripted([*marks]), n=4, scorer=scorer).answer
    assert answer.value == "3"
    assert [c.status for c in answer.candidates] == ["finished", "finished", "selected", "finished"]


def test_best_of_one_is_one_sample() -> None:
    async def scorer(prompt: Prompt, candidates: Sequence[Candidate]) -> list[Score]:
        return [Score(None) for _ in candidates]

    assert solve(best_of_n, Scripted(["ANSWER: 9"]), n=1, scorer=scorer).answer.value == "9"


def test_a_failing_scorer_judges_nothing_and_is_in_the_ledger() -> None:
    async def scorer(prompt: Prompt, candidates: Sequence[Candidate]) -> list[Score]:
        raise ModelError("no judge today")

    result = solve(best_of_n, Scripted(["ANSWER: 9", "ANSWER: 8"]), n=2, scorer=scorer)
    assert result.answer.value == "9"
    assert [call.error for call in result.calls] == ["", "no judge today"]


@dataclass(frozen=True)
class Asks:
    """A scorer that asks a model."""

    model: Model

    async def __call__(self, prompt: Prompt, candidates: Sequence[Candidate]) -> list[Score]:
        judged = [await self.model.sample(Prompt.of(c.text), 1, Sampling(role="judge")) for c in candidates]
        return [Score(float(reply[0].text)) for reply in judged]


def test_a_judges_own_model_is_recorded_seeded_and_budgeted_apart() -> None:
    model = Scripted(["ANSWER: 1", "ANSWER: 2", "ANSWER: 3"])
    judge = Asks(Scripted(["2", "1", "9"]))
    whole = solve(best_of_n, model, n=3, scorer=judge)
    assert whole.answer.value == "3"
    assert whole.usage["solve"].calls == 1
    assert whole.usage["judge"].calls == 3
    assert all(call.sampling.seeds for call in whole.calls if call.sampling)
    cut = solve(best_of_n, model, n=3, scorer=judge, budget=Budget(tokens=whole.usage["solve"].tokens + 2))
    assert not cut.answer.complete
    assert cut.answer.value == "1"
    assert "not yet scored" in cut.answer.why


def test_two_stages_ask_for_the_answer_in_a_second_call_that_holds_the_first() -> None:
    model = Scripted(["First 6 and 7, that is 6 * 7.", "42."])
    result = solve(chain_of_thought, model, style=_style("two_stage"))
    first, second = result.calls
    assert result.answer.value == "42"
    assert "step by step" in first.prompt.text
    assert [m.role for m in second.prompt.messages] == ["user", "assistant", "user"]
    assert "First 6 and 7" in second.prompt.text
    assert second.prompt.text.endswith("Therefore, the answer (arabic numerals) is")


def _style(name: str) -> Any:
    from mullover.prompts import style

    return style(name)


def test_direct_is_greedy_and_a_contrary_wish_is_refused() -> None:
    assert solve(direct, Toy(PATHS), sampling={"temperature": 0}).answer.value == "1"
    with pytest.raises(OptionError, match="direct needs temperature 0, not"):
        solve(direct, Toy(PATHS), sampling={"temperature": 0.7})


def test_the_users_word_goes_before_the_models_config_and_that_before_the_strategys_default() -> None:
    model = Scripted(["ANSWER: 1"])
    model.info = replace(model.info, defaults={"temperature": 0.3, "top_p": 0.9})
    told = solve(self_consistency, model, n=1, sampling={"temperature": 0.5}).calls[0].sampling
    assert told is not None
    assert (told.temperature, told.top_p) == (0.5, 0.9)
    untold = solve(self_consistency, model, n=1).calls[0].sampling
    assert untold is not None and untold.temperature == 0.3


def test_unknown_missing_and_senseless_options_are_refused_before_anything_is_asked() -> None:
    model = Scripted(["ANSWER: 1"])
    wrong: list[tuple[dict[str, Any], str]] = [({"m": 3}, "no option m; it has n"), ({"n": 0}, "n is 0; it must be")]
    for options, message in wrong:
        with pytest.raises(OptionError, match=message):
            solve(self_consistency, model, **options)
    with pytest.raises(OptionError, match="best_of_n needs scorer"):
        solve(best_of_n, model)
    with pytest.raises(OptionError, match="did you mean self_consistency"):
        load("self_consistancy")
    with pytest.raises(OptionError, match="must be in"):
        solve(self_consistency, model, sampling={"top_p": 0.0})
    with pytest.raises(OptionError, match="budget in tokens is -1"):
        Budget(tokens=-1)


def test_an_empty_budget_gives_an_answer_without_value_and_costs_nothing() -> None:
    for budget in (Budget(tokens=0), Budget(seconds=0)):
        result = solve(self_consistency, Toy(PATHS), budget=budget)
        assert not result.answer.complete
        assert result.answer.value is None
        assert result.total.tokens == 0


def test_seconds_are_a_budget_too() -> None:
    answer = solve(self_consistency, Toy(PATHS), n=100_000, budget=Budget(seconds=0.1)).answer
    assert answer.value is not None
    assert not answer.complete


def test_money_is_a_budget_where_there_is_a_price() -> None:
    priced = Scripted(["ANSWER: 1"], price=Price(prompt=0.01, completion=0.1))
    whole = solve(self_consistency, priced, n=4)
    assert whole.total.money == pytest.approx(0.01 * whole.total.prompt_tokens + 0.1 * whole.total.completion_tokens)
    cut = solve(self_consistency, priced, n=4, budget=Budget(money=whole.total.money * 0.6))
    assert not cut.answer.complete
    assert cut.answer.value == "1"
    with pytest.raises(OptionError, match="needs a price, and toy has none"):
        solve(self_consistency, Toy(PATHS), budget=Budget(money=1))


class Late(Model):
    """Its usage comes with the end of a call, as over HTTP; it counts what is asked of it at once."""

    def __init__(self, words: int) -> None:
        self.info = ModelInfo("late", frozenset({"temperature", "max_tokens"}), metered="call")
        self.words, self.asked = words, list[int]()

    async def stream(self, prompt: Prompt, n: int, sampling: Sampling) -> Events:
        self.asked.append(n * sampling.max_tokens)
        await asyncio.sleep(0.001)
        for i in range(n):
            length = min(self.words, sampling.max_tokens)
            usage = Usage(prompt_tokens=2 if i == 0 else 0, completion_tokens=length)
            finish = "eos" if length == self.words else "length"
            yield Event(i, "ANSWER: 1", (), usage, Sample("ANSWER: 1", finish, usage=usage))  # type: ignore[arg-type]


async def four_at_once(model: Model, prompt: Prompt, *, sampling: Sampling = Sampling(max_tokens=50)) -> Answers:
    from mullover.types import Answer

    await together(*(model.sample(prompt, 2, sampling) for _ in range(4)))
    yield Answer("done")


def test_calls_that_cannot_be_metered_live_reserve_first_and_never_overspend() -> None:
    for tokens in range(0, 400, 7):
        model = Late(words=10)
        result = solve(four_at_once, model, budget=Budget(tokens=tokens))
        assert result.total.tokens <= tokens
        assert all(asked <= tokens for asked in model.asked)
    assert result.answer.complete
    assert len(model.asked) == 4


def test_cancelling_a_run_raises_and_keeps_what_it_had() -> None:
    async def main() -> Run:
        job = asyncio.create_task(run(self_consistency, Toy(PATHS), PROMPT, n=100_000))
        await asyncio.sleep(0.05)
        job.cancel()
        try:
            await job
        except asyncio.CancelledError as cancelled:
            return cancelled.run  # type: ignore[attr-defined, no-any-return]
        raise AssertionError("it was not cancelled")

    got = asyncio.run(main())
    assert got.answer.value is not None
    assert not got.answer.complete
    assert got.total.completion_tokens > 0


class Flaky(Model):
    """It fails so many times before it speaks."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.info = ModelInfo("flaky", frozenset({"temperature"}), metered="call")
        self.left, self.error = failures, error

    async def stream(self, prompt: Prompt, n: int, sampling: Sampling) -> Events:
        if self.left:
            self.left -= 1
            raise self.error
        for i in range(n):
            yield Event(i, "ANSWER: 1", (), Usage(completion_tokens=3), Sample("ANSWER: 1", "eos"))


def test_a_call_that_may_succeed_is_asked_again_and_the_failures_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Retrying, "base", 0.0)
    result = solve(self_consistency, Flaky(2, TransientError("busy", after=0)), n=2)
    assert result.answer.value == "1"
    assert result.total.retries == 2
    with pytest.raises(TransientError, match="busy"):
        solve(self_consistency, Flaky(99, TransientError("busy")), n=2)
    with pytest.raises(ModelError, match="no") as failed:
        solve(self_consistency, Flaky(1, ModelError("no")), n=2)
    assert isinstance(failed.value.run, Run)
    assert "no" in failed.value.run.calls[0].error


def test_a_cache_grows_a_pool_and_a_hit_costs_what_it_first_did() -> None:
    memory: dict[str, Sample] = {}
    model = Toy(PATHS)
    small = solve(self_consistency, model, n=4, cache=memory)
    grown = solve(self_consistency, model, n=8, cache=memory)
    fresh = solve(self_consistency, model, n=8)
    assert [c.text for c in grown.answer.candidates] == [c.text for c in fresh.answer.candidates]
    assert len(memory) == 8
    assert grown.calls[0].samples[:4] == small.calls[0].samples
    again = solve(self_consistency, model, n=8, cache=memory)
    assert again.answer == grown.answer
    assert again.total.tokens == grown.total.tokens
    with pytest.raises(OptionError, match="seed"):
        asyncio.run(Cached(model, memory).sample(PROMPT, 1, Sampling()))


def test_a_strategy_can_be_a_model_and_its_own_calls_are_counted() -> None:
    inner = as_model("self_consistency", Toy(PATHS), n=5)
    result = solve(self_consistency, inner, n=3)
    assert result.answer.value in ("1", "2")
    assert inner.info.name == "toy/self_consistency"
    assert sum(len(call.samples) for call in result.calls) == 15
    eight = [s.text for s in asyncio.run(Seeded(inner, 1).sample(PROMPT, 8, Sampling()))]
    sixteen = [s.text for s in asyncio.run(Seeded(inner, 1).sample(PROMPT, 16, Sampling()))]
    assert sixteen[:8] == eight
    with pytest.raises(OptionError, match="has no option k"):
        as_model("self_consistency", Toy(PATHS), k=5)


async def leaves_open(model: Model, prompt: Prompt, *, n: int = 8, sampling: Sampling = Sampling()) -> Answers:
    """The natural way to use a strategy in another; nobody closes the inner one when this is cut."""
    async for answer in self_consistency(model, prompt, n=n, sampling=sampling):
        await asyncio.sleep(0.02)
        yield answer


def test_calls_that_a_strategy_left_open_are_in_the_ledger_when_it_is_cut() -> None:
    result = solve(leaves_open, Toy(PATHS), n=500, budget=Budget(seconds=0.2))
    assert not result.answer.complete
    assert len(result.calls) == 1
    assert result.total.completion_tokens >= sum(len(c.sample.ids) for c in result.answer.candidates if c.sample) > 0


def test_each_gives_results_as_they_end_and_leaves_nothing_running() -> None:
    async def source() -> AsyncGenerator[int, None]:
        for i in (3, 1, 2):
            yield i

    async def slow(i: int) -> int:
        await asyncio.sleep(0.01 * i)
        if i == 9:
            raise OptionError("nine")
        return i

    async def nine() -> AsyncGenerator[int, None]:
        yield 50
        yield 9

    async def main() -> tuple[list[int], int]:
        got = [i async for i in each(source(), slow)]
        with pytest.raises(OptionError, match="nine"):
            _ = [i async for i in each(nine(), slow)]
        begun = each(source(), slow)
        assert await anext(begun) == 1
        await begun.aclose()
        return got, len(asyncio.all_tasks())

    assert asyncio.run(main()) == ([1, 2, 3], 1)


def test_together_raises_the_error_itself_and_settled_keeps_going() -> None:
    async def fail() -> int:
        raise OptionError("no")

    async def works() -> int:
        return 1

    async def nested() -> int:
        return sum(await together(fail()))

    with pytest.raises(OptionError):
        asyncio.run(together(works(), nested()))
    assert [type(r) for r in asyncio.run(settled(works(), fail(), works()))] == [int, OptionError, int]
