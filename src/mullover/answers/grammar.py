r"""A recursive-descent reader of mathematical answers, from tokens to one canonical text.

    items    := item ("," item)*                      in any order: roots, solutions
    relation := union ((= < > <= >= != in) union)*    x = 5 is 5; an equation is left minus right, up to a factor
    union    := ratio (∪ ∩ ∖ ratio)*
    ratio    := sum (":" sum)*
    sum      := term (+ - term)*
    term     := power ((* /)? power)*
    power    := atom (^ power | ! | _ name | ')*

Nothing is evaluated but exact rational arithmetic of bounded size (algebra.py). What cannot be read raises Unreadable.
"""

from collections.abc import Callable
from fractions import Fraction
from math import ceil, comb, factorial, floor

from mullover.answers.algebra import ONE, Algebra, Rational, Sum, Unreadable, atom, constant, number, render
from mullover.answers.latex import ACCENTS, FONTS, Token, tokens

DEPTH = 25  # nested groups; each costs about nine Python frames
RELATIONS = frozenset(["=", "<", ">", "<=", ">=", "!=", "in", "to"])
_CLOSERS = {"(": ")", "[": "]", "{": "}", r"\{": r"\}", "⌊": "⌋", "⌈": "⌉"}
_MIRRORED = {">": "<", ">=": "<="}
_DIGITS = 1000  # of a number as written
_POWER_OF_TEN = 10**12  # above, 1e999999999999 is not worth reading

Item = tuple[str | None, Sum]  # the name that was given a value, as x in `x = 5`, and the value


def canonical(text: str) -> str:
    """The canonical text of a cleaned answer.

    Raises:
        Unreadable: it is not an expression of ours, or too large for one.
    """
    reader = Reader(text)
    items = reader.items("end")
    if reader.next != "" or reader.kind != "end":
        raise Unreadable(f"{reader.next!r} comes where an expression should end")
    if len({name for name, _ in items if name}) > 1:
        return ", ".join(sorted(f"{name}={render(value)}" if name else render(value) for name, value in items))
    keys = sorted(render(value) for _, value in items)
    alone = len(keys) == 1 and keys[0].startswith(r"\{") and reader.sets == 1
    return keys[0][2:-2] if alone and "," in keys[0] else ", ".join(keys)


