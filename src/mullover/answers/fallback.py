"""What a text without an explicit statement suggests: the last thing in it that is of the kind asked for."""

import re
from collections.abc import Callable

from mullover.answers.figures import NUMBER, PARTS, read_math
from mullover.answers.keys import LONGEST, is_rational, labels
from mullover.answers.reading import FENCE, YES_NO, choice_text, read_expression, unwrapped
from mullover.answers.sentences import TEXT_GROUP, Span, trimmed
from mullover.types import AnswerSpec, Kind

READ = 20_000  # characters from the end
NEAR = 500  # characters from the end where the text of a choice is taken for an answer
ONE_LINE = 200  # a whole text up to this long may be its own answer
_EQUALS = re.compile(r"[\s$\\)]*(?:=\s*-?\d[\d./]*)?[\s$\\).]*")
_LITERAL = re.compile(
    r"\s*(\[.*\]|\(.*\)|\{.*\}|(?:[brf]{0,2})(?:'.*'|\".*\")|-?[\d.]+(?:e[+-]?\d+)?|True|False|None|set\(\))\s*"
)  # in one line
LINES = 50  # from the end, in which an expression is sought

_MATH = re.compile(
    r"\$\$((?:(?!\$\$).){1,2000})\$\$|\$([^$\n]{1,1000})\$"
    r"|\\\[((?:(?!\\\]).){1,2000})\\\]|\\\(((?:(?!\\\)).){1,1000})\\\)",
    re.DOTALL,
)
_PROSE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")
_LETTER = re.compile(
    r"(?<![\w'’])\(([A-Za-z])\)"
    r"|(?<![\w'’.])(?:[Oo]ption|[Cc]hoice)\s+\(?([A-Z])(?!\w)"
    r"|(?<![\w'’.(])\*{0,3}([A-Z])\*{0,3}(?=[).:,;]|\s{0,9}$|\s{0,9}\n|\s{1,9}(?:is|because)\b)(?![\w'’])"
)
_ONLY_LETTER = re.compile(r"[\s*_\"'`(\[{]{0,9}([A-Za-z])[\s*_\"'`)\]}.:]{0,9}")
_DECIDED = re.compile(
    r"(?<!\bif )(?<!\w)(?:[Oo]ption |[Cc]hoice )?\(?\*{0,2}\b([A-Z])\b\)?\*{0,2},? (?:is|must be) "
    r"(?:\w+ly )?(?:the )?(?:only )?(?:correct|right|best|true)\b"
)
_SENTENCE = re.compile(r"[.!?]\s|\n")
_RANGE = re.compile(r"(?<![\d.,/-])(\d{1,9})[-–]\Z")
_OPENS = re.compile(
    r"(?:\A|\n)[ \t*_#>\"'(]*(yes|no|true|false)(?=[*_\"')]{0,3}(?:\s*(?:[.,;:!—–-]|\n|\Z)"
    r"|\s(?:it|there|that|this|he|she|they|because|since)\b))",
    re.IGNORECASE,
)
_RECONSIDERED = re.compile(r"\b(?:wait|actually|however|correction|second thought|let me|let's|step)\b", re.IGNORECASE)
_CANNOT = (
    r"(?:do(?:es)? not|don['’]?t|can(?:not|['’]?t| not)|could(?: not|n['’]t)|(?:am |'m |’m |are )?(?:unable|not able)) "
    r"(?:\w+ly )?(?:to )?(?:know|say|tell|answer|determine|help|provide|be (?:determined|answered|known|found)|find"
    r"|identify|think|have|assist|see)\b"
)
_END = r"(?=\W*\Z|\s*[,.;:!?…—–])"
_NO_ANSWER = re.compile(
    rf"\W*(?:(?:hmm+|um+|uh+|well|so|oh)\b\W*)*(?:(?<=[mh])\W*\Z|(?:i(?:['’]m| am) )?(?:so |very |really )?"
    rf"(?:sorry\b(?:{_END}| (?:but|i|about|for|to)\b)|(?:not|un)\s?(?:entirely |really |quite )?sure\b)|{_CANNOT}"
    rf"|(?:no idea|unclear|unable|cannot|can['’]t){_END}|(?:unclear|unable to|not enough|insufficient)\s)"
    rf"|.*?(?:\b(?:i|we|it|this|that|answer|question|which) {_CANNOT}"
    rf"|\b(?:i|we) (?:do not|don['’]t|cannot|can['’]t){_END}"
    r"|\b(?:i|we)(?: am| are|['’](?:m|re)) (?:\w+ly )?"
    r"(?:unable|not able|not (?:\w+ly )?(?:sure|certain)|unsure|sorry)\b"
    rf"|\b(?:is|['’]s) (?:unclear|not clear){_END}"
    r"|\b(?:i|we) have no idea\b|\b(?:not enough|insufficient) (?:information|data|context|detail)"
    r"|\bcannot be (?:determined|known))",
    re.IGNORECASE | re.DOTALL,
)
_LEADS = re.compile(
    r"\s*(?:(?:so|thus|hence|therefore|then|finally|and|we|i|get|have|one|the|a|solution|is)\b[\s,:]*)*", re.IGNORECASE
)


