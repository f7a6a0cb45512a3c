"""A pool grows, and other methods run on it, without anything being drawn twice."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import mullover
from mullover.backends.scripted import Scripted
from mullover.backends.toy import Toy
from mullover.cli import main
from mullover.errors import OptionError
from mullover.evaluate.evaluate import Plan, Result, evaluate
from mullover.evaluate.results import load
from mullover.evaluate.reuse import Drawn
from mullover.scorers.exact import exact
from mullover.store import Stored, canonical, decode
from mullover.strategies.adaptive_consistency import adaptive_consistency
from mullover.strategies.best_of_n import best_of_n
from mullover.strategies.self_consistency import self_consistency
from mullover.tasks import Problem, Task
from mullover.types import AnswerSpec, Candidate, Model, Prompt, Score, Strategy

NUMBER = AnswerSpec("number")


class Counting:
    """A model that answers by its seed, and how often it was asked each question."""

    def __init__(self) -> None:
        self.asked = Counter[str]()

    @property
    def model(self) -> Model:
        async def ask(text: str, seed: int) -> str:
            self.asked[text] += 1
            return f"So I think.\nANSWER: {8 if seed % 10 < 8 else seed % 10 - 5}"

        return mullover.model(ask)

    def new(self) -> list[int]:
        """How often each question was asked since this was last wanted."""
        counts, self.asked = sorted(self.asked.values()), Counter()
        return counts


def task(count: int = 3) -> Task:
    problems = [Problem(f"p{i}", f"apples in basket {i}?", "8", NUMBER) for i in range(count)]
    return Task("apples", problems, lambda p: exact(p.answer or "", p.expects), "here", "0")


def run(
    folder: Path,
    model: Model,
    n: int,
    reuse: Sequence[Path] = (),
    strategy: Strategy = self_consistency,
    count: int = 3,
    seed: int = 0,
    sampling: dict[str, Any] | None = None,
    **options: Any,
) -> Result:
    options |= {"n": n}
    more: dict[str, Any] = {"reuse": tuple(reuse), "seed": seed, "sampling": sampling or {}}
    return asyncio.run(evaluate(Plan(task(count), model, strategy, options=options, **more), folder))


def lines(folder: Path) -> dict[str, bytes]:
    return {decode(line).id: line for line in (folder / "problems.jsonl").read_bytes().splitlines()}


def records(folder: Path) -> dict[str, Stored]:
    return {id_: decode(line) for id_, line in lines(folder).items()}


def canonicals(folder: Path) -> dict[str, bytes]:
    return {id_: canonical(line) for id_, line in lines(folder).items()}


def bare(line: bytes) -> dict[str, Any]:
    """The canonical record, less what was spent."""
    record: dict[str, Any] = json.loads(canonical(line))
    record.pop("usage")
    for call in record["calls"]:
        call.pop("usage")
        for sample in call["samples"]:
            sample.pop("usage")
    return record


def judged(folder: Path) -> dict[str, Any]:
    return {
        id_: (
            r.answer.value,
            r.correct,
            r.grades,
            r.groups,
            [c.text for c in r.answer.candidates],
            r.run.calls[0].seeds,
        )
        for id_, r in records(folder).items()
    }


class TestGrowing:
    def test_a_grown_pool_is_a_fresh_one_byte_for_byte_and_only_the_new_samples_are_asked(self, tmp_path: Path) -> None:
        counting = Counting()
        run(tmp_path / "small", counting.model, 4)
        assert counting.new() == [4, 4, 4]
        grown = run(tmp_path / "grown", counting.model, 8, [tmp_path / "small"])
        assert counting.new() == [4, 4, 4]
        fresh = run(tmp_path / "fresh", counting.model, 8)
        assert counting.new() == [8, 8, 8]
        assert canonicals(tmp_path / "grown") == canonicals(tmp_path / "fresh")
        assert judged(tmp_path / "grown") == judged(tmp_path / "fresh")
        assert (grown.usage, grown.correct, grown.pools) == (fresh.usage, fresh.correct, fresh.pools)

    def test_where_samples_share_a_prompt_growing_reads_it_once_more_and_all_else_is_equal(
        self, tmp_path: Path
    ) -> None:
        run(tmp_path / "small", Toy(), 4)
        grown = run(tmp_path / "grown", Toy(), 8, [tmp_path / "small"])
        fresh = run(tmp_path / "fresh", Toy(), 8)
        old, new = lines(tmp_path / "fresh"), lines(tmp_path / "grown")
        assert {id_: bare(line) for id_, line in new.items()} == {id_: bare(line) for id_, line in old.items()}
        assert judged(tmp_path / "grown") == judged(tmp_path / "fresh")
        assert (grown.correct, grown.pools) == (fresh.correct, fresh.pools)
        assert grown.total.completion_tokens == fresh.total.completion_tokens
        assert grown.total.prompt_tokens == 2 * fresh.total.prompt_tokens
        assert (
            grown.total.prompt_tokens + grown.total.cached_tokens
            == fresh.total.prompt_tokens + fresh.total.cached_tokens
        )

    def test_the_first_samples_of_a_grown_pool_are_the_small_one(self, tmp_path: Path) -> None:
        run(tmp_path / "small", Toy(), 4)
        run(tmp_path / "grown", Toy(), 8, [tmp_path / "small"])
        small, grown = records(tmp_path / "small"), records(tmp_path / "grown")
        for id_, record in small.items():
            assert [c.sample for c in grown[id_].answer.candidates[:4]] == [c.sample for c in record.answer.candidates]
            assert (grown[id_].grades or ())[:4] == record.grades

    def test_a_pool_grows_again_and_from_several_and_shrinks(self, tmp_path: Path) -> None:
        counting = Counting()
        run(tmp_path / "two", counting.model, 2)
        run(tmp_path / "five", counting.model, 5, [tmp_path / "two"])
        counting.new()
        run(tmp_path / "nine", counting.model, 9, [tmp_path / "two", tmp_path / "five"])
        assert counting.new() == [4, 4, 4]
        run(tmp_path / "three", counting.model, 3, [tmp_path / "nine"])
        assert counting.new() == []

    def test_problems_that_the_small_pool_lacks_are_drawn_whole(self, tmp_path: Path) -> None:
        counting = Counting()
        run(tmp_path / "small", counting.model, 4, count=1)
        counting.new()
        run(tmp_path / "grown", counting.model, 6, [tmp_path / "small"])
        assert counting.new() == [2, 6, 6]

    def test_samples_that_failed_are_drawn_again(self, tmp_path: Path) -> None:
        broken, asked = True, []

        async def ask(text: str, seed: int) -> str:
            asked.append(seed)
            if broken and len(asked) % 4 == 2:
                raise ConnectionError("down")
            return "ANSWER: 8"

        run(tmp_path / "small", mullover.model(ask), 4, count=1)
        failed = asked.pop(1)
        assert len(records(tmp_path / "small")["p0"].answer.candidates) == 3
        broken = False
        asked.clear()
        run(tmp_path / "again", mullover.model(ask), 5, [tmp_path / "small"], count=1)
        assert len(asked) == 2 and failed in asked
        assert len(records(tmp_path / "again")["p0"].answer.candidates) == 5

    def test_a_stopped_run_may_go_on_from_a_pool(self, tmp_path: Path) -> None:
        counting = Counting()
        run(tmp_path / "small", counting.model, 4)
        run(tmp_path / "big", counting.model, 8)
        stored = (tmp_path / "big" / "problems.jsonl").read_bytes()
        (tmp_path / "big" / "problems.jsonl").write_bytes(stored.splitlines(keepends=True)[0])
        counting.new()
        assert run(tmp_path / "big", counting.model, 8, [tmp_path / "small"]).problems == 3
        assert counting.new() == [4, 4]


class TestOtherRequests:
    @pytest.mark.parametrize("how", [{"seed": 1}, {"sampling": {"top_p": 0.9}}])
    def test_samples_of_another_seed_or_sampling_are_not_taken(self, how: dict[str, Any], tmp_path: Path) -> None:
        run(tmp_path / "small", Toy(), 4)
        grown = run(tmp_path / "grown", Toy(), 8, [tmp_path / "small"], **how)
        fresh = run(tmp_path / "fresh", Toy(), 8, **how)
        assert grown.usage == fresh.usage
        assert judged(tmp_path / "grown") == judged(tmp_path / "fresh")

    def test_another_model_is_refused_before_anything_is_asked(self, tmp_path: Path) -> None:
        counting = Counting()
        run(tmp_path / "small", Toy(), 4)
        with pytest.raises(OptionError, match=r"small are of another model or another version of it$"):
            run(tmp_path / "grown", counting.model, 8, [tmp_path / "small"])
        assert counting.new() == []
        assert not (tmp_path / "grown").exists()

    def test_an_edited_model_file_is_another_model(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("one.jsonl").write_text('{"id": "a", "question": "1?", "answer": "1", "kind": "number"}\n')
        Path("says.json").write_text('["ANSWER: 1"]')
        words = ("sample", "--task", "one.jsonl", "--model", "scripted:says.json", "--n")
        assert main([*words, "2", "--out", "small"]) == 0
        assert main([*words, "3", "--grow", "small", "--out", "grown"]) == 0
        Path("says.json").write_text('["ANSWER: 2"]')
        capsys.readouterr()
        assert main([*words, "4", "--grow", "small", "--out", "other"]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1 and "another version" in err

    def test_a_folder_without_a_run_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(OptionError, match="nowhere holds no run whose samples could be used again"):
            run(tmp_path / "grown", Toy(), 8, [tmp_path / "nowhere"])
        with pytest.raises(OptionError, match="holds no run"):
            Drawn([tmp_path], "toy ")

    def test_a_problem_that_no_run_has_finds_nothing(self, tmp_path: Path) -> None:
        run(tmp_path / "small", Toy(), 4)
        drawn = Drawn([tmp_path / "small"], "toy ")
        assert len(drawn.of("p0")) == 4
        assert drawn.of("p9") == {}


class TestOtherMethods:
    def test_adaptive_consistency_on_a_pool_draws_nothing_new(self, tmp_path: Path) -> None:
        counting = Counting()
        run(tmp_path / "pool", counting.model, 12)
        counting.new()
        result = run(tmp_path / "adaptive", counting.model, 12, [tmp_path / "pool"], adaptive_consistency, at_once=1)
        assert counting.new() == []
        pool = records(tmp_path / "pool")
        for id_, record in records(tmp_path / "adaptive").items():
            texts = [c.text for c in record.answer.candidates]
            assert 0 < len(texts) <= 12
            assert texts == [c.text for c in pool[id_].answer.candidates[: len(texts)]]
        alone = run(tmp_path / "alone", counting.model, 12, (), adaptive_consistency, at_once=1)
        assert sum(counting.new()) == sum(n * many for (n, _), many in alone.pools.items()) < 36
        assert (result.usage, result.pools) == (alone.usage, alone.pools)
        assert judged(tmp_path / "adaptive") == judged(tmp_path / "alone")

    def test_best_of_n_on_a_pool_asks_only_its_scorer(self, tmp_path: Path) -> None:
        async def likes_eights(prompt: Prompt, candidates: Sequence[Candidate]) -> list[Score]:
            return [Score(1.0 if c.value == "8" else 0.0) for c in candidates]

        counting = Counting()
        run(tmp_path / "pool", counting.model, 6)
        counting.new()
        best = run(tmp_path / "best", counting.model, 6, [tmp_path / "pool"], best_of_n, scorer=likes_eights)
        assert counting.new() == []
        pool = load(tmp_path / "pool").pool
        assert pool is not None and best.correct == pool.right.any(axis=1).sum()

    def test_a_rerun_of_what_is_all_there_costs_what_it_first_did(self, tmp_path: Path) -> None:
        for name, model in (("toy", Toy()), ("counting", Counting().model), ("said", Scripted(["ANSWER: 8", "5?"]))):
            first = run(tmp_path / name, model, 5)
            again = run(tmp_path / f"{name} again", model, 5, [tmp_path / name])
            assert again.usage == first.usage and again.total.tokens > 0
            assert judged(tmp_path / f"{name} again") == judged(tmp_path / name)
            if name != "said":  # one object is several of its samples, and which of them is meant is not stored
                assert canonicals(tmp_path / f"{name} again") == canonicals(tmp_path / name)
