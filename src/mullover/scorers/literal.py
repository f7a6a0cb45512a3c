"""Compares Python literals by value: `["a"]` is `['a']`, and `'5'` is not `5`. Text is parsed, never evaluated."""

import ast
import warnings
from collections.abc import Sequence
from contextlib import suppress

from mullover.scorers.exact import SHOWN, stated
from mullover.types import AnswerSpec, Candidate, Prompt, Score, Scorer

LONGEST = 20_000  # characters of a literal; a longer text is compared as text


def literal(truth: str, spec: AnswerSpec) -> Scorer:
    """Knows the truth, like `exact`.

    Returns:
        Scorer: 1.0 if the stated answer is a literal of the same value (as `==` has it, so 1 is 1.0), or the same text
            where one of the two is no literal; 0.0 if not; None if no answer is stated.
    """
    gold = read(truth)

    async def score(prompt: Prompt, candidates: Sequence[Candidate]) -> list[Score]:
        return [judge(stated(prompt, candidate, spec)) for candidate in candidates]

    def judge(text: str | None) -> Score:
        if text is None:
            return Score(None, why="no answer stated")
        return Score(float(read(text) == gold), why=f"{text.strip()[:SHOWN]} against {truth[:SHOWN]}")

    return score


def read(text: str) -> tuple[bool, object]:
    """(True, the value) of a literal, else (False, the text)."""
    text = text.strip()
    if len(text) <= LONGEST:
        with warnings.catch_warnings(), suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            warnings.simplefilter("ignore")  # of a backslash before a letter that needs none
            return True, ast.literal_eval(text)  # parses constants and containers; names and calls are errors
    return False, text
