"""`mull bench engine`, as a user types it."""

import json
import sys
from pathlib import Path

import pytest

from mullover.bench import CASES
from mullover.bench.rows import Row
from mullover.cli import main
from mullover.cli.bench import show


def mull(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(words)
    out = capsys.readouterr()
    return code, out.out, out.err


@pytest.fixture
def folder(tmp_path: Path) -> str:
    pytest.importorskip("torch")
    models = pytest.importorskip("mullover.bench.models")
    models.build(models.Shape("T", 32, 2, 4, 2, 64, 128)).model.save_pretrained(tmp_path)
    return str(tmp_path)


def test_an_unknown_case_is_refused_before_anything_is_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = mull(capsys, "bench", "engine", "--case", "nothing")
    assert (code, out) == (2, "")
    assert err.startswith("mull: there is no case 'nothing'; there are one-prompt-64, ")
    assert err.count("\n") == 1
    code, _, err = mull(capsys, "bench", "engine", "--model", "x", "--case", "m-one-stream")
    assert (code, err) == (
        2,
        "mull: there is no case 'm-one-stream'; there are one-stream, one-prompt-16, one-prompt-64\n",
    )


def test_without_torch_one_line_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("mullover.bench.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "transformers", None)
    code, _, err = mull(capsys, "bench", "engine", "--case", "one-stream")
    assert (code, err) == (2, "mull: transformers is not installed; install mullover[local]\n")


def test_a_folder_without_a_model_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("torch")
    code, _, err = mull(capsys, "bench", "engine", "--model", str(tmp_path / "none"))
    assert code == 2
    assert "none has no model that can be loaded" in err


def test_rows_as_json(capsys: pytest.CaptureFixture[str], folder: str) -> None:
    words = ("bench", "engine", "--model", folder, "--case", "one-stream", "--repeats", "1", "--json")
    code, out, err = mull(capsys, *words)
    assert code == 0
    rows = json.loads(out)
    assert {"mullover", "generate", "roofline"} <= {row["engine"] for row in rows}
    for row in rows:
        assert (row["case"], row["repeats"], row["tokens"]) == ("one-stream", 1, 128)
        assert min(row["tokens_per_s"], row["ratio_to_generate"], row["share_of_roofline"], row["seconds"]) > 0
        assert row["machine"].keys() >= {"torch", "threads", "device", "date"}
    assert "mull bench: one-stream: generate, round 1 of 1\n" in err
    assert err.startswith("date ") and ", torch " in err


def test_rows_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        Row("one-stream", "S", "mullover", 1234.5, 2.5, 0.123, 0.5, 5, 64, "well"),
        Row("one-stream", "S", "other", note="not run: \x1b[31m[bold]why"),
        Row("many-problems", "S", "mullover", 10.0),
    ]
    show(rows, CASES)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:6] == ["case", "model", "engine", "tokens/s", "to", "generate"]
    assert lines[1].split() == ["one-stream", "S", "mullover", "1,234", "2.50", "12.3%", "0.500", "well"]
    assert lines[2].split() == ["other", "–", "–", "–", "–", "not", "run:", "\N{REPLACEMENT CHARACTER}[31m[bold]why"]
    assert lines[3].split()[0] == "many-problems"
    assert lines[-2:] == [f"  {name}: {CASES[name]}" for name in ("one-stream", "many-problems")]
