r"""Numbers and formulas in a sentence: `42 apples`, `$x = \frac{1}{2}$`, `that the area equals $5\pi$`."""

import re

from mullover.answers.keys import is_rational
from mullover.answers.numerals import worded
from mullover.answers.sentences import TEXT_GROUP, Span, after_equals, phrase_end, trimmed
from mullover.types import AnswerSpec

PARTS = "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"
_SCALE = r"(?:[ \u00a0-](?i:hundred|thousand|million|billion|trillion)(?![A-Za-z])){1,2}"
_SCIENTIFIC = r"\s?(?:\\times|×|\*|x)\s?10\^?(?:\{[-+]?\d{1,6}\}|[-+]?\d{1,6})|[eE][-+]?\d{1,6}(?!\w)"
_NUMBER = (
    r"(?:(?<![\d)])[-+−–]\s?)?(?:(?:(?<=[-+−–])|(?<=[-+−–]\s))\\?[$€£])?"
    r"(?:(?:\d{1,9}\s?)?\\[dtc]?frac\s*(?:\{\s*-?\d{1,300}\s*\}\s*\{\s*\d{1,300}\s*\}|\d\s*\d)"
    r"|\d{1,3}(?:(?:,|\{,\}|\\,|,\\!|[\u00a0\u2009\u202f])\d{3})+(?!\d)(?:\.\d+)?"
    r"|(?<!\d )(?<!\d)[1-9]\d{0,2}(?: \d{3})+(?!\d|[ ,/]\d)(?:\.\d+)?"  # 1 000 000
    rf"|\d{{1,9}}\s?[{PARTS}]|[{PARTS}]"
    r"|\d+\s\d+/\d+"
    r"|(?:\d+(?:\.\d+)?|\.\d+)(?:\s?/\s?\d+)?)"
    rf"(?:{_SCIENTIFIC})?(?:\s?\\?%|{_SCALE})?"
)
NUMBER = re.compile(_NUMBER)
LEAD = re.compile(
    r"(?:[\s*_:=≈~$€£¥₹]|\\[$,(\[]|\b(?:approximately|about|exactly|roughly|only|just|simply|equal to|USD|Rs\.?)\s)*",
    re.IGNORECASE,
)
_HEDGE = re.compile(
    r"\s?%?\s*(?:,\s*)?(?:or|and|to|–|but)\s+(?:(?:maybe|possibly|perhaps|even|is it|could be|else)\s+)*"
    rf"\$?{_NUMBER}",
    re.IGNORECASE,
)
_GOES_ON = re.compile(
    r"\s?(?:[\^\\/×÷√π{]|_[\w{]|\*(?!\*)|[-+]\s?[\d\\a-zA-Z(]|[a-zA-Z](?![a-zA-Z]))|,\s?[-+]?[\d\\]|:\d"
)
_NEGATIVE = re.compile(r"\b(?:minus|negative)\s{1,3}$", re.IGNORECASE)
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")
_FRAGMENT = re.compile(r"\$\$?([^$\n]{1,600})\$?\$|\\\(((?:[^\\\n]|\\[^)]){1,600})\\\)")
_STARTS_AS_FORMULA = re.compile(r"[-+(\[{$\\]*\s*[\d\\]|[A-Za-z]\s*[=^_+*/(-]")
_NAMED_UNIT = re.compile(r"(?:\s+[A-Za-z]{3,}\.?)+")
_CONSTANTS = ("\\pi", "π", "\\infty", "∞")
_LONGEST_SENTENCE = 16  # words; a longer one with a number somewhere inside is no short answer
_LONGEST_NAME = 3  # words


