"""`mull doctor`, and `mull ask` and `mull eval` over a server, as a user types them."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.backends.http_upstreams import rich

from mullover.backends.http.profile import load
from mullover.backends.http.spec import Spec
from mullover.cli import main
from mullover.laws.upstream import Upstream, in_background


@pytest.fixture
def up() -> Iterator[Upstream]:
    with in_background(Upstream("vllm", model=rich())) as up:
        yield up


def mull(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(words)
    out = capsys.readouterr()
    return code, out.out, out.err


def one_line(err: str) -> bool:
    return err.count("\n") == 1 and err.startswith("mull: ")


def closed() -> str:
    """An address at which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{sock.getsockname()[1]}/v1#m"


def test_the_table_tells_each_finding_and_which_strategies_run(
    capsys: pytest.CaptureFixture[str], up: Upstream
) -> None:
    code, out, err = mull(capsys, "doctor", "--model", f"{up.url}#toy")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith(f"toy at {up.url}: {len(up.seen)} calls, ")
    shown = dict(line.split(None, 1) for line in lines[1:])
    assert shown["n"].split() == ["works"]
    assert shown["top_k"].split() == ["works"]
    assert shown["continuation"].split(None, 1) == ["works", " by token ids and raw completions".strip()]
    assert "self_consistency" in shown["strategies"]
    assert "kept in " in err
    assert len({line.index(line.split()[1]) for line in lines[3:6]}) == 1


def test_json_is_one_list_with_what_was_found(capsys: pytest.CaptureFixture[str], up: Upstream) -> None:
    code, out, err = mull(capsys, "doctor", "--model", f"{up.url}#toy", "--json")
    (report,) = json.loads(out)
    assert code == 0
    assert err == ""
    assert (report["model"], report["server"], report["kind"], report["version"]) == ("toy", up.url, "vllm", "0.18.0")
    assert report["calls"] == len(up.seen) <= 12
    assert {"segments", "top_k", "score", "top_logprobs"} <= {*report["can"]}
    assert report["strategies"]["chain_of_thought"] == []
    assert {"what", "state", "how"} == report["checks"][0].keys()
    assert Path(report["kept"]).is_file()


def test_what_was_found_is_what_the_next_command_works_with(capsys: pytest.CaptureFixture[str], up: Upstream) -> None:
    spec = Spec.parse(f"{up.url}#toy")
    assert load(spec).seen == 0
    mull(capsys, "doctor", "--model", f"{up.url}#toy")
    assert load(spec).version == "0.18.0"
    assert mull(capsys, "ask", "?", "--model", f"{up.url}#toy", "--top-k", "1")[0] == 0


def test_an_older_version_is_told(capsys: pytest.CaptureFixture[str], up: Upstream) -> None:
    path = Path(json.loads(mull(capsys, "doctor", "--model", f"{up.url}#toy", "--json")[1])[0]["kept"])
    path.write_text(path.read_text().replace("0.18.0", "0.17.9"))
    assert "version was 0.17.9" in mull(capsys, "doctor", "--model", f"{up.url}#toy")[1]


def test_an_address_alone_lists_the_models(capsys: pytest.CaptureFixture[str], up: Upstream) -> None:
    assert mull(capsys, "doctor", "--model", up.url) == (0, f"{up.url}#toy\n", "")
    assert mull(capsys, "doctor", "--model", up.root)[1] == f"{up.url}#toy\n"
    code, out, _ = mull(capsys, "doctor", "--model", up.url, "--json")
    assert (code, json.loads(out)) == (0, ["toy"])
    assert len(up.seen) == 3


@pytest.mark.parametrize("json_too", [(), ("--json",)])
def test_a_list_that_needs_another_key_is_refused_in_the_servers_words(
    capsys: pytest.CaptureFixture[str], json_too: tuple[str, ...]
) -> None:
    with in_background(Upstream("openai", model=rich(), key="right")) as up:
        code, out, err = mull(capsys, "doctor", "--model", up.url, *json_too)
    assert (code, out) == (1, "")
    assert one_line(err)
    assert "401" in err


def test_a_wrong_key_is_one_line_and_exit_code_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINE", "sk-hunter2")
    with in_background(Upstream("openai", model=rich(), key="right")) as up:
        code, out, err = mull(capsys, "doctor", "--model", f"{up.url}#toy;key=MINE")
    assert (code, out) == (1, "")
    assert one_line(err)
    assert "401" in err
    assert "hunter2" not in err


def test_each_endpoint_of_a_pool_is_examined(capsys: pytest.CaptureFixture[str], up: Upstream, tmp_path: Path) -> None:
    with in_background(Upstream("ollama", model=rich())) as other:
        both = [f"{up.url}#toy", f"{other.url}#toy"]
        (tmp_path / "pool.toml").write_text(f"endpoints = {json.dumps(both)}")
        code, out, _ = mull(capsys, "doctor", "--model", f"pool:{tmp_path / 'pool.toml'}", "--json")
        assert code == 0
        assert [report["kind"] for report in json.loads(out)] == ["vllm", "ollama"]
        code, out, _ = mull(capsys, "doctor", "--model", ",".join(both))
        assert (code, out.count("toy at ")) == (0, 2)


