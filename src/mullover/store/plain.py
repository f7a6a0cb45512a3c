"""Values that JSON has no word for, in words it has."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from math import isfinite
from numbers import Integral, Real
from typing import Any


def in_words(value: float) -> float | str:
    """JSON has no word for what is not finite, and orjson would write null: `float` reads it back from text."""
    return value if isfinite(value) else repr(float(value))


def all_in_words(values: Sequence[float]) -> Sequence[float | str]:
    """A sum is finite only if all of it is, and is the quickest look at thousands of numbers."""
    if isfinite(sum(values)):
        return values
    return [in_words(value) for value in values]


_SURROGATES = re.compile("[\ud800-\udfff]")


def plain(value: Any) -> Any:
    """The same value in words JSON has; a result that was paid for is never refused."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _SURROGATES.sub("\ufffd", value)
    if isinstance(value, Integral):
        number = int(value)
        return number if -(1 << 63) <= number < 1 << 64 else str(number)
    if isinstance(value, Real):
        return in_words(float(value))
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, bytes | bytearray | memoryview):
        return b64encode(value).decode()
    if isinstance(value, Sequence | set | frozenset):
        return [plain(item) for item in value]
    return plain(str(value))
