r"""Answers as written, LaTeX or plain, cut into tokens.

`clean` removes what only looks: sizes, spaces, dollars, thousands separators, units, prose after the answer.
`tokens` cuts the rest. Both are linear; neither evaluates anything.
"""

import re
from fractions import Fraction
from typing import NamedTuple

from mullover.answers.algebra import Unreadable


class Token(NamedTuple):
    kind: str  # number, symbol, function, command, text, op, end
    text: str


_CHARACTERS = str.maketrans(
    {
        **dict(zip("−–‒﹣－", "-----", strict=True)),
        **dict(zip("×·⋅∙∗÷∶：", "*****/::", strict=True)),
        **{"≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "±": r"\pm ", "∓": r"\mp ", "∪": r"\cup ", "∩": r"\cap "},
        **{"∈": r"\in ", "∞": r"\infty ", "π": r"\pi ", "√": r"\sqrt ", "°": r"^\circ ", "％": "%", "′": "'"},
        **dict(zip("αβγδεθλμρσφω", (rf"\{n} " for n in "alpha beta gamma delta epsilon theta lambda mu rho sigma phi omega".split()), strict=True)),
        **{c: rf"\frac{{{f[0]}}}{{{f[1]}}}" for c, f in zip("½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞", "12 13 23 14 34 15 25 35 45 16 56 18 38 58 78".split(), strict=True)},
        **{c: f"^{i}" for i, c in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
        **{chr(0xFF10 + i): str(i) for i in range(10)},
        **dict.fromkeys("\u00a0\u2009\u202f\u2007\u2008\u200a\u2002\u2003\u3000", " "),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u200e\u200f\u202a\u202b\u202c\u202d\u202e", ""),
        **dict.fromkeys("€£¥₹₽₩", ""),
        **{"“": '"', "”": '"', "‘": "'", "’": "'", "，": ",", "（": "(", "）": ")", "∕": "/", "⁄": "/"},
    }
)
_NOISE = re.compile(
    r"\\(?:left|right)(?![a-zA-Z])\.?"
    r"|\\(?:[bB]igg?[lrm]?|displaystyle|textstyle|limits|nolimits|mathstrut|mathrm\{\s*~*\s*\}|text\{\s*\})(?![a-zA-Z])"
    r"|\\!|\$|\\(?:bf|rm|it)(?![a-zA-Z])"
)
_SPACE = re.compile(r"(?<!\\)\\(?:[,;:> \n]|quad(?![a-zA-Z])|qquad(?![a-zA-Z])|hspace\*?\{[^{}]*\})|~")
_GROUPED = re.compile(r"(?<![\d.,_^])[1-9]\d{0,2}(?:(?:\{,\}|,\s*\\!\s*|\\!\s*,|(?<!\\)\\[,;: ]\s*|(?<=\d) (?=\d{3})|,)\d{3})+(?![\d{]|,\d)")
_MIXED = re.compile(r"(?<![\d./^_{])(\d+)\s+(\d+)\s*/\s*(\d+)(?![\d.])")
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{(.*)\}\s*", re.DOTALL)
_PROSE = re.compile(r",?\s+\(?(?:where|for (?:all|any|every|some|each)|with|such that|since|because)\b.*|\s+\(=.*", re.DOTALL)
_NAMED = re.compile(r"(?:the )?(?:[A-Za-z]?[a-z]{3,}(?: [A-Za-z]+){0,8}) ?=(?=[^=]+$)")  # `total cost = 42`
_LEAD = re.compile(r"(?:approximately|about|exactly|roughly|only|USD|EUR|GBP|Rs\.?|US)\s*(?=[-\d.\\$])", re.IGNORECASE)
_UNITS = frozenset(
    "cm mm km m² ft yd kg lb lbs oz mph kph kmh rpm hz khz mhz ghz min hr hrs sec secs kw kwh kj ev kev mev gev kpa mpa"
    " psi ml cl dl gal mol dm nm usd eur gbp cad aud inr rs sq cu per of the deg degs rads pct".split()
)
_SHORT_UNITS = frozenset("m s g h a in".split())  # only beside a longer unit or under a slash: 6m is a product
_MATH_WORDS = frozenset(
    "sqrt cbrt frac sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln exp pi infinity infty inf oo and or"
    " alpha beta gamma delta epsilon theta lambda sigma omega phi psi rho tau mod div union max min gcd lcm det floor"
    " ceil abs not maybe possibly perhaps either if else to than but is choose times over plus minus"
    " hundred thousand million billion trillion".split()
)
_UNIT_POWER = re.compile(r"(?<=[A-Za-z])(?:\^\{?-?\d\}?|[²³])$")
_UNIT_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ./"

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
_OPS = {
    **dict.fromkeys(["cdot", "times", "ast", "bullet"], "*"),
    **dict.fromkeys(["div"], "/"),
    **dict.fromkeys(["le", "leq", "leqslant", "leqq"], "<="),
    **dict.fromkeys(["ge", "geq", "geqslant", "geqq"], ">="),
    **{"ne": "!=", "neq": "!=", "lt": "<", "gt": ">", "in": "in", "cup": "∪", "cap": "∩", "setminus": "∖", "backslash": "∖"},
    **{"pm": "±", "mp": "∓", "{": r"\{", "}": r"\}", "lbrace": r"\{", "rbrace": r"\}", "|": "|", "lvert": "|", "rvert": "|"},
    **{"vert": "|", "lVert": "|", "rVert": "|", "lfloor": "⌊", "rfloor": "⌋", "lceil": "⌈", "rceil": "⌉", "langle": "(", "rangle": ")"},
    **{"%": "%", "&": "&", "\\": "\\\\", "to": "to", "rightarrow": "to", "colon": ":", "prime": "'", "lbrack": "[", "rbrack": "]"},
    **{"approx": "=", "equiv": "=", "mid": ":"},
}
FUNCTIONS = frozenset(
    "sin cos tan cot sec csc arcsin arccos arctan arccot sinh cosh tanh coth log ln lg exp min max gcd lcm det arg Re Im sgn".split()
)
_ALIASES = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "infty": "oo", "infinity": "oo", "inf": "oo", "varepsilon": "epsilon", "varphi": "phi"}
_GREEK = frozenset(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi omega"
    " Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega hbar ell oo".split()
)
STRUCTURES = frozenset("frac dfrac tfrac cfrac sqrt cbrt root binom dbinom tbinom choose over circ degree mathbb".split())
ACCENTS = frozenset("overline bar dot ddot hat vec tilde widehat widetilde underline overrightarrow mathcal".split())
FONTS = frozenset("mathbf boldsymbol bm mathit mathnormal textnormal cancel boxed fbox".split())


def clean(text: str) -> str:
    """The answer without what does not change it. Linear; keeps every digit, sign and bracket."""
    if not text.isascii():
        text = text.translate(_CHARACTERS)
    text = " ".join(text.split()).rstrip(".,;: ")
    if "\\" in text or "$" in text:
        if "boxed" in text or "fbox" in text:
            text = _BOX.sub(r"\1", text)
        text = text.replace("\\$", "").replace("\\(", "").replace("\\)", "").replace("\\[", "").replace("\\]", "")
    if "/" in text and " " in text:
        text = _MIXED.sub(r"\1\\frac{\2}{\3}", text)
    if "," in text or "\\" in text or " " in text:
        text = _GROUPED.sub(lambda m: _ungroup(m, text), text)
    if "\\" in text or "$" in text:
        text = _SPACE.sub(" ", _NOISE.sub("", text)).strip()
    if "*" in text and text.startswith("**") and text.endswith("**") and len(text) > 4:
        text = text[2:-2].strip()
    if " " in text:
        text = _LEAD.sub("", _PROSE.sub("", text, count=1))
    if "=" in text and (named := _NAMED.match(text)):
        text = text[named.end() :].strip()
    return _without_units(text).rstrip(".,;: ")


def _ungroup(match: re.Match[str], text: str) -> str:
    """Commas inside brackets separate a tuple's parts: (1,234) stays as it is."""
    start = match.start()
    plain = "\\" not in match[0] and "{" not in match[0]
    if plain and any(text.count(a, 0, start) > text.count(b, 0, start) for a, b in ("()", "[]", (r"\{", r"\}"))):
        return match[0]
    return "".join(re.findall(r"\d", match[0]))


def _without_units(text: str) -> str:
    """`5 dollars`, `5cm` and `5 km per hour` are 5; `5 x`, `5 sin x` and `5 or 6` are not."""
    bare = _UNIT_POWER.sub("", text[-120:]) if text[-1:] in "0123456789}²³" else text[-120:]
    head = bare.rstrip(_UNIT_LETTERS)
    words = bare[len(head) :].replace("/", " ").split()
    if not words or not head or head[-1] not in "0123456789}%)!":
        return text
    short = _SHORT_UNITS if "/" in bare[len(head) :] or max(map(len, words)) > 1 else ()
    if all((name := word.casefold().strip(".")) in _UNITS or name in short or _is_prose(word) for word in words):
        return (text[:-120] + head).rstrip()
    return text


def _is_prose(word: str) -> bool:
    """A word of natural language, not a function, a connective or a product of symbols."""
    if len(word) < 3 or not word.isalpha() or word.casefold() in _MATH_WORDS:
        return False
    return (word.islower() or word.istitle()) and any(c in "aeiouy" for c in word.casefold())


def tokens(text: str) -> list[Token]:
    """Cut cleaned text into tokens.

    Raises:
        Unreadable: a character no expression has.
    """
    found: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise Unreadable(f"{text[at]!r} is not part of an expression")
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
    if name in _OPS:
        return Token("op", _OPS[name])
    if name in STRUCTURES or name in ACCENTS or name in FONTS:
        return Token("command", name)
    name = _ALIASES.get(name, name)
    if name in FUNCTIONS:
        return Token("function", name)
    return Token("symbol", name if name in _GREEK else "\\" + name)


def _word(word: str) -> list[Token]:
    """A known name is one token, any other run of letters is a product of symbols."""
    name = _ALIASES.get(word, word)
    if name in FUNCTIONS:
        return [Token("function", name)]
    if name in _GREEK:
        return [Token("symbol", name)]
    if name in ("sqrt", "cbrt"):
        return [Token("command", name)]
    if name in ("and", "or"):
        return [Token("op", ",")]
    if len(word) > 3:
        if word.isupper():
            return [Token("symbol", word)]
        raise Unreadable(f"{word} is a word")
    return [Token("symbol", letter) for letter in word]


def _text(inner: str, before: list[Token]) -> list[Token]:
    r"""What \text{} holds: a connective, a unit after a value, or a name."""
    word = inner.replace("~", " ").strip().strip(".").casefold()
    after_value = bool(before) and before[-1].text not in (",", ";", "(", "[", "{", r"\{", "=", "&", "\\\\", "_", "^")
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
