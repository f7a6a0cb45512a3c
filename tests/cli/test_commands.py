"""The command line, as a user types it."""

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mullover.cli import main

PROBLEMS = [("a", "6*7?", "42"), ("b", "1+1?", "2"), ("c", "2+2?", "4")]
SAID = {
    "a": ["ANSWER: 41", "ANSWER: 42", "ANSWER: 42"],
    "b": ["ANSWER: 2", "hm?\n\nhm.", "no.\n\nno."],
    "c": ["ANSWER: 5"] * 3,
}
SCHOOL = Path(__file__).parents[2] / "examples" / "school.jsonl"
KEYS = {"task", "model", "strategy", "problems", "correct", "accuracy", "ci95", "unanswered", "usage", "seconds", "run"}


@pytest.fixture
def problems(tmp_path: Path) -> str:
    lines = [json.dumps({"id": i, "problem": q, "target": a}) for i, q, a in PROBLEMS]
    (tmp_path / "problems.jsonl").write_text("\n".join(lines) + "\n")
    return str(tmp_path / "problems.jsonl")


@pytest.fixture
def recorded(tmp_path: Path) -> str:
    lines = [json.dumps({"id": i, "completion": text}) for i, texts in SAID.items() for text in texts]
    with gzip.open(tmp_path / "recorded.jsonl.gz", "wt") as file:
        file.write("\n".join(lines))
    return f"replay:{tmp_path / 'recorded.jsonl.gz'}"


