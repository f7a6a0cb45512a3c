"""Word problems of primary school, and AQuA's of secondary school with options."""

from collections.abc import Mapping

from mullover.scorers.close import close
from mullover.tasks.entry import Entry, Row, array, jsonl, tidy
from mullover.tasks.hub import Hub
from mullover.tasks.kinds import lettered, spec, with_options
from mullover.tasks.problem import Problem
from mullover.types import Scorer

DECIMALS = 'End with "ANSWER: " and the number alone; if it is not whole, with at least four decimals.'


def gsm8k(row: Row, i: int) -> Problem:
    """The gold is what stands behind `####`; its thousands separators go."""
    gold = row["answer"].rpartition("####")[2].strip().replace(",", "")
    return Problem(str(i), row["question"], gold, spec("number"))


def gsm_hard(row: Row, i: int) -> Problem:
    return Problem(str(i), row["input"], tidy(row["target"]), spec("number", instruction=DECIMALS))


def nearly(problem: Problem) -> Scorer:
    """GSM-Hard's golds come from running a program, so they are binary fractions: see `close`."""
    return close(problem.answer or "", problem.expects)


def svamp(row: Row, i: int) -> Problem:
    body = row["Body"].strip()
    joined = f"{body} {row['Question']}" if body.endswith((".", "?", "!", ",")) else f"{body}. {row['Question']}"
    return Problem(row["ID"], joined, tidy(row["Answer"]), spec("number"), facts={"type": row["Type"]})


def multiarith(row: Row, i: int) -> Problem:
    return Problem(str(row["iIndex"]), row["sQuestion"].strip(), tidy(row["lSolutions"][0]), spec("number"))


def aqua(row: Row, i: int) -> Problem:
    """Its options are written `A)21`."""
    options = lettered([option.partition(")")[2].strip() for option in row["options"]])
    question = with_options(row["question"], options)
    return Problem(str(i), question, row["correct"], spec("choice", tuple(options)))


def _gsm8k(split: str, problems: int) -> Entry:
    what = f"word problems of primary school, {split} split"
    hub = Hub("openai/gsm8k", split, "main")
    return Entry(what, "number", problems, "MIT", f"gsm8k/{split}.jsonl", gsm8k, jsonl, hub=hub)


def _aqua(split: str) -> Entry:
    hub = Hub("deepmind/aqua_rat", "validation" if split == "dev" else split, "raw")
    what = f"algebra with five options, {split} split"
    return Entry(what, "choice", 254, "Apache-2.0", f"aqua/{split}.json", aqua, jsonl, hub=hub)


TASKS: Mapping[str, Entry] = {
    "gsm8k": _gsm8k("test", 1319),
    "gsm8k/train": _gsm8k("train", 7473),
    "gsm_hard": Entry(
        "GSM8K with large and odd numbers",
        "number",
        1319,
        "MIT",
        "gsm_hard/gsmhardv2.jsonl",
        gsm_hard,
        jsonl,
        grader=nearly,
        hub=Hub("reasoning-machines/gsm-hard", "train"),
    ),
    "svamp": Entry("word problems in varied wording", "number", 1000, "MIT", "svamp/SVAMP.json", svamp, array),
    "multiarith": Entry(
        "word problems of several steps", "number", 600, "none stated", "multiarith/MultiArith.json", multiarith, array
    ),
    "aqua": _aqua("test"),
    "aqua/dev": _aqua("dev"),
}
