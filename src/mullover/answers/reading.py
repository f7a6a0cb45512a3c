r"""What a statement says: from the text after `the answer is`, or inside a box, to the span of the answer proper.

One reader a kind. A reader gets a window of text that starts where the statement does, and whether the window is the
whole answer (a box, a tag, `$...$`) or goes on after it. It returns a span, or None if nothing there reads as that kind.
"""

import re
from collections.abc import Callable

from mullover.answers.keys import is_rational, key, worded
from mullover.types import AnswerSpec, Kind

Span = tuple[int, int]
Reader = Callable[[str, AnswerSpec, bool], Span | None]

_NUMBER_PATTERN = (
    r"(?:[-+−–]\s?)?(?:(?:(?<=[-+−–])|(?<=[-+−–]\s))\\?[$€£])?"
    r"(?:(?:\d{1,9}\s?)?\\[dtc]?frac\s*(?:\{\s*-?\d{1,300}\s*\}\s*\{\s*\d{1,300}\s*\}|\d\s*\d)"
    r"|\d{1,3}(?:(?:,|\{,\}|\\,|,\\!|[\u00a0\u2009\u202f])\d{3})+(?!\d)(?:\.\d+)?"
    r"|\d+\s\d+/\d+"
    r"|(?:\d+(?:\.\d+)?|\.\d+)(?:\s?/\s?\d+)?)"
    r"(?:\s?(?:\\times|×|\*|x)\s?10\^?(?:\{[-+]?\d{1,6}\}|[-+]?\d{1,6})|[eE][-+]?\d{1,6}(?!\w))?"
    r"(?:\s?\\?%)?"
)
NUMBER = re.compile(_NUMBER_PATTERN)
_LEAD = re.compile(r"(?:[\s*_:=≈~$€£¥₹]|\\[$,(\[]|\b(?:approximately|about|exactly|roughly|only|just|simply|equal to|USD|Rs\.?)\s)*", re.IGNORECASE)
_HEDGE = re.compile(rf"\s?%?\s*(?:,\s*)?(?:or|and|to|–|but)\s+(?:(?:maybe|possibly|perhaps|even|is it|could be|else)\s+)*\$?{_NUMBER_PATTERN}", re.IGNORECASE)
_GOES_ON = re.compile(r"\s?(?:[\^\\/×÷√π{]|_[\w{]|\*(?!\*)|[-+]\s?[\d\\a-zA-Z(]|[a-zA-Z](?![a-zA-Z]))|,\s?[-+]?[\d\\]|:\d")
_UNCLEAR = re.compile(
    r"\W*(?:not\b|n't\b|un(?:clear|known|certain|determined|defined by)|found\b|given (?:by|in|as)|obtained|calculated|computed|determined|derived|"
    r"as follows|below|above|expected|supposed|wrong|incorrect\b|correct\b|in the form|of the form|still\b|yet\b|between\b|within\b"
    r"|an? (?:[\w-]+ ){0,3}(?:integer|number|fraction|value)\b(?! \d))",
    re.IGNORECASE,
)
_NOTHING = re.compile(r"\W*(?:\[invalid\]|\[?no answer\]?\W*$|n/a\W*$)", re.IGNORECASE)
_STRICT = frozenset(["number", "math", "yes_no", "list", "set", "expression"])
_PLACEHOLDER = re.compile(
    r"\s*(?:[\s.…]*|[\s.<>{}()\[\]_$*…-]*(?:(?:your |the |my )?(?:final |short )?answer(?: here)?|\\(?:ldots|dots|cdots)|your[ _]\w+)"
    r"[\s.<>{}()\[\]_$*…]*)",
    re.IGNORECASE,
)
_STOP = re.compile(
    r"\\[\\{}$]|[{}]|\\(?:begin|end)\b"
    r"|(?P<stop>\n|[.;?](?=[\s*\"'”)\]]|$)|!(?=\s+[A-Z])|,?\s(?:since|because|which|as (?:the|it|we|this|they|there)|so|thus|therefore|hence|when|while|but"
    r"|due to|given that|obtained|assuming|although|according to|after|where)\b|\s\((?=[A-Za-z]{3,})|,\s(?!and\b|or\b)(?=[a-z]{2,}\s)|\s?—\s?|\s[-–]\s(?!(?:sin|cos|tan|sec|csc|cot|arc\w+|log|ln|sqrt|exp|pi)\b)(?=[A-Za-z]{3,})|\s=>|</)"
)
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")
_TEXT_GROUP = re.compile(r"\\(?:text|mbox|mathrm|textbf|operatorname)\s*\{[^{}]*\}")
_FRAGMENT = re.compile(r"\$\$?([^$\n]{1,600})\$?\$|\\\(((?:[^\\\n]|\\[^)]){1,600})\\\)")
_NAME = re.compile(r"\s*(?:\\?[A-Za-z]+|\\text\{[^{}]*\})(?:_(?:\w|\{[^{}]*\}))?'?\s*(?:\([A-Za-z, ]{1,9}\))?\s*")
_ASSIGN = re.compile(r"(?<![<>!≤≥=:])=(?![=>])")
_LETTER = re.compile(r"(?:\\[a-z]+\s*\{|[\s({\[*_\"'`$:]|\\\(|(?:option|choice|answer|letter)\b)*(?P<letter>(?-i:[A-Z])|(?<=[(\[{*_\"'`$])[a-z])(?![\w'’]|-\w|\s(?-i:[a-z]))", re.IGNORECASE)
_LETTER_THEN = re.compile(r"(?:\\[a-z]+\s*\{|[\s({\[*_\"'`$:]|(?:option|choice|answer|letter)\b)*(?P<letter>[A-Z])(?=[)\]}.:,*]|\s+(?:because|since|as|is|and|or|–|-|which|\()|\s*$)")
_BRACKETED = re.compile(r"\(([A-Z])\)|\b(?:option|choice)\s+\(?([A-Z])\b")
_OTHER_LETTER = re.compile(r"[)\]}*]*\s+(?:or|and)\s+[({\[*]*[A-Z][)\]}*]*(?![A-Za-z])")
YES_NO = re.compile(r"(?<![A-Za-z0-9])(yes|no|true|false)(?![A-Za-z0-9])", re.IGNORECASE)
_ARITHMETIC = re.compile(r"\\(?:times|div|cdot|left|right|frac)\b|[\d\s()+*/xX×÷·⋅−–.\-\[\]{}$\\]")
_FENCE = re.compile(r"```[^\n`]*\n")


