"""How far a confidence may be trusted: does what is said with 80 % turn out right in 80 %?"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mullover.errors import OptionError
from mullover.evaluate.metrics import wilson
from mullover.evaluate.results import Bools, Floats, Results
from mullover.evaluate.statistics import interval, resampled

BINS = 10


@dataclass(frozen=True)
class Signal:
    """A confidence for each of some answers, and whether the answer is right."""

    name: str
    what: str
    confidence: Floats
    right: Bools
    problem: Sequence[object]  # of which problem each is: those of one problem go together
    silent: int = 0  # answers without a confidence: left out of all but the count
    probability: bool = True  # between 0 and 1, so that it can be compared with a share


@dataclass(frozen=True)
class Bin:
    """Answers whose confidence is in [low, high); the last bin has its end too."""

    low: float
    high: float
    answers: int
    confidence: float  # mean
    accuracy: float
    ci95: tuple[float, float]


def signals(results: Results) -> list[Signal]:
    """What a run's samples tell of themselves: their agreement, their probability, a scorer's scores.

    The last two only where problems have equally many samples.

    Raises:
        OptionError: the run has no samples to compare.
    """
    pool, found = results.pool, []
    if any(len(sheet.get("groups") or ()) > 1 for sheet in results.sheets):
        found.append(agreement(results))
    if pool is None:
        if not found:
            raise OptionError(f"no confidence to be told: {results.no_pool}")
        return found
    samples = np.repeat(np.array(results.ids), pool.n).tolist()
    for name, what, values in (
        ("probability", "a sample's mean probability of a token", pool.sure),
        ("score", "a scorer's score of a sample", pool.scores),
    ):
        if values is None:
            continue
        flat, known = values.ravel(), ~np.isnan(values.ravel())
        of = [problem for problem, keep in zip(samples, known, strict=True) if keep]
        inside = bool(((flat[known] >= 0) & (flat[known] <= 1)).all())
        found.append(Signal(name, what, flat[known], pool.right.ravel()[known], of, int((~known).sum()), inside))
    if not found:
        raise OptionError("one sample a problem agrees with itself; draw more by `mull sample`")
    return found


def agreement(results: Results) -> Signal:
    """Of the answer of most samples (a tie goes to the earliest), out of all samples, silent ones too."""
    shares, hits, silent = np.zeros(len(results.ids)), np.zeros(len(results.ids), bool), 0
    for row, sheet in enumerate(results.sheets):
        groups: list[int | None] = sheet.get("groups") or []
        sizes = Counter(group for group in groups if group is not None)
        silent += not sizes
        if sizes:
            leader = max(sizes, key=lambda group: (sizes[group], -groups.index(group)))
            shares[row], hits[row] = sizes[leader] / len(groups), sheet["rights"][groups.index(leader)] is True
    return Signal(
        "agreement", "the share of samples that state the commonest answer", shares, hits, results.ids, silent
    )


def reliability(signal: Signal, bins: int = BINS) -> list[Bin]:
    """Bins of equal width; empty ones are left out.

    Source: Niculescu-Mizil and Caruana 2005, doi:10.1145/1102351.1102430.
    """
    edges = np.linspace(0, 1, bins + 1)
    which = np.clip(np.searchsorted(edges, signal.confidence, side="right") - 1, 0, bins - 1)
    found = []
    for i in range(bins):
        inside = which == i
        if many := int(inside.sum()):
            correct = int(signal.right[inside].sum())
            mean = float(signal.confidence[inside].mean())
            found.append(Bin(float(edges[i]), float(edges[i + 1]), many, mean, correct / many, wilson(correct, many)))
    return found


def ece(signal: Signal, bins: int = BINS) -> float:
    """Expected calibration error: the mean distance of a bin's accuracy from its confidence.

    Source: Guo et al. 2017, arXiv:1706.04599, equation 3.
    """
    rows = reliability(signal, bins)
    return sum(row.answers * abs(row.accuracy - row.confidence) for row in rows) / max(1, len(signal.right))


def brier(signal: Signal) -> float:
    """The mean square of what the confidence is off. Source: Brier 1950, Monthly Weather Review 78(1)."""
    return float(((signal.confidence - signal.right) ** 2).mean())


def auroc(confidence: Floats, right: Bools) -> float | None:
    """The chance that a right answer has more confidence than a wrong one, ties by half; None if all are one of both.

    Source: Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747.
    """
    positives, negatives = int(right.sum()), int((~right).sum())
    if not positives or not negatives:
        return None
    _, which, counts = np.unique(confidence, return_inverse=True, return_counts=True)
    ranks = counts.cumsum() - (counts - 1) / 2  # from 1; the mean of those that tie
    total = float(ranks[which][right].sum()) - positives * (positives + 1) / 2
    return total / (positives * negatives)


def risk_coverage(signal: Signal) -> tuple[Floats, Floats, Floats]:
    """(threshold, coverage, accuracy): answering only where the confidence reaches each value it takes, highest first.

    Source: El-Yaniv and Wiener 2010, Journal of Machine Learning Research 11.
    """
    values = np.unique(signal.confidence)[::-1]
    order = np.argsort(-signal.confidence, kind="stable")
    taken = np.searchsorted(-signal.confidence[order], -values, side="right")
    return values, taken / len(order), signal.right[order].cumsum()[taken - 1] / taken


def selected(signal: Signal, least: float) -> tuple[int, int]:
    """(answers, right ones) whose confidence is at least `least`."""
    kept = signal.confidence >= least - 1e-12
    return int(kept.sum()), int(signal.right[kept].sum())


def ci95(signal: Signal, seed: int = 0) -> dict[str, tuple[float, float]]:
    """95 % intervals by a bootstrap of problems, of what is a mean over answers."""
    low, high = interval(
        resampled(((signal.confidence - signal.right) ** 2)[:, None], clusters=signal.problem, seed=seed)
    )
    return {"brier": (float(low[0]), float(high[0]))}
