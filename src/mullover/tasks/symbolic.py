"""Small symbolic tasks: letters, coins, and paths through made-up words."""

import re
from collections.abc import Mapping

from mullover.tasks.entry import Entry, Row, array, examples
from mullover.tasks.kinds import spec
from mullover.tasks.problem import Problem

EITHER = re.compile(r"Is \w+ an? (\w+) or (\w+)\?\s*$")
LETTERS = 'End with "ANSWER: " and the letters alone, without spaces between them.'


def last_letters(row: Row, i: int) -> Problem:
    """The golds are as published: 15 of the 500 take a double name, as Ira Paola Jose, for one word."""
    return Problem(str(i), row["question"], row["answer"], spec("text", instruction=LETTERS))


def coin_flip(row: Row, i: int) -> Problem:
    return Problem(str(i), row["question"].strip(), row["answer"], spec("yes_no"))


def prosqa(row: Row, i: int) -> Problem:
    """Of the two words that the question offers, exactly one can be reached from the name."""
    either = EITHER.search(row["question"])
    gold = row["answer"].rstrip(".").split()[-1]
    if either is None or gold not in either.groups():
        raise ValueError(f"row {i} does not end in a choice of two")
    instruction = f'End with "ANSWER: " and {either[1]} or {either[2]}.'
    return Problem(str(i), row["question"].strip(), gold, spec("choice", either.groups(), instruction=instruction))


TASKS: Mapping[str, Entry] = {
    "last_letters": Entry(
        "join the last letters of names",
        "text",
        500,
        "none stated",
        "last_letters/last_letters.json",
        last_letters,
        examples,
    ),
    "coin_flip": Entry(
        "is the coin still heads up", "yes_no", 500, "none stated", "coin_flip/coin_flip.json", coin_flip, examples
    ),
    "prosqa": Entry(
        "which of two made-up words follows, by a path of rules",
        "choice",
        500,
        "MIT",
        "prosqa/prosqa_test.json",
        prosqa,
        array,
    ),
}
