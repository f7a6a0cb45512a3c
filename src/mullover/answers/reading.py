r"""What a statement says: from the text after `the answer is`, or inside a box, to the span of the answer proper.

One reader a kind. A reader gets a window of text that starts where the statement does, and whether the window is the
whole answer (a box, a tag, `$...$`) or goes on after it. It returns a span, or None if nothing there reads as its kind.
"""

import re
from collections.abc import Callable

from mullover.answers.figures import LEAD, read_math, read_number
from mullover.answers.keys import UNWRAPPED, key, labels
from mullover.answers.sentences import Span, closing, phrase_end, trimmed
from mullover.types import AnswerSpec, Kind

Reader = Callable[[str, AnswerSpec, bool], Span | None]

YES_NO = re.compile(  # `not true` and `isn't true` are no
    r"(?<![A-Za-z0-9])(?:(?:not|(?:is|was|are|would)n['’]t)\s{1,3})?(yes|no(?!\s{1,3}idea\b)|true|false)(?![A-Za-z0-9])",
    re.IGNORECASE,
)
FENCE = re.compile(r"```[^\n`]*\n")

_NOTHING = re.compile(r"\W*(?:\[invalid\]|\[?no answer\]?\W*$|n/a\W*$)", re.IGNORECASE)
_PLACEHOLDER = re.compile(
    r"\s*(?:[\s.…]*"
    r"|[\s.<>{}()\[\]_$*…-]*(?:(?:your |the |my )?(?:final |short )?answer(?: here)?|\\[lc]?dots|your[ _]\w+)"
    r"[\s.<>{}()\[\]_$*…]*)",
    re.IGNORECASE,
)
_UNCLEAR = re.compile(  # `the answer is not 5`, `is found by`, `is an integer between 0 and 999`: nothing is stated
    r"\W*(?:not\b|n't\b|un(?:clear|known|certain|determined)|found\b|given (?:by|in|as)|obtained|calculated|computed"
    r"|determined|derived|as follows|below|above|expected|supposed|wrong|incorrect\b|correct\b|(?:in|of) the form"
    r"|still\b|yet\b|between\b|within\b|an? (?:[\w-]+ ){0,3}(?:integer|number|fraction|value)\b(?! \d))",
    re.IGNORECASE,
)
_STRICT = frozenset(["number", "math", "yes_no", "list", "set", "expression"])

_EITHER = re.compile(r"[\s*_:]*(?:either|both|between)\s+(?=[({\[*]*[A-Z]\b)", re.IGNORECASE)
_BEFORE_LETTER = r"(?:\\[a-z]+\s*\{|[\s({\[*_\"'`$:]|\\\(|(?i:option|choice|answer|letter)\b)*"
_LETTER = re.compile(_BEFORE_LETTER + r"(?P<letter>[A-Z]|(?<=[(\[{*_\"'`$])[a-z])(?![\w'’]|-\w|\s[a-z])")
_LETTER_THEN = re.compile(
    _BEFORE_LETTER + r"(?P<letter>[A-Z])(?=[)\]}.:,*]|\s+(?:because|since|as|is|and|or|–|-|which|\()|\s*$)"
)
_OTHER_LETTER = re.compile(r"[)\]}*]*\s+(?:or|and)\s+[({\[*]*[A-Z][)\]}*]*(?![A-Za-z])")
_BRACKETED = re.compile(r"\(([A-Z])\)|\b(?:option|choice)\s+\(?([A-Z])\b")
_NUMBERED = re.compile(r"\W*[A-Z]\. ")

_TEXT_END = re.compile(
    r"\n|。|[.!?](?=\s+[A-Z\"“(]|\s*\n|\s*$)|\s[–—]\s"
    r"|,?\s\(?(?:because|since|which (?:is|means)|as (?:required|it|we|the|this))\b"
)
_ABBREVIATED = re.compile(
    r"(?:\A|[\s(\"“.])(?:[A-Z]|Dr|Mr|Mrs|Ms|St|Ste|Prof|Jr|Sr|Mt|Ft|Lt|Col|Gen|Sgt|Capt|Rev|Gov|Sen)\Z"
)
_STARTER = re.compile(  # with these a sentence starts, even after an initial
    r"\s*[\"“(]?(?:The|This|That|These|Then|There|They|Therefore|Thus|So|It|Its|He|She|His|Her|We|I|In|As|If|You|My|But"
    r"|And|Because|Since|Here|Hence|However|For|From|To|Let|Note|Now|Step|Wait|When|While|Although|What|Why|Both|Each"
    r"|All|Also|By|At|On|Not|No|Yes|Option|Only|Our|Given|First|Final|Answer|Another|One|Please|Is|Hope)\b"
)
_LIST_END = re.compile(
    r"\n|[.?](?=[\s*\"'”)]|$)|</|\s?—\s?|,?\s(?:since|because|which|so|thus|therefore|hence|but|where"
    r"|as (?:the|it|we))\b"
)
_BULLETS = re.compile(r"[ \t]*(?:[-*•+]|\(?\d{1,3}[.)])[ \t]+\S[^\n]*(?:\n\s*|$)")
_ARITHMETIC = re.compile(r"(?:\\(?:times|div|cdot|left|right|frac)\b|[\d ()+*/xX×÷·⋅−–.\-\[\]{}$\\])*")
_OPERATION = re.compile(r"[\d)}\]]\s*(?:[-+*/×÷·⋅−–xX]|\\[a-z])")


def read(window: str, spec: AnswerSpec, whole: bool) -> Span | None:
    """The span of the answer that `window` states, or None if it states none of this kind."""
    if spec.kind != "code" and (_PLACEHOLDER.fullmatch(window) or _NOTHING.match(window)):
        return None
    if spec.kind in _STRICT and _UNCLEAR.match(window):
        return None
    return READERS[spec.kind](window, spec, whole)


