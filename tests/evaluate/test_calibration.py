"""Confidence against truth: figures of the recordings, and definitions on small cases."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mullover.cli import main
from mullover.evaluate.calibration import Signal, auroc, brier, ece, reliability, risk_coverage, selected


def signal(confidence: list[float], right: list[bool]) -> Signal:
    return Signal("test", "of a test", np.array(confidence), np.array(right), list(range(len(right))))


def told(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    code = main([*words, "--json"])
    out = capsys.readouterr()
    assert code == 0, out.err
    shown: dict[str, Any] = json.loads(out.out)
    return shown


def test_a_model_that_agrees_with_itself_on_a_contest_is_mostly_right(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, run = data / "rec_epoch_otis_mock_aime", str(tmp_path / "pool")
    replay = f"replay:{folder}/completions_o3-mini-2025-01-31_x16.jsonl.gz"
    told(capsys, "sample", "--task", str(folder / "problems.jsonl"), "--model", replay, "--n", "16", "--out", run)
    shown = told(capsys, "calibrate", run, "--min-agreement", "0.8")
    assert shown["selected"] == {"min_agreement": 0.8, "answers": 26, "right": 25}  # .9615
    assert shown["signals"]["agreement"]["accuracy"] == pytest.approx(31 / 45)


def test_agreement_is_not_accuracy_where_a_model_repeats_its_mistakes(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The index counts 524 problems, .4676 right: with 7 whose samples run on without an end, which state nothing."""
    file, run = data / "rec_cruxeval_codellama7b" / "generations_output_temp0.2.json.gz", str(tmp_path / "pool")
    words = ("--task", "cruxeval", "--data", str(data), "--model", f"replay:{file}#cruxeval", "--n", "10")
    shown = told(capsys, "sample", *words, "--out", run)
    assert shown["curves"]["pass"]["1"][0] == pytest.approx(0.3421, abs=5e-5)
    assert shown["curves"]["pass"]["5"][0] == pytest.approx(0.4029, abs=5e-5)
    assert shown["curves"]["majority"]["10"][0] == pytest.approx(0.3463, abs=1.5 / 800)
    kept = told(capsys, "calibrate", run, "--min-agreement", "0.8")["selected"]
    assert kept["right"] == round(524 * 0.4676) and 517 <= kept["answers"] <= 524


def test_auroc_is_the_share_of_pairs_in_the_right_order() -> None:
    rng = np.random.default_rng(0)
    confidence, right = rng.integers(0, 5, 60) / 4, rng.random(60) < 0.5
    pairs = [(a, b) for a in confidence[right] for b in confidence[~right]]
    assert auroc(confidence, right) == pytest.approx(np.mean([(a > b) + 0.5 * (a == b) for a, b in pairs]))
    assert auroc(np.array([0.1, 0.2]), np.array([True, True])) is None


def test_errors_of_calibration_by_hand() -> None:
    one = signal([0.95, 0.95, 0.05, 0.05], [True, False, False, False])
    assert ece(one) == pytest.approx((2 * 0.45 + 2 * 0.05) / 4)
    assert brier(one) == pytest.approx((0.05**2 + 0.95**2 + 2 * 0.05**2) / 4)
    assert [(row.answers, row.accuracy) for row in reliability(one)] == [(2, 0.0), (2, 0.5)]
    assert sum(row.answers for row in reliability(signal([0.0, 0.1, 0.5, 1.0], [True] * 4))) == 4


def test_a_perfect_confidence_has_no_error_and_a_simulated_one_little() -> None:
    assert ece(signal([1.0, 0.0], [True, False])) == brier(signal([1.0, 0.0], [True, False])) == 0.0
    rng = np.random.default_rng(1)
    p = rng.random(20_000)
    assert ece(signal(p.tolist(), (rng.random(20_000) < p).tolist())) < 0.02


def test_risk_and_coverage_take_ties_together() -> None:
    thresholds, coverage, accuracy = risk_coverage(signal([0.9, 0.5, 0.5, 0.1], [True, True, False, False]))
    assert thresholds.tolist() == [0.9, 0.5, 0.1]
    assert coverage.tolist() == [0.25, 0.75, 1.0]
    assert accuracy == pytest.approx([1.0, 2 / 3, 0.5])
    assert selected(signal([0.8, 0.7999999999999], [True, True]), 0.8)[0] == 2  # 8 of 10 is .8 in floats too


def test_one_sample_cannot_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(tmp_path / "one")
    task = Path(__file__).parents[2] / "examples" / "school.jsonl"
    toy = f"toy:{task.with_name('school.toy.json')}"
    told(
        capsys, "eval", "--task", str(task), "--model", toy, "--strategy", "self_consistency", "--n", "1", "--out", run
    )
    assert main(["calibrate", run, "--min-agreement", "0.5"]) == 2
    assert "sample" in capsys.readouterr().err


def test_plots_and_table_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    run, out = str(tmp_path / "many"), tmp_path / "out"
    task = Path(__file__).parents[2] / "examples" / "school.jsonl"
    toy = f"toy:{task.with_name('school.toy.json')}"
    told(capsys, "sample", "--task", str(task), "--model", toy, "--n", "9", "--out", run)
    assert main(["calibrate", run, "--out", str(out)]) == 0
    names = {path.name for path in out.iterdir()}
    assert {"calibration.json", "risk-coverage.png", "risk-coverage.svg", "reliability-agreement.png"} <= names
    assert "agreement" in capsys.readouterr().out
