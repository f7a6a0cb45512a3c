"""The gold answers of the shared benchmarks; tests that use them are skipped where they are absent."""

import gzip
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mullover.types import AnswerSpec

DATA = Path(os.environ.get("MULLOVER_DATA") or Path(__file__).parents[2].parent / "shared" / "data")

Gold = tuple[AnswerSpec, str]

NUMBER, MATH, TEXT, YES_NO = AnswerSpec("number"), AnswerSpec("math"), AnswerSpec("text"), AnswerSpec("yes_no")


def rows(name: str) -> Any:
    path = DATA / name
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        text = file.read()
    try:
        found = json.loads(text)
    except json.JSONDecodeError:  # a line each
        return [json.loads(line) for line in text.split("\n") if line.strip()]
    return found.get("examples", found) if isinstance(found, dict) else found


def boxed(solution: str) -> str | None:
    start = solution.rfind("\\boxed{") + 7
    depth, at = 1, start
    while start > 6 and at < len(solution):
        depth += {"{": 1, "}": -1}.get(solution[at], 0)
        if depth == 0:
            return solution[start:at]
        at += 1
    return None


def plain(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def gold_bbh() -> Iterator[Gold]:
    for path in sorted((DATA / "bbh").glob("*.json*")):
        for row in rows(f"bbh/{path.name}"):
            target = row["target"]
            if re.fullmatch(r"\([A-Z]\)", target):
                yield AnswerSpec("choice", choices=tuple("ABCDEFGHIJKLMNOPQR")), target
            elif target.casefold() in ("yes", "no", "true", "false"):
                yield YES_NO, target
            else:
                yield (NUMBER if re.fullmatch(r"-?\d+", target) else TEXT), target


def gold_aqua() -> Iterator[Gold]:
    for row in [*rows("aqua/dev.json"), *rows("aqua/test.json")]:
        yield AnswerSpec("choice", choices=tuple("ABCDE")), row["correct"]


def gold_dates() -> Iterator[Gold]:
    for row in rows("date_understanding/task.json"):
        yield (
            AnswerSpec("choice", choices=tuple(row["target_scores"])),
            max(row["target_scores"], key=row["target_scores"].get),
        )


def gold_contests() -> Iterator[Gold]:
    for path in sorted((DATA / "aime").glob("*.jsonl")):
        for row in rows(f"aime/{path.name}"):
            yield MATH, str(row.get("answer", row.get("label")))
    for row in rows("amc23/test.jsonl"):
        yield NUMBER, plain(row["answer"])


SETS: dict[str, Any] = {
    "gsm8k": lambda: [
        (NUMBER, r["answer"].split("####")[1].strip())
        for part in ("test", "train")
        for r in rows(f"gsm8k/{part}.jsonl.gz")
    ],
    "gsm_hard": lambda: [(NUMBER, plain(r["target"])) for r in rows("gsm_hard/gsmhardv2.jsonl.gz")],
    "svamp": lambda: [
        (NUMBER, plain(r["Answer"])) for p in sorted((DATA / "svamp").glob("*.json*")) for r in rows(f"svamp/{p.name}")
    ],
    "multiarith": lambda: [(NUMBER, plain(r["lSolutions"][0])) for r in rows("multiarith/MultiArith.json.gz")],
    "math": lambda: [(MATH, g) for r in rows("math/math_test_5000.jsonl.gz") if (g := boxed(r["solution"]))],
    "math500": lambda: [(MATH, r["answer"]) for r in rows("math/math500.jsonl.gz")],
    "minerva_math": lambda: [
        (MATH, g.strip()) for r in rows("minerva_math/test.jsonl.gz") if (g := boxed(r["solution"]))
    ],
    "olympiadbench": lambda: [(MATH, ", ".join(r["final_answer"])) for r in rows("olympiadbench/test.jsonl.gz")],
    "contests": gold_contests,
    "aqua": gold_aqua,
    "bbh": gold_bbh,
    "date_understanding": gold_dates,
    "strategyqa": lambda: [
        (YES_NO, max(r["target_scores"], key=r["target_scores"].get)) for r in rows("strategyqa/task.json.gz")
    ],
    "coin_flip": lambda: [(YES_NO, r["answer"]) for r in rows("coin_flip/coin_flip.json")],
    "last_letters": lambda: [(TEXT, r["answer"]) for r in rows("last_letters/last_letters.json")],
}


@pytest.fixture(scope="session")
def golds() -> Callable[[str], list[Gold]]:
    """The distinct gold answers of the set of that name."""
    if not DATA.is_dir():
        pytest.skip(f"no benchmarks at {DATA}; set MULLOVER_DATA")
    return lambda name: list(dict.fromkeys((spec, gold) for spec, gold in SETS[name]() if gold))
