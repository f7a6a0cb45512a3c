"""Checks arithmetic puzzles: an expression that uses given numbers and equals a target.

The expression is parsed, exactly, within limits of length and depth; nothing is ever evaluated as code.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction

from mullover.scorers.exact import said, stated
from mullover.types import AnswerSpec, Candidate, Prompt, Score, Scorer

LONGEST = 400  # characters of an expression
DEEPEST = 40  # parentheses within each other
EXPRESSION = AnswerSpec("expression")
SIGNS = str.maketrans(
    {"×": "*", "·": "*", "⋅": "*", "∗": "*", "÷": "/", "∕": "/", "−": "-", "–": "-", "[": "(", "]": ")"}
)
LATEX = ((r"\times", "*"), (r"\cdot", "*"), (r"\div", "/"), (r"\left", ""), (r"\right", ""), (r"\,", " "), ("$", ""))
TOKEN = re.compile(r"\s*(?:([0-9]{1,12})(?![\d.])|([-+*/()]))")


class NotArithmetic(ValueError):  # noqa: N818  it says what a text is not
    """The text is no expression of whole numbers, + - * / and parentheses, or divides by zero."""


def game24(numbers: Sequence[int], target: int = 24) -> Scorer:
    """Is it an expression that uses each number exactly once and equals the target? `= 24` behind it is not looked at.

    Returns:
        Scorer: 1.0 if so; 0.0 for anything else that is stated; None if no expression is stated.

    Source: Yao et al. 2023, arXiv:2305.10601, section 4.1; their checker takes the last line up to the first `=`.
    """
    return countdown(numbers, target)


def countdown(numbers: Sequence[int], target: int, all_numbers: bool = True) -> Scorer:
    """As `game24`, for any numbers and target.

    Args:
        numbers: what may be used, each as often as it is given.
        target: what the expression must equal, exactly: 1/3 * 3 is 1.
        all_numbers: must every number be used? False: some may be left over.
    """
    given = Counter(numbers)

    async def score(prompt: Prompt, candidates: Sequence[Candidate]) -> list[Score]:
        return [judge(expression(prompt, candidate)) for candidate in candidates]

    def judge(text: str | None) -> Score:
        if text is None:
            return Score(None, why="no expression stated")
        try:
            value, used = parse(text)
        except NotArithmetic as error:
            return Score(0.0, why=str(error))
        if Counter(used) - given or (all_numbers and given - Counter(used)):
            return Score(0.0, why=f"uses {used}, not {sorted(numbers)}")
        return Score(float(value == target), why=f"{value} against {target}")

    return score


def expression(prompt: Prompt, candidate: Candidate) -> str | None:
    """The stated answer; without one, the last line if it is an expression by itself."""
    value = stated(prompt, candidate, EXPRESSION)
    if value is not None:
        return value
    line = said(prompt, candidate).rstrip().rpartition("\n")[2].strip()
    cut = candidate.sample is not None and candidate.sample.finish == "length"
    return line if not cut and line[:1] in "(0123456789" and any(sign in line for sign in "+-*/×÷−·") else None


def parse(text: str) -> tuple[Fraction, list[int]]:
    """The exact value of what stands before the first `=`, and the numbers it uses, in their order.

    Raises:
        NotArithmetic: it is anything else.
    """
    reader = Reader(tokens(text.partition("=")[0]))
    value = reader.sum(0)
    if reader.now:
        raise NotArithmetic(f"stray {reader.now} in {text[:60]!r}")
    return value, reader.used


def tokens(text: str) -> Iterator[str]:
    if len(text) > LONGEST:
        raise NotArithmetic(f"longer than {LONGEST} characters")
    for command, sign in LATEX:
        text = text.replace(command, sign)
    text = text.translate(SIGNS).strip().rstrip(".").rstrip()
    at = 0
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            raise NotArithmetic(f"no expression: {text[:60]!r}")
        yield match[1] or match[2]
        at = match.end()


class Reader:
    """Recursive descent over tokens, one ahead; exact fractions."""

    def __init__(self, stream: Iterator[str]) -> None:
        self._stream = stream
        self.now = next(stream, "")
        self.used: list[int] = []

    def took(self, *signs: str) -> str:
        """Step over the token if it is one of these, and say which."""
        token = self.now
        if token not in signs or not token:
            return ""
        self.now = next(self._stream, "")
        return token

    def sum(self, depth: int) -> Fraction:
        value = self.product(depth)
        while sign := self.took("+", "-"):
            other = self.product(depth)
            value = value + other if sign == "+" else value - other
        return value

    def product(self, depth: int) -> Fraction:
        value = self.factor(depth)
        while sign := self.took("*", "/"):
            other = self.factor(depth)
            if sign == "/" and not other:
                raise NotArithmetic("divides by zero")
            value = value * other if sign == "*" else value / other
        return value

    def factor(self, depth: int) -> Fraction:
        if depth > DEEPEST:
            raise NotArithmetic(f"nested more than {DEEPEST} deep")
        if self.took("-"):
            return -self.factor(depth + 1)
        if self.took("("):
            value = self.sum(depth + 1)
            if not self.took(")"):
                raise NotArithmetic("a parenthesis is not closed")
            return value
        if not self.now.isdecimal():
            raise NotArithmetic(f"a number is missing before {self.now or 'the end'}")
        self.used.append(int(self.took(self.now)))
        return Fraction(self.used[-1])
