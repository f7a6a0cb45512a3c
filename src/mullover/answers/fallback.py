"""What a text without an explicit statement suggests: the last thing in it that is of the kind asked for."""

import re
from collections.abc import Callable

from mullover.answers.keys import LONGEST
from mullover.answers.reading import NUMBER, YES_NO, Span, choice_text, closing, read_expression, read_math, trimmed
from mullover.types import AnswerSpec, Kind

READ = 20_000  # characters from the end
ONE_LINE = 200  # a whole text up to this long may be its own answer

_MATH = re.compile(r"\$\$((?:(?!\$\$).){1,2000})\$\$|\$([^$\n]{1,1000})\$|\\\[((?:(?!\\\]).){1,2000})\\\]|\\\(((?:(?!\\\)).){1,1000})\\\)", re.DOTALL)
_LETTER = re.compile(r"(?<![\w'’])\(([A-Za-z])\)|(?<![\w'’.])(?:[Oo]ption|[Cc]hoice)\s+\(?([A-Z])(?!\w)|(?<![\w'’.(])\**([A-Z])\**(?=[).:,;]|\s*$|\s*\n|\s+(?:is|because)\b)(?![\w'’])")
_FENCED = re.compile(r"```[^\n`]*\n")


def last_number(text: str, spec: AnswerSpec) -> Span | None:
    """The last number; one that is longer than an answer may be is none."""
    for size in (200, READ):
        near = max(0, len(text) - size)
        last = max(text.rfind(digit, near) for digit in "0123456789")
        if last >= 0:
            break
    else:
        return None
    start = max(0, last - 40)
    while start > 0 and last - start < LONGEST and not text[start - 1].isspace():
        start -= 1
    found = None
    for found in NUMBER.finditer(text, start):
        pass
    return found.span() if found and (found.start() > start or last - start < LONGEST) else None


def last_math(text: str, spec: AnswerSpec) -> Span | None:
    """The last $...$, right of its `=`, or a number that comes after it."""
    start = max(0, len(text) - READ)
    fragment = None
    for fragment in _MATH.finditer(text, start):
        pass
    number = last_number(text, spec)
    if fragment is None or (number and number[0] >= fragment.end()):
        return number
    a, b = fragment.span(fragment.lastindex or 0)
    span = read_math(text[a:b], spec, True)
    return (a + span[0], a + span[1]) if span else number


def last_choice(text: str, spec: AnswerSpec) -> Span | None:
    """The last letter that stands as a label, or the text of a choice in the last 500 characters, whichever is later."""
    start = max(0, len(text) - 2_000)
    labels = {c.strip("() .").upper() for c in spec.choices if len(c.strip("() .")) == 1}
    letter: Span | None = None
    for match in _LETTER.finditer(text, start):
        span = match.span(match.lastindex or 0)
        if not labels or text[span[0]].upper() in labels:
            letter = span
    near = max(0, len(text) - 500)
    worded = choice_text(text[near:], spec, last=True)
    if worded and (letter is None or worded[0] + near > letter[0]):
        return worded[0] + near, worded[1] + near
    return letter


def last_yes_no(text: str, spec: AnswerSpec) -> Span | None:
    found = None
    for found in YES_NO.finditer(text, max(0, len(text) - READ)):
        pass
    return found.span() if found else None


def last_list(text: str, spec: AnswerSpec) -> Span | None:
    """The last bracket that is closed and not inside another one."""
    start = max(0, len(text) - READ)
    depth, opened, span = 0, 0, None
    for match in re.finditer(r"[\[\]{}]", text[start:]):
        if match[0] in "[{":
            opened, depth = (match.start() if depth == 0 else opened), depth + 1
        elif depth:
            depth -= 1
            if depth == 0:
                span = (start + opened, start + match.end())
    if span is None:
        return None
    escaped = span[0] > 0 and text[span[0] - 1] == "\\"
    return (span[0] - 1, span[1]) if escaped else span


def last_code(text: str, spec: AnswerSpec) -> Span | None:
    """The last fenced block; one that is not closed runs to the end, since the fence may have been the stop string."""
    fences = [m.start() for m in re.finditer(r"```", text)]
    if not fences:
        return None
    for i in range(len(fences) - 1 - (len(fences) + 1) % 2, -1, -2):
        opened = _FENCED.match(text, fences[i])
        end = fences[i + 1] if i + 1 < len(fences) else len(text)
        if opened and text[opened.end() : end].strip():
            return opened.end(), end
    return None


def only_text(text: str, spec: AnswerSpec) -> Span | None:
    """The text itself if it is one short line."""
    if len(text) > 4 * ONE_LINE:
        return None
    span = trimmed(text, 0, len(text), "\"'`“”")
    return span if span and span[1] - span[0] <= ONE_LINE and "\n" not in text[span[0] : span[1]] else None


def last_expression(text: str, spec: AnswerSpec) -> Span | None:
    """The last line that is an arithmetic expression."""
    end = len(text)
    for _ in range(50):
        if end <= 0:
            return None
        start = text.rfind("\n", 0, end) + 1
        if start < end and end - start < 500:
            span = read_expression(text[start:end], spec, True)
            if span:
                return start + span[0], start + span[1]
        end = start - 1
    return None


FALLBACKS: dict[Kind, Callable[[str, AnswerSpec], Span | None]] = {
    "number": last_number,
    "math": last_math,
    "choice": last_choice,
    "yes_no": last_yes_no,
    "text": only_text,
    "list": last_list,
    "set": last_list,
    "code": last_code,
    "expression": last_expression,
}