def mull(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(words)
    out = capsys.readouterr()
    return code, out.out, out.err


def one_line(err: str) -> bool:
    return err.count("\n") == 1 and err.startswith("mull: ")


class TestAsk:
    def test_the_answer_alone_is_on_stdout_and_the_cost_on_stderr(self, capsys: pytest.CaptureFixture[str]) -> None:
        code, out, err = mull(capsys, "ask", "apples?", "--model", "toy", "--strategy", "self_consistency", "--n", "25")
        assert (code, out) == (0, "8\n")
        assert "of 25 samples agree" in err
        assert "1 call;" in err

    def test_json_has_the_promised_keys(self, capsys: pytest.CaptureFixture[str]) -> None:
        code, out, _ = mull(capsys, "ask", "apples?", "--model", "toy", "--seed", "3", "--json")
        shown = json.loads(out)
        assert code == 0
        assert {"answer", "text", "strategy", "model", "seed", "incomplete", "candidates", "usage"} <= shown.keys()
        wanted = {"calls", "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "seconds"}
        assert wanted <= shown["usage"].keys()
        assert (shown["strategy"], shown["model"], shown["seed"]) == ("chain_of_thought", "toy", 3)

    def test_a_strategys_own_options_are_flags(self, capsys: pytest.CaptureFixture[str]) -> None:
        words = ("ask", "--confidence", "0.5", "--at-once=1", "apples?", "--model", "toy", "--strategy")
        code, out, _ = mull(capsys, *words, "adaptive_consistency", "--json")
        assert code == 0
        assert len(json.loads(out)["candidates"]) < 4

    def test_a_budget_gives_an_incomplete_answer(self, capsys: pytest.CaptureFixture[str]) -> None:
        words = ("ask", "apples?", "--model", "toy", "--strategy", "self_consistency", "--budget-tokens", "40")
        code, out, _ = mull(capsys, *words, "--json")
        assert code == 0
        assert json.loads(out)["incomplete"] is True

    def test_oracle_is_marked(self, capsys: pytest.CaptureFixture[str]) -> None:
        words = ("ask", "apples?", "--model", "toy", "--strategy", "best_of_n", "--scorer", "oracle:5")
        code, out, err = mull(capsys, *words, "--kind", "number")
        assert (code, out) == (0, "5\n")
        assert "ORACLE" in err

    def test_model_text_cannot_control_the_terminal(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        (tmp_path / "says.jsonl").write_text(json.dumps("ANSWER: \x1b[2Jhi") + "\n")
        code, out, err = mull(capsys, "ask", "?", "--model", f"scripted:{tmp_path / 'says.jsonl'}")
        assert code == 0
        assert "\x1b" not in out + err

    def test_a_dash_reads_the_question_from_stdin(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "mullover", "ask", "-", "--model", "toy", "--strategy", "direct"],
            input="apples?",
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stdout) == (0, "5\n")

    def test_that_nothing_can_be_stored_takes_nothing_from_the_answer(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("MULLOVER_HOME", str(tmp_path / "file" / "home"))
        code, out, err = mull(capsys, "ask", "apples?", "--model", "toy", "--strategy", "direct")
        assert (code, out) == (0, "5\n")
        assert "not stored" in err


class TestEval:
    def run(self, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
        code, out, err = mull(capsys, "eval", *words, "--json")
        assert code == 0, err
        shown: dict[str, Any] = json.loads(out)
        return shown

    def test_json_has_the_promised_keys_and_right_figures(
        self, capsys: pytest.CaptureFixture[str], problems: str, recorded: str
    ) -> None:
        words = ("--task", problems, "--model", recorded, "--strategy", "self_consistency", "--n", "3")
        shown = self.run(capsys, *words)
        assert shown.keys() >= KEYS
        assert (shown["problems"], shown["correct"], shown["unanswered"]) == (3, 2, 0)
        low, high = shown["ci95"]
        assert shown["accuracy"] == pytest.approx(2 / 3)
        assert 0 <= low < shown["accuracy"] < high <= 1
        assert shown["pass_at"]["1"] == pytest.approx((2 + 1 + 0) / 9)
        assert shown["pass_at"]["3"] == pytest.approx(2 / 3)

    def test_a_second_run_of_the_same_command_asks_nothing(
        self, capsys: pytest.CaptureFixture[str], problems: str, recorded: str, tmp_path: Path
    ) -> None:
        words = ("--task", problems, "--model", recorded, "--out", str(tmp_path / "run"))
        first = self.run(capsys, *words)
        stored = (tmp_path / "run" / "problems.jsonl").read_bytes()
        second = self.run(capsys, *words)
        assert (tmp_path / "run" / "problems.jsonl").read_bytes() == stored
        same = ("correct", "accuracy", "unanswered", "pass_at", "run")
        assert [first[key] for key in same] == [second[key] for key in same]
        assert first["usage"]["completion_tokens"] == second["usage"]["completion_tokens"]

    def test_unanswered_problems_are_counted(
        self, capsys: pytest.CaptureFixture[str], problems: str, tmp_path: Path
    ) -> None:
        (tmp_path / "says.json").write_text(json.dumps(["I do not know.\n\nNobody does."]))
        shown = self.run(capsys, "--task", problems, "--model", f"scripted:{tmp_path / 'says.json'}")
        assert (shown["correct"], shown["unanswered"]) == (0, 3)

    def test_the_oracle_of_a_task_knows_each_problems_truth_and_is_marked(
        self, capsys: pytest.CaptureFixture[str], problems: str, recorded: str
    ) -> None:
        words = ("--task", problems, "--model", recorded, "--strategy", "best_of_n", "--n", "3", "--scorer", "oracle")
        shown = self.run(capsys, *words)
        assert (shown["correct"], shown["oracle"]) == (2, True)

    def test_more_samples_than_recorded_is_an_error_that_says_so(
        self, capsys: pytest.CaptureFixture[str], problems: str, recorded: str
    ) -> None:
        words = ("eval", "--task", problems, "--model", recorded, "--strategy", "self_consistency", "--n", "4")
        code, out, err = mull(capsys, *words)
        assert (code, out) == (2, "")
        assert one_line(err)
        assert "3" in err and "4" in err

    def test_a_failing_model_fails_its_problem_and_no_other(
        self, capsys: pytest.CaptureFixture[str], problems: str, tmp_path: Path
    ) -> None:
        lines = [{"id": i, "text": f"ANSWER: {a}"} for i, _, a in PROBLEMS[:2]] + [{"id": "c", "error": "overloaded"}]
        (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, lines)))
        words = ("--task", problems, "--model", f"replay:{tmp_path / 'r.jsonl'}", "--out", str(tmp_path / "o"))
        shown = self.run(capsys, *words)
        assert (shown["problems"], shown["correct"], shown["failed"]) == (3, 2, 1)
        assert "overloaded" in (tmp_path / "o" / "problems.jsonl").read_text()

    def test_the_human_form_tells_accuracy_interval_and_cost(
        self, capsys: pytest.CaptureFixture[str], problems: str, recorded: str
    ) -> None:
        code, out, _ = mull(capsys, "eval", "--task", problems, "--model", recorded)
        assert code == 0
        assert "1 of 3 right, 33.3% (" in out
        assert "words (prompt + completion)" in out


MISTAKES = {
    "unknown strategy": (("ask", "q", "--model", "toy", "--strategy", "self_consistancy"), "mean self_consistency"),
    "unknown option": (("ask", "q", "--model", "toy", "--no-such", "3"), "--no-such"),
    "another strategy's option": (("ask", "q", "--model", "toy", "--n", "3"), "no option --n"),
    "unknown task": (("eval", "--task", "gsm9k", "--model", "toy"), "gsm8k"),
    "unknown model": (("ask", "q", "--model", "no_such"), "no model 'no_such'"),
    "no recipe": (("train", "pretrain", "--recipe", "nowhere.toml", "--out", "run"), "one of pocket, quick"),
    "two recipes": (("train", "pretrain", "--quick", "--recipe", "pocket", "--out", "run"), "either --recipe"),
    "nothing to train by": (("train", "pretrain", "--out", "run"), "either --recipe"),
    "training nowhere": (("train", "pretrain", "--quick"), "--out"),
    "tuning on nothing": (
        ("train", "sft", "--data", "x.jsonl", "--model", "nowhere", "--out", "run"),
        "cannot read x.jsonl",
    ),
    "a server without a model": (("ask", "q", "--model", "http://localhost:1/v1"), "names no model"),
    "a pool without its file": (("ask", "q", "--model", "pool:nowhere.toml"), "nowhere.toml"),
    "a doctor of no server": (("doctor", "--model", "toy"), "examines servers"),
    "empty question": (("ask", "", "--model", "toy"), "empty"),
    "n=0": (("ask", "q", "--model", "toy", "--strategy", "self_consistency", "--n", "0"), "at least 1"),
    "n=x": (("ask", "q", "--model", "toy", "--strategy", "self_consistency", "--n", "x"), "'x'"),
    "missing file": (("ask", "q", "--model", "scripted:/no/such/file"), "/no/such/file"),
    "missing task file": (("eval", "--task", "/no/such/file.jsonl", "--model", "toy"), "/no/such/file.jsonl"),
    "unknown kind": (("ask", "q", "--model", "toy", "--kind", "poem"), "poem"),
    "unknown style": (("ask", "q", "--model", "toy", "--style", "haiku"), "haiku"),
    "unknown scorer": (("ask", "q", "--model", "toy", "--strategy", "best_of_n", "--scorer", "me"), "no scorer 'me'"),
    "no scorer": (("ask", "q", "--model", "toy", "--strategy", "best_of_n"), "needs scorer"),
    "bad temperature": (("ask", "q", "--model", "toy", "--temperature", "-1"), "temperature"),
    "bad limit": (("eval", "--task", "gsm8k", "--model", "toy", "--limit", "0"), "--limit"),
    "no task": (("eval", "--model", "toy"), "--task"),
    "unknown command": (("aks", "q"), "aks"),
    "unknown run": (("runs", "show", "no_such_run"), "no_such_run"),
    "oracle without truth": (
        ("ask", "q", "--model", "toy", "--strategy", "best_of_n", "--scorer", "oracle"),
        "oracle:TRUTH",
    ),
}


@pytest.mark.parametrize("words, part", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(
    words: tuple[str, ...], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = mull(capsys, *words)
    assert code == 2
    assert out == ""
    assert one_line(err)
    assert part in err


def test_a_broken_line_of_a_problem_file_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"question": "1?", "answer": "1"}\n{"question": \n')
    code, _, err = mull(capsys, "eval", "--task", str(tmp_path / "p.jsonl"), "--model", "toy")
    assert code == 2
    assert one_line(err)
    assert "line 2" in err


def test_an_unwritable_folder_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], problems: str, recorded: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    out = str(tmp_path / "file" / "run")
    code, _, err = mull(capsys, "eval", "--task", problems, "--model", recorded, "--out", out)
    assert code == 2
    assert one_line(err)


def test_another_plan_in_the_same_folder_is_refused_and_nothing_is_lost(
    capsys: pytest.CaptureFixture[str], problems: str, recorded: str, tmp_path: Path
) -> None:
    words = ("eval", "--task", problems, "--model", recorded, "--out", str(tmp_path / "run"))
    assert mull(capsys, *words)[0] == 0
    stored = (tmp_path / "run" / "problems.jsonl").read_bytes()
    code, _, err = mull(capsys, *words, "--seed", "1")
    assert code == 2
    assert one_line(err)
    assert "seed" in err
    assert (tmp_path / "run" / "problems.jsonl").read_bytes() == stored


def test_lists_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = mull(capsys, "strategies")
    assert code == 0
    assert "self_consistency  " in out
    code, out, _ = mull(capsys, "strategies", "--long")
    assert "arXiv:2203.11171" in out
    assert "--weights" in out
    code, out, _ = mull(capsys, "tasks")
    assert code == 0
    assert "gsm8k" in out
    assert mull(capsys, "--version")[1].startswith("mullover ")
    for words in ((), ("ask",), ("eval",), ("runs",)):
        code, out, _ = mull(capsys, *words, "--help")
        assert code == 0
        assert "Usage" in out


def test_who_is_not_sure_enough_abstains(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["ask", "I have 3 apples, my dad has 2 more. How many have we?", "--model", "toy"]
    vote = [*words, "--strategy", "self_consistency", "--n", "25"]
    assert main([*vote, "--min-agreement", "0.6"]) == 0
    assert capsys.readouterr().out == "8\n"
    assert main([*vote, "--min-agreement", "0.7"]) == 1
    out = capsys.readouterr()
    assert out.out == "" and "abstained: 64% of the samples agree on 8" in out.err
    assert main([*vote, "--min-agreement", "0.7", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["answer"] is None and told["abstained"] and told["leading"] == "8" and told["agreement"] == 0.64
    assert main([*words, "--min-agreement", "0.7"]) == 2
    assert "needs several samples" in capsys.readouterr().err


def test_an_eval_tells_what_is_right_where_samples_agree(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["eval", "--task", str(SCHOOL), "--model", f"toy:{SCHOOL.with_name('school.toy.json')}", "--json"]
    assert main([*words, "--strategy", "self_consistency", "--n", "25", "--min-agreement", "0.6"]) == 0
    kept = json.loads(capsys.readouterr().out)["kept"]
    assert 0 < kept["answers"] < 8 and kept["right"] <= kept["answers"]
    assert main([*words, "--min-agreement", "0.6"]) == 2
    assert "needs several samples" in capsys.readouterr().err
