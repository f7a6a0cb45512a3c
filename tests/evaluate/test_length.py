"""What long reasoning is worth: definitions on small cases, and a run as a user sees it."""

import json
from pathlib import Path

import numpy as np
import pytest

from mullover.cli import main
from mullover.evaluate.length import (
    LEVELS,
    FirstRight,
    by_difficulty,
    contrast,
    control,
    efficiency,
    first_right,
    performance,
    scaling,
    underthinking,
)
from mullover.evaluate.results import Pool
from mullover.store import decode


def pool(tokens: list[list[float]], right: list[list[bool]]) -> Pool:
    long, hits = np.array(tokens), np.array(right)
    none = np.zeros_like(long)
    return Pool(hits.astype(np.int64), hits, long, none, np.ones_like(hits), None, None, none)


def test_outcome_efficiency_is_the_share_up_to_the_first_right_answer() -> None:
    assert efficiency([FirstRight(True, 39, 901)]) == pytest.approx(0.0433, abs=5e-5)  # the paper's "2+3"
    assert efficiency([FirstRight(True, 50, 100), FirstRight(False, 10, 100)]) == pytest.approx(0.25)
    assert efficiency([]) == 0.0


def test_underthinking_is_what_wrong_chains_go_on_after_a_right_thought() -> None:
    assert underthinking([FirstRight(False, 25, 100), FirstRight(False, None, 80)]) == pytest.approx(0.375)
    assert underthinking([FirstRight(True, 25, 100)]) is None


def test_figures_of_a_length_control_by_hand() -> None:
    assert control(np.array([50.0, 100.0, 101.0]), 0, 100) == pytest.approx(2 / 3)
    assert scaling([(100, 0.2), (200, 0.4), (400, 0.4)]) == pytest.approx((0.002 + 0.2 / 300 + 0.0) / 3)
    assert scaling([(100, 0.2), (100, 0.4)]) is None and scaling([(1, 0.5)]) is None
    assert performance([(100, 0.2), (200, 0.4)]) == 0.4


def test_lengths_are_compared_within_problems() -> None:
    """Long chains are wrong here only since long problems are hard: within each, wrong ones are the shorter ones."""
    told = contrast(pool([[10, 8], [100, 90], [100, 100]], [[True, False], [True, False], [False, False]]))
    assert told.right == pytest.approx(55) and told.wrong == pytest.approx(298 / 4)
    assert told.problems == 2 and told.longer == pytest.approx(-6)
    alone = contrast(pool([[1, 2]], [[True, True]]))
    assert alone.wrong is None and alone.longer is None and alone.ci95 is None


def test_thirds_of_difficulty_hold_all_samples() -> None:
    rng = np.random.default_rng(0)
    some = pool(rng.integers(1, 50, (10, 8)).tolist(), (rng.random((10, 8)) < np.arange(10)[:, None] / 10).tolist())
    cells = by_difficulty(some)
    assert sum(cell.samples for cell in cells) == 80
    means = [np.mean([cell.accuracy for cell in cells if cell.level == level]) for level in LEVELS]
    assert means == sorted(means)
    assert [cell.tokens for cell in cells[:4]] == sorted(cell.tokens for cell in cells[:4])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    rows = [("ANSWER: 5", "2 + 3 is 5.\nWait, no.\nSo it is 6.\nANSWER: 5"), ("ANSWER: 7", "It is 5.\nNo.\nANSWER: 7")]
    (tmp_path / "p.jsonl").write_text(json.dumps({"id": "a", "question": "2+3?", "answer": "5", "kind": "number"}))
    lines = [json.dumps({"id": "a", "text": text}) for pair in rows for text in pair]
    (tmp_path / "r.jsonl").write_text("\n".join(lines))
    words = ["sample", "--task", str(tmp_path / "p.jsonl"), "--model", f"replay:{tmp_path / 'r.jsonl'}", "--n", "4"]
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    return tmp_path / "run"


def test_the_first_right_line_of_each_chain_is_found(run: Path) -> None:
    chains = list(first_right(decode((run / "problems.jsonl").read_bytes())))
    assert [one.right for one in chains] == [True, True, False, False]
    shares = [None if one.first is None else one.first / one.tokens for one in chains]
    assert shares[0] == 1.0 and shares[2] is None
    assert shares[1] is not None and shares[1] < 0.5 and shares[3] is not None and shares[3] < 0.6


def test_the_command_tells_and_draws(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    capsys.readouterr()
    assert main(["length", str(run), "--out", str(tmp_path / "out"), "--high", "5"]) == 0
    out = capsys.readouterr().out
    assert "outcome efficiency" in out and "underthinking" in out and "control" in out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"length.json", "lengths.png", "lengths.svg"}
    assert main(["length", str(run), str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scaling"] is None
