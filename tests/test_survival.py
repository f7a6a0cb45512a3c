"""kill -9 in the middle of an evaluation, then the same command."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

STRATEGY = '''
import asyncio, os
from mullover.strategies.self_consistency import self_consistency
from mullover.types import Sampling

async def noting(model, prompt, *, n: int = 3, sampling: Sampling = Sampling()):
    """Self-consistency that notes which problem it is asked, and takes its time."""
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(prompt.origin + "\\n")
    await asyncio.sleep(0.004 + 0.002 * (len(prompt.text) % 5))
    async for answer in self_consistency(model, prompt, n=n, sampling=sampling):
        yield answer
'''
PROBLEMS, AT_ONCE = 1000, 32


def command(tmp_path: Path, out: str) -> list[str]:
    words = ["eval", "--task", "problems.jsonl", "--model", "scripted:says.json", "--strategy", "noting:noting"]
    return [sys.executable, "-m", "mullover", *words, "--concurrency", str(AT_ONCE), "--out", out, "--json"]


def canonical(tmp_path: Path, out: str) -> bytes:
    words = [sys.executable, "-m", "mullover", "runs", "export", out, "--canonical"]
    return subprocess.run(words, cwd=tmp_path, check=True, capture_output=True).stdout


def test_what_was_finished_before_kill_9_is_neither_lost_nor_asked_again(tmp_path: Path) -> None:
    (tmp_path / "noting.py").write_text(STRATEGY)
    lines = [{"id": f"p{i}", "question": f"{i} + 1?" + "!" * (i % 7), "answer": str(i + 1)} for i in range(PROBLEMS)]
    (tmp_path / "problems.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "says.json").write_text(json.dumps([f"so ANSWER: {i}" for i in (8, 9, 8, 10, 11)]))
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}

    whole = {**env, "NOTES": str(tmp_path / "undisturbed.txt")}
    undisturbed = subprocess.run(command(tmp_path, "whole"), cwd=tmp_path, env=whole, check=True, capture_output=True)

    cut = {**env, "NOTES": str(tmp_path / "notes.txt")}
    truth = tmp_path / "cut" / "problems.jsonl"
    for share in (0.2, 0.6):  # killed twice
        going = subprocess.Popen(command(tmp_path, "cut"), cwd=tmp_path, env=cut, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not truth.exists() or truth.read_bytes().count(b"\n") < share * PROBLEMS:
            assert going.poll() is None, "it ended before it was killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        going.send_signal(signal.SIGKILL)
        going.wait()
        before = truth.read_bytes()
        finished = before[: before.rfind(b"\n") + 1]
    resumed = subprocess.run(command(tmp_path, "cut"), cwd=tmp_path, env=cut, check=True, capture_output=True)

    assert truth.read_bytes().startswith(finished)
    stored = Counter(json.loads(line)["id"] for line in truth.read_bytes().splitlines())
    assert stored == Counter(f"p{i}" for i in range(PROBLEMS))
    asked = Counter((tmp_path / "notes.txt").read_text().split())
    assert len(asked) == PROBLEMS
    assert sum(asked.values()) <= PROBLEMS + 2 * AT_ONCE
    assert canonical(tmp_path, "cut") == canonical(tmp_path, "whole")
    left, right = json.loads(undisturbed.stdout), json.loads(resumed.stdout)
    assert left["correct"] == right["correct"]
    assert left["usage"]["completion_tokens"] == right["usage"]["completion_tokens"]


def interrupted(tmp_path: Path, *words: str, pause: str = "0.2 +") -> subprocess.Popen[str]:
    """A command that was sent Ctrl-C after it had done something for a while."""
    (tmp_path / "slowly.py").write_text(STRATEGY.replace("noting", "slowly").replace("0.004 +", pause))
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "NOTES": str(tmp_path / "notes.txt")}
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); from mullover.cli import main"
    command = [sys.executable, "-c", f"{code}; sys.exit(main(sys.argv[1:]))", *words]
    going = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "notes.txt").exists() or len((tmp_path / "notes.txt").read_text().split("\n")) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.5)
    going.send_signal(signal.SIGINT)
    return going


def test_ctrl_c_finishes_the_store_and_prints_the_command_that_resumes(tmp_path: Path) -> None:
    lines = [{"id": f"p{i}", "question": f"{i} + 1?", "answer": str(i + 1)} for i in range(40)]
    (tmp_path / "my problems.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "says.json").write_text(json.dumps(["so ANSWER: 8"]))
    words = ["eval", "--task", "my problems.jsonl", "--model", "scripted:says.json", "--strategy", "slowly:slowly"]
    going = interrupted(tmp_path, *words, "--concurrency", "2", "--out", "run")
    _, told = going.communicate(timeout=60)
    assert going.returncode == 1
    resume = told.strip().splitlines()[-1]
    assert resume.startswith("mull: stopped; what was finished is stored. To go on: mull eval ")
    assert "'my problems.jsonl'" in resume
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "stopped"
    assert 0 < len((tmp_path / "run" / "problems.jsonl").read_bytes().splitlines()) < 40


def test_ctrl_c_in_ask_ends_with_one_line_and_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "says.json").write_text(json.dumps(["so ANSWER: 8"]))
    words = ["ask", "q?", "--model", "scripted:says.json", "--strategy", "slowly:slowly"]
    going = interrupted(tmp_path, *words, pause="30 +")
    out, told = going.communicate(timeout=20)
    assert (going.returncode, out) == (1, "")
    assert told == "mull: stopped; nothing was answered yet\n"
