"""Plots of a run, drawn from its log."""

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from mullover.train import plots
from mullover.train.exam import FILE, Cell, Mark, write
from mullover.train.loop import LOG

PNG = b"\x89PNG\r\n\x1a\n"


def logged(run: Path) -> None:
    lines = [{"step": i, "loss": 5 / i, "tokens": 500 * i} for i in range(1, 40)]
    (run / LOG).write_text("".join(json.dumps(line) + "\n" for line in lines))


def examined(run: Path, skills: tuple[str, ...] = ("direct", "step_by_step", "judge"), families: int = 7) -> None:
    for step in (10, 20):
        cells = [Cell(skill, f"family {i}", grade) for i in range(families) for skill in skills for grade in (1, 2)]
        write(run / FILE, step, [Mark(cell, step // 10, 4) for cell in cells])


@pytest.mark.parametrize("families", [1, 5, 7])
def test_a_run_with_a_log_and_examinations_has_two_plots(tmp_path: Path, families: int) -> None:
    logged(tmp_path)
    examined(tmp_path, families=families)
    drawn = plots.draw(tmp_path)
    assert drawn == [tmp_path / "loss.png", tmp_path / "accuracy.png"]
    for file in drawn:
        assert file.read_bytes().startswith(PNG) and file.stat().st_size > 2000


def test_without_examinations_there_is_the_loss_alone(tmp_path: Path) -> None:
    logged(tmp_path)
    assert plots.draw(tmp_path) == [tmp_path / "loss.png"]
    assert not (tmp_path / "accuracy.png").exists()


def test_without_a_log_there_is_none(tmp_path: Path) -> None:
    assert plots.draw(tmp_path) == []
    (tmp_path / LOG).write_text("")
    assert plots.draw(tmp_path) == []
    assert [*tmp_path.iterdir()] == [tmp_path / LOG]


@pytest.mark.parametrize("skills", [("direct",), ("judge",), ("step_by_step",)])
def test_examinations_in_some_skills_can_be_drawn(tmp_path: Path, skills: tuple[str, ...]) -> None:
    examined(tmp_path, skills)
    assert plots.draw(tmp_path) == [tmp_path / "accuracy.png"]


def test_figures_are_closed(tmp_path: Path) -> None:
    import matplotlib.pyplot as plt

    logged(tmp_path)
    before = plt.get_fignums()
    plots.draw(tmp_path)
    assert plt.get_fignums() == before
