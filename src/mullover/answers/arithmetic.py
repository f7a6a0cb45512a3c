r"""The arithmetic of an answer: sums, products, powers, roots, functions, from tokens to a normal form.

    sum      := term (+ - term)*
    term     := power ((* /)? power)*
    power    := atom (^ power | ! | _ name | ')*

What brackets hold (tuples, intervals, sets, matrices) is read in grammar.py. Nothing is evaluated but exact rational
arithmetic of bounded size (algebra.py). What cannot be read raises UnreadableError.
"""

from collections.abc import Callable
from fractions import Fraction
from math import ceil, comb, factorial, floor

from mullover.answers.algebra import ONE, Algebra, Rational, Sum, UnreadableError, atom, constant, number, render
from mullover.answers.latex import Token, tokens
from mullover.answers.symbols import ACCENTS, FONTS, FRACTIONS

DEPTH = 25  # nested groups; each costs about nine Python frames
DIGITS = 1000  # of a number as written
EXPONENT_DIGITS = 12  # of 1e999999999999
CLOSERS = {"(": ")", "[": "]", "{": "}", r"\{": r"\}", "⌊": "⌋", "⌈": "⌉"}


class Arithmetic:
    """One pass over the tokens of one answer."""

    def __init__(self, text: str) -> None:
        self.tokens = tokens(text)
        self.at = 0
        self.depth = 0
        self.sign = 1  # what ± stands for in this pass over an item
        self.signs = False  # whether the item holds a ±
        self.algebra = Algebra()

    def bracket(self, opener: str) -> Sum:
        """What follows an opening bracket, up to its end."""
        raise NotImplementedError

    def matrix(self, name: str) -> Sum:
        raise NotImplementedError

    # the cursor

    @property
    def next(self) -> str:
        return self.tokens[self.at].text

    @property
    def kind(self) -> str:
        return self.tokens[self.at].kind

    def take(self, text: str) -> bool:
        """Step over the operator `text` if it comes next."""
        token = self.tokens[self.at]
        if token.text != text or token.kind != "op":
            return False
        self.at += 1
        return True

    def demand(self, text: str) -> None:
        if not self.take(text):
            raise UnreadableError(f"{text!r} is missing before {self.next!r}")

    def nested(self, read: Callable[[], Sum]) -> Sum:
        self.depth += 1
        if self.depth > DEPTH:
            raise UnreadableError("nested too deeply")
        value = read()
        self.depth -= 1
        return value

    # sums and products

    def sum(self) -> Sum:
        value: Sum = {}
        first = True
        while True:
            if self.take("+"):
                sign = 1
            elif self.take("-"):
                sign = -1
            elif self.kind == "op" and self.next in ("±", "∓"):
                sign = self.sign if self.next == "±" else -self.sign
                self.signs = True
                self.at += 1
            elif first:
                sign = 1
            else:
                return value
            term = scaled(self.term(), sign)
            value = term if first else self.algebra.add(value, term)
            first = False

    def term(self) -> Sum:
        value = self.signed_power()
        while True:
            if self.take("*"):
                value = self.algebra.mul(value, self.signed_power())
            elif self.take("/"):
                value = self.algebra.div(value, self.signed_power())
            elif self.kind == "unit" or self.next == "%":
                self._skip_unit()
            elif self._starts_factor():
                value = self._adjacent(value)
            else:
                return value

    def signed_power(self) -> Sum:
        """A factor, after `*` perhaps with a sign: 2 * -3."""
        sign = 1
        while self.kind == "op" and self.next in ("+", "-"):
            sign = -sign if self.next == "-" else sign
            self.at += 1
        return scaled(self.power(), sign)

    def _starts_factor(self) -> bool:
        if self.kind == "op":
            return self.next in CLOSERS
        return self.kind != "end" and not self.next.startswith("end ") and self.next not in ("over", "choose")

    def _adjacent(self, value: Sum) -> Sum:
        r"""A product without a sign, or the mixed number `3\frac{1}{2}`."""
        before, after = self.tokens[self.at - 1], self.tokens[self.at]
        if before.kind == after.kind == "number":
            raise UnreadableError("two numbers side by side")
        factor = self.power()
        if before.kind == "number" and before.text.isdecimal() and after.text in FRACTIONS:
            q, whole = constant(factor), constant(value)
            bare = self.tokens[self.at - 1].kind == "number" or self.tokens[self.at - 1].text == "}"
            if bare and q is not None and 0 < q < 1 and whole == int(before.text):
                return self.algebra.add(value, factor)
        return self.algebra.mul(value, factor)

    def _skip_unit(self) -> None:
        self.at += 1
        if self.take("^"):
            self.argument()

    # powers and what else follows an atom

    def power(self) -> Sum:
        value = self.atom()
        while True:
            if self.take("^"):
                value = self._raised(value)
            elif self.take("!"):
                value = _factorial(value)
            elif self.take("'"):
                value = atom(render(value) + "'")
            elif self.take("_"):
                value = self._indexed(value)
            else:
                return value

    def _raised(self, base: Sum) -> Sum:
        """base^...; degrees vanish, primes stay in the name."""
        start = self.at
        braced = self.take("{")
        marks = 0
        while self.next in ("circ", "degree", "'"):
            marks += self.next == "'"
            self.at += 1
        if self.at > start + braced:
            if braced:
                self.demand("}")
            return atom(render(base) + "'" * marks) if marks and constant(base) is None else base
        self.at = start
        sign = -1 if self.take("-") else 1
        exponent = self.argument(whole=True)
        if self.take("^"):
            exponent = self.nested(lambda: self._raised(exponent))
        return self.algebra.power(base, scaled(exponent, sign))

    def _indexed(self, value: Sum) -> Sum:
        """x_1 is a name; 52_8 is a number in base 8, and 52_{10} is 52."""
        index, q = self._index(), constant(value)
        if q is not None and index == "10":
            return value
        name = render(value)
        return atom(f"{name}_{{{index}}}" if q is None or name.isdecimal() else f"({name})_{{{index}}}")

    def _index(self) -> str:
        """The text of a subscript, which is part of a name and not read."""
        start, depth = self.at, 0
        while True:
            depth += {"{": 1, "}": -1, "": -DEPTH}.get(self.next, 0)
            self.at += 1
            if depth < 0:
                raise UnreadableError("an index is not closed")
            if depth == 0:
                return "".join(t.text for t in self.tokens[start : self.at]).strip("{}")

    # atoms

    def atom(self) -> Sum:
        kind, text = self.tokens[self.at]
        if kind == "end":
            raise UnreadableError("ends too early")
        self.at += 1
        if kind == "number":
            return self._number(text)
        if kind == "symbol":
            return atom(text + self._applied())
        if kind == "text":
            return atom(f"\\text{{{text}}}")
        if kind == "function":
            return self.nested(lambda: self._function(text))
        if kind == "command":
            return self.nested(lambda: self._command(text))
        if text == "|":
            return self.nested(self._absolute)
        if text in CLOSERS:
            return self.nested(lambda: self.bracket(text))
        raise UnreadableError(f"{text!r} comes where a value should start")

    def _applied(self) -> str:
        """The argument of f(0), which is no product: f(0) is not 0."""
        span = self.tokens[self.at : self.at + 3]
        if [t.text for t in span[::2]] != ["(", ")"] or span[1].kind != "number":
            return ""
        self.at += 3
        return f"({span[1].text})"

    def _number(self, text: str) -> Sum:
        mantissa, _, exponent = text.lower().partition("e")
        if len(mantissa) > DIGITS or len(exponent) > EXPONENT_DIGITS:
            raise UnreadableError("too many digits")
        value = number(int(mantissa) if mantissa.isdecimal() else Fraction(mantissa))
        if exponent:
            return self.algebra.mul(value, self.algebra.power(number(10), number(int(exponent))))
        return value

    def argument(self, whole: bool = False) -> Sum:
        r"""What a LaTeX command takes: a group, or one token. `\frac12` takes 1 and 2, but `^12` takes 12."""
        token = self.tokens[self.at]
        if token.kind != "number" or whole or len(token.text) == 1:
            return self.atom()
        if not token.text.isdecimal():
            raise UnreadableError(f"{token.text} cannot be cut")
        self.tokens[self.at] = Token("number", token.text[1:])
        return number(int(token.text[0]))

    def _command(self, name: str) -> Sum:
        if name in FRACTIONS:
            top = self.argument()
            return self.algebra.div(top, self.argument())
        if name in ("sqrt", "cbrt"):
            return self._radical(3 if name == "cbrt" else 2)
        if name in ("binom", "dbinom", "tbinom"):
            top = self.argument()
            return _binomial(top, self.argument())
        if name in FONTS:
            return self.argument()
        if name in ACCENTS or name == "mathbb":
            return atom(f"\\{name}{{{render(self.argument())}}}")
        if name in ("circ", "degree"):
            return ONE
        if name.startswith("begin "):
            return self.matrix(name[6:])
        raise UnreadableError(f"\\{name} is not known")

    def _radical(self, degree: int) -> Sum:
        if self.take("["):
            q = constant(self.sum())
            self.demand("]")
            if q is None or q.denominator != 1 or not 2 <= q <= 100:
                raise UnreadableError("a root of unknown degree")
            degree = int(q)
        inside = self.argument(whole=True)
        q = constant(inside)
        if q is not None and q < 0 and degree % 2:
            return scaled(self.algebra.power(number(-q), number(Fraction(1, degree))), -1)
        return self.algebra.power(inside, number(Fraction(1, degree)))

    def _absolute(self) -> Sum:
        value = self.sum()
        self.demand("|")
        q = constant(value)
        return atom(f"|{render(value)}|") if q is None else number(-q if q < 0 else q)

    def _function(self, name: str) -> Sum:
        r"""sin^2 3x is sin(3x)^2; the argument without brackets ends at a sign or another function."""
        exponent, index = None, ""
        while self.next in ("^", "_") and self.kind == "op":
            if self.take("_"):
                index = self._index()
            else:
                self.at += 1
                sign = -1 if self.take("-") else 1
                exponent = scaled(self.argument(whole=True), sign)
        if self.next in ("(", "[", "{") and self.kind == "op":
            argument = self.atom()
        else:
            argument = self.signed_power()
            while self._starts_factor() and self.kind not in ("function", "unit") and self.next not in ("(", "["):
                argument = self._adjacent(argument)
        if exponent is not None and constant(exponent) == -1 and not name.startswith("arc"):
            name, exponent = "arc" + name, None
        if name == "exp":
            value = self.algebra.power(atom("e"), argument)
        else:
            name = ("log" if name == "lg" else name) + (f"_{{{index}}}" if index else "")
            value = atom(f"{name}({render(argument)})")
        return value if exponent is None else self.algebra.power(value, exponent)


def scaled(value: Sum, by: Rational) -> Sum:
    return value if by == 1 else {mono: c * by for mono, c in value.items()}


def rounded(value: Sum, opener: str) -> Sum:
    """Floor or ceiling, by the bracket."""
    q = constant(value)
    if q is None:
        return atom(f"{opener}{render(value)}{CLOSERS[opener]}")
    return number(floor(q) if opener == "⌊" else ceil(q))


def _factorial(value: Sum) -> Sum:
    n = constant(value)
    if n is not None and n.denominator == 1 and 0 <= n <= 200:
        return number(factorial(int(n)))
    return atom(f"({render(value)})!")


def _binomial(top: Sum, bottom: Sum) -> Sum:
    n, k = constant(top), constant(bottom)
    if n is not None and k is not None and n.denominator == k.denominator == 1 and 0 <= k <= n <= 1000:
        return number(comb(int(n), int(k)))
    return atom(f"\\binom{{{render(top)}}}{{{render(bottom)}}}")
