"""What the README shows works as shown."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mullover.backends.scripted import Scripted
from mullover.running import run
from mullover.strategies import load, names
from mullover.types import AnswerSpec, Prompt

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_readmes_own_strategy_runs_and_keeps_the_laws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = re.search(r"```python\n(# shortest\.py\n.*?)```", README, re.DOTALL)
    assert code is not None
    assert len(code[1].strip().splitlines()) <= 19  # fifteen, its name and its docstring
    (tmp_path / "shortest.py").write_text(code[1])
    monkeypatch.syspath_prepend(str(tmp_path))
    model = Scripted(["a long way. ANSWER: 1", "ANSWER: 2", "hm?\n\nhm."])
    prompt = Prompt.of("?", AnswerSpec("number"))
    assert asyncio.run(run(load("shortest:shortest"), model, prompt, n=3)).answer.value == "2"
    (tmp_path / "test_shortest.py").write_text(
        "from mullover.laws.every_strategy import StrategyLaws\n\n"
        "class TestShortest(StrategyLaws):\n    strategy = 'shortest:shortest'\n"
    )
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "test_shortest.py"]
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_strategy_is_in_the_table() -> None:
    assert all(f"[`{name}`](docs/strategies.md#{name})" in README for name in names())


def test_links_of_the_readme_lead_somewhere() -> None:
    paths = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert paths
    assert all((ROOT / path).exists() for path in paths if path)


def test_generated_docs_are_fresh() -> None:
    done = subprocess.run([sys.executable, ROOT / "docs" / "generate.py", "--check"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
