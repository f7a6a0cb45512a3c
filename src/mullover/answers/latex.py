r"""Answers as written, LaTeX or plain, cut into tokens.

`clean` removes what only looks: sizes, spaces, dollars, thousands separators, units, prose after the answer.
`tokens` cuts the rest. Both are linear; neither evaluates anything.
"""

import re
from fractions import Fraction
from typing import NamedTuple

from mullover.answers.algebra import UnreadableError
from mullover.answers.symbols import (
    ACCENTS,
    ALIASES,
    CHARACTERS,
    FONTS,
    FUNCTIONS,
    GREEK,
    NO_UNITS,
    OPERATORS,
    SHORT_UNITS,
    STRUCTURES,
    UNITS,
)

_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{(.*)\}\s*", re.DOTALL)
_CHOICE = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\s*\{\s*\(?[A-J]\)\s*\}[\s~\\]*(?=[^\s~\\])")  # \textbf{(B) } 42
_NOISE = re.compile(
    r"\\(?:left|right)(?![a-zA-Z])\.?"
    r"|\\(?:[bB]igg?[lrm]?|displaystyle|textstyle|limits|nolimits|mathstrut|bf|rm|it)(?![a-zA-Z])"
    r"|\\(?:mathrm|text)\{\s*~*\s*\}|\\!|\$"
)
_SPACE = re.compile(r"(?<!\\)\\(?:[,;:> \n]|q?quad(?![a-zA-Z])|hspace\*?\{[^{}]*\})|~")
_GROUPED = re.compile(  # 1,000 with any of the separators in use
    r"(?<![\d.,_^])[1-9]\d{0,2}"
    r"(?:(?:\{,\}|,\s*\\!\s*|\\!\s*,|(?<!\\)\\[,;: ]\s*|(?<=\d) (?=\d{3})|,)\d{3})+"
    r"(?![\d{]|,\d)"
)
_MIXED = re.compile(r"(?<![\d./^_{])(\d+)\s+(\d+)\s*/\s*(\d+)(?![\d.])")
_PROSE = re.compile(
    r",?\s+\(?(?:where|for (?:all|any|every|some|each)|with|such that|since|because)\b.*|\s+\(=.*", re.DOTALL
)
_NAMED = re.compile(r"(?:the )?(?:[A-Za-z]?[a-z]{3,}(?: [A-Za-z]+){0,8}) ?=(?=[^=]+$)")  # `total cost = 42`
_LEAD = re.compile(
    r"(?<![A-Za-z\\])(?:approximately|about|exactly|roughly|only|USD|EUR|GBP|Rs\.?|US)\s*(?=[-\d.\\$])", re.IGNORECASE
)
_NEGATIVE = re.compile(r"(?<![A-Za-z\\])(?:minus|negative)\s+(?=[\d.\\$])", re.IGNORECASE)
_ASIDE = re.compile(r"\s\(([A-Za-z][A-Za-z ,.'-]{2,60})\)$")  # `7 (seven)`
_DEGREES = re.compile(r"\^\s*\{?\s*\\circ\s*\}?\s*(?:\\(?:text|mathrm)\s*\{\s*[CF]\s*\}|[CF](?![A-Za-z]))")
UNIT_POWER = re.compile(r"(?<=[A-Za-z])(?:\^\{?-?\d\}?|[²³])$")
_UNIT_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ./"
_UNIT_LENGTH = 120  # characters

_TOKEN = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<repeating>\d*\.\d*\\(?:overline|bar)\s*\{\d{1,100}\})"
    r"|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+(?![\d.]))?)"
    r"|\\(?:text|textbf|textit|textrm|textsf|mbox|hbox|mathrm|mathsf|operatorname)\s*\{(?P<text>[^{}]*)\}"
    r"|\\(?P<fence>begin|end)\s*\{(?P<environment>[a-zA-Z]*)\*?\}(?:\{[lcr|]*\})?"
    r"|\\(?P<command>[a-zA-Z]+|[{}|%#&\\$])"
    r"|(?P<word>[A-Za-z]+)"
    r"|(?P<op>\*\*|<=|>=|!=|[-+*/^_=<>!|,;:&'(){}\[\]%])"
)


class Token(NamedTuple):
    kind: str  # number, symbol, function, command, text, unit, op, end
    text: str


def clean(text: str) -> str:
    """The answer without what does not change it; every digit, sign and bracket stays."""
    if not text.isascii():
        text = text.translate(CHARACTERS)
    text = " ".join(text.split()).rstrip(".,;: \\").lstrip("≈~= ")
    if "\\" in text or "$" in text:
        if "boxed" in text or "fbox" in text:
            text = _BOX.sub(r"\1", text)
        text = _CHOICE.sub("", text, count=1) if _CHOICE.match(text) else text
        for mark in ("\\$", "\\(", "\\)", "\\[", "\\]"):
            text = text.replace(mark, "")
    if "/" in text and " " in text:
        text = _MIXED.sub(r"\1\\frac{\2}{\3}", text)
    if "," in text or "\\" in text or " " in text:
        text = _GROUPED.sub(_ungrouped, text)
    if "\\" in text or "$" in text or "~" in text:
        text = _DEGREES.sub("", _SPACE.sub(" ", _NOISE.sub("", text))).strip()
    while len(text) > 2 and text[0] == text[-1] and text[0] in "*_`\"'":
        text = text[1:-1].strip()
    if " " in text:
        text = _NEGATIVE.sub("-", _LEAD.sub("", _PROSE.sub("", text, count=1)), count=1)
        if (aside := _ASIDE.search(text)) and any(map(_is_prose, aside[1].split())):
            text = text[: aside.start()]
    if "=" in text and (named := _NAMED.match(text)):
        text = text[named.end() :].strip()
    return _without_units(text).rstrip(".,;: ")