class Reader:
    """One pass over the tokens of one answer."""

    def __init__(self, text: str) -> None:
        self.tokens = tokens(text)
        self.at = 0
        self.depth = 0
        self.sign = 1  # what ± stands for in this pass over an item
        self.sets = 0  # sets read so far
        self.signs = False  # whether the item holds a ±
        self.algebra = Algebra()

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
            raise Unreadable(f"{text!r} is missing before {self.next!r}")

    # items and relations

    def items(self, closer: str) -> list[Item]:
        """Items up to `closer`, which is left standing; an item with ± is two."""
        found: list[Item] = []
        while True:
            start, outer = self.at, (self.sign, self.signs)
            self.sign, self.signs = 1, False
            found.append(self.relation())
            if self.signs:
                self.at, self.sign = start, -1
                found.append(self.relation())
            self.sign, self.signs = outer
            if not (self.take(",") or self.take(";")):
                return found
            while self.take(","):  # 7, -2, and -5
                pass
            if self.next in ("", closer):
                return found

    def relation(self) -> Item:
        """`x = 5` is (x, 5), `3 + 4 = 7` is 7, other equations and inequalities are atoms."""
        starts, parts, signs = [self.at], [self.union()], []
        while self.kind == "op" and self.next in RELATIONS:
            signs.append(self.next)
            self.at += 1
            starts.append(self.at)
            parts.append(self.union())
        if not signs:
            return None, parts[0]
        named = self._is_name(starts[0], starts[1] - 1)
        if signs == ["in"] and named:
            return None, parts[1]
        if set(signs) == {"="}:
            if named or any(constant(part) is not None for part in parts[:-1]):
                name = "".join(t.text for t in self.tokens[starts[0] : starts[1] - 1])
                return name if named else None, parts[-1]
            if len(parts) == 2:
                return None, atom(self._equation(parts[0], parts[1]))
        keys = [render(part) for part in parts]
        if all(sign in _MIRRORED for sign in signs):
            keys, signs = keys[::-1], [_MIRRORED[sign] for sign in reversed(signs)]
        return None, atom(keys[0] + "".join(f" {sign} {key}" for sign, key in zip(signs, keys[1:], strict=True)))

    def _is_name(self, start: int, end: int) -> bool:
        """Whether these tokens name a thing: x, x_1, f(x), \\text{Area}."""
        span = self.tokens[start:end]
        if not span or span[0].kind not in ("symbol", "text"):
            return False
        rest = [t for t in span[1:] if t.text not in ("_", "{", "}", "'", "^", "(", ")")]
        if not any(t.text in ("_", "(", "'") for t in span[1:2]):
            return not span[1:]
        return len(rest) <= 3 and all(t.kind in ("symbol", "text", "number", "unit", "function") or t.text == "," for t in rest)

    def _equation(self, left: Sum, right: Sum) -> str:
        """left - right = 0 divided by its first coefficient, so that 2x = 4y and x - 2y = 0 agree."""
        difference = self.algebra.add(left, self._scaled(right, -1))
        if difference:
            difference = self._scaled(difference, Fraction(1) / difference[max(difference)])
        return f"{render(difference)} = 0"

    def union(self) -> Sum:
        value = self.ratio()
        if self.next not in ("∪", "∩", "∖"):
            return value
        sign, keys = self.next, [render(value)]
        while self.take(sign):
            keys.append(render(self.ratio()))
        if sign != "∖":
            keys = sorted(set(keys))
        return atom(sign.join(keys))

    def ratio(self) -> Sum:
        value = self.sum()
        if self.next != ":":
            return value
        keys = [render(value)]
        while self.take(":"):
            keys.append(render(self.sum()))
        return atom(":".join(keys))

    # arithmetic

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
            term = self._scaled(self.term(), sign)
            value = term if first else self.algebra.add(value, term)
            first = False

    def _scaled(self, value: Sum, by: Rational) -> Sum:
        return value if by == 1 else {mono: c * by for mono, c in value.items()}

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
        return self._scaled(self.power(), sign)

    def _starts_factor(self) -> bool:
        if self.kind == "op":
            return self.next in ("(", "[", "{", r"\{", "⌊", "⌈")
        return self.kind != "end" and not self.next.startswith("end ") and self.next not in ("over", "choose")

    def _adjacent(self, value: Sum) -> Sum:
        """A product without a sign, or the mixed number `3\\frac{1}{2}`."""
        before, after = self.tokens[self.at - 1], self.tokens[self.at]
        if before.kind == after.kind == "number":
            raise Unreadable("two numbers side by side")
        factor = self.power()
        if before.kind == "number" and before.text.isdecimal() and after.text in ("frac", "dfrac", "tfrac", "cfrac"):
            q, whole = constant(factor), constant(value)
            alone = self.tokens[self.at - 1].kind == "number" or self.tokens[self.at - 1].text == "}"
            if alone and q is not None and whole is not None and 0 < q < 1 and whole == int(before.text):
                return self.algebra.add(value, factor)
        return self.algebra.mul(value, factor)

    def _skip_unit(self) -> None:
        self.at += 1
        if self.take("^"):
            self._argument()

    def power(self) -> Sum:
        value = self.atom()
        while True:
            if self.take("^"):
                value = self._raised(value)
            elif self.take("!"):
                value = self._factorial(value)
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
        if self.next in ("circ", "degree") or self.next == "'":
            primes = 0
            while self.next in ("circ", "degree", "'"):
                primes += self.next == "'"
                self.at += 1
            if braced:
                self.demand("}")
            return atom(render(base) + "'" * primes) if primes and constant(base) is None else base
        self.at = start
        sign = -1 if self.take("-") else 1
        exponent = self._argument(whole=True)
        if self.take("^"):
            exponent = self._nested(lambda: self._raised(exponent))
        return self.algebra.power(base, self._scaled(exponent, sign))

    def _factorial(self, value: Sum) -> Sum:
        n = constant(value)
        if n is not None and n.denominator == 1 and 0 <= n <= 200:
            return number(factorial(int(n)))
        return atom(f"({render(value)})!")

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
                raise Unreadable("an index is not closed")
            if depth == 0:
                return "".join(t.text for t in self.tokens[start : self.at]).strip("{}")

    # atoms

    def atom(self) -> Sum:
        kind, text = self.tokens[self.at]
        if kind == "end":
            raise Unreadable("ends too early")
        self.at += 1
        if kind == "number":
            return self._number(text)
        if kind == "symbol":
            return atom(text + self._applied())
        if kind == "text":
            return atom(f"\\text{{{text}}}")
        if kind == "function":
            return self._nested(lambda: self._function(text))
        if kind == "command":
            return self._nested(lambda: self._command(text))
        if text == "|":
            return self._nested(self._absolute)
        if text in _CLOSERS:
            return self._nested(lambda: self._group(text))
        raise Unreadable(f"{text!r} comes where a value should start")

    def _applied(self) -> str:
        """The argument of f(0), which is no product: f(0) is not 0."""
        span = self.tokens[self.at : self.at + 3]
        if [t.text for t in span[::2]] != ["(", ")"] or span[1].kind != "number":
            return ""
        self.at += 3
        return f"({span[1].text})"

    def _nested(self, read: Callable[[], Sum]) -> Sum:
        self.depth += 1
        if self.depth > DEPTH:
            raise Unreadable("nested too deeply")
        value = read()
        self.depth -= 1
        return value

    def _number(self, text: str) -> Sum:
        mantissa, _, exponent = text.lower().partition("e")
        if len(mantissa) > _DIGITS or len(exponent) > 12:
            raise Unreadable("too many digits")
        value = number(int(mantissa) if mantissa.isdecimal() else Fraction(mantissa))
        if exponent:
            return self.algebra.mul(value, self.algebra.power(number(10), number(int(exponent))))
        return value

    def _group(self, opener: str) -> Sum:
        """A bracket: grouping, a tuple or interval (whose brackets matter), a set, a floor or a ceiling."""
        if opener == r"\{":
            return self._set()
        closer = _CLOSERS[opener]
        items = [self.relation()]
        while self.take(",") or self.take(";"):
            items.append(self.relation())
        end = self.next
        if self.kind != "op" or end not in (closer, ")", "]") or (end != closer and opener not in "(["):
            raise Unreadable(f"{opener!r} is not closed")
        self.at += 1
        values = [value for _, value in items]
        if opener in "⌊⌈":
            return self._rounded(values[0], opener)
        if len(values) == 1 and end == closer:
            return values[0]
        if opener == "{":
            return atom(r"\{" + ", ".join(sorted({render(v) for v in values})) + r"\}")
        return atom(f"{opener}{','.join(render(v) for v in values)}{end}")

    def _set(self) -> Sum:
        self.sets += 1
        if self.take(r"\}"):
            return atom(r"\{\}")
        items = self.items(r"\}")
        self.demand(r"\}")
        return atom(r"\{" + ", ".join(sorted({render(value) for _, value in items})) + r"\}")

    def _rounded(self, value: Sum, opener: str) -> Sum:
        q = constant(value)
        if q is None:
            return atom(f"{opener}{render(value)}{_CLOSERS[opener]}")
        return number(floor(q) if opener == "⌊" else ceil(q))

    def _absolute(self) -> Sum:
        value = self.sum()
        self.demand("|")
        q = constant(value)
        return atom(f"|{render(value)}|") if q is None else number(abs(q))

    def _argument(self, whole: bool = False) -> Sum:
        r"""What a LaTeX command takes: a group, or one token. `\frac12` takes 1 and 2, but `^12` takes 12."""
        token = self.tokens[self.at]
        if token.kind != "number" or whole or len(token.text) == 1:
            return self.atom()
        self.tokens[self.at] = Token("number", token.text[1:])
        if not token.text[0].isdecimal() or not token.text[1:].isdecimal():
            raise Unreadable(f"{token.text} cannot be cut")
        return number(int(token.text[0]))

    def _command(self, name: str) -> Sum:
        if name in ("frac", "dfrac", "tfrac", "cfrac"):
            top = self._argument()
            return self.algebra.div(top, self._argument())
        if name in ("sqrt", "cbrt"):
            return self._radical(3 if name == "cbrt" else 2)
        if name in ("binom", "dbinom", "tbinom"):
            top = self._argument()
            return self._binomial(top, self._argument())
        if name in FONTS:
            return self._argument()
        if name in ACCENTS or name == "mathbb":
            return atom(f"\\{name}{{{render(self._argument())}}}")
        if name in ("circ", "degree"):
            return ONE
        if name.startswith("begin "):
            return self._matrix(name[6:])
        raise Unreadable(f"\\{name} is not known")

    def _radical(self, degree: int) -> Sum:
        if self.take("["):
            q = constant(self.sum())
            self.demand("]")
            if q is None or q.denominator != 1 or not 2 <= q <= 100:
                raise Unreadable("a root of unknown degree")
            degree = int(q)
        inside = self._argument(whole=True)
        q = constant(inside)
        if q is not None and q < 0 and degree % 2:
            return self._scaled(self.algebra.power(number(-q), number(Fraction(1, degree))), -1)
        return self.algebra.power(inside, number(Fraction(1, degree)))

    def _binomial(self, top: Sum, bottom: Sum) -> Sum:
        n, k = constant(top), constant(bottom)
        if n is not None and k is not None and n.denominator == k.denominator == 1 and 0 <= k <= n <= 1000:
            return number(comb(int(n), int(k)))
        return atom(f"\\binom{{{render(top)}}}{{{render(bottom)}}}")

    def _function(self, name: str) -> Sum:
        r"""sin^2 3x is sin(3x)^2; the argument without brackets ends at a sign or another function."""
        exponent, index = None, ""
        while self.next in ("^", "_") and self.kind == "op":
            if self.take("_"):
                index = self._index()
            else:
                self.at += 1
                sign = -1 if self.take("-") else 1
                exponent = self._scaled(self._argument(whole=True), sign)
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
            name = "log" if name == "lg" else name
            value = atom(f"{name}_{{{index}}}({render(argument)})" if index else f"{name}({render(argument)})")
        return value if exponent is None else self.algebra.power(value, exponent)

    def _matrix(self, name: str) -> Sum:
        """Rows and columns; the kind of bracket does not matter unless it is a determinant's."""
        if name not in ("pmatrix", "bmatrix", "Bmatrix", "matrix", "smallmatrix", "array", "vmatrix"):
            raise Unreadable(f"{name} is not a matrix")
        rows = [[self._cell()]]
        while not self.next.startswith("end "):
            if self.take("&"):
                rows[-1].append(self._cell())
            else:
                self.demand("\\\\")
                if not self.next.startswith("end "):
                    rows.append([self._cell()])
        self.at += 1
        name = "vmatrix" if name == "vmatrix" else "pmatrix"
        return atom(f"\\begin{{{name}}}" + r"\\".join("&".join(row) for row in rows) + f"\\end{{{name}}}")

    def _cell(self) -> str:
        return render(self.relation()[1])