def test_one_endpoint_that_is_down_hides_no_other(
    capsys: pytest.CaptureFixture[str], up: Upstream, tmp_path: Path
) -> None:
    (tmp_path / "pool.toml").write_text(f"endpoints = {json.dumps([closed(), f'{up.url}#toy'])}")
    code, out, err = mull(capsys, "doctor", "--model", f"pool:{tmp_path / 'pool.toml'}", "--json")
    assert code == 1
    assert [report.get("kind", "down") for report in json.loads(out)] == ["down", "vllm"]
    assert "cannot reach" in err


@pytest.mark.parametrize(
    "model", ["toy", "pocket", "replay:x", "localhost:8000#m", "ftp://h/v1#m", "", "pool:/no/such.toml", "http://#m"]
)
def test_what_is_no_server_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str], model: str) -> None:
    code, out, err = mull(capsys, "doctor", "--model", model)
    assert (code, out) == (2, "")
    assert one_line(err)


@pytest.mark.parametrize("text", ["", "endpoints = []", "endpoints = 5", "endpoints = [5]", "x = 1", "[", "\x00"])
def test_a_file_that_is_no_pool_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str
) -> None:
    (tmp_path / "pool.toml").write_text(text)
    code, _, err = mull(capsys, "doctor", "--model", f"pool:{tmp_path / 'pool.toml'}")
    assert code == 2
    assert one_line(err)
    assert "pool.toml" in err


@pytest.mark.parametrize("words", [("doctor",), ("ask", "?")])
def test_a_server_that_is_not_there_is_exit_code_1_within_seconds(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mullover.backends.http.http.random", SimpleNamespace(uniform=lambda least, most: least))
    started = time.monotonic()
    code, out, err = mull(capsys, *words, "--model", closed())
    assert time.monotonic() - started < 8
    assert (code, out) == (1, "")
    assert "cannot reach 127.0.0.1" in err
    assert err.splitlines()[-1].startswith("mull: ")


def test_model_names_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with in_background(Upstream("vllm", model=rich(), name="\x1b[2Jtoy")) as up:
        code, out, _ = mull(capsys, "doctor", "--model", up.url)
        assert code == 0
        assert "\x1b" not in out
        _, out, err = mull(capsys, "doctor", "--model", f"{up.url}#toy")
        assert "\x1b" not in out + err


def test_ask_over_a_server_tells_its_cost(capsys: pytest.CaptureFixture[str], up: Upstream) -> None:
    words = ("ask", "apples?", "--model", f"{up.url}#toy", "--strategy", "self_consistency", "--n", "9", "--json")
    code, out, _ = mull(capsys, *words, "--kind", "number")
    shown = json.loads(out)
    assert code == 0
    assert shown["answer"] in ("5", "7", "8")
    assert len(shown["candidates"]) == 9
    assert shown["usage"]["completion_tokens"] == up.usage.completion_tokens > 0
    assert shown["usage"]["prompt_tokens"] == up.usage.prompt_tokens


def test_ask_over_a_server_tells_money_where_there_is_a_price(
    capsys: pytest.CaptureFixture[str], up: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "p.toml").write_text(f'["{up.url}"."toy"]\nprompt = 1\ncompletion = 2\n')
    monkeypatch.setenv("MULLOVER_PRICES", str(tmp_path / "p.toml"))
    _, out, _ = mull(capsys, "ask", "apples?", "--model", f"{up.url}#toy", "--json")
    spent = json.loads(out)["usage"]
    assert spent["money"] == pytest.approx(
        spent["prompt_tokens"] + spent["cached_tokens"] + 2 * spent["completion_tokens"]
    )


def test_ask_in_a_process_of_its_own_says_the_answer_and_nothing_else(up: Upstream) -> None:
    words = [sys.executable, "-W", "error", "-m", "mullover", "ask", "apples?", "--model", f"{up.url}#toy"]
    done = subprocess.run([*words, "--kind", "number"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("5", "7", "8")
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr


def evaluated(capsys: pytest.CaptureFixture[str], up: Upstream, tmp_path: Path) -> dict[str, Any]:
    problems = tmp_path / "p.jsonl"
    problems.write_text("".join(json.dumps({"id": i, "problem": f"{i}?", "target": "7"}) + "\n" for i in "abc"))
    words = ("eval", "--task", str(problems), "--model", f"{up.url}#toy", "--out", str(tmp_path / "run"), "--json")
    code, out, err = mull(capsys, *words, "--strategy", "self_consistency", "--n", "4")
    assert code == 0, err
    shown: dict[str, Any] = json.loads(out)
    return shown


def test_eval_over_a_server_resumes_without_another_request(
    capsys: pytest.CaptureFixture[str], up: Upstream, tmp_path: Path
) -> None:
    shown = evaluated(capsys, up, tmp_path)
    assert (shown["problems"], shown.get("failed", 0)) == (3, 0)
    assert shown["usage"]["completion_tokens"] == up.usage.completion_tokens
    asked = len(up.seen)
    assert asked == 12
    assert evaluated(capsys, up, tmp_path)["correct"] == shown["correct"]
    assert len(up.seen) == asked
