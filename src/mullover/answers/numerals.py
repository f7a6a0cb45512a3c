"""Numbers as written: plain ones the fast way, and those in words."""

import re
from fractions import Fraction

_PLAIN = re.compile(
    r"([-+]?)(?:(\d{1,300})|([1-9]\d{0,2}(?:,\d{3}){1,99}))?(?:\.(\d{0,300}))?(?:/(\d{1,300}))?", re.ASCII
)
_DECIMAL = re.compile(r"\d{1,20}(?:\.\d{1,20})?", re.ASCII)
_NAMES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen"
)
_TEN_NAMES = "twenty thirty forty fifty sixty seventy eighty ninety"
_UNDER_HUNDRED = {
    **{name: i for i, name in enumerate(_NAMES.split())},
    **{name: 10 * i for i, name in enumerate(_TEN_NAMES.split(), 2)},
}
_SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_MOST_WORDS = 20
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


def plain(text: str) -> str:
    """The key of -3, 1.50, 1,000 or 3/4; "" for anything else."""
    match = _PLAIN.fullmatch(text)
    if match is None:
        return ""
    sign, digits, grouped, decimals, below = match.groups()
    whole = (digits or grouped or "").replace(",", "")
    decimals = decimals.rstrip("0") if decimals else ""
    if (not whole and not decimals) or (below and (decimals or not below.strip("0"))):
        return ""
    if not decimals and not below:
        whole = whole.lstrip("0") or "0"
        return "-" + whole if sign == "-" and whole != "0" else whole
    return str(Fraction(int(sign + whole + decimals), int(below) if below else 10 ** len(decimals)))


def short_decimal(text: str) -> str:
    """1,050.50 as 1050.5: for texts, where a decimal stays one."""
    whole, _, decimals = text.replace(",", "").partition(".")
    sign = "-" if whole[:1] == "-" else ""
    whole, decimals = whole.lstrip("+-0") or "0", decimals.rstrip("0")
    return (sign if whole != "0" or decimals else "") + whole + ("." + decimals if decimals else "")


def worded(text: str) -> str:
    """`twenty-five` and `3 million` in digits; "" if the words are no number."""
    text = _THOUSANDS.sub("", text[:400].casefold()).strip(" .*$")
    words = text.replace("-", " ").replace("−", " ").replace(", ", " ").split()
    named = words[:1] in (["minus"], ["negative"])
    sign = "-" if named or text[:1] in ("-", "−") else ""
    words = words[1:] if named else words
    if not 0 < len(words) <= _MOST_WORDS:
        return ""
    total, group, seen = Fraction(), Fraction(), False
    for word in words:
        if word in _UNDER_HUNDRED:
            group += _UNDER_HUNDRED[word]
        elif word in ("a", "an") and not seen and len(words) > 1:
            group += 1
        elif _DECIMAL.fullmatch(word) and not seen and words[-1] in _SCALES:
            group += Fraction(word)
        elif word in _SCALES and seen:
            group *= _SCALES[word]
            if word != "hundred":
                total, group = total + group, Fraction()
        elif word != "and" or not seen:
            return ""
        seen = True
    return str(-total - group if sign else total + group)
