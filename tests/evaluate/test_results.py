"""A stored run read as arrays is what its records say, whatever became of the index."""

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mullover
from mullover.backends.scripted import Scripted
from mullover.backends.toy import Toy
from mullover.errors import OptionError, StoreError
from mullover.evaluate.evaluate import Plan, Result, evaluate
from mullover.evaluate.results import UNITS, Pool, Results, aligned, load, same_problems
from mullover.scorers.exact import exact
from mullover.store import RunStore, Stored, decode, home
from mullover.strategies.adaptive_consistency import adaptive_consistency
from mullover.strategies.best_of_n import best_of_n
from mullover.strategies.self_consistency import self_consistency
from mullover.tasks import Problem, Task
from mullover.types import (
    Answer,
    Answers,
    AnswerSpec,
    Candidate,
    Model,
    Price,
    Prompt,
    Sample,
    Sampling,
    Score,
    Strategy,
    Usage,
)

NUMBER = AnswerSpec("number")
SAYS = ["I think of two.\nANSWER: 2", "ANSWER: 1", "hm?\n\nhm.", "ANSWER: 1"]


def task(count: int = 3, ids: Sequence[str] = (), name: str = "ones", sha256: str = "0") -> Task:
    names = ids or [f"p{i}" for i in range(count)]
    problems = [Problem(each, f"{each}?", "1", NUMBER) for each in names]
    return Task(name, problems, lambda p: exact(p.answer or "", p.expects), "here", sha256)


def run(
    folder: Path,
    model: Model | None = None,
    strategy: Strategy = self_consistency,
    of: Task | None = None,
    limit: int | None = None,
    **options: Any,
) -> Result:
    plan = Plan(of or task(), model or Scripted(SAYS), strategy, options=options or {"n": 4}, limit=limit)
    return asyncio.run(evaluate(plan, folder))


