"""The main job on recorded outputs of real models gives the figures of the data's index, within one problem.

Source: the index beside the recordings (first n samples in file order; a tie goes to the answer seen first).
"""

import json
from pathlib import Path
from typing import Any

import pytest

from mullover.cli import main

OTIS = {  # model, samples -> (mean over all samples, {n: vote over n})
    "claude-3-7-sonnet-20250219_x16": (0.2236, {8: 0.2667, 16: 0.2889}),
    "o3-mini-2025-01-31_x16": (0.6444, {8: 0.7556, 16: 0.6889}),
    "gemini-1.5-flash-002_x16": (0.1681, {8: 0.1778, 16: 0.2222}),
    "phi-4_x16": (0.1347, {8: 0.2000, 16: 0.2000}),
    "gpt-4.1-nano-2025-04-14_x8": (0.2889, {8: 0.3333}),
}
ONE_PROBLEM = 1 / 45 + 1e-4
VOTES = [(model, n) for model, (_, votes) in OTIS.items() for n in votes]
ADAPTIVE = {"o3-mini-2025-01-31_x16": 8.4, "claude-3-7-sonnet-20250219_x16": 13.6}
GAME24 = {  # -> (mean over all samples, pass@10, pass@100, {n: vote over n})
    "cot": (0.0403, 0.2148, 0.49, {1: 0.05, 5: 0.07, 10: 0.05, 20: 0.06, 40: 0.06, 100: 0.08}),
    "standard": (0.0734, None, 0.33, {}),
}


def evaluated(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    code = main(["eval", *words, "--json"])
    out = capsys.readouterr()
    assert code == 0, out.err
    shown: dict[str, Any] = json.loads(out.out)
    return shown


def otis(data: Path, model: str) -> tuple[str, ...]:
    folder = data / "rec_epoch_otis_mock_aime"
    return "--task", str(folder / "problems.jsonl"), "--model", f"replay:{folder}/completions_{model}.jsonl.gz"


@pytest.mark.parametrize("model, n", VOTES)
def test_votes_of_real_models_on_contest_problems(
    model: str, n: int, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = evaluated(capsys, *otis(data, model), "--strategy", "self_consistency", "--n", str(n))
    single, votes = OTIS[model]
    assert shown["problems"] == 45
    assert shown["accuracy"] == pytest.approx(votes[n], abs=ONE_PROBLEM)
    if n == max(votes):
        assert shown["pass_at"]["1"] == pytest.approx(single, abs=0.01)
    assert shown["usage"]["completion_tokens"] > 0


@pytest.mark.parametrize("model", ADAPTIVE)
def test_adaptive_consistency_spends_less_and_votes_the_same(
    model: str, data: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    words = ("--strategy", "adaptive_consistency", "--n", "16", "--at-once", "1", "--out", str(out))
    shown = evaluated(capsys, *otis(data, model), *words)
    drawn = [len(json.loads(line)["candidates"]) for line in (out / "problems.jsonl").read_text().splitlines()]
    assert sum(drawn) / 45 == pytest.approx(ADAPTIVE[model], abs=0.3)
    assert shown["accuracy"] == pytest.approx(OTIS[model][1][16], abs=ONE_PROBLEM)


def game24(data: Path, prompt: str) -> tuple[str, ...]:
    file = f"gpt-4_0.7_naive_{prompt}_sample_100_start900_end1000.json.gz"
    replay = f"replay:{data}/rec_tot_game24_gpt4/{file}#tot_game24"
    return "--task", "game24", "--data", str(data), "--model", replay, "--strategy", "self_consistency"


@pytest.mark.parametrize("prompt", GAME24)
def test_ten_thousand_samples_of_game_of_24(prompt: str, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    single, at_10, at_100, votes = GAME24[prompt]
    whole = evaluated(capsys, *game24(data, prompt), "--n", "100")
    assert whole["problems"] == 100
    assert whole["pass_at"]["1"] == pytest.approx(single, abs=5e-5)
    assert whole["pass_at"]["100"] == pytest.approx(at_100)
    if at_10 is not None:
        assert whole["pass_at"]["10"] == pytest.approx(at_10, abs=5e-5)
    for n, vote in votes.items():
        shown = whole if n == 100 else evaluated(capsys, *game24(data, prompt), "--n", str(n))
        assert shown["accuracy"] == pytest.approx(vote, abs=0.0101)
