"""The answers a run had on its way: each change of them, what it had cost by then, and whether it was right."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import mullover
from mullover.backends.scripted import Scripted
from mullover.backends.toy import Toy
from mullover.evaluate.evaluate import Plan, evaluate, graded
from mullover.evaluate.results import UNITS, load
from mullover.running import Budget, Mark, Run, run
from mullover.scorers.exact import exact
from mullover.store import canonical, decode, encode
from mullover.strategies.adaptive_consistency import adaptive_consistency
from mullover.strategies.best_of_n import best_of_n
from mullover.strategies.chain_of_thought import chain_of_thought
from mullover.strategies.self_consistency import self_consistency
from mullover.tasks import Problem, Task
from mullover.types import (
    NOTHING,
    Answer,
    Answers,
    AnswerSpec,
    Candidate,
    Event,
    Events,
    Model,
    Price,
    Prompt,
    Sample,
    Sampling,
    Score,
    Strategy,
    Usage,
)

PROMPT = Prompt.of("how many?", AnswerSpec("number"))
TURNS = ["hm?\n\nhm.", "ANSWER: 2", "ANSWER: 1", "ANSWER: 1", "ANSWER: 2", "ANSWER: 2"]
ONES = Task(
    "ones",
    [Problem(f"p{i}", f"p{i}?", "1", AnswerSpec("number")) for i in range(3)],
    lambda p: exact(p.answer or "", p.expects),
    "here",
    "0",
)


def ran(strategy: Strategy, model: Model, budget: Budget = Budget(), **options: Any) -> Run:
    return asyncio.run(run(strategy, model, PROMPT, budget=budget, **options))


def changes(values: Sequence[str | None]) -> list[str | None]:
    """Each that is not what stood before it."""
    return [value for i, value in enumerate(values) if not i or value != values[i - 1]]


def rises(trail: Sequence[Mark]) -> bool:
    return all(
        a.spent.tokens <= b.spent.tokens
        and a.spent.completion_tokens <= b.spent.completion_tokens
        and a.spent.calls <= b.spent.calls
        and a.spent.money <= b.spent.money
        and a.spent.seconds <= b.spent.seconds
        for a, b in pairwise(trail)
    )


async def likes_the_last(prompt: Prompt, candidates: Sequence[Candidate]) -> list[Score]:
    return [Score(float(i), usage=Usage(0, 5)) for i, _ in enumerate(candidates)]


class TestOfARun:
    def test_it_has_a_mark_for_each_change_of_the_answer(self) -> None:
        heard: list[Answer] = []
        done = ran(self_consistency, Scripted(TURNS), n=6, watch=heard.append)
        assert [answer.value for answer in heard] == [None, "2", "2", "1", "2", "2"]
        assert [mark.value for mark in done.trail] == [None, "2", "1", "2"]
        assert rises(done.trail)

    def test_a_mark_counts_all_that_was_spent_by_then(self) -> None:
        done = ran(self_consistency, Scripted(TURNS, price=Price(1.0, 0.0, 10.0)), n=6)
        samples = done.calls[0].samples
        for mark, many in zip(done.trail, (1, 2, 4, 5), strict=True):
            money = mark.spent.prompt_tokens + 10 * mark.spent.completion_tokens
            assert mark.spent == sum([sample.usage for sample in samples[:many]], Usage(1, money=money))

    @pytest.mark.parametrize("strategy", [self_consistency, adaptive_consistency, best_of_n, chain_of_thought])
    def test_the_last_mark_is_the_answer_and_spending_rises(self, strategy: Strategy) -> None:
        options: dict[str, Any] = {} if strategy is chain_of_thought else {"n": 8}
        options |= {"scorer": likes_the_last} if strategy is best_of_n else {}
        for seed in range(20):
            done = asyncio.run(run(strategy, Toy(), PROMPT, seed=seed, **options))
            values = [mark.value for mark in done.trail]
            assert values[-1] == done.answer.value
            assert values == changes(values)
            assert rises(done.trail)
            assert done.trail[-1].spent.tokens <= done.total.tokens

    def test_a_scorers_cost_is_in_the_mark_of_what_it_chose(self) -> None:
        done = ran(best_of_n, Scripted(["ANSWER: 2", "ANSWER: 1"]), n=2, scorer=likes_the_last)
        assert [mark.value for mark in done.trail] == ["2", "1"]
        assert done.trail[-1].spent == done.total
        assert done.usage["score"].tokens == 10
        assert done.trail[0].spent.tokens == done.calls[0].samples[0].usage.tokens

    @pytest.mark.parametrize("model", [Toy(), Scripted(["ANSWER: 1"])])
    def test_the_first_mark_of_a_vote_is_what_one_sample_had_cost(self, model: Model) -> None:
        done = ran(self_consistency, model, n=8)
        first = done.trail[0].spent
        assert first.tokens == done.calls[0].samples[0].usage.tokens > 0
        assert first.tokens < done.total.tokens
        assert first.seconds > 0

    def test_an_answer_that_stays_has_one_mark(self) -> None:
        done = ran(self_consistency, Scripted(["ANSWER: 1"]), n=8)
        assert [mark.value for mark in done.trail] == ["1"]
        assert done.answer.why == "8 of 8 samples agree"

    def test_calls_in_flight_are_counted(self) -> None:
        async def in_two(model: Model, prompt: Prompt, *, sampling: Sampling = Sampling()) -> Answers:
            events = [model.stream(prompt, 1, sampling), model.stream(prompt, 1, sampling)]
            for i, each in enumerate(events):
                await anext(each)
                yield Answer(str(i), str(i))
            for each in events:
                await each.aclose()
            yield Answer("both", "both")

        done = ran(in_two, Toy())
        prompt = len(PROMPT.text.split())
        assert [mark.spent.calls for mark in done.trail] == [1, 2, 2]
        assert [mark.spent.prompt_tokens for mark in done.trail] == [prompt, 2 * prompt, 2 * prompt]
        assert done.trail[-1].spent == done.total

    def test_a_run_cut_by_its_budget_keeps_the_marks_it_had(self) -> None:
        done = ran(self_consistency, Toy(), Budget(tokens=30), n=50)
        assert not done.answer.complete
        assert done.trail and done.trail[-1].value == done.answer.value
        assert done.trail[-1].spent.tokens <= done.total.tokens

    def test_a_run_without_an_answer_has_no_mark(self) -> None:
        done = ran(self_consistency, Toy(), Budget(tokens=1), n=5)
        assert done.trail == () and done.answer.value is None and not done.answer.complete

    def test_a_model_that_fails_leaves_the_marks_before_it(self) -> None:
        async def twice(model: Model, prompt: Prompt, *, sampling: Sampling = Sampling()) -> Answers:
            (sample,) = await model.sample(prompt, 1, sampling)
            yield Answer(sample.text, sample.text)
            await model.sample(prompt, 1, sampling)

        with pytest.raises(mullover.ModelError) as failure:
            ran(twice, Scripted(["one", ConnectionError("down")]))
        assert isinstance(failure.value.run, Run)
        assert [mark.value for mark in failure.value.run.trail] == ["one"]

    def test_samples_from_a_cache_are_marked_with_what_they_first_cost(self) -> None:
        cache: dict[str, Sample] = {}
        first = ran(self_consistency, Toy(), n=8, cache=cache)
        again = ran(self_consistency, Toy(), n=8, cache=cache)
        assert again.trail == first.trail
        assert len(cache) == 8


class TestStored:
    def test_it_is_read_again_as_it_was(self) -> None:
        done = ran(self_consistency, Scripted(TURNS, price=Price(1.0, 0.0, 10.0)), n=6)
        marks = (None, False, True, False)
        line = encode("p", done, gold="1", correct=False, grades=None, marks=marks, seconds=1.0, started=0.0)
        stored = decode(line)
        assert stored.run.trail == done.trail
        assert [mark.spent.seconds for mark in stored.run.trail] == [mark.spent.seconds for mark in done.trail]
        assert stored.marks == marks

    def test_two_runs_are_compared_without_it(self) -> None:
        done = ran(self_consistency, Scripted(TURNS), n=6)
        other = Run(done.answer, done.calls, done.oracle, (Mark("2", NOTHING),))
        one, two = (
            encode("p", each, gold=None, correct=None, grades=None, seconds=0.0, started=0.0) for each in (done, other)
        )
        assert one != two and canonical(one) == canonical(two)

    def test_each_mark_is_graded(self) -> None:
        done = ran(self_consistency, Scripted(TURNS), n=6)
        problem = ONES.problems[0]
        verdicts = asyncio.run(graded(ONES.grade(problem), problem, done, ""))
        assert verdicts.trail == (None, False, True, False)
        assert verdicts.answer is False

    def test_an_evaluation_stores_it_and_results_have_it_step_by_step(self, tmp_path: Path) -> None:
        plan = Plan(ONES, Scripted(TURNS, price=Price(1.0, 0.0, 10.0)), self_consistency, options={"n": 6})
        asyncio.run(evaluate(plan, tmp_path / "run"))
        found = load(tmp_path / "run")
        stored = [decode(line) for line in (tmp_path / "run" / "problems.jsonl").read_bytes().splitlines()]
        assert len(found.trails) == len(stored) == 3
        for steps, record in zip(found.trails, stored, strict=True):
            assert record.marks == (None, False, True, False)
            assert [mark.value for mark in record.run.trail] == [None, "2", "1", "2"]
            assert [step.right for step in steps] == [False, False, True, False]
            for step, mark in zip(steps, record.run.trail, strict=True):
                spent = mark.spent
                assert [step.spent[unit] for unit in UNITS] == [spent.tokens, spent.flops, spent.seconds, spent.money]
        for i, steps in enumerate(found.trails):
            assert steps[-1].right == found.right[i]
            for unit in UNITS:
                assert steps[-1].spent[unit] <= found.spent[unit][i]
            assert steps[-1].spent["tokens"] < found.spent["tokens"][i]

    def test_flops_and_the_tokens_of_one_event_at_a_time_are_in_it(self, tmp_path: Path) -> None:
        class Heavy(Scripted):
            async def stream(self, prompt: Prompt, n: int, sampling: Sampling) -> Events:
                async for event in super().stream(prompt, n, sampling):
                    yield Event(event.index, event.text, event.ids, event.usage + Usage(flops=1e9), event.sample)

        asyncio.run(evaluate(Plan(ONES, Heavy(TURNS), self_consistency, options={"n": 6}), tmp_path / "run"))
        for steps, spent in zip(load(tmp_path / "run").trails, load(tmp_path / "run").spent["flops"], strict=True):
            assert [step.spent["flops"] for step in steps] == [1e9, 2e9, 4e9, 5e9]
            assert spent == 6e9