def last_match(pattern: re.Pattern[str], text: str, start: int) -> re.Match[str] | None:
    found = None
    for match in pattern.finditer(text, start):
        found = match
    return found


def last_number(text: str, spec: AnswerSpec) -> Span | None:
    """The last number; one that is longer than an answer may be is none."""
    last = -1
    for size in (200, READ):  # nearly always it is near
        last = max(last, *(text.rfind(digit, max(0, len(text) - size)) for digit in "0123456789" + PARTS))
        if last >= 0:
            break
    if last < 0:
        return None
    start = max(0, last - 40)
    while start > 0 and last - start < LONGEST and not text[start - 1].isspace():
        start -= 1
    found = last_match(NUMBER, text, start)
    if found is None or last - start >= LONGEST:
        return None
    low = _RANGE.search(text, max(start, found.start() - 20), found.start())
    if low and is_rational(found[0]) and not is_rational(text[low.start(1) : found.end()]):
        return low.start(1), found.end()  # 10-15
    return found.span()


def last_math(text: str, spec: AnswerSpec) -> Span | None:
    """A text that is only a formula, else the last $...$, right of its `=`, or a number that comes after it."""
    if len(text) <= ONE_LINE and not _PROSE.search(TEXT_GROUP.sub("", text)) and "\n" not in text.strip():
        return read_math(text, spec, True)
    fragment = None
    for match in _MATH.finditer(text, max(0, len(text) - READ)):
        if fragment is None or len(match[match.lastindex or 0].strip()) > 1:  # a lone $x$ is hardly an answer
            fragment = match
    number = last_number(text, spec)
    if fragment is None or (number and number[0] >= fragment.end()):
        return number
    start, end = fragment.span(fragment.lastindex or 0)
    span = read_math(text[start:end], spec, True)
    return (start + span[0], start + span[1]) if span else number


def last_choice(text: str, spec: AnswerSpec) -> Span | None:
    """The last letter that stands as a label, or the text of a choice near the end, whichever is later."""
    known = labels(spec.choices)
    if len(text) <= ONE_LINE and (only := _ONLY_LETTER.fullmatch(text)):
        return only.span(1) if not known or only[1].upper() in known else None
    letter: Span | None = None
    for match in _LETTER.finditer(text, max(0, len(text) - READ)):
        span = match.span(match.lastindex or 0)
        if not known or text[span[0]].upper() in known:
            letter = span
    decided = last_match(_DECIDED, text, max(0, len(text) - READ))
    if (
        letter
        and decided
        and decided.end() < letter[0]
        and (not known or decided[1] in known)
        and (not _SENTENCE.search(text, decided.end(), letter[0]))
    ):
        letter = decided.span(1)  # B is correct because A is too small
    near = max(0, len(text) - NEAR)
    worded = choice_text(text[near:], spec, last=True)
    if worded and (letter is None or worded[0] + near > letter[0]):
        return worded[0] + near, worded[1] + near
    return letter


def last_yes_no(text: str, spec: AnswerSpec) -> Span | None:
    """What the last line that opens with it says if the text opens so, else the last one."""
    start = max(0, len(text) - READ)
    if start == 0 and (opening := _OPENS.match(text.lstrip())) and not _RECONSIDERED.search(text, opening.end()):
        found = last_match(_OPENS, text, 0)
        if found:
            return found.span(1)
    found = last_match(YES_NO, text, start)
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
    """The last fenced block; one that is not closed runs to the end, since the fence may have been the stop string.

    Without a fence, a text that is nothing but a value in one line, as a Python literal begins and ends.
    """
    fences = [m.start() for m in re.finditer(r"```", text)]
    for i in range((len(fences) - 1) // 2 * 2, -1, -2):  # the opening ones
        opened = FENCE.match(text, fences[i])
        end = fences[i + 1] if i + 1 < len(fences) else len(text)
        if opened and text[opened.end() : end].strip():
            return opened.end(), end
    bare = _LITERAL.fullmatch(text) if not fences and len(text) <= READ else None
    return bare.span(1) if bare else None


def only_text(text: str, spec: AnswerSpec) -> Span | None:
    """The text itself if it is one short line."""
    if len(text) > 4 * ONE_LINE or text.rstrip(" *").endswith(":"):
        return None
    span = trimmed(text, 0, len(text), "\"'`“”")
    if span is None or span[1] - span[0] > ONE_LINE or "\n" in text[slice(*span)]:
        return None
    return None if _NO_ANSWER.match(text[slice(*span)]) else unwrapped(text, span)


def last_expression(text: str, spec: AnswerSpec) -> Span | None:
    """The last line that is an arithmetic expression and nothing else, but for what it equals."""
    end = len(text)
    for _ in range(LINES):
        if end <= 0:
            return None
        start = line = text.rfind("\n", 0, end) + 1
        leads = _LEADS.match(text, start, end)
        start = leads.end() if leads else start
        span = read_expression(text[start:end], spec, True) if start < end <= start + LONGEST else None
        if span and _EQUALS.fullmatch(text, start + span[1], end):
            return start + span[0], start + span[1]
        end = line - 1
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
