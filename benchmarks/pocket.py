"""What the pocket model can do: the tables of its card, measured on problems that it never saw.

    python benchmarks/pocket.py cells MODEL_DIR OUT_DIR      fix the middle grade of each family, on the split dev
    python benchmarks/pocket.py measure MODEL_DIR OUT_DIR    those cells on the split test, 400 problems each
    python benchmarks/pocket.py skills MODEL_DIR OUT_DIR     every skill, family and grade, greedy
    python benchmarks/pocket.py lecture MODEL_DIR OUT_DIR    the lecture's questions, in words it never saw
    python benchmarks/pocket.py run RUN_DIR/model OUT_DIR    what the training took, from the run's log
    python benchmarks/pocket.py decoding MODEL_DIR OUT_DIR   first tokens of plain questions: direct answers and chains

Each writes one JSON file to OUT_DIR, from which pocket_card.py writes the card; `measure` goes on where it stopped.
"""

import asyncio
import json
import math
import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from safetensors import safe_open

from mullover.aio import together
from mullover.answers import find
from mullover.api import asolve
from mullover.evaluate.metrics import wilson
from mullover.openers import open_model
from mullover.prompts import style
from mullover.store.files import write_whole
from mullover.tasks import Problem, Task, load
from mullover.tasks.school import FAMILIES, GRADES
from mullover.train import exam
from mullover.types import Candidate, Kind, Model, Sample, Sampling

SAMPLES, TEMPERATURE = 16, 0.8
MIDDLE = 0.75  # the highest accuracy of a middle grade
DRAWS = 4000  # of the bootstrap
GREEDY = Sampling(temperature=0.0, max_tokens=exam.LONGEST)
DRAWN = Sampling(temperature=TEMPERATURE, max_tokens=exam.LONGEST)
LECTURE: tuple[tuple[str, Kind, str], ...] = (
    ("I have 3 apples, my dad has 2 more apples than me. How many apples do we have in total?", "number", "8"),
    ("There are 3 apples in my bag. Dad owns two more apples than I do. What is our total of apples?", "number", "8"),
    ('Take the last letters of the words "artificial intelligence" and put them together.', "text", "le"),
    ('What is the output when concatenating the last letter of each word of "artificial intelligence"?', "text", "le"),
    ("How many r's are in strawberry?", "number", "3"),
    ('How many times does the letter r appear in "strawberry"?', "number", "3"),
)


class Room:
    """What was asked of one problem: the texts, the answers they state, and which are right."""

    def __init__(self, task: Task, problem: Problem, samples: Sequence[Sample]) -> None:
        self.found = [find(s.answer, problem.expects, truncated=s.finish not in ("eos", "stop")) for s in samples]
        self.task, self.problem, self.samples = task, problem, samples

    async def rights(self) -> list[bool]:
        candidates = [Candidate.of(sample) for sample in self.samples]
        scores = await self.task.grade(self.problem)(self.problem.prompt(), candidates)
        return [score.value is not None and score.value >= 1.0 for score in scores]

    async def vote(self) -> tuple[bool, int]:
        """Is the commonest answer right (a tie goes to the first), and how many different ones are there?"""
        counts = Counter(one.key for one in self.found if one is not None)
        if not counts:
            return False, 0
        best = max(counts, key=lambda key: counts[key])
        return (await self.rights())[[one.key if one else None for one in self.found].index(best)], len(counts)


async def asked(model: Model, task: Task, named: str, n: int, sampling: Sampling) -> list[Room]:
    """Every problem in a style, n samples each; seeds depend on the problem's place."""

    async def one(i: int, problem: Problem) -> Room:
        prompt = style(named).ask(problem.prompt())
        own = replace(sampling, seeds=tuple(range(i * 1000, i * 1000 + n)))
        return Room(task, problem, await model.sample(prompt, n, own))

    return await together(*(one(i, problem) for i, problem in enumerate(task)))


async def first_rights(rooms: Sequence[Room]) -> list[bool]:
    return [(await room.rights())[0] for room in rooms]


def share(rights: Sequence[bool]) -> float:
    return round(sum(rights) / max(1, len(rights)), 4)


def part(task: Task, many: int) -> Task:
    return Task(task.name, tuple(task)[:many], task.grader, task.source, task.sha256)


