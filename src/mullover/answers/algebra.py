"""A normal form for small algebraic expressions: exact, bounded, and never by floating point.

An expression is a sum of monomials with rational coefficients. A monomial is a product of atoms with rational
exponents; an atom is a symbol (`x`), a prime whose root is irrational (`3^(1/2)`), or something opaque that is only
ever compared by its name (`sin(x)`, `(1,2]`, `(x+1)` under a power that is not expanded).

Left out: factoring, common denominators, identities of functions, nested roots. math-verify knows those (same.py).
"""

from fractions import Fraction
from functools import lru_cache
from math import gcd, isqrt, lcm

Rational = int | Fraction  # whole numbers are int: several times faster
Monomial = tuple[tuple[str, Rational], ...]  # sorted by atom
Sum = dict[Monomial, Rational]  # no zero coefficients; {} is 0

BITS = 3500  # of a coefficient, about 1050 digits; anything larger stays a power
EXPONENT_BITS = 256
EXPANDED = 8  # (x+1)^8 is multiplied out, (x+1)^9 is an atom
WORK = 6000  # products of two terms that one key may cost
HALF = Fraction(1, 2)
ONE: Sum = {(): 1}

_PRIMES = tuple(n for n in range(2, 1000) if all(n % d for d in range(2, isqrt(n) + 1)))


class UnreadableError(Exception):
    """The text is not an expression of ours, or one too large to be worth a normal form."""


class Algebra:
    """The operations, and the work that is left for them."""

    def __init__(self, work: int = WORK) -> None:
        self.work = work

    def add(self, a: Sum, b: Sum) -> Sum:
        if () in a and () in b and len(a) == len(b) == 1:
            return number(_small(a[()] + b[()]))
        self._spend(len(a) + len(b))
        total = dict(a)
        for mono, value in b.items():
            total[mono] = _small(total.get(mono, 0) + value)
            if not total[mono]:
                del total[mono]
        return total

    def mul(self, a: Sum, b: Sum) -> Sum:
        self._spend(len(a) * len(b))
        total: Sum = {}
        for left, x in a.items():
            for right, y in b.items():
                factor, mono = _join(left, right)
                value = _small(total.get(mono, 0) + x * y * factor)
                if value:
                    total[mono] = value
                else:
                    total.pop(mono, None)
        return total

    def div(self, a: Sum, b: Sum) -> Sum:
        return self.mul(a, self.power(b, {(): -1}))

    def power(self, base: Sum, exponent: Sum) -> Sum:
        """base^exponent; what would be too large, as 9^(9^(9^9)), stays an atom."""
        q = constant(exponent)
        if q is not None:
            return self._rational_power(base, q)
        if len(base) == 1:
            ((mono, coefficient),) = base.items()
            if coefficient > 0:
                return self._symbolic_power(base, (*_primes_of(coefficient), *mono), exponent)
        return atom(f"({render(base)})^({render(exponent)})")

    def _symbolic_power(self, base: Sum, factors: Monomial, exponent: Sum) -> Sum:
        """(2x)^(2k-1) = (2^k)^2 (x^k)^2 / (2x), so that 2^(k-1) and 2^k/2 agree."""
        total = ONE
        for mono, value in exponent.items():
            if not mono:
                total = self.mul(total, self._rational_power(base, value))
                continue
            for name, e in factors:
                base_name = f"({name})" if "^" in name else name
                total = self.mul(total, {((f"{base_name}^({render({mono: 1})})", _exact(e * value)),): 1})
        return total

    def _rational_power(self, base: Sum, q: Rational) -> Sum:
        if q == 1:
            return base
        if not base:
            if q <= 0:
                raise UnreadableError("division by zero")
            return {}
        if q == 0:
            return ONE
        if len(base) == 1:
            return self._monomial_power(base, q)
        if q.denominator == 1 and 0 < q <= EXPANDED:
            total = base
            for _ in range(int(q) - 1):
                total = self.mul(total, base)
            return total
        if q == -1 and _surd(base):
            return self._inverse_surd(base)
        return self._opaque_power(base, q)

    def _monomial_power(self, base: Sum, q: Rational) -> Sum:
        ((mono, value),) = base.items()
        raised: dict[str, Rational] = {name: e * q for name, e in mono}
        sign = 1
        if value < 0:
            if q.denominator == 1:
                sign = -1 if q.numerator % 2 else 1
            elif q.denominator == 2 and not mono:
                raised["i"] = q * 2
            else:
                return {((f"({render(base)})", q),): 1}
        for prime, e in _primes_of(-value if value < 0 else value):
            raised[prime] = raised.get(prime, 0) + e * q
        factor, reduced = _reduce(raised)
        return {reduced: _small(factor * sign)}

    def _inverse_surd(self, base: Sum) -> Sum:
        """1/(1+sqrt(2)) = sqrt(2)-1: multiply by the conjugate of one root after the other."""
        top, bottom = ONE, base
        for _ in range(4):
            if len(bottom) == 1:
                return self.mul(top, self._monomial_power(bottom, -1))
            if not bottom:
                raise UnreadableError("division by zero")
            root = next(name for mono in bottom for name, _ in mono)
            conjugate = {m: -c if any(name == root for name, _ in m) else c for m, c in bottom.items()}
            top, bottom = self.mul(top, conjugate), self.mul(bottom, conjugate)
        return self._opaque_power(base, -1)

    def _opaque_power(self, base: Sum, q: Rational) -> Sum:
        """(2x+4)^(-1) = 1/2 (x+2)^(-1): what is common to all terms goes outside."""
        shared = dict(next(iter(base)))
        for mono in base:
            exponents = dict(mono)
            shared = {name: min(e, exponents[name]) for name, e in shared.items() if name in exponents}
        scale = Fraction(gcd(*(c.numerator for c in base.values())), lcm(*(c.denominator for c in base.values())))
        common: Sum = {tuple(sorted(shared.items())): 1}
        inside = self.div(base, common)
        if q.denominator == 1 and inside[max(inside)] < 0:
            scale = -scale
        outside = self._rational_power({mono: _small(c * scale) for mono, c in common.items()}, q)
        inside = {mono: _exact(c / scale) for mono, c in inside.items()}
        return self.mul(outside, {((f"({render(inside)})", q),): 1})

    def _spend(self, work: int) -> None:
        self.work -= work
        if self.work < 0:
            raise UnreadableError("too much work")


