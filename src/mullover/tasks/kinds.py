"""How an answer is asked for, with its options, and which kind a file of gold answers is."""

import re
from collections.abc import Iterable, Mapping, Sequence
from string import ascii_uppercase
from typing import get_args

from mullover.prompts import instruction as usual
from mullover.types import AnswerSpec, Kind

KINDS: tuple[Kind, ...] = get_args(Kind)

NUMBER = re.compile(r"[-+−]?\s?\$?\s?(\d{1,3}(,\d{3})+|\d+)?(\.\d+)?([eE][-+]?\d+)?(/\d+)?\s?%?")
YES_NO = frozenset({"yes", "no", "true", "false"})
LETTER = re.compile(r"\(?([A-Za-z])[).]?\.?")
LIKELY = "J"  # the last letter that is taken for a choice where no question shows options
MATHS = (
    re.compile(r"\\[a-zA-Z]+|[√π∞≤≥∪]|\bsqrt\b|\S\^"),  # a command of LaTeX, a sign of its own, a power
    re.compile(r"(?=.*\d)(?=.*[a-z])(?=.*[-+*/=])[-\d\s()+*/=.,]*(?:[a-z](?![a-z])[-\d\s()+*/=.,]*)+"),  # 2x + 1
    re.compile(r"[(\[]\s*[-\d][^a-zA-Z]*,[^a-zA-Z]*[)\]]"),  # (3, 4)
)


def spec(kind: Kind, choices: Sequence[str] = (), question: str = "", instruction: str | None = None) -> AnswerSpec:
    r"""The usual way to ask for an answer of this kind.

    A question that already says to use \boxed{} needs no other instruction and gets none.
    """
    if instruction is None:
        instruction = "" if "\\boxed" in question else usual(kind)
    return AnswerSpec(kind, tuple(choices), instruction)


def inferred(golds: Iterable[str], with_choices: bool) -> Kind:
    """The one kind that fits all gold answers of a file; `text` where no other does.

    It is a property of the file, not of a problem: else the kind would tell something about the answer.
    """
    texts = [gold.strip() for gold in golds]
    if all(is_number(text) for text in texts):
        return "number"
    letters = [letter(text) for text in texts]
    if all(letters) and (with_choices or max(letters) <= LIKELY):
        return "choice"
    if all(text.casefold().rstrip(".") in YES_NO for text in texts):
        return "yes_no"
    return "math" if any(is_maths(text) for text in texts) else "text"


def letter(text: str) -> str:
    """The letter that `B`, `(B)`, `b` and `B.` are, as a capital; empty for all else."""
    match = LETTER.fullmatch(text.strip())
    return match[1].upper() if match else ""


def is_number(text: str) -> bool:
    """`-1,234.50`, `$18`, `75%`, `3/4` and `1e-5` are numbers."""
    return any(c.isdecimal() for c in text[:3]) and NUMBER.fullmatch(text[:200]) is not None


def is_maths(text: str) -> bool:
    r"""`\frac{1}{2}`, `x^2`, `2x + 1` and `(3, 4)` are mathematical notation; `05/01/2021` is not."""
    return MATHS[0].search(text) is not None or any(form.fullmatch(text[:200]) for form in MATHS[1:])


def with_options(question: str, options: Mapping[str, str]) -> str:
    """The question with its options below, one a line, unless it already shows them all."""
    if not options or shows(question, options):
        return question
    lines = [f"({letter}) {text}" for letter, text in options.items()]
    return question.rstrip() + "\n" + "\n".join(lines)


def shows(question: str, options: Mapping[str, str]) -> bool:
    """Does each option stand in the question behind its letter, as `(A) text`, `A. text` or the like?"""
    return all(
        re.search(rf"(?<!\w)\(?{re.escape(letter)}[).:\]]\s*{re.escape(text.strip())}", question)
        for letter, text in options.items()
    )


def lettered(texts: Sequence[str]) -> dict[str, str]:
    """A, B, C ... for at most 26 options."""
    return dict(zip(ascii_uppercase, texts, strict=False))
