r"""Canonical keys: equal answers have equal keys, so that votes can be counted with a dict.

Pure and total: any str in, a str out, in microseconds; nothing is evaluated. Decisions that others make differently:

- 50% and 50\% are 50, not 1/2 (as in math-verify and the MATH graders); $5, 5 dollars, 5 cm and 90^\circ lose the unit.
- Numbers are exact: 0.333 is not 1/3. 1.50 = 3/2 = 1 1/2; 1,000 = 1{,}000 = 1\,000, but 1, 2 and (1,234) are none.
- For kind `math` a list without brackets is in any order, as roots are; (1,2) and [1,2] are ordered and their brackets
  matter; `x = 5` is 5, and y = 2x + 3 is 2x + 3; an equation is one up to a factor; ± is both signs.
- For kind `expression` nothing is reordered or computed: votes there are on what was written.
- An answer that hedges ("7 or maybe 8") is equal to neither number.
- For kind `number` 10-15 is a range and no number; 10-7 is 3.

Ambiguous as written, and so read in one of two ways: 70,110 and 70 110 are a number, 70, 110 is two.
"""

import ast
import re
import unicodedata
import warnings
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from textwrap import dedent

from mullover.answers.algebra import UnreadableError
from mullover.answers.grammar import canonical
from mullover.answers.latex import UNIT_POWER, clean
from mullover.answers.numerals import plain, short_decimal, worded
from mullover.answers.symbols import SHORT_WORDS
from mullover.types import AnswerSpec, Kind

LONGEST = 2_000  # characters of an answer that is read as mathematics; longer ones are compared as text
LONGEST_CODE = 100_000
LONGEST_LITERAL = 20_000
LITERALS = (
    ast.Expression, ast.Constant, ast.List, ast.Tuple, ast.Set, ast.Dict, ast.UnaryOp, ast.USub, ast.UAdd, ast.Load
)  # fmt: skip
NESTED = 20  # brackets within brackets of a list

_LITERAL = re.compile(r"\s*(?:[\[({'\"\d.+-]|[brBR]{1,2}['\"]|True\b|False\b|None\b)")
_LED = re.compile(r"(?P<n>[-+]?(?:\\frac\{\d+\}\{\d+\}|[\d.]+(?:/\d+)?))%?\s*[A-Za-z][^\d\\=+*<>|{}()\[\]]*")
_SCALED = re.compile(r"([-−]?[\d.,]+(?: (?:hundred|thousand|million|billion|trillion)\b)+)(.*)", re.IGNORECASE)
_RANGE = re.compile(
    r"(\d{1,15}(?:\.\d{1,15})?)\s?[-–—]\s?(\d{1,15}(?:\.\d{1,15})?)"
    r"(?:\s(?!\w+illion|thousand|hundred)[A-Za-z ]{1,60})?",
    re.ASCII,
)
_UNJOINED = re.compile(r"(?<!\d) | (?!\d)")
_HEDGED = re.compile(r"\b(?:or|and|to|not|but|maybe|possibly|perhaps|else|either|than)\b")
_RATIONAL = re.compile(r"-?\d+(?:/\d+)?")
_WRAPPED = re.compile(r"\\(?:text|textbf|textit|textrm|mbox|mathrm|mathbf|boxed|fbox|operatorname)\s*\{([^{}]*)\}")
_LETTERED = re.compile(
    r"(?:(?:option|choice|answer)\b[\s:]*(?:is\b)?)?[\s({\[*_\"'`$]*([A-Za-z])(?:[)\]}.:*_\"'`$]+(?:\s.*|\w.*)?|\s*)",
    re.DOTALL | re.IGNORECASE,
)
_WORD = r"([^\W\d_](?:[\w .,'’&-]*[^\W_])?)"
UNWRAPPED = re.compile(rf"_{_WORD}_|\[(?!invalid\]|no answer\]){_WORD}\]|<{_WORD}>", re.IGNORECASE)
_LABEL = re.compile(r"\(?([A-Z])[).:]\s*(?=\S)")
_NUMBER_TEXT = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?")
_MATHEMATICAL = re.compile(r"[\d\\^_=+*/<>|{}()\[\]√π∞±]")
_FENCED = re.compile(r"\s*```[^\n`]*\n(.*?)\n?[ \t]*```\s*", re.DOTALL)
_NEGATED = re.compile(r"(?:not|\w{2,5}n['’]t)\s+(yes|true|no|false)")
_AND = re.compile(r"\s+and\s+")
_BULLET = re.compile(r"\s*(?:[-*•+]|\(?\d{1,3}[.)])\s+(?=\S)")
_YES_NO = {"yes": "yes", "true": "yes", "y": "yes", "no": "no", "false": "no", "n": "no"}
_QUOTES = "\"'`“”‘’"
_PAIRS = {"[": "]", "(": ")", "{": "}"}
_OPERATORS = {
    r"\times": "*",
    r"\cdot": "*",
    r"\div": "/",
    **dict.fromkeys((r"\left", r"\right", "$", "**", r"\(", r"\)", r"\[", r"\]", r"\,"), ""),
}
_OPERATOR = re.compile("|".join(map(re.escape, sorted(_OPERATORS, key=len, reverse=True))))
_SYMBOLS = str.maketrans({"×": "*", "÷": "/", "−": "-", "–": "-", "·": "*", "⋅": "*", "∗": "*", "∕": "/"})