def number(value: Rational) -> Sum:
    return {(): _exact(value)} if value else {}


def atom(name: str) -> Sum:
    return {((name, 1),): 1}


def constant(value: Sum) -> Rational | None:
    """The rational number that `value` is, or None."""
    if not value:
        return 0
    return value.get(()) if len(value) == 1 else None


def render(value: Sum) -> str:
    """The sum as text, highest monomial first; equal sums give equal text."""
    if not value:
        return "0"
    terms = [_term(mono, value[mono]) for mono in sorted(value, reverse=True)]
    return "".join(term if i == 0 or term[0] == "-" else "+" + term for i, term in enumerate(terms))


def _term(mono: Monomial, coefficient: Rational) -> str:
    if not mono:
        return str(coefficient)
    product = "*".join(_factor(name, e) for name, e in mono)
    if abs(coefficient) == 1:
        return product if coefficient > 0 else "-" + product
    return f"{coefficient}*{product}"


def _factor(name: str, e: Rational) -> str:
    if e == 1:
        return name
    base = f"({name})" if "^" in name and not _is_bracketed(name) else name
    return f"{base}^{e}" if e.denominator == 1 and e > 0 else f"{base}^({e})"


def _is_bracketed(name: str) -> bool:
    """Whether its first bracket closes at the end: (x+1), but not (x+1)^(k)."""
    depth = 0
    for i, c in enumerate(name):
        depth += (c == "(") - (c == ")")
        if depth == 0:
            return i == len(name) - 1
    return False


def _join(left: Monomial, right: Monomial) -> tuple[Rational, Monomial]:
    if not left or not right:
        return 1, left or right
    exponents = dict(left)
    for name, e in right:
        exponents[name] = exponents.get(name, 0) + e
    return _reduce(exponents)


def _reduce(exponents: dict[str, Rational]) -> tuple[Rational, Monomial]:
    """Whole powers of numbers and of i go to the coefficient: 2^(3/2) = 2*2^(1/2), i^2 = -1."""
    factor: Rational = 1
    kept: list[tuple[str, Rational]] = []
    for name, e in exponents.items():
        if e.numerator.bit_length() + e.denominator.bit_length() > EXPONENT_BITS:
            raise UnreadableError("too large an exponent")
        if name == "i" and e.denominator == 1:
            factor = -factor if e % 4 >= 2 else factor
            e = e % 2
        elif name.isdecimal():
            whole, base = e.numerator // e.denominator, int(name)
            if abs(whole) * base.bit_length() <= BITS:
                factor *= base**whole if whole >= 0 else Fraction(1, base**-whole)
                e -= whole
        if e:
            kept.append((name, _exact(e)))
    return _small(factor), tuple(sorted(kept))


def _surd(value: Sum) -> bool:
    """A sum of rationals and square roots only."""
    return all(name == "i" or (name.isdecimal() and e == HALF) for mono in value for name, e in mono)


def _exact(value: Rational) -> Rational:
    return value.numerator if value.denominator == 1 else value


def _small(value: Rational) -> Rational:
    if value.numerator.bit_length() > BITS or value.denominator.bit_length() > BITS:
        raise UnreadableError("too large a number")
    return _exact(value)


def _primes_of(value: Rational) -> Monomial:
    return (
        *((str(p), e) for p, e in _factored(value.numerator)),
        *((str(p), -e) for p, e in _factored(value.denominator)),
    )


@lru_cache(maxsize=4096)
def _factored(n: int) -> tuple[tuple[int, int], ...]:
    """Prime powers of n >= 1; factors above 1000 are left together unless they are a perfect power."""
    found = []
    for p in _PRIMES:
        if p * p > n:
            break
        e = 0
        while n % p == 0:
            n, e = n // p, e + 1
        if e:
            found.append((p, e))
    for k in (2, 3, 5):
        root = _root(n, k)
        if n > 1 and root**k == n:
            return (*found, *((p, e * k) for p, e in _factored(root)))
    return (*found, (n, 1)) if n > 1 else tuple(found)


def _root(n: int, k: int) -> int:
    """The largest r with r^k <= n, by Newton's method on whole numbers."""
    if k == 2 or n < 2:
        return isqrt(n)
    r = 1 << -(-n.bit_length() // k)
    while True:
        s = ((k - 1) * r + n // r ** (k - 1)) // k
        if s >= r:
            return r
        r = s
