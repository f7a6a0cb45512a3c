r"""Spans of a sentence: where a phrase ends, what is right of `=`, what stands between `$` signs."""

import re

Span = tuple[int, int]

_FUNCTION = r"(?:sin|cos|tan|sec|csc|cot|arc\w+|log|ln|sqrt|exp|pi)\b"
_REASON = (
    r"since|because|which|as (?:the|it|we|this|they|there)|so|thus|therefore|hence|when|while|but|due to|given that"
    r"|obtained|assuming|although|according to|after|where"
)
_STOP = re.compile(
    r"\\[\\{}$]|[{}]|\\(?:begin|end)\b"
    r"|(?P<stop>\n|[.;?](?=[\s*\"'”)\]]|$)|!(?=\s+[A-Z])|</|\s=>|\s?—\s?"
    rf"|,?\s(?:{_REASON})\b"
    r"|\s\((?=[A-Za-z]{3,})"
    r"|,\s(?!and\b|or\b)(?=[a-z]{2,}\s)"
    rf"|\s[-–]\s(?!{_FUNCTION})(?=[A-Za-z]{{3,}}))"
)
_ASSIGN = re.compile(r"(?<![<>!≤≥=:])=(?![=>])")
_BETWEEN = re.compile(r",|\b(?:and|or)\b")
_NAME = re.compile(r"\s*(?:\\?[A-Za-z]+|\\text\{[^{}]*\})(?:_(?:\w|\{[^{}]*\}))?'?\s*(?:\([A-Za-z, ]{1,9}\))?\s*")
TEXT_GROUP = re.compile(r"\\(?:text|mbox|mathrm|textbf|operatorname)\s*\{[^{}]*\}")


def trimmed(window: str, start: int, end: int, extra: str = "") -> Span | None:
    """The span without white space, emphasis and final punctuation, or None if nothing is left."""
    text = window[start:end]
    drop = " \t\r\n*" + (extra if text.count("$") <= 2 else extra.replace("$", ""))  # `$8$, $4$` keeps its marks
    left = len(text) - len(text.lstrip(drop))
    right = len(text.rstrip(drop + ".,;:_。"))
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


def after_equals(window: str, start: int, end: int, numeric: bool = False) -> Span:
    """`x = 5` and `3 + 4 = 7` mean what is right of the last sign; an equation of several symbols stays whole.

    Args:
        numeric: a number is wanted, so that the last sign is decisive for equations too.
    """
    if "=" not in window[start:end]:
        return start, end
    signs = [m.start() for m in _ASSIGN.finditer(window, start, end)]
    if not signs or not window[signs[-1] + 1 : end].strip(" .*$"):
        return start, end
    if _BETWEEN.search(window, signs[0], signs[-1]):
        return start, end  # x = 1, y = 2
    if numeric or _is_name(window[start : signs[0]].strip(" *$\n")):
        return trimmed(window, signs[-1] + 1, end, "$") or (start, end)
    return start, end


def _is_name(left: str) -> bool:
    r"""Whether the left side of `=` only names what is right: x, f(x), \text{Area}, total cost, 3 + 4."""
    if _NAME.fullmatch(left) and not (len(left) > 1 and left.isupper()):
        return True
    letters = re.findall(r"[A-Za-z]+", re.sub(r"\\[A-Za-z]+", "", TEXT_GROUP.sub("", left)))
    return not letters or any(len(word) > 2 and not word.isupper() for word in letters)


def closing(window: str, start: int) -> int:
    """One past the bracket that closes the one at `start`, or -1."""
    depth = 0
    for match in re.finditer(r"[\[\](){}]", window[start:]):
        depth += 1 if match[0] in "[({" else -1
        if depth == 0:
            return start + match.end()
    return -1
