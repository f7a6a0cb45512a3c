"""Scores a number by its distance from the truth, where the truth was computed in binary fractions."""

import re
from collections.abc import Sequence
from fractions import Fraction

from mullover.answers import key
from mullover.errors import OptionError
from mullover.scorers.exact import SHOWN, stated
from mullover.types import AnswerSpec, Candidate, Prompt, Score, Scorer

TOLERANCE = Fraction(1, 1000)
NUMBER = re.compile(
    r"[-+]?\d{1,300}(?:\.\d{0,300})?(?:[eE][-+]?\d{1,2}|/\d{1,300})?"
)  # 1e999999999 is not worth reading


def close(truth: str, spec: AnswerSpec, tolerance: Fraction = TOLERANCE) -> Scorer:
    """Knows the truth, like `exact`.

    Args:
        truth: a number.
        tolerance: how far an answer may be off; for a truth below 1 it is a share of the truth, so that 0 is not
            close to 0.0005.

    Returns:
        Scorer: 1.0 if the stated number is that close, 0.0 if it is not or is no number, None if none is stated.

    Raises:
        OptionError: the truth is no number.

    Source: Gao et al. 2022, arXiv:2211.10435 (PAL), whose evaluation takes 1e-3; the share below 1 is ours.
    """
    gold = number(truth, spec)
    if gold is None:
        raise OptionError(f"the truth {truth!r} is no number; use the scorer exact")
    allowed = tolerance * min(Fraction(1), abs(gold)) if gold else tolerance

    async def score(prompt: Prompt, candidates: Sequence[Candidate]) -> list[Score]:
        return [judge(stated(prompt, candidate, spec)) for candidate in candidates]

    def judge(value: str | None) -> Score:
        if value is None:
            return Score(None, why="no answer stated")
        near = (found := number(value, spec)) is not None and abs(found - gold) <= allowed
        return Score(float(near), why=f"{value[:SHOWN]} against {truth[:SHOWN]}")

    return score


def number(text: str, spec: AnswerSpec) -> Fraction | None:
    """The exact number a text's key writes; None if it writes none, or one of absurd size."""
    written = key(text, spec)
    if not NUMBER.fullmatch(written):
        return None
    try:
        return Fraction(written)
    except ZeroDivisionError:
        return None
