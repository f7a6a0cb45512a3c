"""What the pocket model can do: the tables of its card, measured on problems that it never saw.

    python benchmarks/pocket.py cells MODEL_DIR OUT_DIR      fix the middle grade of each family, on the split dev
    python benchmarks/pocket.py measure MODEL_DIR OUT_DIR    those cells on the split test
    python benchmarks/pocket.py skills MODEL_DIR OUT_DIR     every skill, family and grade, greedy
    python benchmarks/pocket.py lecture MODEL_DIR OUT_DIR    the lecture's questions, in two wordings each
    python benchmarks/pocket.py run RUN_DIR/model OUT_DIR    what the training took, from the run's log
    python benchmarks/pocket.py decoding MODEL_DIR OUT_DIR   first tokens of plain questions: direct answers and chains

Each writes one JSON file to OUT_DIR, from which pocket_card.py writes the card; `measure` goes on where it stopped.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import os
import platform
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from difflib import SequenceMatcher
from pathlib import Path
from random import Random
from typing import Any

from safetensors import safe_open

from mullover.aio import together
from mullover.api import asolve
from mullover.evaluate.metrics import wilson
from mullover.openers import open_model
from mullover.prompts import style
from mullover.store.files import write_whole
from mullover.strategies._chains import Votes, read
from mullover.tasks import Problem, Task, load
from mullover.tasks.school import FAMILIES, GRADES
from mullover.train import exam
from mullover.types import Candidate, Kind, Model, Sample, Sampling

SAMPLES, TEMPERATURE = 16, 0.8
MANY, SIDE, ASKED = 400, 100, 60  # problems of a middle cell, of another cell, questions of a skill
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

    def __init__(self, problem: Problem, samples: Sequence[Sample], rights: Sequence[bool]) -> None:
        self.problem, self.samples, self.rights = problem, samples, rights
        self.votes = Votes(problem.expects)
        for i, sample in enumerate(samples):
            self.votes.add(i, sample)

    @property
    def vote(self) -> bool:
        """Is the commonest answer right? A tie goes to the first; none, to nobody."""
        return self.votes.leader is not None and self.rights[self.votes.leader.first]


async def graded(task: Task, problem: Problem, samples: Sequence[Sample]) -> Room:
    scores = await task.grade(problem)(problem.prompt(), [Candidate.of(sample) for sample in samples])
    return Room(problem, samples, [score.value is not None and score.value >= 1.0 for score in scores])


async def asked(model: Model, task: Task, named: str, n: int, sampling: Sampling) -> list[Room]:
    """Every problem in a style, n samples each; seeds depend on the problem's place."""

    async def one(i: int, problem: Problem) -> Room:
        prompt = style(named).ask(problem.prompt())
        own = replace(sampling, seeds=tuple(range(i * 1000, i * 1000 + n)))
        return await graded(task, problem, await model.sample(prompt, n, own))

    return await together(*(one(i, problem) for i, problem in enumerate(task)))


def firsts(rooms: Sequence[Room]) -> list[bool]:
    return [room.rights[0] for room in rooms]


def share(rights: Sequence[bool]) -> float:
    return round(sum(rights) / max(1, len(rights)), 4)


def part(task: Task, many: int) -> Task:
    return Task(task.name, tuple(task)[:many], task.grader, task.source, task.sha256)


async def cells(model: Model, keep: Keep) -> None:
    """Of each family the lowest grade above 1 that greedy chains do not master, by 100 problems of dev."""
    found = dict[str, Any]()
    for family in FAMILIES:
        marks = dict[int, tuple[int, int, float]]()
        for grade in GRADES:
            task = part(load(f"school/{family}/{grade}/dev"), 100)
            rights = firsts(await asked(model, task, "step_by_step", 1, GREEDY))
            marks[grade] = (sum(rights), len(rights), chance(task))
        shares = {grade: right / many for grade, (right, many, _) in marks.items()}
        middle = next((grade for grade in GRADES[1:] if shares[grade] <= MIDDLE), GRADES[-1])
        right, many, guess = marks[middle]
        state = (
            "solved" if shares[middle] > MIDDLE else "not learned" if wilson(right, many)[0] <= guess else "in range"
        )
        found[family] = {"middle": middle, "state": state, "greedy on dev": shares}
        print(family, found[family], flush=True)
    keep(found)