async def cells(model: Model, _: Any) -> dict[str, Any]:
    """Of each family the lowest grade above 1 that greedy chains do not master, by 100 problems of dev."""
    found = dict[str, Any]()
    for family in FAMILIES:
        shares = dict[int, float]()
        for grade in GRADES:
            rooms = await asked(model, part(load(f"school/{family}/{grade}/dev"), 100), "step_by_step", 1, GREEDY)
            shares[grade] = share(await first_rights(rooms))
        middle = next((grade for grade in GRADES[1:] if shares[grade] <= MIDDLE), GRADES[-1])
        found[family] = {"middle": middle, "greedy on dev": shares}
        print(family, found[family], flush=True)
    return found


async def measured(model: Model, cell: str) -> dict[str, Any]:
    """One cell on the split test."""
    began, task = time.monotonic(), load(cell)
    direct = await first_rights(await asked(model, task, "direct", 1, GREEDY))
    plain = await first_rights(await asked(model, task, "plain", 1, GREEDY))
    greedy_rooms = await asked(model, task, "step_by_step", 1, GREEDY)
    greedy = await first_rights(greedy_rooms)
    pools = await asked(model, task, "step_by_step", SAMPLES, DRAWN)
    rights, votes = [await pool.rights() for pool in pools], [await pool.vote() for pool in pools]
    vote = [right for right, _ in votes]
    guess = [1 - (1 - problem.facts["guess"]) ** SAMPLES for problem in task]
    return {
        "problems": len(task),
        "direct": share(direct),
        "plain": share(plain),
        "greedy": share(greedy),
        "greedy interval": wilson(sum(greedy), len(greedy)),
        "sample": round(sum(map(sum, rights)) / (SAMPLES * len(rights)), 4),
        "majority": share(vote),
        "pass": share([any(one) for one in rights]),
        "guess": round(sum(problem.facts["guess"] for problem in task) / len(task), 4),
        "guess pass": round(sum(guess) / len(guess), 4),
        "majority less greedy": paired(vote, greedy),
        "different answers": round(sum(many for _, many in votes) / len(votes), 2),
        "tokens a chain": round(sum(len(r.samples[0].ids) for r in greedy_rooms) / len(task), 1),
        "seconds": round(time.monotonic() - began, 1),
    }