def read_choice(window: str, spec: AnswerSpec, whole: bool) -> Span | None:
    """A letter at the start, else the text of a choice, else a letter in brackets."""
    sentence = window.replace(". ", "  ", 1) if _NUMBERED.match(window) else window  # `B. because` goes on
    end = len(window) if whole else phrase_end(sentence)
    span = trimmed(window, 0, end, "\"'`")
    if span is None:
        return None
    known = labels(spec.choices)
    if either := _EITHER.match(window, 0, end):
        letter = _LETTER_THEN.match(window, either.end(), end)
        if letter and (other := _OTHER_LETTER.match(window, letter.end(), end)):
            return letter.start("letter"), other.end()
    match = _LETTER.match(window, 0, end) or _LETTER_THEN.match(window, 0, end)
    if (label := key(window[slice(*span)], spec)) in known:
        return match.span("letter") if match and match["letter"].upper() == label else span
    if match and (not known or match["letter"].upper() in known):
        other = _OTHER_LETTER.match(window, match.end(), end)
        return (match.start("letter"), other.end()) if other else match.span("letter")
    if by_text := choice_text(window if whole else window.partition("\n")[0], spec):
        return by_text
    bracketed = _BRACKETED.search(window, 0, end)
    return bracketed.span(bracketed.lastindex or 0) if bracketed else None


def choice_text(text: str, spec: AnswerSpec, last: bool = False) -> Span | None:
    """Where the first or the last of the choices' texts stands, whole words only; of two at one place the longer."""
    found: list[Span] = []
    for choice in spec.choices:
        bare = re.sub(r"^\(?[A-Z][).:]\s*", "", choice.strip()) or choice
        if len(bare) > 1 or bare.isdecimal():
            matches = re.finditer(rf"(?<!\w){re.escape(bare)}(?!\w)", text, re.IGNORECASE)
            found += [match.span() for match in matches]
    if not found:
        return None
    return max(found) if last else min(found, key=lambda span: (span[0], -span[1]))


def read_yes_no(window: str, spec: AnswerSpec, whole: bool) -> Span | None:
    match = YES_NO.search(window, 0, len(window) if whole else phrase_end(window))
    return match.span() if match else None


def read_text(window: str, spec: AnswerSpec, whole: bool) -> Span | None:
    span = trimmed(window, 0, len(window) if whole else _text_end(window), "\"'`“”$")
    return span and unwrapped(window, span)


def _text_end(window: str) -> int:
    """Where the first sentence ends; initials and titles do not end one."""
    for stop in _TEXT_END.finditer(window):
        at = stop.start()
        if stop[0] != "." or window[at + 1 : at + 2] != " " or not window[at:].strip(". \n"):
            return at
        if not _ABBREVIATED.search(window[max(0, at - 6) : at]) or _STARTER.match(window, at + 1):
            return at
    return len(window)


def unwrapped(window: str, span: Span) -> Span:
    """Paris of `_Paris_`, `[Paris]` and `<Paris>`."""
    start, end = span
    if window[start] == "_" and window[end : end + 1] == "_":  # which `trimmed` leaves on the left
        end += 1
    match = UNWRAPPED.fullmatch(window, start, end) if window[start] in "_[<" else None
    return match.span(match.lastindex or 0) if match else span


def read_list(window: str, spec: AnswerSpec, whole: bool) -> Span | None:
    """The bracketed list near the start of the statement, else all of it up to the end of the sentence."""
    opened = re.search(r"\\?[\[{(]", window)
    if not whole and (bulleted := _bulleted(window)):
        return bulleted
    end = len(window) if whole else phrase_end(window)
    if not whole and end < len(window) and window[end] == "," and not any(c.isdecimal() for c in window[:end]):
        stop = _LIST_END.search(window)
        end = stop.start() if stop else len(window)
    if opened and opened.start() <= min(end, 60):
        closed = closing(window, opened.end() - 1)
        if closed > 0 and not (whole and window[closed:].strip(" .$*`)\\]")):
            return opened.start(), closed
    return trimmed(window, 0, end, "`$")


def _bulleted(window: str) -> Span | None:
    """The lines that start with a bullet or a number, if the statement opens with one."""
    start = at = len(window) - len(window.lstrip())
    while item := _BULLETS.match(window, at):
        at = item.end()
    return (start, start + len(window[start:at].rstrip())) if at > start else None


def read_code(window: str, spec: AnswerSpec, whole: bool) -> Span | None:
    """What is inside a fence; without one, only what is the whole answer."""
    fence = FENCE.search(window)
    if fence and (whole or not window[: fence.start()].strip()):
        close = window.find("```", fence.end())
        span = fence.end(), close if close >= 0 else len(window)
    else:
        span = len(window) - len(window.lstrip("\r\n")), len(window.rstrip()) if whole else 0
    return span if window[slice(*span)].strip() else None


_DENIED = re.compile(r"\s*(?:!=|≠|≈|\\neq?\b|(?:is|does)\s+not\b|isn't|doesn't)")


def read_expression(window: str, spec: AnswerSpec, whole: bool) -> Span | None:
    """An arithmetic expression with an operator, without `= 24`; one that is said not to be it is none."""
    lead = LEAD.match(window)
    start = lead.end() if lead else 0
    match = _ARITHMETIC.match(window, start)
    if match and _DENIED.match(window, match.end()):
        return None
    span = trimmed(window, start, match.end() if match else start, "$\\")
    return span if span and _OPERATION.search(window, *span) else None


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