def read(window: str, spec: AnswerSpec, whole: bool) -> Span | None:
    """The span of the answer that `window` states, or None if it states none of this kind."""
    if spec.kind != "code" and (_PLACEHOLDER.fullmatch(window) or _NOTHING.match(window)):
        return None
    if spec.kind in _STRICT and _UNCLEAR.match(window):
        return None
    return READERS[spec.kind](window, spec, whole)


def trimmed(window: str, start: int, end: int, extra: str = "") -> Span | None:
    """The span without white space and emphasis around it, or None if nothing is left."""
    text = window[start:end]
    drop = " \t\r\n*" + (extra if text.count("$") <= 2 else extra.replace("$", ""))  # `$8$, $4$` keeps its marks
    left = len(text) - len(text.lstrip(drop))
    right = len(text.rstrip(drop + ".,;:_"))
    return (start + left, start + right) if left < right else None


def phrase_end(window: str) -> int:
    """Where the first sentence, or its first clause that says why, ends; braces and environments are not cut."""
    depth = 0
    for match in _STOP.finditer(window):
        if match["stop"] is not None:
            if depth <= 0:
                return match.start()
        elif match[0] in ("{", "\\begin"):
            depth += 1
        elif match[0] in ("}", "\\end"):
            depth -= 1
    return len(window)


def read_number(window: str, spec: AnswerSpec, whole: bool) -> Span | None:
    if whole:
        return _whole_number(window, spec)
    end = phrase_end(window)
    span = _after_equals(window, 0, end, numeric=True)
    lead = _LEAD.match(window, span[0], end)
    at = lead.end() if lead else span[0]
    match = NUMBER.match(window, at, end)
    if match is None and len(window[:end].split()) <= 16:
        match = NUMBER.search(window, at, end)
    if match is None:
        return trimmed(window, 0, end) if worded(window[:end]) else _symbolic_constant(window, end)
    hedge = _HEDGE.match(window, match.end(), end)
    if hedge:
        return match.start(), hedge.end()
    if _GOES_ON.match(window, match.end(), end):
        found = _math_phrase(window, span[0], end)
        if found and is_rational(window[found[0] : found[1]]) is False and NUMBER.match(window, at, end):
            return found if "\\" in window[found[0] : found[1]] or found[1] - found[0] < 40 else match.span()
        return found or match.span()
    return match.span()