def chance(task: Task) -> float:
    """Of a blind guess."""
    guesses: list[float] = [problem.facts["guess"] for problem in task]
    return round(sum(guesses) / len(guesses), 4)


def blind(task: Task) -> dict[str, float]:
    """What needs no working out: one guess, 16 guesses, and the family's shortcut where there is one."""
    luck = [1 - (1 - problem.facts["guess"]) ** SAMPLES for problem in task]
    short = share([problem.facts["shortcut"] for problem in task])
    return {"guess": chance(task), "guess pass": round(sum(luck) / len(luck), 4), "shortcut": short}


async def measured(model: Model, task: Task) -> dict[str, Any]:
    """One cell on the split test."""
    began = time.monotonic()
    direct = firsts(await asked(model, task, "direct", 1, GREEDY))
    plain = firsts(await asked(model, task, "plain", 1, GREEDY))
    chains = await asked(model, task, "step_by_step", 1, GREEDY)
    greedy = firsts(chains)
    pools = await asked(model, task, "step_by_step", SAMPLES, DRAWN)
    votes = [pool.vote for pool in pools]
    voted = {
        "majority": share(votes),
        "majority less greedy": mean_of([x - y for x, y in zip(votes, greedy, strict=True)]),
        "different answers": round(sum(len(pool.votes.groups) for pool in pools) / len(pools), 2),
    }
    return {
        "problems": len(task),
        "sha256": task.sha256,
        "direct": share(direct),
        "plain": share(plain),
        "greedy": share(greedy),
        "sample": mean_of([sum(pool.rights) / SAMPLES for pool in pools]),
        "pass": share([any(pool.rights) for pool in pools]),
        **blind(task),
        **(voted if votable(task.name) else {}),
        "tokens a chain": round(sum(len(room.samples[0].ids) for room in chains) / len(task), 1),
        "seconds": round(time.monotonic() - began, 1),
    }


def votable(cell: str) -> bool:
    """Can two answers be equal? Sentences hardly ever are."""
    return cell.split("/")[1] != "open"


