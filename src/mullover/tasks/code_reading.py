"""CRUXEval's output prediction: what does a short Python function return? Nothing is run: the gold is a literal."""

from collections.abc import Mapping

from mullover.scorers.literal import literal
from mullover.tasks.entry import Entry, Row, jsonl
from mullover.tasks.hub import Hub
from mullover.tasks.kinds import spec
from mullover.tasks.problem import Problem
from mullover.types import Scorer

LITERAL = "End with the value alone, written as a Python literal, in one fenced code block."


def output(row: Row, i: int) -> Problem:
    question = (
        "Read this Python code and work out what the call below it returns.\n\n"
        f"```python\n{row['code']}\n```\n\nf({row['input']})"
    )
    return Problem(row["id"], question, row["output"], spec("code", instruction=LITERAL))


def same_value(problem: Problem) -> Scorer:
    return literal(problem.answer or "", problem.expects)


TASKS: Mapping[str, Entry] = {
    "cruxeval": Entry(
        "predict what a Python function returns",
        "code",
        800,
        "MIT",
        "cruxeval/cruxeval.jsonl",
        output,
        jsonl,
        grader=same_value,
        hub=Hub("cruxeval-org/cruxeval", "test"),
    )
}