def _whole_number(window: str, spec: AnswerSpec) -> Span | None:
    span = trimmed(window, 0, len(window), "$")
    if span is None:
        return None
    if not any(c.isdecimal() for c in window):
        text = window[span[0] : span[1]]
        return span if worded(text) or any(name in text for name in ("\\pi", "π", "\\infty", "∞")) else None
    span = _after_equals(window, *span, numeric=True)
    text = window[span[0] : span[1]]
    if _TEXT_GROUP.search(text) and not is_rational(text):
        numbers = list(NUMBER.finditer(_TEXT_GROUP.sub(lambda m: " " * len(m[0]), text)))
        return (span[0] + numbers[0].start(), span[0] + numbers[0].end()) if len(numbers) == 1 else span
    if is_rational(text) or len(_WORD.findall(_TEXT_GROUP.sub("", text))) < 2:
        return span
    return read_number(text, spec, False) and _shifted(read_number(text, spec, False), span[0])


def _shifted(span: Span | None, by: int) -> Span | None:
    return span and (span[0] + by, span[1] + by)


def _symbolic_constant(window: str, end: int) -> Span | None:
    return trimmed(window, 0, end, "$") if any(name in window[: min(end, 20)] for name in ("\\pi", "π", "\\infty", "∞")) else None


def _after_equals(window: str, start: int, end: int, numeric: bool = False) -> Span:
    """`x = 5` and `3 + 4 = 7` mean what is right of the last sign; an equation of several symbols stays whole."""
    if "=" not in window[start:end]:
        return start, end
    signs = [m.start() for m in _ASSIGN.finditer(window, start, end)]
    if not signs or not window[signs[-1] + 1 : end].strip(" .*$"):
        return start, end
    if "," in window[signs[0] : signs[-1]]:
        return start, end  # x = 1, y = 2
    left = window[start : signs[0]].strip(" *$\n")
    symbols = re.findall(r"[A-Za-z]+", re.sub(r"\\[A-Za-z]+", "", _TEXT_GROUP.sub("", left)))
    prose = any(len(word) > 2 and not word.isupper() for word in symbols)
    if numeric or (_NAME.fullmatch(left) and not (len(left) > 1 and left.isupper())) or not symbols or prose:
        return trimmed(window, signs[-1] + 1, end, "$") or (start, end)
    return start, end


def read_math(window: str, spec: AnswerSpec, whole: bool) -> Span | None:
    if whole:
        span = trimmed(window, 0, len(window), "$")
        return span and _after_equals(window, *span)
    return _math_phrase(window, 0, phrase_end(window))


def _math_phrase(window: str, start: int, end: int) -> Span | None:
    """The mathematics of a sentence: all of it, its `$...$` if it is prose, or the number it names."""
    span = trimmed(window, start, end)
    if span is None:
        return None
    start, end = span
    text = window[start:end]
    prose = _WORD.findall(_TEXT_GROUP.sub(" ", text))
    if len(prose) > 1 or (prose and "$" in text):
        fragments = list(_FRAGMENT.finditer(window, start, end))
        if fragments:
            last = fragments[-1] if _WORD.search(window[fragments[0].end() : fragments[-1].start()]) else fragments[0]
            first, last = (last, last) if last is fragments[-1] else (fragments[0], fragments[-1])
            inner = trimmed(window, first.start(), last.end(), "$" if first is last else "")
            return inner and _after_equals(window, *inner)
    if not any(c.isdecimal() or c in "\\^_=+√π∞" for c in text):
        return span if len(text.split()) <= 3 else None
    if len(prose) > 2 and not re.match(r"[-+(\[{$\\]*\s*[\d\\]|[A-Za-z]\s*[=^_+*/(-]", text):
        number = NUMBER.search(window, start, end)
        return number.span() if number and len(text.split()) <= 16 else None
    start, end = _after_equals(window, start, end)
    lead = _LEAD.match(window, start, end)
    start = lead.end() if lead and lead.end() < end else start
    number = NUMBER.match(window, start, end)
    if number and re.fullmatch(r"(?:\s+[A-Za-z]{3,}\.?)+", window[number.end() : end]) and not _HEDGE.match(window, number.end(), end):
        return number.span()
    return trimmed(window, start, end, "$" if window[start:end].count("$") == 1 else "")