def records(folder: Path) -> list[Stored]:
    return [decode(line) for line in (folder / "problems.jsonl").read_bytes().splitlines()]


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Every record changed in place, as an older version or a hand would have left it."""
    rows = [json.loads(line) for line in (folder / "problems.jsonl").read_bytes().splitlines()]
    for row in rows:
        change(row)
    (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    forget()


def forget() -> None:
    for path in home().glob("index.sqlite*"):
        path.unlink()


def same(a: Results, b: Results) -> None:
    """Equal to the last bit."""
    for name in ("folder", "identity", "info", "ids", "oracle", "usage", "trails", "no_pool", "sheets"):
        assert getattr(a, name) == getattr(b, name)
    for name in ("right", "answered", "complete", "failed"):
        assert np.array_equal(getattr(a, name), getattr(b, name))
    for unit in UNITS:
        assert np.array_equal(a.spent[unit], b.spent[unit])
    assert (a.pool is None) == (b.pool is None)
    for name in [f.name for f in fields(Pool)] if a.pool else ():
        one, other = getattr(a.pool, name), getattr(b.pool, name)
        assert (one is None and other is None) or np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


async def likes_the_last(prompt: Prompt, candidates: Sequence[Candidate]) -> list[Score]:
    return [Score(None) if c.value is None else Score(i / 10, usage=Usage(0, 5)) for i, c in enumerate(candidates)]


class TestWhatWasSpent:
    def test_it_is_the_ledger_of_the_run(self, tmp_path: Path) -> None:
        model = Scripted(SAYS, price=Price(1.0, 0.5, 2.0))
        result = run(tmp_path / "run", model, best_of_n, n=4, scorer=likes_the_last)
        found = load(tmp_path / "run")
        assert found.usage == result.usage and found.usage.keys() == {"solve", "score"}
        assert found.total == result.total
        assert found.total.money > 0
        assert found.spent["tokens"].sum() == result.total.tokens
        assert found.spent["cost"].sum() == pytest.approx(result.total.money)
        stored = records(tmp_path / "run")
        assert found.spent["tokens"].tolist() == [record.run.total.tokens for record in stored]
        assert found.spent["cost"].tolist() == [record.run.total.money for record in stored]
        assert found.spent["seconds"].tolist() == [record.seconds for record in stored]
        assert found.spent["flops"].tolist() == [0.0] * 3

    def test_flops_are_counted_where_the_model_tells_them(self, tmp_path: Path) -> None:
        told = Sample("ANSWER: 1", "eos", usage=Usage(0, 3, 0, 2, flops=1e9))
        run(tmp_path / "run", Scripted([told]), n=2)
        assert load(tmp_path / "run").spent["flops"].tolist() == [2e9] * 3


class TestPool:
    def test_its_arrays_are_the_records(self, tmp_path: Path) -> None:
        run(tmp_path / "run")
        found = load(tmp_path / "run")
        pool = found.pool
        assert pool is not None and pool.n == 4
        assert pool.groups.tolist() == [[0, 1, -1, 1]] * 3
        assert pool.right.tolist() == [[False, True, False, True]] * 3
        assert found.right.tolist() == found.answered.tolist() == found.complete.tolist() == [True] * 3
        assert not found.failed.any() and not found.oracle
        stored = records(tmp_path / "run")
        assert found.ids == tuple(record.id for record in stored)
        for i, record in enumerate(stored):
            samples = [c.sample for c in record.answer.candidates if c.sample is not None]
            assert pool.tokens[i].tolist() == [s.usage.completion_tokens for s in samples]
            assert pool.prompt[i].tolist() == [s.usage.prompt_tokens for s in samples]
            assert pool.ended[i].tolist() == [s.finish == "eos" for s in samples]
            assert pool.right[i].tolist() == [grade is True for grade in record.grades or ()]
            assert pool.groups[i].tolist() == [-1 if group is None else group for group in record.groups or ()]
        assert pool.scores is None and pool.sure is None
        assert pool.prompt.sum() + pool.tokens.sum() == found.spent["tokens"].sum()

    def test_reasoning_and_what_was_cut_are_told_apart(self, tmp_path: Path) -> None:
        cut = Sample("so 1, or", "length", usage=Usage(0, 0, 0, 3))
        run(tmp_path / "run", Scripted(["<think>one of all</think>\nANSWER: 1", cut]), n=2)
        pool = load(tmp_path / "run").pool
        assert pool is not None
        assert pool.ended.tolist() == [[True, False]] * 3
        assert (pool.thought[:, 0] > 0).all() and (pool.thought[:, 1] == 0).all()
        assert (pool.thought < pool.tokens).all()

    def test_scores_are_those_of_the_scorer_and_nobodys_judgement_is_no_number(self, tmp_path: Path) -> None:
        run(tmp_path / "run", None, best_of_n, n=4, scorer=likes_the_last)
        pool = load(tmp_path / "run").pool
        assert pool is not None and pool.scores is not None
        assert pool.scores == pytest.approx(np.array([[0.0, 0.1, np.nan, 0.3]] * 3), nan_ok=True)

    def test_a_samples_probability_is_the_geometric_mean_of_its_tokens(self, tmp_path: Path) -> None:
        run(tmp_path / "run", Toy(), n=6)
        pool = load(tmp_path / "run").pool
        assert pool is not None and pool.sure is not None
        for i, record in enumerate(records(tmp_path / "run")):
            for j, candidate in enumerate(record.answer.candidates):
                assert candidate.sample is not None and candidate.sample.logprobs is not None
                assert pool.sure[i, j] == pytest.approx(np.exp(np.mean(candidate.sample.logprobs)), abs=1e-6)

    def test_a_prompt_that_each_call_reads_again_is_charged_to_each(self, tmp_path: Path) -> None:
        async def ask(text: str) -> str:
            return "ANSWER: 1"

        run(tmp_path / "run", mullover.model(ask), n=3)
        found = load(tmp_path / "run")
        assert found.pool is not None
        assert (found.pool.prompt > 0).all()
        assert found.pool.prompt.sum() + found.pool.tokens.sum() == found.spent["tokens"].sum()

    def test_unequal_numbers_of_samples_are_no_pool_and_the_reason_is_told(self, tmp_path: Path) -> None:
        def says(prompt: Prompt) -> str:
            return f"ANSWER: {next(replies[prompt.origin])}"

        replies = {"p0": iter("1111111111"), "p1": iter("1212121212"), "p2": iter("1111111111")}
        run(tmp_path / "run", Scripted(says), adaptive_consistency, n=10, at_once=1)
        found = load(tmp_path / "run")
        sizes = [len(record.answer.candidates) for record in records(tmp_path / "run")]
        assert min(sizes) < max(sizes) == 10
        assert found.pool is None
        assert found.no_pool == f"problems have {min(sizes)} to 10 samples; draw equally many of each"

    def test_a_problem_that_failed_is_wrong_and_there_is_no_pool(self, tmp_path: Path) -> None:
        def says(prompt: Prompt) -> str | Exception:
            return ConnectionError("down") if prompt.origin == "p1" else "ANSWER: 1"

        run(tmp_path / "run", Scripted(says), n=2)
        found = load(tmp_path / "run")
        at = aligned(found, ["p0", "p1", "p2"])
        assert found.failed[at].tolist() == [False, True, False]
        assert found.right[at].tolist() == found.answered[at].tolist() == [True, False, True]
        assert found.pool is None and "have no samples with their answers" in found.no_pool

    def test_a_strategy_that_keeps_no_samples_has_no_pool(self, tmp_path: Path) -> None:
        async def knows(model: Model, prompt: Prompt, *, sampling: Sampling = Sampling()) -> Answers:
            yield Answer("1", "1")

        asyncio.run(evaluate(Plan(task(), Scripted(SAYS), knows), tmp_path / "run"))
        found = load(tmp_path / "run")
        assert found.right.all() and found.pool is None and "mull sample" in found.no_pool

    @pytest.mark.parametrize("part", ["groups", "grades"])
    def test_records_without_a_part_have_no_pool_and_all_else(self, part: str, tmp_path: Path) -> None:
        run(tmp_path / "run")
        before = load(tmp_path / "run")
        edit(tmp_path / "run", lambda record: record.pop(part))
        after = load(tmp_path / "run")
        assert after.pool is None and "mull sample" in after.no_pool
        assert after.ids == before.ids and after.right.tolist() == before.right.tolist()
        assert after.spent["tokens"].tolist() == before.spent["tokens"].tolist()
        assert after.trails == before.trails

    def test_records_without_a_trail_have_none(self, tmp_path: Path) -> None:
        run(tmp_path / "run")
        edit(tmp_path / "run", lambda record: (record.pop("trail"), record["clock"].pop("trail")))
        found = load(tmp_path / "run")
        assert found.trails == ((), (), ()) and found.pool is not None


class TestCache:
    def test_it_is_made_again_after_the_index_is_deleted(self, tmp_path: Path) -> None:
        run(tmp_path / "run", Toy(), n=5)
        first = load(tmp_path / "run")
        assert (home() / "index.sqlite").exists()
        forget()
        same(load(tmp_path / "run"), first)

    def test_records_are_read_once(self, tmp_path: Path) -> None:
        run(tmp_path / "run")
        told: list[tuple[int, int]] = []
        first = load(tmp_path / "run", lambda *far: told.append(far))
        assert told == [(3, 3)]
        same(load(tmp_path / "run", lambda *far: told.append(far)), first)
        assert told == [(3, 3)]
        forget()
        load(tmp_path / "run", lambda *far: told.append(far))
        assert told == [(3, 3), (3, 3)]

    def test_only_what_is_new_is_read_when_a_run_goes_on(self, tmp_path: Path) -> None:
        run(tmp_path / "run", of=task(5), limit=2)
        assert load(tmp_path / "run").ids == ("p0", "p1")
        run(tmp_path / "run", of=task(5))
        told: list[tuple[int, int]] = []
        found = load(tmp_path / "run", lambda *far: told.append(far))
        assert told == [(3, 3)]
        assert sorted(found.ids) == [f"p{i}" for i in range(5)]

    def test_a_problem_that_failed_and_was_asked_again_is_the_later_one(self, tmp_path: Path) -> None:
        def says(prompt: Prompt) -> str | Exception:
            return ConnectionError("down") if prompt.origin == "p1" and broken else "ANSWER: 1"

        broken, model = True, Scripted(says)
        run(tmp_path / "run", model, n=2)
        assert load(tmp_path / "run").failed.sum() == 1
        broken = False
        run(tmp_path / "run", model, n=2)
        found = load(tmp_path / "run")
        assert sorted(found.ids) == ["p0", "p1", "p2"]
        assert found.right.all() and not found.failed.any() and found.pool is not None

    def test_an_index_that_cannot_be_kept_takes_nothing_from_the_results(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run(tmp_path / "run")
        first = load(tmp_path / "run")
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("MULLOVER_HOME", str(tmp_path / "file" / "home"))
        same(load(tmp_path / "run"), first)
        assert capsys.readouterr().err.startswith("mull: no index of runs at ")


class TestFolders:
    def test_one_without_a_run_is_one_clear_error(self, tmp_path: Path) -> None:
        for folder in (tmp_path, tmp_path / "nowhere"):
            with pytest.raises(OptionError, match=f"^{re.escape(str(folder))} holds no run; .* lists them$"):
                load(folder)

    def test_one_without_a_finished_problem_is_one_clear_error(self, tmp_path: Path) -> None:
        plan = Plan(task(), Scripted(SAYS), self_consistency, options={"n": 2})
        RunStore.open(tmp_path / "run", plan.manifest()).close()
        with pytest.raises(OptionError, match="holds no finished problem yet; go on with the command that began it"):
            load(tmp_path / "run")

    def test_a_relative_name_is_the_same_run(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        run(tmp_path / "run")
        monkeypatch.chdir(tmp_path)
        same(load(Path("run")), load(tmp_path / "run"))

    def test_a_damaged_record_is_named(self, tmp_path: Path) -> None:
        run(tmp_path / "run")
        edit(tmp_path / "run", lambda record: record["candidates"][0].update(at=[9, 9]))
        with pytest.raises(StoreError, match="the record of p0 is damaged"):
            load(tmp_path / "run")


class TestSameProblems:
    def loaded(self, folder: Path, of: Task, limit: int | None = None) -> Results:
        run(folder, of=of, limit=limit)
        return load(folder)

    def test_runs_of_the_same_problems_in_another_order_are_aligned(self, tmp_path: Path) -> None:
        a = self.loaded(tmp_path / "a", task(ids=["x", "y", "z"]))
        b = self.loaded(tmp_path / "b", task(ids=["z", "x", "y"]))
        same_problems([a])
        same_problems([a, b])
        assert [b.ids[i] for i in aligned(b, a.ids)] == list(a.ids)
        with pytest.raises(StoreError, match="no problem 'w'"):
            aligned(a, ["x", "w"])

    def test_another_task_is_refused(self, tmp_path: Path) -> None:
        a, b = self.loaded(tmp_path / "a", task()), self.loaded(tmp_path / "b", task(name="twos"))
        with pytest.raises(OptionError, match=r"^a and b are of different tasks: ones and twos$"):
            same_problems([a, a, b])

    def test_another_version_of_the_task_is_refused(self, tmp_path: Path) -> None:
        a, b = self.loaded(tmp_path / "a", task()), self.loaded(tmp_path / "b", task(sha256="1"))
        with pytest.raises(OptionError, match=r"^a and b are of different versions of the task: 0 and 1$"):
            same_problems([a, b])

    def test_problems_that_one_run_lacks_are_counted_and_one_is_named(self, tmp_path: Path) -> None:
        a, b = self.loaded(tmp_path / "a", task(5)), self.loaded(tmp_path / "b", task(5), limit=3)
        for pair in ([a, b], [b, a]):
            with pytest.raises(OptionError, match=r"did not finish the same problems: 2 .* such as p3; .*--limit"):
                same_problems(pair)
