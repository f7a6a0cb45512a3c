"""Seeds are folded, never added: seed 0's sample 1 must not be seed 1's sample 0.

A dataclass is written by its fields that differ from their defaults, so a new field changes no old
seed. A field declared with `compare=False` is no part of what is asked, so it is left out too.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from functools import cache
from hashlib import blake2b
from operator import attrgetter
from typing import Any


@cache
def _compared(kind: Any) -> tuple[tuple[str, Any, Any], ...]:
    """(name, default, getter) of each field that takes part in comparison."""
    return tuple((f.name, f.default, attrgetter(f.name)) for f in dataclasses.fields(kind) if f.compare)


def changed(value: Any) -> dict[str, Any]:
    """The compared fields of a dataclass that differ from their defaults, by name."""
    return {name: got for name, default, get in _compared(_type(value)) if (got := get(value)) != default}


def canonical(value: Any) -> str:
    """One JSON text for equal values: keys sorted, 1.0 written as 1, tuples as lists."""
    return _encode(_plain(value))


_type: Callable[[Any], Any] = type
_encode = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode


def fold(seed: int, *path: Any) -> int:
    """A new 63-bit seed for one place in the run, e.g. `fold(run_seed, request, 3)`."""
    text = canonical([seed, path])
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") >> 1


def noise(seed: int, position: int) -> float:
    """Uniform in [0, 1). It depends on the sample's seed and the token's position, and on nothing else."""
    raw = blake2b(b"%d,%d" % (seed, position), digest_size=8).digest()
    return (int.from_bytes(raw, "big") >> 11) / 2**53


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value):
        return {name: _plain(got) for name, got in changed(value).items()}
    return value