def _ungrouped(match: re.Match[str]) -> str:
    """Commas inside brackets separate a tuple's parts: (1,234) stays as it is."""
    before = match.string[: match.start()]
    plain = "\\" not in match[0] and "{" not in match[0]
    if plain and any(before.count(a) > before.count(b) for a, b in ("()", "[]", (r"\{", r"\}"))):
        return match[0]
    return "".join(c for c in match[0] if c.isdecimal())


def _without_units(text: str) -> str:
    """`5 dollars`, `5cm` and `5 km per hour` are 5; `5 x`, `5 sin x` and `5 or 6` are not."""
    tail = text[-_UNIT_LENGTH:]
    bare = UNIT_POWER.sub("", tail) if tail[-1:] in "0123456789}²³" else tail
    head = bare.rstrip(_UNIT_LETTERS)
    unit = bare[len(head) :]
    names = unit.replace("/", " ").split()
    if not names or not head or head[-1] not in "0123456789}%)!":
        return text
    short = SHORT_UNITS if "/" in unit or max(map(len, names)) > 1 else ()
    if all((name := word.casefold().strip(".")) in UNITS or name in short or _is_prose(word) for word in names):
        return (text[:-_UNIT_LENGTH] + head).rstrip()
    return text


def _is_prose(word: str) -> bool:
    """A word of natural language, not a function, a connective or a product of symbols."""
    if len(word) < 3 or not word.isalpha() or word.casefold() in NO_UNITS:
        return False
    return (word.islower() or word.istitle()) and any(c in "aeiouy" for c in word.casefold())


def tokens(text: str) -> list[Token]:
    """Cut cleaned text into tokens; the last one is of kind `end`.

    Raises:
        UnreadableError: a character or a word that no expression has.
    """
    found: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise UnreadableError(f"{text[at]!r} is not part of an expression")
        at = match.end()
        kind = match.lastgroup or ""
        if kind == "text":
            found += _text(match["text"], found)
        elif kind == "environment":
            found.append(Token("command", f"{match['fence']} {match['environment']}"))
        elif kind == "repeating":
            found.append(Token("number", _repeating(match[0])))
        elif kind == "word":
            found += _word(match[0])
        elif kind == "command":
            found.append(_command(match["command"]))
        elif kind != "space":
            found.append(Token(kind, "^" if match[0] == "**" else match[0]))
    found.append(Token("end", ""))
    return found


def _command(name: str) -> Token:
    if name in OPERATORS:
        return Token("op", OPERATORS[name])
    if name in STRUCTURES or name in ACCENTS or name in FONTS:
        return Token("command", name)
    name = ALIASES.get(name, name)
    if name in FUNCTIONS:
        return Token("function", name)
    return Token("symbol", name if name in GREEK or name[0] == "\\" else "\\" + name)


def _word(word: str) -> list[Token]:
    """A known name is one token, any other short run of letters a product of symbols."""
    name = ALIASES.get(word, word)
    if name in FUNCTIONS:
        return [Token("function", name)]
    if name in GREEK or (len(name) > 3 and name.isupper()):
        return [Token("symbol", name)]
    if name in ("sqrt", "cbrt"):
        return [Token("command", name)]
    if name in ("and", "or"):
        return [Token("op", ",")]
    if len(word) > 3:
        raise UnreadableError(f"{word} is a word")
    return [Token("symbol", letter) for letter in word]


def _text(inner: str, before: list[Token]) -> list[Token]:
    r"""What \text{} holds: a connective, a unit after a value, or a name."""
    word = inner.replace("~", " ").strip().strip(".").casefold()
    opens = (",", ";", "(", "[", "{", r"\{", "=", "&", "\\\\", "_", "^")
    after_value = bool(before) and before[-1].text not in opens
    if word.strip(", ") in ("and", "or", ""):
        return [Token("op", ",")] if word and after_value else []
    if after_value and word not in ("am", "pm", "a.m", "p.m", "e", "i", "d"):
        return [Token("unit", word)]
    if len(word) == 1:
        return [Token("symbol", inner.strip(" ~."))]
    return [Token("function" if word in FUNCTIONS else "text", " ".join(word.split()))]


def _repeating(text: str) -> str:
    r"""0.1\overline{6} as the exact fraction 1/6."""
    head, _, tail = text.partition("\\")
    whole, _, digits = head.partition(".")
    cycle = "".join(c for c in tail if c.isdecimal())
    shift, nines = 10 ** len(digits), 10 ** len(cycle) - 1
    return str(Fraction(int(whole + digits or "0") * nines + int(cycle), shift * nines))