def key(value: str, spec: AnswerSpec = AnswerSpec()) -> str:
    """The text that all answers equal to `value` share; see the top of this file for what counts as equal.

    Total: what cannot be read has its own text, spaces and case aside, as its key. The key of what can be read is an
    answer too, with itself as its key. Of more than 20,000 characters (code: 100,000) every one counts.
    """
    if len(value) > (LONGEST_CODE if spec.kind == "code" else 10 * LONGEST):
        return value.strip()
    return _KEYS[spec.kind](value, spec)


def equal(a: str, b: str, spec: AnswerSpec = AnswerSpec()) -> bool:
    """Whether two answers have one key; math that is equal only by deeper identities is left to `equivalent`."""
    return a == b or key(a, spec) == key(b, spec)


def number_key(value: str, spec: AnswerSpec) -> str:
    """As kind math, and number words and any unit are read: `five`, `3 million`, `5 m`, `42 red apples`."""
    if value.isdecimal() and value.isascii():
        return value.lstrip("0") or "0"
    if len(value) > LONGEST:
        return _squeezed(value)
    return _number_key(value)


def math_key(value: str, spec: AnswerSpec) -> str:
    if value.isdecimal() and value.isascii():
        return value.lstrip("0") or "0"
    return _math_key(value) if len(value) <= LONGEST else _squeezed(value)


@lru_cache(maxsize=8192)
def _number_key(value: str) -> str:
    span = _RANGE.fullmatch(value.strip(" $.")) if len(value) < 100 else None
    if span and Fraction(span[1]) < Fraction(span[2]):
        return f"{span[1]}-{span[2]}"
    found = _math_key(value)
    if _RATIONAL.fullmatch(found):
        return found
    return worded(value) or _led_by_number(value) or found


@lru_cache(maxsize=8192)
def _math_key(value: str) -> str:
    if found := plain(value):
        return found
    text = clean(value)
    if not text:
        return _squeezed(value)
    if found := plain(text):
        return found
    wrapped = _WRAPPED.fullmatch(text)
    if wrapped and wrapped[1].strip():
        text = clean(wrapped[1])
    if _is_words(text) or (wrapped and len(text) > 1 and text.isalpha()):
        words = worded(text) or text_key(text)
        return words if len(words) > 3 or words.isdecimal() else f"\\text{{{words}}}"
    try:
        return canonical(text)
    except (UnreadableError, RecursionError):
        return worded(text) or _squeezed(text)


def _is_words(text: str) -> bool:
    """A name or a phrase, not a product of symbols: `Evelyn`, `ACF`, `June`, but not `xy` or `p - q`."""
    if len(text) < 2 or not all(c.isalpha() or c in " '-" for c in text):
        return False
    words = text.split()
    if any(word.strip("-") in ("pi", "theta", "alpha", "beta", "infinity", "") for word in words):
        return False
    return max(map(len, words)) > 3 or (len(words) == 1 and text.isupper()) or text.casefold() in SHORT_WORDS


def _squeezed(text: str) -> str:
    """The text of an answer that cannot be read as mathematics."""
    if "\\" in text or any(c.isdecimal() for c in text[:LONGEST]):
        return _UNJOINED.sub("", " ".join(text.split())).replace("\\left", "").replace("\\right", "")
    return " ".join(text.split()).casefold()


