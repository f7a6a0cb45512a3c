r"""Find the answer in a text: the last explicit statement of any form, else what the kind of answer suggests.

Forms: \boxed{} and \fbox{} (braces match, unclosed ones are ignored), <answer></answer> (or in square brackets),
`ANSWER:`, `the answer is`, `answer =`, a heading `Final Answer`, `#### 18`, `"answer": 18` in JSON.
A statement that holds nothing readable for the kind is no statement.

Bounds: of a longer text the last million characters are read, of those the last 64 statements, and the last 20,000
characters for an answer that is not stated. An answer has at most 2,000 characters (code: 100,000).
"""

import re
from dataclasses import dataclass

from mullover.answers.fallback import FALLBACKS
from mullover.answers.keys import LONGEST, LONGEST_CODE, is_rational, key, labels
from mullover.answers.reading import read
from mullover.answers.sentences import Span
from mullover.types import AnswerSpec

TAIL = 1_000_000
STATEMENTS = 64
OPEN_TAG = 200  # characters after an <answer> that is not closed
STORY = 40  # characters after a number inside a sentence, from which on the sentence is no short answer


@dataclass(frozen=True, slots=True)
class Found:
    """An answer and where it stands: `value == text[start:end]`."""

    value: str  # as written
    key: str  # equal answers have equal keys
    start: int
    end: int
    stated: bool  # explicitly, or only the last thing of its kind in the text


_MARKS = ("\\boxed", "\\fbox", "nswer", "NSWER", "####")
_CHOICE_MARKS = (*_MARKS, "ption is", "hoice is")
_OF_WHAT = (  # the answer (arabic numerals) is, the answer to the question is, **Answer**:
    r"\s{1,9}(?i:choice|option|letter|value)\b|[*_]{1,3}(?=\s{0,9}(?:[:：]|(?i:is)\b))|\s{0,9}\([^()\n]{0,60}\)"
    r"|,?\s{1,9}(?i:to|for|of|in|when|after|expressed|written)\s[^.:=\n]{1,80}?(?=,?\s{1,9}(?i:is|are)\b|[:：])"
)
_IS = (
    r",?\s{1,9}(?i:is|are|was|would be|will be|should be|must be|comes to|equals|becomes)\b"
    r"(?:\s{0,9},?\s{0,9}(?i:therefore|thus|then|indeed|simply|just|clearly|hence|that|be)\b,?)*\s{0,9}[:：]?"
)
_SAID = re.compile(
    rf"(?i:nswers?)(?:{_OF_WHAT})?(?:\s{{0,9}}[:：][*_]{{0,3}}(?P<colon>)|\s{{0,9}}=(?P<equals>)"
    rf"|[ \t]{{1,3}}[-–—][ \t](?P<dash>)|{_IS}(?P<said>)|[*_]{{0,3}}\s{{0,9}}\n(?P<heading>))"
)
_TAG_END = re.compile(r"[<\[]/\s?answer\s?[>\]]", re.IGNORECASE)
_HEADING = re.compile(r"(?:^|\n)[ \t]*(?:#+|\*\*|__)[ \t#*\d.]*(?:the\s+)?(?:final\s+|short\s+)?a$", re.IGNORECASE)
_CONDITION = re.compile(r"\b(?:if|whether|unless|suppose)\s+(?:\w+\s+){0,3}a$", re.IGNORECASE)
_HEADED = re.compile(r"(?:step|part|case|method|solution|final|answer|conclusion|note)\b", re.IGNORECASE)
_BARE_NUMBER = re.compile(r"\s{0,2}(-?\d{1,18})\.?\s{0,9}\Z", re.ASCII)  # nearly all answers; worth not reading twice
_BARE_LETTER = re.compile(r"\s{0,2}\(?([A-Z])\)?\.?\s{0,9}\Z")
_BARE = {"number": _BARE_NUMBER, "math": _BARE_NUMBER, "choice": _BARE_LETTER}
_JSON = re.compile(  # {"answer": "B"}
    r"""nswer(?P<q>["'])\s{0,9}:\s{0,9}(?:"(?P<double>(?:[^"\\\n]|\\.){0,2000})"|'(?P<single>[^'\\\n]{0,2000})'"""
    r"""|(?P<bare>-?\d[\d.eE+-]{0,300}|true\b|false\b|\[[^\[\]]{0,2000}\]))"""
)
_END_TOKENS = ("<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<|end_of_text|>", "<|end|>", "</s>", "<end_of_turn>")
_BRACES = re.compile(r"\\.|[{}]", re.DOTALL)
_UNBRACED = re.compile(r"\s{1,9}(\d+(?:\.\d+)?|[A-Za-z](?![A-Za-z]))|(\d)")
_BLANK = re.compile(r"\s{0,200}(?:-{3,}\s{1,20})?")
_ALSO = re.compile(r"\s{0,9}(?:,\s{0,9}(?:and|or)?|and|or)\s{0,9}(?=\$)")
_DELIMITERS = (
    *(("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"), ("**", "**"), ("*", "*")),
    *(("`", "`"), ('"', '"'), ("“", "”"), ("'", "'")),
)


