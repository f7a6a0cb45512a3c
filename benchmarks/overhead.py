"""What mullover itself costs: CPU microseconds a sample, memory, and start-up. Run by `make bench`.

A scripted model answers at once, so that all time is ours: CPU time of all threads. The whole is given in microseconds
a sample and as a ratio to encoding and appending the very records it stored, measured in the same run: once as plain
dicts by orjson, once from runs by our store. Parts are measured apart, by running ever more of the road, so that
they add up to the whole only as far as the machine is steady.
"""

import argparse
import asyncio
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path

import orjson

from mullover.aio import together
from mullover.backends.scripted import Scripted
from mullover.evaluate.evaluate import Plan, evaluate, graded
from mullover.running import Budget, Run, prepared, run_prepared
from mullover.scorers.exact import exact
from mullover.seeds import fold
from mullover.store import decode, encode
from mullover.strategies.chain_of_thought import chain_of_thought
from mullover.strategies.self_consistency import self_consistency
from mullover.tasks import Problem, Task
from mullover.types import AnswerSpec, Sampling, Scorer

SAYS = ["6 times 7 is 42. ANSWER: 42", "That is 41, I think. ANSWER: 41", "ANSWER: 42", "7 * 6 = 42, so ANSWER: 42"]
SHAPES = {"n=16 x 1,000": (16, 1_000), "n=1 x 16,000": (1, 16_000)}
CONCURRENCY = 64
TRIES = 3


class Questions(Sequence[Problem]):
    """Made when they are asked for, so that the problems themselves take no memory."""

    def __init__(self, many: int) -> None:
        self.many = many

    def __len__(self) -> int:
        return self.many

    def __getitem__(self, at):  # type: ignore[no-untyped-def]
        if isinstance(at, slice):
            return Questions(len(range(self.many)[at]))
        if at >= self.many:
            raise IndexError(at)
        text = f"What is 6 times 7, asked for the time number {at}?"
        return Problem(str(at), text, "42", AnswerSpec("number", instruction="End with ANSWER: and the number."))


def task(count: int) -> Task:
    return Task("overhead", Questions(count), grader, "benchmarks/overhead.py", f"{fold(0, count):x}")


def grader(problem: Problem) -> Scorer:
    return exact(problem.answer or "", problem.expects)


def plan(n: int, count: int) -> Plan:
    strategy, options = (chain_of_thought, {}) if n == 1 else (self_consistency, {"n": n})
    return Plan(task(count), Scripted(SAYS), strategy, options=options, concurrency=CONCURRENCY)


def cpu(job: Callable[[], object]) -> float:
    """Seconds of all threads of this process."""
    started = time.process_time()
    job()
    return time.process_time() - started


async def over(count: int, one: Callable[[Problem], object]) -> None:
    """`one` for each question, 64 at a time, as the evaluation does it."""
    left: Iterator[Problem] = iter(task(count).problems)

    async def worker() -> None:
        for problem in left:
            await one(problem)  # type: ignore[misc]

    await together(*(worker() for _ in range(CONCURRENCY)))


def parts(n: int, count: int) -> dict[str, float]:
    """CPU seconds of ever more of the road."""
    said = plan(n, count)
    arguments = prepared(said.strategy, said.model, {}, said.options)
    last: list[tuple[Problem, Run]] = []

    async def asked(problem: Problem) -> None:
        seeds = tuple(range(n))
        async with aclosing(said.model.stream(problem.prompt(), n, Sampling(seeds=seeds))) as events:
            async for _ in events:
                pass

    async def ran(problem: Problem) -> None:
        prompt = problem.prompt()
        last[:] = [(problem, await run_prepared(said.strategy, said.model, prompt, arguments, seed=0, budget=Budget()))]

    async def grade() -> None:
        problem, result = last[0]
        for _ in range(count):
            await graded(grader(problem), problem, result, "")

    def encoded() -> None:
        problem, result = last[0]
        for _ in range(count):
            encode(problem.id, result, gold="42", correct=True, grades=None, seconds=0.1, started=0.0)

    backend = cpu(lambda: asyncio.run(over(count, asked)))
    whole_run = cpu(lambda: asyncio.run(over(count, ran)))
    return {
        "the model, and making the questions": backend,
        "run: seeds, ledger, extraction, vote": whole_run - backend,
        "grading": cpu(lambda: asyncio.run(grade())),
        "encoding": cpu(encoded),
    }


