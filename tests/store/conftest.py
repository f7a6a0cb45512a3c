"""Runs to be stored, made by hand."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mullover.running import Run
from mullover.store import Done, RunStore, encode
from mullover.types import Answer, AnswerSpec, Candidate, Prompt, Sample, Sampling, Usage
from mullover.wrappers import Call

MANIFEST = {"identity": {"task": "sums", "model": "fake", "strategy": "vote", "seed": 0, "options": {"n": "3"}}}


def _vote(i: int, n: int = 3) -> Run:
    """n samples, of which the last disagrees."""
    prompt = Prompt.of(f"What is {i} + 1?", AnswerSpec("number"), f"p{i}")
    said = [f"step {k}\nANSWER: {i + (1 if k < n - 1 or n == 1 else 5)}" for k in range(n)]
    samples = tuple([Sample(text, "eos", usage=Usage(completion_tokens=7)) for text in said])
    seeds = tuple(range(100, 100 + n))
    sampling, usage = Sampling(temperature=0.7, seeds=seeds), Usage(1, 11, 0, 7 * n, seconds=0.25)
    call = Call("solve", prompt, n, sampling, samples, usage, "fake", seeds=seeds)
    candidates = [Candidate.of(s, value=s.text.rpartition(" ")[2]) for s in samples]
    candidates[0] = replace(candidates[0], status="selected")
    return Run(Answer(str(i + 1), samples[0].text, tuple(candidates), f"{n - 1} of {n} agree"), (call,))


def _record(i: int, seconds: float = 0.5, error: str = "") -> tuple[bytes, Done]:
    run, gold = _vote(i), str(i + 1)
    grades = [c.value == gold for c in run.answer.candidates]
    line = encode(
        f"p{i}", run, gold=gold, correct=True, grades=grades, seconds=seconds, started=1e9 + seconds, error=error
    )
    return line, Done.of(f"p{i}", run, True, grades, seconds=seconds, error=error)


@pytest.fixture
def vote() -> Callable[..., Run]:
    return _vote


@pytest.fixture
def record() -> Callable[..., tuple[bytes, Done]]:
    return _record


@pytest.fixture
def opened() -> Callable[..., RunStore]:
    """Opens a folder as the run that all these tests store."""

    def open_(folder: Path, fresh: bool = False, limit: int | None = None, **identity: object) -> RunStore:
        parts = {**MANIFEST["identity"], **identity}
        return RunStore.open(folder, {"identity": parts, "limit": limit}, fresh=fresh)

    return open_
