"""Where is the first wrong step? Solutions of models, with the place of their first mistake marked by people."""

from collections.abc import Mapping

from mullover.tasks.entry import Entry, Row, array, jsonl
from mullover.tasks.hub import Hub
from mullover.tasks.kinds import spec
from mullover.tasks.problem import Problem

ASK = (
    "Below are a problem and somebody's solution in numbered steps. Which step is the first that contains a mistake? "
    "A step that only carries an earlier mistake on is not the first.\n\nProblem:\n{problem}\n\nSolution:\n{steps}"
)
INSTRUCTION = 'End with "ANSWER: " and the number of the first wrong step, or -1 if every step is right.'
MISTAKES = {  # name: (chains, what the chain was to solve)
    "dyck_languages": (986, "Close every bracket that is still open: {}"),
    "logical_deduction": (300, "{}"),
    "multistep_arithmetic": (300, "Compute: {}"),
    "tracking_shuffled_objects": (300, "{}"),
    "word_sorting": (300, "Sort these words alphabetically: {}"),
}


def process(row: Row, i: int) -> Problem:
    facts = {"generator": row["generator"], "final_answer_correct": row["final_answer_correct"]}
    return _problem(row["id"], row["problem"], row["steps"], str(row["label"]), facts)


def _mistake(frame: str, row: Row, i: int) -> Problem:
    gold = "-1" if row["mistake_index"] is None else str(row["mistake_index"])
    facts = {"final_answer_correct": row["answer"] == row["target"]}
    return _problem(str(i), frame.format(row["input"]), row["steps"], gold, facts)


def _problem(id: str, problem: str, steps: list[str], gold: str, facts: Mapping[str, object]) -> Problem:
    """Steps are numbered from 0, as both sets count them, so golds and published figures need no shift."""
    numbered = "\n".join(f"[{i}] {step}" for i, step in enumerate(steps))
    question = ASK.format(problem=problem.strip(), steps=numbered)
    return Problem(id, question, gold, spec("number", instruction=INSTRUCTION), facts=facts)


def _process(part: str, problems: int) -> Entry:
    what = f"first wrong step of solutions to {part.upper()}; -1 if none"
    hub = Hub("Qwen/ProcessBench", part)
    return Entry(what, "number", problems, "Apache-2.0", f"processbench/{part}.json", process, array, hub=hub)


def _chains(name: str) -> Entry:
    problems, frame = MISTAKES[name]
    what = f"first wrong step of PaLM 2's chains for {name.replace('_', ' ')}; -1 if none"
    file = f"bigbench_mistake/{name}.jsonl"
    return Entry(what, "number", problems, "Apache-2.0", file, lambda row, i: _mistake(frame, row, i), jsonl)


TASKS: Mapping[str, Entry] = {
    "processbench/gsm8k": _process("gsm8k", 400),
    "processbench/math": _process("math", 1000),
    **{f"bigbench_mistake/{name}": _chains(name) for name in MISTAKES},
}