def _led_by_number(value: str) -> str:
    """The number that a phrase without other numbers starts with: `5 m`, `42 red apples a day`."""
    text = UNIT_POWER.sub("", clean(value))
    if scaled := _SCALED.match(text):
        return "" if _HEDGED.search(text) or any(c.isdecimal() for c in scaled[2]) else worded(scaled[1])
    led = _LED.fullmatch(text)
    if led is None or _HEDGED.search(text):
        return ""
    found = _math_key(led["n"])
    return found if _RATIONAL.fullmatch(found) else ""


def is_rational(value: str) -> bool:
    """Whether kind number reads the value as one exact number."""
    return bool(_RATIONAL.fullmatch(number_key(value, AnswerSpec("number"))))


def text_key(value: str, spec: AnswerSpec = AnswerSpec()) -> str:
    """Case, runs of spaces, quotes and final punctuation do not matter; a plain number is that number."""
    text = value.strip()
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    if "\\" in text:
        wrapped = _WRAPPED.fullmatch(text.strip("$ "))
        text = wrapped[1] if wrapped else text
    text = " ".join(text.split()).casefold()
    bare = text.strip("*$ " + _QUOTES).rstrip(".,;:!?。 " + _QUOTES).strip("*$ " + _QUOTES)
    if bare[:1] in ("_", "[", "<") and (unwrapped := UNWRAPPED.fullmatch(bare)):
        bare = unwrapped[unwrapped.lastindex or 0]
    if (bare[:1].isdecimal() or bare[:1] in ("-", "+")) and bare.isascii() and _NUMBER_TEXT.fullmatch(bare):
        return short_decimal(bare)
    return bare or text


def choice_key(value: str, spec: AnswerSpec) -> str:
    """The label of the choice: its letter, or that of the choice whose text this is; of two equal texts the first."""
    known = labels(spec.choices)
    if len(value) == 1 and (value in known or (not known and "A" <= value <= "Z")):
        return value
    texts, text = _labelled(spec.choices), text_key(value)
    for form in (text, text.strip("()[]:. ")):
        if form in texts:
            return texts[form]
    lettered = _LETTERED.fullmatch(value.strip()[:LONGEST])
    if lettered and (not known or lettered[1].upper() in known):
        return lettered[1].upper()
    wrapped = _WRAPPED.search(value[:LONGEST])
    if wrapped and wrapped[1] != value:
        return choice_key(wrapped[1], spec)
    for other, label in texts.items():
        if _MATHEMATICAL.search(other) and _math_key(other[:LONGEST]) == math_key(value, spec):
            return label
    return text


@lru_cache(maxsize=512)
def labels(choices: tuple[str, ...]) -> frozenset[str]:
    """The keys that kind choice can have: the letters given, or A, B, C... for texts; none if no choices are given."""
    if _are_letters(choices):
        return frozenset(choice.strip("() .").upper() for choice in choices)
    return frozenset(_label(i) for i in range(len(choices)))


@lru_cache(maxsize=512)
def _labelled(choices: tuple[str, ...]) -> dict[str, str]:
    """From the key of each choice's text to its label."""
    if _are_letters(choices):
        return {text_key(choice): choice.strip("() .").upper() for choice in choices}
    found: dict[str, str] = {}
    for i, choice in enumerate(choices):
        found.setdefault(text_key(choice), _label(i))
        found.setdefault(text_key(_LABEL.sub("", choice, count=1)), _label(i))
    return found


def _are_letters(choices: tuple[str, ...]) -> bool:
    return all(len(bare := choice.strip("() .")) == 1 and bare.isalpha() for choice in choices)


def _label(i: int) -> str:
    return chr(65 + i) if i < 26 else str(i + 1)


def yes_no_key(value: str, spec: AnswerSpec) -> str:
    text = text_key(value).strip("()[]{}")
    if negated := _NEGATED.match(text):
        return "no" if _YES_NO[negated[1]] == "yes" else "yes"
    first = re.match(r"\w*", text)
    return _YES_NO.get(text, _YES_NO.get(first[0] if first else "", text))


def list_key(value: str, spec: AnswerSpec) -> str:
    """Elements in order; brackets, quotes and spaces do not matter, so `[1, 2]` and `1,2` are one list."""
    return "[" + ",".join(_elements(value, 0)) + "]"