def read_choice(window: str, spec: AnswerSpec, whole: bool) -> Span | None:
    end = len(window) if whole else phrase_end(window.replace(". ", ".\x00", 1)) if re.match(r"\W*[A-Z]\. ", window) else phrase_end(window)
    span = trimmed(window, 0, end, "\"'`")
    if span is None:
        return None
    labels = set(map(str.upper, (c.strip("() .") for c in spec.choices))) if all(len(c.strip("() .")) == 1 for c in spec.choices) else set()
    if key(window[span[0] : span[1]], spec) in labels or (spec.choices and not labels and len(key(window[span[0] : span[1]], spec)) == 1):
        exact = _LETTER.match(window, 0, end)
        return exact.span("letter") if exact else span
    match = _LETTER.match(window, 0, end) or _LETTER_THEN.match(window, 0, end)
    if match and (not labels or match["letter"].upper() in labels):
        other = _OTHER_LETTER.match(window, match.end(), end)
        return (match.start("letter"), other.end()) if other else match.span("letter")
    by_text = choice_text(window[:end], spec)
    if by_text:
        return by_text
    bracketed = _BRACKETED.search(window, 0, end)
    if bracketed:
        return bracketed.span(bracketed.lastindex or 0)
    return None


def choice_text(text: str, spec: AnswerSpec, last: bool = False) -> Span | None:
    """Where one of the choices' texts stands, whole words only; the longest if several start at one place."""
    best: Span | None = None
    for choice in spec.choices:
        bare = re.sub(r"^\(?[A-Z][).:]\s*", "", choice.strip()) or choice
        if len(bare) < 2 and not bare.isdecimal():
            continue
        for match in re.finditer(rf"(?<!\w){re.escape(bare)}(?!\w)", text, re.IGNORECASE):
            span = match.span()
            if best is None or (span[0] != best[0] and (span[0] > best[0]) == last) or (span[0] == best[0] and span[1] > best[1]):
                best = span
            if not last:
                break
    return best


def read_yes_no(window: str, spec: AnswerSpec, whole: bool) -> Span | None:
    match = YES_NO.search(window, 0, len(window) if whole else phrase_end(window))
    return match.span() if match else None


def read_text(window: str, spec: AnswerSpec, whole: bool) -> Span | None:
    end = len(window)
    if not whole:
        stop = re.search(r"\n|[.!?](?=\s+[A-Z\"“(]|\s*\n|\s*$)|,?\s\(?(?:because|since|which (?:is|means)|as (?:required|it|we|the|this))\b|\s[–—]\s", window)
        end = stop.start() if stop else end
    return trimmed(window, 0, end, "\"'`“”$")


def read_list(window: str, spec: AnswerSpec, whole: bool) -> Span | None:
    """The first bracketed list of the statement, else all of it up to the end of the sentence."""
    opened = re.search(r"\\?[\[{(]", window)
    end = len(window) if whole else phrase_end(window)
    if opened and opened.start() <= min(end, 60):
        closed = closing(window, opened.end() - 1)
        if closed > 0 and (not whole or not window[closed:].strip(" .$*`)\\]")):
            return opened.start(), closed
    if not whole and "\n" in window[:end]:
        end = window.index("\n")
    return trimmed(window, 0, end, "`$")


def closing(window: str, start: int) -> int:
    """One past the bracket that closes the one at `start`, or -1."""
    depth = 0
    for match in re.finditer(r"[\[\](){}]", window[start:]):
        depth += 1 if match[0] in "[({" else -1
        if depth == 0:
            return start + match.end()
    return -1


def read_code(window: str, spec: AnswerSpec, whole: bool) -> Span | None:
    fence = _FENCE.search(window)
    if fence and (whole or not window[: fence.start()].strip()):
        end = window.find("```", fence.end())
        return (fence.end(), end if end >= 0 else len(window)) if window[fence.end() : end if end >= 0 else None].strip() else None
    return trimmed_code(window) if whole else None


def trimmed_code(window: str) -> Span | None:
    start = len(window) - len(window.lstrip("\r\n"))
    end = len(window.rstrip())
    return (start, end) if window[start:end].strip() else None


def read_expression(window: str, spec: AnswerSpec, whole: bool) -> Span | None:
    """An arithmetic expression with an operator, without `= 24`."""
    at = 0
    lead = _LEAD.match(window)
    at = lead.end() if lead else 0
    end = at
    while match := _ARITHMETIC.match(window, end):
        if "\n" in match[0] and end > at:
            break
        end = match.end()
    span = trimmed(window, at, end, "$\\")
    text = window[slice(*span)] if span else ""
    if span is None or not any(c.isdecimal() for c in text) or not re.search(r"[\d)}\]]\s*(?:[-+*/×÷·⋅−–xX]|\\[a-z])", text):
        return None
    return span


READERS: dict[Kind, Reader] = {
    "number": read_number,
    "math": read_math,
    "choice": read_choice,
    "yes_no": read_yes_no,
    "text": read_text,
    "list": read_list,
    "set": read_list,
    "code": read_code,
    "expression": read_expression,
}
