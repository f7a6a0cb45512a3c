"""Several tasks in one go, the leaderboard, and two runs side by side."""

import json
from pathlib import Path
from typing import Any

import pytest

from mullover.cli import main
from mullover.cli.suite import Member, members
from mullover.errors import OptionError

SCHOOL = Path(__file__).parents[2] / "examples" / "school.jsonl"
TOY = f"toy:{SCHOOL.with_name('school.toy.json')}"


def told(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    code = main([*words, "--json"])
    out = capsys.readouterr()
    assert code == 0, out.err
    return json.loads(out.out)


def test_tasks_with_commas_are_evaluated_one_after_the_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "two.jsonl"
    other.write_text("".join(SCHOOL.read_text().splitlines(keepends=True)[:2]))
    words = ("eval", "--task", f"{SCHOOL},{other}", "--model", TOY)
    shown = told(capsys, *words, "--out", str(tmp_path / "runs"))
    assert [row["problems"] for row in shown["tasks"]] == [8, 2]
    assert shown["mean"] == pytest.approx(sum(row["accuracy"] for row in shown["tasks"]) / 2)
    assert all(Path(row["run"]).parent == tmp_path / "runs" for row in shown["tasks"])
    assert main(list(words)) == 0
    assert "mean of 2 tasks" in capsys.readouterr().out


def test_a_suite_has_limits_of_its_own_and_the_flag_goes_before_them(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('tasks = ["gsm8k", {task = "school/sums/5", limit = 3}]')
    spec = f"suite:{tmp_path / 's.toml'}"
    assert members(spec, None) == [Member("gsm8k", None), Member("school/sums/5", 3)]
    assert members(spec, 7) == [Member("gsm8k", 7), Member("school/sums/5", 7)]


@pytest.mark.parametrize(
    "text",
    ["", "task = 1", 'tasks = "gsm8k"', "tasks = []", "tasks = [1]", 'tasks = ["a", "a"]', 'tasks = [{limit = 3}]',
     'tasks = [{task = "a", limit = 0}]', 'tasks = [{task = "a", split = "x"}]', "tasks = ["],
)  # fmt: skip
def test_a_suite_that_cannot_be_used_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(OptionError) as error:
        members(f"suite:{tmp_path / 's.toml'}", None)
    assert "\n" not in str(error.value)


def test_two_runs_are_told_apart_problem_by_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    words = ("eval", "--task", str(SCHOOL), "--model", TOY)
    told(capsys, *words, "--out", a)
    told(capsys, *words, "--strategy", "self_consistency", "--n", "25", "--out", b)
    shown = told(capsys, "runs", "diff", a, b)
    assert shown["accuracy"] == [3 / 8, 7 / 8] and shown["difference"] == pytest.approx(0.5)
    assert shown["only_first"] == 0 and shown["only_second"] == 4 and shown["p"] == pytest.approx(0.125)
    assert set(shown["settings"]) == {"options.n", "strategy"} and len(shown["changed"]) == 4
    assert main(["runs", "diff", a, a]) == 0
    assert "+0.0 points" in capsys.readouterr().out


def test_runs_of_different_tasks_are_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "two.jsonl"
    other.write_text("".join(SCHOOL.read_text().splitlines(keepends=True)[:2]))
    for name, task in (("a", SCHOOL), ("b", other)):
        told(capsys, "eval", "--task", str(task), "--model", TOY, "--out", str(tmp_path / name))
    assert main(["runs", "diff", str(tmp_path / "a"), str(tmp_path / "b")]) == 2
    assert "different tasks" in capsys.readouterr().err


def test_the_leaderboard_ranks_whole_runs_and_no_oracles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("eval", "--task", str(SCHOOL), "--model", TOY)
    vote = ("--strategy", "self_consistency", "--n", "25")
    for name, more in (
        ("one", ()), ("vote", vote), ("part", ("--limit", "3")),
        ("oracle", ("--strategy", "best_of_n", "--n", "25", "--scorer", "oracle")),
    ):  # fmt: skip
        told(capsys, *words, *more, "--out", str(tmp_path / name))
    (rows,) = told(capsys, "leaderboard", "--in", str(tmp_path))
    assert [(Path(row["run"]).name, row["rank"]) for row in rows[:2]] == [("vote", 1), ("one", 2)]
    assert {Path(row["run"]).name: row["why"] for row in rows[2:]} == {"oracle": "ORACLE", "part": "3 of 8"}
    assert main(["leaderboard", "--in", str(tmp_path)]) == 0
    assert "self_consistency(n=25)" in capsys.readouterr().out
    assert told(capsys, "leaderboard", "--in", str(tmp_path), "--task", "none") == []
