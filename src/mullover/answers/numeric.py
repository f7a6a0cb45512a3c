"""Are two canonical keys surely different as numbers? Floating point at two points says so in microseconds.

It can only part answers, never join them, and gives up on whatever it does not know: functions, tuples, relations,
roots of negatives, large powers.
"""

import re
from functools import lru_cache

LONGEST = 300  # characters of a key
MOST = 200  # tokens
_TOKEN = re.compile(r"\d+(?:\.\d+)?|[A-Za-z]+|[-+*/^()]")
_CONSTANTS = {"pi": 3.141592653589793 + 0j, "e": 2.718281828459045 + 0j, "i": 1j}
_POINTS = (0.618, 0.757)
_APART = 1e-6  # relative; what is nearer may be the same


class UnknownError(Exception):
    """Nothing can be said about this key."""


def apart(a: str, b: str) -> bool:
    """True if the two are surely different; False if they may be equal, or cannot be told."""
    left, right = _values(a), _values(b)
    if left is None or right is None:
        return False
    return any(abs(x - y) > _APART * max(1.0, abs(x), abs(y)) for x, y in zip(left, right, strict=True))


@lru_cache(maxsize=4096)
def _values(own: str) -> tuple[complex, ...] | None:
    if len(own) > LONGEST:
        return None
    words = _TOKEN.findall(own)
    if "".join(words) != own or len(words) > MOST:
        return None
    try:
        return tuple([_Reader(words, point).whole() for point in _POINTS])
    except (UnknownError, ZeroDivisionError, OverflowError, RecursionError):
        return None


class _Reader:
    """sum := product (+|- product)*; product := power (*|/ power)*; power := -power | atom (^ power)?"""

    def __init__(self, words: list[str], point: float) -> None:
        self.words, self.at, self.point = words, 0, point

    def whole(self) -> complex:
        value = self.sum()
        if self.at < len(self.words):
            raise UnknownError
        return value

    def take(self, some: str) -> str:
        """The next token if it is one of these characters, else nothing."""
        if self.at < len(self.words) and self.words[self.at] in some:
            self.at += 1
            return self.words[self.at - 1]
        return ""

    def sum(self) -> complex:
        value = self.product()
        while sign := self.take("+-"):
            value = value + self.product() if sign == "+" else value - self.product()
        return value

    def product(self) -> complex:
        value = self.power()
        while sign := self.take("*/"):
            value = value * self.power() if sign == "*" else value / self.power()
        return value

    def power(self) -> complex:
        if self.take("-"):
            return -self.power()
        base = self.atom()
        if not self.take("^"):
            return base
        exponent = self.power()
        whole = exponent.imag == 0 and exponent.real.is_integer()
        if abs(exponent) > 64 or abs(base) > 1e4 or (not whole and (base.imag or base.real <= 0 or exponent.imag)):
            raise UnknownError
        return complex(base**exponent)

    def atom(self) -> complex:
        if self.at >= len(self.words):
            raise UnknownError
        word = self.words[self.at]
        self.at += 1
        if word == "(":
            value = self.sum()
            if not self.take(")"):
                raise UnknownError
            return value
        if word[0].isdigit():
            return complex(float(word))
        if word in _CONSTANTS:
            return _CONSTANTS[word]
        if len(word) == 1 and word.isalpha():  # a variable: some number between 1 and 2 of its own
            return complex(1 + (ord(word) * self.point) % 1)
        raise UnknownError
