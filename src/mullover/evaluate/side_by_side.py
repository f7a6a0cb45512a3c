"""Two runs of one task, problem by problem."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mullover.errors import OptionError
from mullover.evaluate.results import UNITS, Results, aligned
from mullover.evaluate.statistics import interval, mcnemar, resampled


def side_by_side(first: Results, second: Results) -> dict[str, Any]:
    """What differs: settings, accuracy on the problems of both, spending, and which problems; plain JSON.

    Raises:
        OptionError: runs of different tasks or versions, or without a common problem.
    """
    for name in ("task", "task_sha256"):
        if first.identity.get(name) != second.identity.get(name):
            left, right = first.identity.get(name), second.identity.get(name)
            raise OptionError(f"the runs are of different tasks or versions: {name} is {left} and {right}")
    ids = [id_ for id_ in first.ids if id_ in set(second.ids)]
    if not ids:
        raise OptionError("the runs have no problem in common")
    at, to = aligned(first, ids), aligned(second, ids)
    x, y = first.right[at], second.right[to]
    means = resampled((y.astype(float) - x)[:, None], resamples=10_000)
    low, high = (float(end[0]) for end in interval(means)) if len(ids) > 1 else (-1.0, 1.0)
    only_first, only_second = int((x & ~y).sum()), int((y & ~x).sum())
    runs = ((first, at), (second, to))
    return {
        "runs": [str(one.folder) for one in (first, second)],
        "settings": dict(differing(first.identity, second.identity)),
        "problems": len(ids),
        "left_out": [f"{len(one.ids) - len(ids)} problems are in {one.folder.name} alone, and left out"
                     for one in (first, second) if len(one.ids) > len(ids)],
        "accuracy": [float(x.mean()), float(y.mean())],
        "difference": float(np.mean(y.astype(float) - x)),
        "ci95": [low, high],
        "only_first": only_first,
        "only_second": only_second,
        "p": mcnemar(only_first, only_second),
        "spent": {unit: [float(np.mean(one.spent[unit][where])) for one, where in runs] for unit in UNITS},
        "changed": [{"id": ids[i], "first": bool(x[i]), "second": bool(y[i])} for i in np.flatnonzero(x != y)],
    }  # fmt: skip


def differing(a: Any, b: Any, name: str = "") -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Settings that are not the same in both, by their dotted names."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for key in sorted(a.keys() | b.keys()):
            yield from differing(a.get(key), b.get(key), f"{name}.{key}" if name else key)
    elif a != b:
        yield name, (a, b)