def find(text: str, spec: AnswerSpec = AnswerSpec(), *, truncated: bool = False) -> Found | None:
    """The last answer that `text` states, else the one its kind suggests, else None. Total and linear.

    Args:
        truncated: the text was cut at a length limit. Then only explicit statements count, and an open one (`the
            answer is 4`) at the very end does not: it may have been cut inside 42. A closed box there counts.

    Returns:
        None if there is no answer; None never votes.
    """
    shift = max(0, len(text) - TAIL)
    tail = text[shift:] if shift else text
    for _ in range(4):
        bare = tail.rstrip()
        if not bare.endswith(_END_TOKENS):
            break
        tail = bare[: bare.rfind("<")]
    limit = LONGEST_CODE if spec.kind == "code" else LONGEST
    span, stated = _stated(tail, spec, truncated, limit), True
    if span is None and not truncated:
        span, stated = _suggested(tail, spec), False
    if span is None or span[1] - span[0] > limit:
        return None
    value = tail[span[0] : span[1]]
    if not value.strip() or value.casefold() == "[invalid]":  # what other tools write where they found nothing
        return None
    own = key(value, spec)
    if spec.kind == "choice" and (known := labels(spec.choices)) and own not in known:
        return None  # E of A to D, or `either A or C`
    return Found(value, own, span[0] + shift, span[1] + shift, stated)


def _suggested(text: str, spec: AnswerSpec) -> Span | None:
    """What the kind suggests; nothing from before a last `Answer: None` or the like, which says there is no answer."""
    label = max(text.rfind("nswer:"), text.rfind("NSWER:")) + len("nswer:")
    if label < len("nswer:") or not text[label:].strip(" \n*_"):
        return FALLBACKS[spec.kind](text, spec)
    span = FALLBACKS[spec.kind](text[label:], spec)
    return (label + span[0], label + span[1]) if span else None


def _stated(text: str, spec: AnswerSpec, truncated: bool, limit: int) -> Span | None:
    """The last readable statement, going back from the end."""
    marks = _CHOICE_MARKS if spec.kind == "choice" else _MARKS
    at = [text.rfind(mark) for mark in marks]
    for _ in range(STATEMENTS):
        where = max(at)
        if where < 0:
            return None
        i = at.index(where)
        mark = marks[i]
        if mark[0] == "\\":
            span = _box(text, where + len(mark), spec, limit)
        elif mark == "####":
            span = _hashes(text, where, spec, truncated)
        elif mark[-1] == "s":
            span = _stands(text, where + len(mark), spec, truncated, limit)
        else:
            span = _said(text, where, spec, truncated, limit)
        if span is not None:
            return span
        at[i] = text.rfind(mark, 0, where)
    return None


def _inside(text: str, start: int, end: int, spec: AnswerSpec, whole: bool = True) -> Span | None:
    if whole and text[start:end].isdecimal() and spec.kind in ("number", "math"):
        return start, end
    span = read(text[start:end], spec, whole)
    return (start + span[0], start + span[1]) if span else None


def _box(text: str, at: int, spec: AnswerSpec, limit: int) -> Span | None:
    start = text.find("{", at, at + 8)
    if start < 0 or text[at:start].strip():
        bare = _UNBRACED.match(text, at)
        return _inside(text, *bare.span(bare.lastindex or 0), spec) if bare else None
    depth = 0
    for match in _BRACES.finditer(text, start, start + limit + 2):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth == 0 and match[0] == "}":
            return _inside(text, start + 1, match.start(), spec)
    return None


def _hashes(text: str, at: int, spec: AnswerSpec, truncated: bool) -> Span | None:
    """`#### 18` is a statement if it is a number or the last line; else it is a heading."""
    start = at + 4
    line = text.find("\n", start)
    end = len(text) if line < 0 else line
    if end - start > LONGEST or (truncated and line < 0):
        return None
    line_text = text[start:end].strip().strip("$")
    if spec.kind == "number":
        return _inside(text, start, end, spec) if is_rational(line_text) else None
    return None if text[end:].strip() or _HEADED.match(line_text) else _inside(text, start, end, spec)