def paired(a: Sequence[bool], b: Sequence[bool]) -> tuple[float, float, float]:
    """The mean difference over problems and its 95 % interval, by a bootstrap of problems."""
    rng, gaps = Random(0), [x - y for x, y in zip(a, b, strict=True)]
    means = sorted(sum(rng.choices(gaps, k=len(gaps))) / len(gaps) for _ in range(DRAWS))
    return tuple(round(x, 4) for x in (sum(gaps) / len(gaps), means[DRAWS // 40], means[-DRAWS // 40]))  # type: ignore[return-value]


async def measure(model: Model, out: Path) -> dict[str, Any]:
    """Easy, middle and hard cell of each family; those that are measured already are kept."""
    chosen = json.loads((out / "cells.json").read_text())["results"]
    kept = out / "measure.json"
    found: dict[str, Any] = json.loads(kept.read_text())["results"] if kept.is_file() else {}
    grades = [[chosen[family]["middle"] for family in FAMILIES], [1] * len(FAMILIES), [5] * len(FAMILIES)]
    for cell in [f"school/{family}/{g}" for row in grades for family, g in zip(FAMILIES, row, strict=True)]:
        if cell not in found:
            found[cell] = await measured(model, cell)
            print(cell, found[cell], flush=True)
            write(out, "measure", found)
    return found


async def skills(model: Model, _: Any) -> dict[str, Any]:
    marks = await exam.examine(model, exam.cells(), "test", 60)
    print(exam.table(marks), flush=True)
    return {f"{m.cell.skill}/{m.cell.family}/{m.cell.grade}": [m.right, m.asked] for m in marks}


async def lecture(model: Model, _: Any) -> dict[str, Any]:
    """How many of seeds 0 to 9 give the right answer by self-consistency; and what one chain and none say."""
    found = dict[str, Any]()
    for question, kind, gold in LECTURE:
        right = {}
        for temperature in (TEMPERATURE, 0.7):  # the other is what self_consistency takes unless told
            votes = [await asolve(question, model=model, strategy="self_consistency", kind=kind, n=SAMPLES, seed=i,
                                  temperature=temperature) for i in range(10)]  # fmt: skip
            right[str(temperature)] = sum(run.answer.value == gold for run in votes)
        direct = await asolve(question, model=model, strategy="direct", kind=kind)
        chain = await asolve(question, model=model, strategy="chain_of_thought", kind=kind)
        found[question] = {
            "right of 10 seeds": right,
            "directly": direct.answer.value,
            "chain": chain.answer.text,
        }
        print(question, found[question], flush=True)
    return found


async def decoding(model: Model, out: Path) -> dict[str, Any]:
    """Plain questions of the middle cells, each of the ten likeliest first tokens followed greedily."""
    chosen = json.loads((out / "cells.json").read_text())["results"]
    found = dict[str, Any]()
    for family in FAMILIES:
        if FAMILIES[family].kind == "expression" or family == "open":
            continue  # an answer of many tokens, or one that is a sentence, has no span to compare
        task = part(load(f"school/{family}/{chosen[family]['middle']}"), 100)
        sampling = Sampling(temperature=0.0, max_tokens=exam.LONGEST, top_logprobs=2, distinct_first=True)
        rooms = await asked(model, task, "plain", 10, sampling)
        found[family] = await told(rooms)
        print(family, found[family], flush=True)
    return found


def training(model: Path) -> dict[str, Any]:
    """Sizes and costs; the log lies beside the model."""
    config = json.loads((model / "config.json").read_text())
    last = json.loads((model.parent / "log.jsonl").read_text().splitlines()[-1])
    with safe_open(model / "model.safetensors", "pt") as file:
        weights = sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118  it is no mapping
    return {
        "weights": weights,
        "layers": config["num_hidden_layers"],
        "width": config["hidden_size"],
        "vocab": config["vocab_size"],
        "context": config["max_position_embeddings"],
        "steps": last["step"],
        "tokens": last["tokens"] / 1e6,
        "targets": last["targets"] / 1e6,
        "minutes": last["seconds"] / 60,
    }


async def told(rooms: Sequence[Room]) -> dict[str, Any]:
    paths = [
        [(is_chain(s), margin(s, f), r) for s, f, r in zip(room.samples, room.found, await room.rights(), strict=True)]
        for room in rooms
    ]
    greedy = [one[0] for one in paths]
    picked = [max(one, key=lambda path: path[1]) for one in paths]

    def mean(values: Sequence[float]) -> float:
        return round(sum(values) / max(1, len(values)), 3)

    return {
        "greedy is direct": mean([not chain for chain, _, _ in greedy]),
        "a chain among ten": mean([any(chain for chain, _, _ in one) for one in paths]),
        "confidence of chains": mean([sure for one in paths for chain, sure, _ in one if chain]),
        "confidence of direct answers": mean([sure for chain, sure, _ in greedy if not chain]),
        "greedy": mean([right for _, _, right in greedy]),
        "the most confident path": mean([right for _, _, right in picked]),
    }


def is_chain(sample: Sample) -> bool:
    return "\n" in sample.text.strip()


def margin(sample: Sample, found: Any) -> float:
    """The mean gap between the two likeliest tokens over the answer. Source: Wang and Zhou 2024, arXiv:2402.10200."""
    if found is None or sample.offsets is None or sample.alternatives is None:
        return 0.0
    ends = (*sample.offsets[1:], len(sample.text))
    span = range(found.start + sample.thought, found.end + sample.thought)
    gaps = [
        math.exp(two[0].logprob) - (math.exp(two[1].logprob) if len(two) > 1 else 0.0)
        for at, end, two in zip(sample.offsets, ends, sample.alternatives, strict=False)
        if at < span.stop and end > span.start and two
    ]
    return sum(gaps) / len(gaps) if gaps else 0.0


def write(out: Path, name: str, found: Any) -> None:
    facts = {"date": datetime.now(UTC).date().isoformat(), "machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    write_whole(out / f"{name}.json", [f"{json.dumps({**facts, 'results': found}, indent=1)}\n".encode()])


PARTS: dict[str, Callable[[Model, Any], Coroutine[Any, Any, dict[str, Any]]]] = {
    "cells": cells,
    "measure": measure,
    "skills": skills,
    "lecture": lecture,
    "decoding": decoding,
}


def main() -> None:
    if len(sys.argv) != 4 or sys.argv[1] not in (*PARTS, "run"):
        sys.exit(__doc__)
    out = Path(sys.argv[3])
    out.mkdir(parents=True, exist_ok=True)
    if sys.argv[1] == "run":
        write(out, "run", training(Path(sys.argv[2])))
    else:
        write(out, sys.argv[1], asyncio.run(PARTS[sys.argv[1]](open_model(sys.argv[2]), out)))


if __name__ == "__main__":
    main()
