"""The options of a multiple choice, in the layouts they come in, and the letter that a gold answer means."""

import re
from collections.abc import Iterable, Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from mullover.answers.keys import text_key
from mullover.errors import OptionError
from mullover.tasks.kinds import letter, lettered

OPTIONS = ("choices", "options")
LABELLED = re.compile(r"\s*\(?([A-Za-z])\s?[).:]\s*(\S.*)", re.DOTALL)
SHOWN = re.compile(r"(?<!\w)\(([A-Z])\)|(?:^|(?<=\s))([A-Z])[).:](?=\s*\S)")


def options_of(row: Mapping[str, Any], where: str) -> dict[str, str]:
    """Letter -> text; a list may write the letters itself, as AQuA does: `["A)red", "B)blue"]`.

    Raises:
        OptionError: they are more than 26, no texts, or named by something else than letters.
    """
    name = next((name for name in OPTIONS if row.get(name)), OPTIONS[0])
    value = row.get(name) or {}
    if isinstance(value, list):
        value = lettered(unlabelled(value)) if len(value) <= len(ascii_uppercase) else None
    if not isinstance(value, dict) or not all(isinstance(text, str) and text.strip() for text in value.values()):
        raise OptionError(f"{where}: its {name} must be at most 26 texts, or letters with their texts")
    if not all(each in ascii_uppercase and len(each) == 1 for each in value):
        raise OptionError(f"{where}: its {name} are named {', '.join(value)}; name them by single letters A to Z")
    return {each: str(text) for each, text in value.items()}


def unlabelled(texts: Sequence[Any]) -> Sequence[Any]:
    """Without their letters, where each of several texts begins with the letter of its place."""
    found = [LABELLED.match(text) if isinstance(text, str) else None for text in texts]
    bare = [m[2] for m, due in zip(found, ascii_uppercase, strict=False) if m and m[1].upper() == due]
    return bare if len(bare) == len(texts) > 1 else texts


def as_letters(golds: Iterable[str], options: Mapping[str, str], where: str) -> tuple[str, ...]:
    """The letters of the options that the golds mean.

    Raises:
        OptionError: one is neither a letter nor the text of one option.
    """
    found = {gold: letter_of(gold, options) for gold in golds}
    strange = next((gold for gold, each in found.items() if not each), None)
    if strange is not None:
        why = ", and a place may count from 0 or from 1" if strange.isdecimal() else ""
        raise OptionError(
            f"{where}: its answer {strange!r} is neither a letter nor the text of one choice{why}; "
            "say the letter or the text, or name another kind"
        )
    return tuple(dict.fromkeys(found.values()))


def letter_of(gold: str, options: Mapping[str, str]) -> str:
    """`B`, the text of B, `(b)` and `B) its text` are B; empty if it is none of them, or the text of two."""
    if gold in options:
        return gold
    alike = [each for each, text in options.items() if text.strip() == gold]
    alike = alike or [each for each, text in options.items() if text_key(text) == text_key(gold)]
    if alike:
        return alike[0] if len(alike) == 1 else ""
    if (named := letter(gold)) in options:
        return named
    both = LABELLED.fullmatch(gold)
    if both and text_key(options.get(both[1].upper(), "")) == text_key(both[2]):
        return both[1].upper()
    return ""


def as_choices(options: Mapping[str, str]) -> tuple[str, ...]:
    """What an AnswerSpec says of them: `A) red`, so that an answer may be the text; else the letters alone.

    Texts have their letters by place there; so letters with gaps, and texts that are letters, cannot be told.
    """
    letters = sorted(options)
    if letters != list(ascii_uppercase[: len(letters)]) or any(letter(text) for text in options.values()):
        return tuple(options)
    return tuple(f"{each}) {options[each].strip()}" for each in letters)


def shown(question: str) -> str:
    """The letters of the options that stand in a question, from A without a gap: `ABCD`; empty if fewer than two."""
    found = {match[match.lastindex or 0] for match in SHOWN.finditer(question)}
    count = next((i for i, each in enumerate(ascii_uppercase) if each not in found), len(ascii_uppercase))
    return ascii_uppercase[:count] if count > 1 else ""


def letters_up_to(golds: Iterable[str], questions: Iterable[str]) -> tuple[str, ...]:
    """From A to the last letter among golds and shown options; none where a gold is no letter.

    They are one for the file: else they would tell something about the answer.
    """
    named = [letter(gold) for gold in golds]
    if not named or not all(named):
        return ()
    last = max("B", *named, *(shown(question)[-1:] for question in questions))
    return tuple(ascii_uppercase[: ascii_uppercase.index(last) + 1])