def mean_of(values: Sequence[float]) -> tuple[float, float, float]:
    """The mean over problems and its 95 % interval, by a bootstrap of problems."""
    rng, many = Random(0), len(values)
    means = sorted(sum(rng.choices(values, k=many)) / many for _ in range(DRAWS))
    return round(sum(values) / many, 4), round(means[DRAWS // 40], 4), round(means[-DRAWS // 40], 4)


async def measure(model: Model, keep: Keep) -> None:
    """The middle cell of each family, then the easiest and the hardest; what is measured on these problems is kept."""
    chosen, found = keep.before("cells"), keep.before("measure")
    middle = {f"school/{family}/{chosen[family]['middle']}": MANY for family in FAMILIES}
    sides = {f"school/{family}/{grade}": SIDE for grade in (GRADES[0], GRADES[-1]) for family in FAMILIES}
    for cell, many in (middle | sides | middle).items():  # the middle ones first, and whole
        task, before = part(load(cell), many), found.get(cell, {})
        if (before.get("sha256"), before.get("problems")) != (task.sha256, len(task)):
            found[cell] = await measured(model, task)
            print(cell, found[cell], flush=True)
        else:
            found[cell] = before | blind(task)
        keep(found)


async def skills(model: Model, keep: Keep) -> None:
    """With what needs no skill: always to say what is most often right, or to choose what is most like the rest."""
    marks = await exam.examine(model, exam.cells(), "test", ASKED)
    print(exam.table(marks), flush=True)
    found = dict[str, Any]()
    for mark in marks:
        documents = list(exam.questions(mark.cell, "test", ASKED))
        blind = max(Counter(document.wants for document in documents).values())
        if mark.cell.skill == "choose":
            blind = max(blind, sum(most_alike(document.turns[0][1]) == document.wants for document in documents))
        name = f"{mark.cell.skill}/{mark.cell.family}/{mark.cell.grade}"
        found[name] = {"right": mark.right, "asked": mark.asked, "blind": round(blind / mark.asked, 3)}
    keep(found)


def most_alike(question: str) -> str:
    """The letter of the option that is most like the others: wrong ones come of slips on the way to the right one."""
    options: dict[str, str] = dict(re.findall(r"^\(([A-D])\) (.*)$", question, re.MULTILINE))
    alike = {
        own: sum(SequenceMatcher(None, options[own], other).ratio() for other in options.values()) for own in options
    }
    return max(alike, key=alike.__getitem__)


async def lecture(model: Model, keep: Keep) -> None:
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
            "chain": chain.answer.value,
        }
        print(question, found[question], flush=True)
    keep(found)


async def decoding(model: Model, keep: Keep) -> None:
    """Plain questions of the middle cells, each of the ten likeliest first tokens followed greedily."""
    chosen, found = keep.before("cells"), dict[str, Any]()
    for family in FAMILIES:
        if FAMILIES[family].kind == "expression" or family == "open":
            continue  # an answer of many tokens, or one that is a sentence, has no span to compare
        task = part(load(f"school/{family}/{chosen[family]['middle']}"), 100)
        sampling = Sampling(temperature=0.0, max_tokens=exam.LONGEST, top_logprobs=2, distinct_first=True)
        rooms = await asked(model, task, "plain", 10, sampling)
        found[family] = told(rooms)
        print(family, found[family], flush=True)
    keep(found)


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
        "minutes": last["seconds"] / 60,
    }


def told(rooms: Sequence[Room]) -> dict[str, Any]:
    paths = [
        [
            (is_chain(s), margin(s, read(s, room.problem.expects)), r)
            for s, r in zip(room.samples, room.rights, strict=True)
        ]
        for room in rooms
    ]
    greedy = [one[0] for one in paths]
    picked = [max(one, key=lambda path: path[1]) for one in paths]

    def mean(values: Sequence[float]) -> float:
        return round(sum(values) / max(1, len(values)), 3)

    return {
        "greedy is direct": mean([not chain for chain, _, _ in greedy]),
        "a chain among ten": mean([any(chain for chain, _, _ in one) for one in paths]),
        "confidence of all chains": mean([sure for one in paths for chain, sure, _ in one if chain]),
        "confidence of greedy direct answers": mean([sure for chain, sure, _ in greedy if not chain]),
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


class Keep:
    """The file of a part; results of other weights are never mixed with these."""

    def __init__(self, out: Path, name: str, model: Path) -> None:
        self.out, self.name = out, name
        self.weights = hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()[:16]

    def __call__(self, found: Any) -> None:
        facts = {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "weights": self.weights,
        }
        text = json.dumps({**facts, "results": found}, indent=1)
        write_whole(self.out / f"{self.name}.json", [f"{text}\n".encode()])

    def before(self, name: str) -> dict[str, Any]:
        """The results of a part so far."""
        path = self.out / f"{name}.json"
        kept: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {"results": {}}
        if kept["results"] and kept["weights"] != self.weights:
            sys.exit(f"{path} is of other weights ({kept['weights']}, not {self.weights}); choose another OUT_DIR")
        results: dict[str, Any] = kept["results"]
        return results


PARTS = {"cells": cells, "measure": measure, "skills": skills, "lecture": lecture, "decoding": decoding}


def main() -> None:
    if len(sys.argv) != 4 or sys.argv[1] not in (*PARTS, "run"):
        sys.exit(__doc__)
    name, model, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    out.mkdir(parents=True, exist_ok=True)
    keep = Keep(out, name, model)
    if name == "run":
        keep(training(model))
    else:
        asyncio.run(PARTS[name](open_model(str(model)), keep))


if __name__ == "__main__":
    main()
