r"""A recursive-descent reader of mathematical answers, from one cleaned text to its canonical text.

items    := relation ("," relation)*              in any order: roots, solutions; one with ± is two
relation := union ((= < > <= >= != in) union)*    x = 5 is 5; an equation is left minus right, up to a factor
union    := ratio (∪ ∩ ∖ ratio)*
ratio    := sum (":" sum)*                        sum: arithmetic.py
"""

from fractions import Fraction

from mullover.answers.algebra import Sum, UnreadableError, atom, constant, render
from mullover.answers.arithmetic import CLOSERS, Arithmetic, rounded, scaled

RELATIONS = frozenset(["=", "<", ">", "<=", ">=", "!=", "in", "to"])
MATRICES = frozenset(["pmatrix", "bmatrix", "Bmatrix", "matrix", "smallmatrix", "array", "vmatrix"])
_MIRRORED = {">": "<", ">=": "<="}

Item = tuple[str | None, Sum]  # the name that was given a value, as x in `x = 5`, and the value


def canonical(text: str) -> str:
    """The canonical text of a cleaned answer; equal answers have equal texts.

    Raises:
        UnreadableError: it is not an expression of ours, or too large for one.
    """
    reader = Reader(text)
    items = reader.items("end")
    if reader.kind != "end":
        raise UnreadableError(f"{reader.next!r} comes where an expression should end")
    if len({name for name, _ in items if name}) > 1:
        return ", ".join(sorted(f"{name}={render(value)}" if name else render(value) for name, value in items))
    keys = sorted(render(value) for _, value in items)
    is_set = len(keys) == 1 and keys[0].startswith(r"\{") and reader.sets == 1 and "," in keys[0]
    return keys[0][2:-2] if is_set else ", ".join(keys)  # {1, 2} and 1, 2 are one answer


class Reader(Arithmetic):
    """Lists, relations and brackets around the arithmetic."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.sets = 0  # read so far

    def items(self, closer: str) -> list[Item]:
        """Items up to `closer`, which is left standing."""
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
            if len(parts) == 2 and self._is_name(starts[1], self.at):  # 2x + 3 = y
                return "".join(t.text for t in self.tokens[starts[1] : self.at]), parts[0]
            if len(parts) == 2:
                return None, atom(self._equation(parts[0], parts[1]))
        keys = [render(part) for part in parts]
        if all(sign in _MIRRORED for sign in signs):
            keys, signs = keys[::-1], [_MIRRORED[sign] for sign in reversed(signs)]
        return None, atom(keys[0] + "".join(f" {sign} {key}" for sign, key in zip(signs, keys[1:], strict=True)))

    def _is_name(self, start: int, end: int) -> bool:
        r"""Whether these tokens name a thing: x, x_1, f(x), \text{Area}."""
        span = self.tokens[start:end]
        if not span or span[0].kind not in ("symbol", "text"):
            return False
        if len(span) == 1:
            return True
        rest = [t for t in span[1:] if t.text not in ("_", "{", "}", "'", "^", "(", ")")]
        kinds = ("symbol", "text", "number", "unit", "function")
        applied = span[1].text in ("_", "(", "'")
        return applied and len(rest) <= 3 and all(t.kind in kinds or t.text == "," for t in rest)

    def _equation(self, left: Sum, right: Sum) -> str:
        """left - right = 0 divided by its first coefficient, so that 2x = 4y and x - 2y = 0 agree."""
        difference = self.algebra.add(left, scaled(right, -1))
        if difference:
            difference = scaled(difference, Fraction(1) / difference[max(difference)])
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

    def bracket(self, opener: str) -> Sum:
        """Grouping, a tuple or interval (whose brackets matter), a set, a floor or a ceiling."""
        if opener == r"\{":
            return self._set()
        closer = CLOSERS[opener]
        values = [self.relation()[1]]
        while self.take(",") or self.take(";"):
            values.append(self.relation()[1])
        end = self.next
        if self.kind != "op" or (end != closer and not (opener in "([" and end in ")]" and len(values) > 1)):
            raise UnreadableError(f"{opener!r} is not closed")
        self.at += 1
        if opener in "⌊⌈":
            return rounded(values[0], opener)
        if len(values) == 1:
            return values[0]
        keys = [render(value) for value in values]
        return atom(r"\{" + ", ".join(sorted(set(keys))) + r"\}" if opener == "{" else opener + ",".join(keys) + end)

    def _set(self) -> Sum:
        self.sets += 1
        if self.take(r"\}"):
            return atom(r"\{\}")
        items = self.items(r"\}")
        self.demand(r"\}")
        return atom(r"\{" + ", ".join(sorted({render(value) for _, value in items})) + r"\}")

    def matrix(self, name: str) -> Sum:
        """Rows and columns; the kind of bracket does not matter unless it is a determinant's."""
        if name not in MATRICES:
            raise UnreadableError(f"{name} is not a matrix")
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
