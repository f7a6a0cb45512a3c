"""BIG-bench and its hard subset BBH. Questions stay as published; their canary strings are never part of a prompt."""

import re
from collections.abc import Callable, Mapping
from hashlib import sha256

from mullover.tasks.entry import Entry, Row, examples
from mullover.tasks.hub import Hub
from mullover.tasks.kinds import lettered, spec, with_options
from mullover.tasks.problem import Problem
from mullover.types import AnswerSpec, Kind

OPTION = re.compile(r"^\(([A-Z])\)", re.MULTILINE)
WORDS = 'End with "ANSWER: " and the sorted words, with spaces between them.'
BRACKETS = 'End with "ANSWER: " and the missing brackets alone, with spaces between them.'
VALIDITY = 'End with "ANSWER: " and valid or invalid.'
TRUTH = 'End with "ANSWER: " and True or False.'
Make = Callable[[Row, int], Problem]

LETTERED = {  # name: examples; the options stand in the question as `(A) ...`
    "date_understanding": 250,
    "disambiguation_qa": 250,
    "geometric_shapes": 250,
    "hyperbaton": 250,
    "logical_deduction_three_objects": 250,
    "logical_deduction_five_objects": 250,
    "logical_deduction_seven_objects": 250,
    "movie_recommendation": 250,
    "penguins_in_a_table": 146,
    "reasoning_about_colored_objects": 250,
    "ruin_names": 250,
    "salient_translation_error_detection": 250,
    "snarks": 178,
    "temporal_sequences": 250,
    "tracking_shuffled_objects_three_objects": 250,
    "tracking_shuffled_objects_five_objects": 250,
    "tracking_shuffled_objects_seven_objects": 250,
}


def by_letter(row: Row, i: int) -> Problem:
    """The gold `(B)` is the letter B.

    Three golds (one of movie_recommendation, two of ruin_names) are texts with a comma that BBH's authors split into
    two options, so that no letter is right; there the text is asked for, as it stands in the set.
    """
    letters = tuple(dict.fromkeys(OPTION.findall(row["input"])))
    gold = row["target"].strip()
    if gold.strip("()") in letters:
        return Problem(str(i), row["input"], gold.strip("()"), spec("choice", letters))
    return Problem(str(i), row["input"], gold, spec("text"))


def of(expects: AnswerSpec) -> Make:
    """The gold as it stands, of one kind for the whole set."""

    def make(row: Row, i: int) -> Problem:
        return Problem(str(i), row["input"], row["target"].strip(), expects)

    return make


def sorted_words(row: Row, i: int) -> Problem:
    """With or without commas between the words."""
    words = row["target"].split()
    return Problem(str(i), row["input"], " ".join(words), spec("text", instruction=WORDS), (", ".join(words),))


def brackets(row: Row, i: int) -> Problem:
    """With or without spaces between the brackets."""
    missing = row["target"].split()
    return Problem(str(i), row["input"], " ".join(missing), spec("text", instruction=BRACKETS), ("".join(missing),))


def scored(row: Row, i: int) -> Problem:
    """BIG-bench's own form: texts with a score each, the right one first; so they are put in an order of their own.

    The order depends on the question and the texts alone: it is the same on every machine and in every run.
    """
    question, scores = row["input"].strip(), row["target_scores"]
    options = lettered(sorted(scores, key=lambda text: sha256(f"{question}\n{text}".encode()).digest()))
    gold = next(letter for letter, text in options.items() if int(scores[text]) == 1)
    return Problem(str(i), with_options(question, options), gold, spec("choice", tuple(options)))


def strategy(row: Row, i: int) -> Problem:
    gold = next(text for text, score in row["target_scores"].items() if int(score) == 1)
    return Problem(str(i), row["input"].strip(), gold, spec("yes_no"))


def _bbh(name: str, problems: int, kind: Kind, make: Make, what: str = "") -> Entry:
    hub = Hub("lukaemon/bbh", "test", name)
    words = what or name.replace("_", " ")
    return Entry(f"BBH: {words}", kind, problems, "MIT", f"bbh/{name}.json", make, examples, hub=hub)


def _bigbench(what: str, kind: Kind, problems: int, folder: str, make: Make) -> Entry:
    return Entry(f"BIG-bench: {what}", kind, problems, "Apache-2.0", f"{folder}/task.json", make, examples)


BBH: Mapping[str, Entry] = {
    **{name: _bbh(name, problems, "choice", by_letter) for name, problems in LETTERED.items()},
    "boolean_expressions": _bbh("boolean_expressions", 250, "yes_no", of(spec("yes_no", instruction=TRUTH))),
    "causal_judgement": _bbh("causal_judgement", 187, "yes_no", of(spec("yes_no"))),
    "dyck_languages": _bbh("dyck_languages", 250, "text", brackets, "close the open brackets"),
    "formal_fallacies": _bbh(
        "formal_fallacies", 250, "choice", of(spec("choice", ("valid", "invalid"), instruction=VALIDITY))
    ),
    "multistep_arithmetic_two": _bbh("multistep_arithmetic_two", 250, "number", of(spec("number"))),
    "navigate": _bbh("navigate", 250, "yes_no", of(spec("yes_no"))),
    "object_counting": _bbh("object_counting", 250, "number", of(spec("number"))),
    "sports_understanding": _bbh("sports_understanding", 250, "yes_no", of(spec("yes_no"))),
    "web_of_lies": _bbh("web_of_lies", 250, "yes_no", of(spec("yes_no"))),
    "word_sorting": _bbh("word_sorting", 250, "text", sorted_words),
}

TASKS: Mapping[str, Entry] = {
    **{f"bbh/{name}": BBH[name] for name in sorted(BBH)},
    "strategyqa": _bigbench("yes or no by facts the question does not name", "yes_no", 2290, "strategyqa", strategy),
    "date_understanding": _bigbench("which date is meant", "choice", 369, "date_understanding", scored),
    "shuffled_objects": _bigbench("who holds what after three swaps", "choice", 750, "shuffled_objects", scored),
}
