"""How sure is a figure: resampled intervals, paired tests, corrections, and what a number of problems can show."""

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

RESAMPLES = 1000
CHUNK = 1 << 24  # counts held at a time, 8 bytes each
SPAN = (0.025, 0.975)  # quantiles of a 95 % interval


def resampled(
    values: Floats, *, resamples: int = RESAMPLES, seed: int = 0, clusters: Sequence[object] | None = None
) -> Floats:
    """Means over problems, of problems drawn with putting back: [resamples, columns].

    Args:
        values: [problems, columns]. All columns share the draws, so differences of columns stay paired.
        clusters: what each problem belongs to; whole clusters are drawn, since problems of one may go together.

    Raises:
        ValueError: no problems.

    Source: Efron 1979, doi:10.1214/aos/1176344552; of clusters: Field and Welsh 2007,
    doi:10.1111/j.1467-9868.2007.00593.x.
    """
    values = np.asarray(values, float)
    if not len(values):
        raise ValueError("there is nothing to resample: no problems")
    sums, sizes = values, np.ones(len(values))
    if clusters is not None:
        numbers: dict[object, int] = {}
        which = np.array([numbers.setdefault(name, len(numbers)) for name in clusters])
        sums, sizes = np.zeros((len(numbers), values.shape[1])), np.bincount(which).astype(float)
        np.add.at(sums, which, values)
    rng, units = np.random.default_rng(seed), len(sums)
    parts = []
    for start in range(0, resamples, step := max(1, CHUNK // units)):
        counts = rng.multinomial(units, np.full(units, 1 / units), size=min(step, resamples - start)).astype(float)
        parts.append((counts @ sums) / (counts @ sizes)[:, None])
    means: Floats = np.concatenate(parts)
    return means


def interval(means: Floats) -> tuple[Floats, Floats]:
    """The 95 % percentile interval of each column of resampled means."""
    low, high = np.quantile(means, SPAN, axis=0)
    return low, high


def two_sided(means: Floats) -> Floats:
    """p-values against a true mean of 0 for each column of resampled differences; at least 2 / (resamples + 1).

    Source: Davison and Hinkley 1997, Bootstrap Methods and their Application, section 4.2 (the + 1).
    """
    below, above = (means <= 0).sum(axis=0), (means >= 0).sum(axis=0)
    values: Floats = np.minimum(1.0, 2 * (np.minimum(below, above) + 1) / (len(means) + 1))
    return values


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p-value of `only_first` problems that only the first got right against `only_second`.

    1 where they never differ.

    Source: McNemar 1947, doi:10.1007/BF02295996, with the binomial law of the smaller count.
    """
    n, least = only_first + only_second, min(only_first, only_second)
    tail = sum(math.comb(n, i) for i in range(least + 1))
    return min(1.0, float(2 * tail / 2**n)) if n else 1.0


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjusted p-values of several tests: those up to .05 together err in at most one of twenty families.

    Source: Holm 1979, Scandinavian Journal of Statistics 6(2), 65-70.
    """
    adjusted, so_far = {}, 0.0
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        so_far = max(so_far, min(1.0, p * (len(p_values) - rank)))
        adjusted[name] = so_far
    return {name: adjusted[name] for name in p_values}


def visible(problems: int, differing: float, *, power: float = 0.8) -> float | None:
    """The least true difference in accuracy that a paired test at 5 % sees with this power.

    Args:
        differing: the share of problems on which exactly one of the two is right.

    Returns:
        A share of problems; None where even `differing` itself, all on one side, would be too little.

    Source: Connor 1987, doi:10.2307/2531961, solved for the difference.
    """
    normal = NormalDist()
    a, b = normal.inv_cdf(SPAN[1]), normal.inv_cdf(power)

    def needed(difference: float) -> float:
        return (a * math.sqrt(differing) + b * math.sqrt(differing - difference**2)) ** 2 / difference**2

    if differing <= 0 or needed(differing) > problems:
        return None
    low, high = 0.0, differing
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if needed(middle) > problems else (low, middle)
    return high