def whole(n: int, count: int, folder: Path) -> float:
    result = None

    def job() -> None:
        nonlocal result
        result = asyncio.run(evaluate(plan(n, count), folder))

    spent = cpu(job)
    assert result is not None and result.problems == count and result.correct > 0
    return spent


def baselines(folder: Path, again: Path) -> tuple[float, float]:
    """Encode and append the records that the run stored: as plain dicts by orjson, and as our store does it."""
    lines = (folder / "problems.jsonl").read_bytes().splitlines()
    records = [orjson.loads(line) for line in lines]
    stored = [decode(line) for line in lines]

    def plainly() -> None:
        file = os.open(again, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for record in records:
            os.write(file, orjson.dumps(record) + b"\n")
        os.fsync(file)
        os.close(file)

    def as_stored() -> None:
        file = os.open(again, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for one in stored:
            grades, right = one.grades, one.correct
            line = encode(one.id, one.run, gold=one.gold, correct=right, grades=grades, seconds=0.1, started=0.0)
            os.write(file, line)
        os.fsync(file)
        os.close(file)

    return cpu(plainly), cpu(as_stored)


def measure(n: int, count: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as home:
        os.environ["MULLOVER_HOME"] = home
        spent = whole(n, count, Path(home) / "run")
        plainly, as_stored = baselines(Path(home) / "run", Path(home) / "again.jsonl")
        by_part = parts(n, count)
    micro = {name: 1e6 * seconds / (n * count) for name, seconds in by_part.items()}
    each = 1e6 * spent / (n * count)
    return {
        **micro,
        "the loop, appending, the index (what is left)": each - sum(micro.values()),
        "all": each,
        "encoding and appending plain dicts (orjson)": 1e6 * plainly / (n * count),
        "encoding and appending the runs (our store)": 1e6 * as_stored / (n * count),
        "ratio to plain dicts": spent / plainly,
        "ratio to our store": spent / as_stored,
    }


def peak_memory(count: int) -> float:
    """MB of a fresh process that evaluates so many questions, n=4."""
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import overhead; overhead.alone({count})"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(shown.stdout)


def alone(count: int) -> None:
    with tempfile.TemporaryDirectory() as home:
        os.environ["MULLOVER_HOME"] = home
        whole(4, count, Path(home) / "run")
    print(high_water())


def high_water() -> float:
    """MB. Not ru_maxrss: on Linux that begins with what the parent had."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) / 1024  # type: ignore[index]
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes on macOS


def started(ours: list[str], theirs: list[str], runs: int = 15) -> tuple[float, float, float]:
    """Median seconds of two commands run in turn, and the median of the ratios pair by pair."""

    def wall(command: list[str]) -> float:
        begun = time.perf_counter()
        subprocess.run([sys.executable, *command], capture_output=True, check=True)
        return time.perf_counter() - begun

    wall(ours), wall(theirs)
    pairs = [(wall(ours), wall(theirs)) for _ in range(runs)]
    ratios = [a / b for a, b in pairs]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs), statistics.median(ratios)


EMPTY = "import typer; app = typer.Typer(); app.command()(lambda: None); app(['--help'], standalone_mode=False)"
STARTS = {
    "import mullover / import asyncio, dataclasses": (["-c", "import mullover"], ["-c", "import asyncio, dataclasses"]),
    "mull --help / an empty typer app's": (["-m", "mullover", "--help"], ["-c", EMPTY]),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", choices=["samples", "memory", "start"])
    chosen = parser.parse_args()
    told: dict[str, object] = {"python": platform.python_version(), "cores": os.cpu_count()}
    if chosen.only in (None, "samples"):
        for shape, (n, count) in SHAPES.items():
            tries = [measure(n, count) for _ in range(TRIES)]
            told[shape] = {name: statistics.median(t[name] for t in tries) for name in tries[0]}
    if chosen.only in (None, "memory"):
        told["peak MB"] = {count: peak_memory(count) for count in (1_000, 20_000)}
    if chosen.only in (None, "start"):
        told["start"] = {name: started(*commands) for name, commands in STARTS.items()}
    print(json.dumps(told, indent=2) if chosen.json else table(told))


def table(told: dict[str, object]) -> str:
    lines = []
    for name, value in told.items():
        if isinstance(value, dict):
            lines.append(name)
            for part, number in value.items():
                shown = ", ".join(f"{x:.3f}" for x in number) if isinstance(number, tuple) else f"{number:.2f}"
                lines.append(f"  {part:<50} {shown}")
        else:
            lines.append(f"{name}: {value}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
