"""How long a report of a large stored run takes, and how much memory: what `mull sample` does after its last sample.

    python benchmarks/report.py                                  (writes about 1.2 GB to a temporary folder)
    python benchmarks/report.py --problems 200 --samples 20      (a small try)

A run of 10,000 problems x 100 samples of about 1 KB is written by our store, as `mull sample` leaves it with a model
behind HTTP that tells no logprobs. Then two fresh processes read it and compute every curve with its intervals (1,000
bootstraps over problems, all k up to 100): `cold` with the index deleted, so that all records are read, and `index`
once it is there. Writing is not measured. The file was just written, so it comes from the system's cache.

Problems differ: the chance of a right answer is drawn from Beta(0.8, 0.8), the rest is split among up to 19 wrong
answers by a Dirichlet law, and 3 % of samples are cut before they state one. `different votes` tells how many problems
have votes that no other has; the more, the more work is the curve of the majority.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from mullover.evaluate.curves import pool_curves
from mullover.evaluate.results import load
from mullover.running import Mark, Run
from mullover.store import Done, RunStore, encode
from mullover.store.index import FILE
from mullover.store.journal import NAME
from mullover.types import Answer, AnswerSpec, Candidate, Prompt, Sample, Sampling, Usage
from mullover.wrappers import Call

PROBLEMS, SAMPLES = 10_000, 100
SIZE = 1024  # characters of a sample, on average
SILENT = 0.03  # share of samples that are cut before they state an answer
WRONG = 19  # different wrong answers of a problem, at most
AIMS = {"cold": 120, "index": 20}  # seconds of load and curves together
MEMORY = 2048  # MB
SPEC = AnswerSpec("number", instruction='End with a line "ANSWER: " and the number alone.')
WORDS = ("so", "we", "have", "the", "number", "of", "apples", "left", "and", "12 times 7", "is", "84,", "then", "\n")


class Author:
    """Makes problems up, one after the other."""

    def __init__(self, samples: int, seed: int = 0) -> None:
        self.samples, self.rng = samples, np.random.default_rng(seed)
        self.prose = " ".join(self.rng.choice(WORDS, 100_000).tolist())

    def problem(self, number: int) -> tuple[bytes, Done]:
        """Its record and its line of the tally."""
        gold, stated = self.stated()
        prompt = Prompt.of(f"{self.words(200)}\nWhat is that, of problem {number}?", SPEC, f"p{number}")
        samples = tuple([self.sample(i, value) for i, value in enumerate(stated)])
        seeds = tuple(self.rng.integers(2**63, size=self.samples).tolist())
        cost = Usage(1, 80, 80 * (len(samples) - 1), sum(s.usage.completion_tokens for s in samples), seconds=9.5)
        sampling = Sampling(temperature=0.7, max_tokens=512, seeds=seeds)
        call = Call("solve", prompt, len(samples), sampling, samples, cost, "made up", seeds=seeds)
        trail, votes, chosen = voted(stated, samples)
        candidates = [Candidate.of(sample, value=value) for sample, value in zip(samples, stated, strict=True)]
        if stated[chosen] is not None:
            candidates[chosen] = replace(candidates[chosen], status="selected")
        why = f"{votes} of {len(samples)} samples agree"
        run = Run(Answer(stated[chosen], samples[chosen].text, tuple(candidates), why), (call,), trail=trail)
        names = {value: at for at, value in enumerate(dict.fromkeys(v for v in stated if v is not None))}
        right = None if stated[chosen] is None else stated[chosen] == gold
        grades = [None if value is None else value == gold for value in stated]
        groups = [None if value is None else names[value] for value in stated]
        marks = [None if mark.value is None else mark.value == gold for mark in trail]
        judged = {"gold": gold, "correct": right, "grades": grades, "groups": groups, "marks": marks}
        line = encode(f"p{number}", run, **judged, seconds=9.5, started=1.7e9 + number)  # type: ignore[arg-type]
        return line, Done.of(f"p{number}", run, right, grades, seconds=9.5)

    def stated(self) -> tuple[str, list[str | None]]:
        """The right answer, and what each sample says; None: nothing."""
        gold, wrong = self.rng.integers((1, 1), (1000, WRONG + 1)).tolist()
        share = self.rng.beta(0.8, 0.8)
        others = self.rng.dirichlet(np.full(wrong, 0.5)) * (1 - share)
        law = np.array([share, *others]) * (1 - SILENT)
        drawn = self.rng.choice(len(law) + 1, self.samples, p=[*law, 1 - law.sum()])
        return str(gold), [None if i > len(others) else str(gold + 3 * i) for i in drawn.tolist()]

    def sample(self, at: int, value: str | None) -> Sample:
        text = self.words(int(self.rng.integers(SIZE // 2, SIZE * 3 // 2)))
        tokens = len(text) // 4
        usage = Usage(0, 0 if at else 80, 80 if at else 0, tokens)
        return (
            Sample(text, "length", usage=usage)
            if value is None
            else Sample(f"{text}\nANSWER: {value}", "eos", usage=usage)
        )

    def words(self, size: int) -> str:
        begin = int(self.rng.integers(len(self.prose) - size))
        return self.prose[begin : begin + size]


def voted(stated: list[str | None], samples: tuple[Sample, ...]) -> tuple[tuple[Mark, ...], int, int]:
    """Each change of the leading answer as samples end in order; then its votes, and the first that states it."""
    counts: Counter[str] = Counter()
    trail: list[Mark] = []
    leader: str | None = None
    tokens = 0
    for i, (value, sample) in enumerate(zip(stated, samples, strict=True)):
        tokens += sample.usage.completion_tokens
        if value is not None:
            counts[value] += 1
            leader = max(counts, key=counts.__getitem__)  # a tie goes to the one seen first
        if not trail or trail[-1].value != leader:
            trail.append(Mark(leader, Usage(1, 80, 80 * i, tokens, seconds=0.09 * (i + 1))))
    return tuple(trail), counts[leader] if leader else 0, stated.index(leader)


def write(folder: Path, problems: int, samples: int) -> dict[str, float]:
    """A finished run, as large as asked."""
    author = Author(samples)
    parts = {"task": "made up", "model": "made up", "strategy": "self_consistency", "options": {"n": str(samples)}}
    began = time.perf_counter()
    with RunStore.open(folder, {"identity": {**parts, "seed": 0}}) as store:
        for number in range(problems):
            store.append(*author.problem(number))
        store.close({"status": "finished", "seconds": time.perf_counter() - began})
    return {"seconds": time.perf_counter() - began}


def measured(folder: Path) -> dict[str, float]:
    """One report, of this process alone."""
    began = time.perf_counter()
    pool = load(folder).pool
    loaded = time.perf_counter()
    assert pool is not None
    curves = pool_curves(pool)
    ended = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    assert [curve.name for curve in curves] == ["pass", "majority"]
    votes = Counter(tuple(sorted(np.bincount(row[row >= 0]).tolist())) for row in pool.groups)
    single = sum(many == 1 for many in votes.values())
    last = {curve.name: float(curve.mean[-1]) for curve in curves}
    return {"load": loaded - began, "curves": ended - loaded, "MB": peak, "different votes": single, **last}


def child(*words: object) -> dict[str, float]:
    """This file in a process of its own, so that its peak of memory is its own: Linux begins that with what the
    parent has, which here is no more than the imports."""
    command = [sys.executable, __file__, *map(str, words)]
    found: dict[str, float] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=PROBLEMS)
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.write:
        print(json.dumps(write(asked.write, asked.problems, asked.samples)))
    elif asked.measure:
        print(json.dumps(measured(asked.measure)))
    else:
        with tempfile.TemporaryDirectory(prefix="mullover-report-") as home:
            os.environ["MULLOVER_HOME"] = home
            whole(Path(home), asked.problems, asked.samples)


def whole(home: Path, problems: int, samples: int) -> None:
    folder = home / "runs" / "report"
    took = child("--write", folder, "--problems", problems, "--samples", samples)["seconds"]
    size = (folder / NAME).stat().st_size / 1e9
    print(f"{problems} problems x {samples} samples, {size:.2f} GB, written in {took:.0f} s", flush=True)
    for end in ("", "-wal", "-shm"):
        (home / f"{FILE}{end}").unlink(missing_ok=True)
    for name in AIMS:
        shown(name, child("--measure", folder))
    print(f"aims for {PROBLEMS} x {SAMPLES}: {AIMS['cold']} s cold, {AIMS['index']} s from the index, {MEMORY} MB")


def shown(name: str, found: dict[str, float]) -> None:
    first, then = found["load"], found["curves"]
    print(f"{name:6}load {first:6.2f} s, curves {then:6.2f} s, both {first + then:6.2f} s, peak {found['MB']:5.0f} MB")
    right = f"pass {found['pass']:.4f}, majority {found['majority']:.4f}"
    print(f"      different votes {found['different votes']:.0f}, {right}, load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
