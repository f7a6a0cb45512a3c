"""What an evaluation takes for the same run, and what it does when something goes wrong."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mullover.backends.scripted import Scripted
from mullover.cli import main
from mullover.errors import OptionError
from mullover.evaluate.evaluate import Plan, Result, evaluate
from mullover.scorers.exact import exact
from mullover.strategies.self_consistency import self_consistency
from mullover.tasks import Problem, Task
from mullover.types import Answer, Answers, AnswerSpec, Model, Prompt, Sampling

NUMBER = AnswerSpec("number")


def task(count: int = 3, ids: Sequence[str] = ()) -> Task:
    names = ids or [f"p{i}" for i in range(count)]
    problems = [Problem(name, f"{name}?", "1", NUMBER) for name in names]
    return Task("ones", problems, lambda p: exact(p.answer or "", p.expects), "here", "0")


def evaluated(plan: Plan, out: Path) -> Result:
    return asyncio.run(evaluate(plan, out))


def mull(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main([*words, "--json"]) == 0
    shown: dict[str, Any] = json.loads(capsys.readouterr().out)
    return shown


@pytest.fixture
def one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "one.jsonl").write_text('{"id": "a", "question": "1?", "answer": "1", "kind": "number"}\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_edited_file_is_another_run(one: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("eval", "--task", "one.jsonl", "--model", "scripted:says.json")
    (one / "says.json").write_text('["ANSWER: 1"]')
    first = mull(capsys, *words)
    (one / "says.json").write_text('["ANSWER: 2"]')
    second = mull(capsys, *words)
    assert (first["correct"], second["correct"]) == (1, 0)
    assert first["run"] != second["run"]
    (one / "mine.txt").write_text("{question}")
    styled = mull(capsys, *words, "--style", "mine.txt")
    (one / "mine.txt").write_text("Please: {question}")
    assert mull(capsys, *words, "--style", "mine.txt")["run"] != styled["run"]


def test_strategies_of_one_name_from_two_modules_are_two_runs(
    one: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "from mullover import Answer\nasync def mine(model, prompt):\n    yield Answer('{0}', '{0}')\n"
    for name, says in (("sa", "1"), ("sb", "2")):
        (one / f"{name}.py").write_text(code.format(says))
    monkeypatch.syspath_prepend(str(one))
    runs = [
        mull(capsys, "eval", "--task", "one.jsonl", "--model", "toy", "--strategy", f"{m}:mine") for m in ("sa", "sb")
    ]
    assert [run["correct"] for run in runs] == [1, 0]
    assert runs[0]["run"] != runs[1]["run"]


def test_two_problems_of_one_id_are_refused(tmp_path: Path) -> None:
    plan = Plan(task(ids=["a", "a"]), Scripted(["ANSWER: 1"]), self_consistency, options={"n": 2})
    with pytest.raises(OptionError, match="two problems of one id"):
        evaluated(plan, tmp_path / "run")


def test_a_problem_without_truth_is_refused_before_it_is_asked(tmp_path: Path) -> None:
    asked = []

    def says(prompt: Prompt) -> str:
        asked.append(prompt)
        return "ANSWER: 1"

    problems = [Problem("a", "1?", None, NUMBER)]

    def grade(problem: Problem) -> Any:
        raise OptionError("problem a has no gold answer")

    plan = Plan(Task("none", problems, grade, "here", "0"), Scripted(says), self_consistency, options={"n": 2})
    with pytest.raises(OptionError, match="no gold answer"):
        evaluated(plan, tmp_path / "run")
    assert not asked


async def breaks_on_p2(model: Model, prompt: Prompt, *, sampling: Sampling = Sampling()) -> Answers:
    if prompt.origin == "p2":
        raise KeyError("a mistake in the strategy")
    yield Answer("1", "1")


def test_a_mistake_in_a_strategy_ends_the_run_and_keeps_what_is_finished(tmp_path: Path) -> None:
    plan = Plan(task(6), Scripted(["ANSWER: 1"]), breaks_on_p2, concurrency=1)
    with pytest.raises(KeyError, match="a mistake in the strategy"):
        evaluated(plan, tmp_path / "run")
    stored = [json.loads(line)["id"] for line in (tmp_path / "run" / "problems.jsonl").read_text().splitlines()]
    assert stored == ["p0", "p1"]
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "stopped"


def test_failed_problems_are_asked_again_by_the_same_plan(tmp_path: Path) -> None:
    def says(prompt: Prompt) -> str | Exception:
        return ConnectionError("down") if prompt.origin == "p1" and broken else "ANSWER: 1"

    broken = True
    plan = Plan(task(3), Scripted(says), self_consistency, options={"n": 2})
    first = evaluated(plan, tmp_path / "run")
    assert (first.problems, first.correct, first.failed, first.incomplete) == (3, 2, 1, 0)
    broken = False
    second = evaluated(plan, tmp_path / "run")
    assert (second.problems, second.correct, second.failed) == (3, 3, 0)


def test_a_limit_may_grow(tmp_path: Path) -> None:
    def plan(limit: int | None) -> Plan:
        return Plan(task(5), Scripted(["ANSWER: 1"]), self_consistency, options={"n": 2}, limit=limit)

    assert evaluated(plan(2), tmp_path / "run").problems == 2
    assert evaluated(plan(None), tmp_path / "run").problems == 5
    assert len((tmp_path / "run" / "problems.jsonl").read_text().splitlines()) == 5


def test_no_truth_is_in_what_a_strategy_gets(tmp_path: Path) -> None:
    seen: list[Any] = []

    async def looks(model: Model, prompt: Prompt, *, sampling: Sampling = Sampling()) -> Answers:
        seen.append((prompt, model, sampling))
        yield Answer("1", "1")

    secret = Task(
        "s", [Problem("a", "?", "SECRET-7", AnswerSpec("text"))], lambda p: exact(p.answer or "", p.expects), "", "0"
    )
    evaluated(Plan(secret, Scripted(["ANSWER: 1"]), looks), tmp_path / "run")
    assert seen
    assert "SECRET-7" not in repr(seen)