def set_key(value: str, spec: AnswerSpec) -> str:
    return "{" + ",".join(sorted(set(_elements(value, 0)))) + "}"


def _elements(value: str, depth: int) -> list[str]:
    text = value.strip().strip("$").rstrip(".;").strip()
    for mark in (r"\left", r"\right", r"\(", r"\)") if "\\" in text else ():
        text = text.replace(mark, "")
    text = text.replace(r"\{", "{").replace(r"\}", "}")
    if text[:1] in _PAIRS and text[-1] == _PAIRS[text[0]] and _closes(text) == len(text) - 1:
        return [_element(part, depth) for part in _split(text[1:-1]) if part.strip()]
    lines = [line for line in text.split("\n") if line.strip()]
    bullets = [_BULLET.match(line) for line in lines]
    if all(bullets) and (len(lines) > 1 or text[-1:].isalpha()):
        return [_element(line[b.end() :], depth) for line, b in zip(lines, bullets, strict=True) if b]
    parts = [part for part in _split(text) if part.strip()]
    if len(parts) > 1 and not parts[-1].strip().startswith("and ") and not set('[](){}"').intersection(parts[-1]):
        parts[-1:] = _AND.split(parts[-1], maxsplit=1)  # a, b and c
    return [_element(part, depth) for part in parts if part.strip()]


def _element(part: str, depth: int) -> str:
    part = part.strip()
    if part.startswith("and "):
        part = part[4:]
    if part[:1] in _PAIRS and depth < NESTED and _closes(part) == len(part) - 1:
        return "[" + ",".join(_elements(part, depth + 1)) + "]"
    bare = part.strip(_QUOTES)
    found = math_key(bare, AnswerSpec()) if _MATHEMATICAL.search(bare[:LONGEST]) else text_key(bare)
    return f'"{found}"' if "," in found else found


def _closes(text: str) -> int:
    """Where the bracket that `text` starts with is closed, or -1."""
    depth = 0
    for match in re.finditer(r"[\[\](){}]", text):
        depth += 1 if match[0] in "[({" else -1
        if depth == 0:
            return match.start()
    return -1


def _split(text: str) -> list[str]:
    """At commas, semicolons and line ends outside brackets and double quotes."""
    parts, depth, start, quoted = [], 0, 0, False
    for match in re.finditer(r"[\[\](){},;\n\"]", text):
        if match[0] == '"':
            quoted = not quoted
        elif match[0] in "[({":
            depth += 1
        elif match[0] in "])}":
            depth -= 1
        elif depth <= 0 and not quoted:
            parts.append(text[start : match.start()])
            start = match.end()
    return [*parts, text[start:]]


def code_key(value: str, spec: AnswerSpec) -> str:
    """Dedented, without a fence, trailing spaces and empty lines at either end; a literal as Python writes it."""
    fenced = _FENCED.fullmatch(value)
    lines = [line.rstrip() for line in (fenced[1] if fenced else value).expandtabs().splitlines()]
    text = dedent("\n".join(lines)).strip("\n")
    return literal_key(text) or text


def literal_key(text: str) -> str | None:
    """`[1,2]` and `[1, 2]`, `"a"` and `'a'` are one; None for what is no literal. Parsed, never evaluated."""
    if len(text) > LONGEST_LITERAL or not _LITERAL.match(text):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a backslash before a letter that needs none
            tree = ast.parse(text.strip(), mode="eval")
        return ast.unparse(tree) if all(isinstance(node, LITERALS) for node in ast.walk(tree)) else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def expression_key(value: str, spec: AnswerSpec) -> str:
    """As written, without spaces and without `= 24`: (1+2)*8 and 8*(1+2) are two answers."""
    text = value.translate(_SYMBOLS).partition("=")[0]
    if "\\" in text or "$" in text or "*" in text:
        text = _OPERATOR.sub(lambda m: _OPERATORS[m[0]], text)
    text = re.sub(r"(?<=[\d)]) ?[xX] ?(?=[\d(])", "*", " ".join(text.split()))
    return text.replace(" ", "").rstrip(".,;:")


_KEYS: dict[Kind, Callable[[str, AnswerSpec], str]] = {
    "number": number_key,
    "math": math_key,
    "choice": choice_key,
    "yes_no": yes_no_key,
    "text": text_key,
    "list": list_key,
    "set": set_key,
    "code": code_key,
    "expression": expression_key,
}
