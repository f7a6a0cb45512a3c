"""Names, near names, and what is said where the data is not."""

from pathlib import Path

import pytest

from mullover import tasks
from mullover.errors import OptionError
from mullover.tasks import problem
from mullover.types import Prompt


def test_an_unknown_name_gets_near_ones() -> None:
    with pytest.raises(OptionError, match=r"no task and no file 'gsm8'.*Did you mean gsm8k.*`mull tasks`"):
        tasks.load("gsm8")


def test_sets_that_need_a_sandbox_say_so() -> None:
    with pytest.raises(OptionError, match=r"humaneval is not built in yet: .* must be run"):
        tasks.load("humaneval")


def test_a_path_without_a_file_is_told_from_an_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"there is no file .*mine\.jsonl"):
        tasks.load(str(tmp_path / "mine.jsonl"))
    with pytest.raises(OptionError, match="is a folder"):
        tasks.load(str(tmp_path))


def test_missing_data_is_named_with_ways_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MULLOVER_DATA", raising=False)
    with pytest.raises(
        OptionError, match=r"svamp/SVAMP\.json or .*no data folder is given; set MULLOVER_DATA or --data"
    ):
        tasks.load("svamp")
    with pytest.raises(OptionError, match=f"{tmp_path} has neither"):
        tasks.load("svamp", data=tmp_path)


def test_the_environment_names_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "coin_flip").mkdir()
    (tmp_path / "coin_flip" / "coin_flip.json").write_text('{"examples": [{"question": "Heads?", "answer": "no"}]}')
    monkeypatch.setenv("MULLOVER_DATA", str(tmp_path))
    assert [p.answer for p in tasks.load("coin_flip")] == ["no"]
    assert [row.name for row in tasks.describe() if row.available and row.name == "coin_flip"] == ["coin_flip"]


def test_a_file_of_another_shape_is_refused_with_the_task_s_name(tmp_path: Path) -> None:
    (tmp_path / "coin_flip").mkdir()
    (tmp_path / "coin_flip" / "coin_flip.json").write_text('{"examples": [{"ask": "Heads?"}]}')
    with pytest.raises(OptionError, match=r"not the file that task coin_flip knows .*question"):
        tasks.load("coin_flip", data=tmp_path)


def test_a_named_task_keeps_its_kind(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="a kind is for problem files only"):
        tasks.load("gsm8k", kind="text")


def test_every_row_of_the_table_is_filled(tmp_path: Path) -> None:
    rows = tasks.describe(tmp_path)
    assert [row.name for row in rows if not row.name.startswith("school/")] == tasks.names()
    assert all((row.problems or row.name.startswith("school/")) and row.what and row.licence for row in rows)


def test_the_gold_is_not_in_the_prompt() -> None:
    one = problem.Problem("7", "How many?", "5417", facts={"solution": "5417"})
    assert one.prompt("Be brief.") == Prompt.of("How many?", one.expects, "7", "Be brief.")
    assert "5417" not in repr(one.prompt())


def test_a_problem_without_a_gold_needs_a_grader_of_its_own() -> None:
    with pytest.raises(OptionError, match="no gold answer"):
        problem.by_answer(problem.Problem("7", "How many?", None))