def read_number(window: str, spec: AnswerSpec, whole: bool) -> Span | None:
    """The number a sentence starts with or names; `7 or maybe 8` and `2\\pi` are read as they stand."""
    if whole:
        return _only_number(window)
    end = phrase_end(window)
    start, _ = after_equals(window, 0, end, numeric=True)
    lead = LEAD.match(window, start, end)
    at = lead.end() if lead else start
    match = NUMBER.match(window, at, end)
    starts = match is not None
    if match is None and window[at : at + 1] == "\\":
        return _formula(window, start, end)
    if match is None and len(window[:end].split()) <= _LONGEST_SENTENCE:
        match = NUMBER.search(window, at, end)
    if match is None:
        constant = worded(window[:end]) or any(name in window[: min(end, 20)] for name in _CONSTANTS)
        return trimmed(window, 0, end, "$") if constant else None
    if minus := _NEGATIVE.search(window, max(0, match.start() - 12), match.start()):
        return minus.start(), match.end()
    if hedge := _HEDGE.match(window, match.end(), end):
        return match.start(), hedge.end()
    if not _GOES_ON.match(window, match.end(), end):
        return match.span()
    found = _formula(window, start, end)
    if found is None or (starts and _is_prose_around(window, found)):
        return match.span()
    return found


def _is_prose_around(window: str, span: Span) -> bool:
    """What goes on after a number is a long text, not a formula."""
    text = window[slice(*span)]
    return not is_rational(text) and "\\" not in text and len(text) >= 40


def _only_number(window: str) -> Span | None:
    """Of a box or a tag: all of it, unless it is a sentence around one number."""
    span = trimmed(window, 0, len(window), "$")
    if span is None:
        return None
    if not any(c.isdecimal() or c in PARTS for c in window):
        text = window[slice(*span)]
        return span if worded(text) or any(name in text for name in _CONSTANTS) else None
    span = after_equals(window, *span, numeric=True)
    text = window[slice(*span)]
    if is_rational(text):
        return span
    if TEXT_GROUP.search(text):
        numbers = list(NUMBER.finditer(TEXT_GROUP.sub(lambda m: " " * len(m[0]), text)))
        return (span[0] + numbers[0].start(), span[0] + numbers[0].end()) if len(numbers) == 1 else span
    if len(_WORD.findall(text)) < 2:
        return span
    found = read_number(text, AnswerSpec("number"), False)
    return (span[0] + found[0], span[0] + found[1]) if found else None


def read_math(window: str, spec: AnswerSpec, whole: bool) -> Span | None:
    if whole:
        span = trimmed(window, 0, len(window), "$")
        return span and after_equals(window, *span)
    return _formula(window, 0, phrase_end(window))


def _formula(window: str, start: int, end: int) -> Span | None:
    """The mathematics of a phrase: all of it, its `$...$` if it is prose, or the number it names."""
    span = trimmed(window, start, end)
    if span is None:
        return None
    start, end = span
    text = window[start:end]
    prose = _WORD.findall(TEXT_GROUP.sub(" ", text))
    if (len(prose) > 1 or (prose and "$" in text)) and (fragment := _fragment(window, start, end)):
        return after_equals(window, *fragment)
    if not any(c.isdecimal() or c in "\\^_=+√π∞" or c in PARTS for c in text):
        return span if len(text.split()) <= _LONGEST_NAME else None
    if len(prose) > 2 and not _STARTS_AS_FORMULA.match(text):
        number = NUMBER.search(window, start, end)
        return number.span() if number and len(text.split()) <= _LONGEST_SENTENCE else None
    start, end = after_equals(window, start, end)
    lead = LEAD.match(window, start, end)
    start = lead.end() if lead and lead.end() < end else start
    number = NUMBER.match(window, start, end)
    if number and _NAMED_UNIT.fullmatch(window, number.end(), end) and not _HEDGE.match(window, number.end(), end):
        return number.span()  # 42 apples
    return trimmed(window, start, end, "$" if window[start:end].count("$") == 1 else "")


def _fragment(window: str, start: int, end: int) -> Span | None:
    """`$3$ and $4$` as one span; of fragments with prose between them, the last."""
    found = list(_FRAGMENT.finditer(window, start, end))
    if not found:
        return None
    first, last = found[0], found[-1]
    between = window[first.end() : last.start()] if first is not last else ""
    if _WORD.search(re.sub(r"\b(?:and|or)\b", "", between)):
        first = last
    return trimmed(window, first.start(), last.end(), "$" if first is last else "")