def _said(text: str, at: int, spec: AnswerSpec, truncated: bool, limit: int) -> Span | None:
    """`<answer>42</answer>`, `ANSWER: 42`, `the answer is 42`."""
    if text[at - 1 : at] not in ("a", "A"):
        return None
    if text[at - 2 : at - 1] in ("<", "[", "/"):
        return _tag(text, at, spec, truncated, limit) if text[at - 2] != "/" else None
    said = _SAID.match(text, at)
    if said is None:
        return _json(text, at, spec, truncated)
    if said.lastgroup in ("heading", "said"):
        before = text[max(0, at - 40) : at]
        if not _HEADING.search(before) if said.lastgroup == "heading" else _CONDITION.search(before):
            return None
    bare = _BARE.get(spec.kind)
    if bare is not None and not truncated and (quick := bare.match(text, said.end())):
        return quick.span(1)
    span = _stands(text, said.end(), spec, truncated, limit)
    if span and said.lastgroup != "said" and spec.kind in ("number", "math") and _is_story(text, said.end(), span):
        return None
    return span


def _json(text: str, at: int, spec: AnswerSpec, truncated: bool) -> Span | None:
    """`"answer": "B"` and `"final_answer": 42` of a JSON reply."""
    found = _JSON.match(text, at) if spec.kind != "code" else None
    if found is None or not text[max(0, at - 8) : at - 1].endswith((found["q"], found["q"] + "final_")):
        return None
    start, end = found.span(found.lastgroup or 0)
    return None if truncated and end == len(text) else _inside(text, start, end, spec)


def _is_story(text: str, start: int, span: Span) -> bool:
    """`Answer: There are 15 trees at first. Then...` opens a chain of thought and states nothing."""
    return len(text[start : span[0]].split()) > 1 and len(text[span[1] : span[1] + 200].strip()) > STORY


def _stands(text: str, at: int, spec: AnswerSpec, truncated: bool, limit: int) -> Span | None:
    """What stands after `the answer is`."""
    blank = _BLANK.match(text, at)
    start = blank.end() if blank else at
    span = _delimited(text, start, spec, limit) or _inside(text, start, start + limit + 1, spec, whole=False)
    if span is None or span[0] - start > limit:
        return None
    return None if truncated and _may_be_cut(text, span[1]) else span


def _may_be_cut(text: str, end: int) -> bool:
    """Whether an answer that ends there may go on: nothing follows it but perhaps a full stop or a decimal point."""
    closed = text[end : end + 1] in ("*", "$") or text[end : end + 2] in (". ", ".\n")
    return not closed and not text[end:].strip(" .")


def _tag(text: str, at: int, spec: AnswerSpec, truncated: bool, limit: int) -> Span | None:
    """`<answer>` that is never closed runs to the end if that is near: `</answer>` may have been the stop string."""
    start = at + 6
    if text[at + 5 : start] not in (">", "]"):
        return None
    closed = _TAG_END.search(text, start, start + limit + 20)
    if closed is None and (truncated or text[at - 2] == "[" or len(text) - start > OPEN_TAG):
        return None
    return _inside(text, start, closed.start() if closed else len(text), spec)


def _delimited(text: str, at: int, spec: AnswerSpec, limit: int) -> Span | None:
    r"""What stands between the marks that a statement opens with: $...$, \(...\), **...**, "..."."""
    for opener, closer in _DELIMITERS:
        if not text.startswith(opener, at):
            continue
        start = at + len(opener)
        end = text.find(closer, start, start + limit)
        while opener == "'" and end >= 0 and text[end + 1 : end + 2].isalnum():  # o'connell
            end = text.find(closer, end + 1, start + limit)
        if end < 0 or not _is_pair(text, opener, start, end):
            continue
        after = end + len(closer)
        if text[after : after + 3].lstrip().startswith("="):  # $x$ = 5
            return None
        while opener == "$" and (also := _ALSO.match(text, after)):  # $8$, $4$
            close = text.find("$", also.end() + 1, also.end() + limit)
            if close < 0:
                break
            after = close + 1
        if after > end + len(closer):
            return _inside(text, at, after, spec)
        return _inside(text, start, end, spec)
    return None


def _is_pair(text: str, opener: str, start: int, end: int) -> bool:
    """Whether two marks belong together; the prices in `$5 and $6` do not."""
    inner = text[start:end]
    if not inner.strip():
        return False
    if opener == "$":
        return not (text[end + 1 : end + 2].isdecimal() or (inner[0] == " " != inner[-1]) or "\n\n" in inner)
    return opener not in ("'", '"', "`", "*") or "\n" not in inner
