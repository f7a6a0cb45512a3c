"""How long a model reasons, and what that is worth: by difficulty, right or wrong, after the first right answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from mullover.answers import equal, find
from mullover.errors import OptionError
from mullover.evaluate.metrics import wilson
from mullover.evaluate.results import Bools, Floats, Pool
from mullover.evaluate.statistics import interval, resampled
from mullover.store import Stored
from mullover.types import Sample

LEVELS = ("hard", "middling", "easy")  # thirds of the problems, by how many of their samples are right
QUARTERS = 4  # of the samples of a level, by length


@dataclass(frozen=True)
class Cell:
    """Samples of one level of difficulty and one quarter of its lengths."""

    level: str
    quarter: int  # from 0, the shortest
    samples: int
    tokens: float  # mean
    accuracy: float
    ci95: tuple[float, float]


@dataclass(frozen=True)
class Contrast:
    """Mean lengths of right and wrong samples; their difference within problems that have both."""

    right: float | None  # tokens; None where there are none
    wrong: float | None
    problems: int  # that have both
    longer: float | None  # wrong less right, mean over those problems
    ci95: tuple[float, float] | None


def lengths(pool: Pool) -> Floats:
    """Reasoning tokens where the model tells them apart, else all that were generated. [problems, n]"""
    return pool.thought if pool.thought.any() else pool.tokens


def by_difficulty(pool: Pool) -> list[Cell]:
    """Accuracy by length within problems of like difficulty, since hard problems make chains long as well as wrong."""
    order = np.argsort(pool.right.mean(axis=1), kind="stable")
    long, found = lengths(pool), []
    for level, rows in zip(LEVELS, np.array_split(order, len(LEVELS)), strict=True):
        own, right = long[rows].ravel(), pool.right[rows].ravel()
        for quarter, part in enumerate(np.array_split(np.argsort(own, kind="stable"), QUARTERS)):
            if many := len(part):
                correct = int(right[part].sum())
                mean = float(own[part].mean())
                found.append(Cell(level, quarter, many, mean, correct / many, wilson(correct, many)))
    return found


def contrast(pool: Pool) -> Contrast:
    """Right against wrong samples: over all, and within problems, where difficulty cannot be the reason."""
    long, right = lengths(pool), pool.right
    both = right.any(axis=1) & ~right.all(axis=1)
    gaps = np.array([row[~hits].mean() - row[hits].mean() for row, hits in zip(long[both], right[both], strict=True)])
    ends = interval(resampled(gaps[:, None])) if len(gaps) > 1 else None
    return Contrast(
        float(long[right].mean()) if right.any() else None,
        float(long[~right].mean()) if not right.all() else None,
        len(gaps),
        float(gaps.mean()) if len(gaps) else None,
        None if ends is None else (float(ends[0][0]), float(ends[1][0])),
    )


@dataclass(frozen=True)
class FirstRight:
    """Where a chain first came to the right answer; `first` is None where no line of it did."""

    right: bool  # its stated answer
    first: int | None  # tokens up to the end of that line
    tokens: int


def first_right(stored: Stored) -> Iterator[FirstRight]:
    """Of each whole sample that has a grade, by its lines: the first one from which the right answer would be read.

    A line that has the right number by chance, such as a number of the question, counts too.
    """
    if stored.gold is None:
        return
    for i, verdict in stored.right.items():
        sample, prompt = stored.answer.candidates[i].sample, stored.run.calls[0].prompt
        if sample is None or not sample.text:
            continue
        at = 0
        for line in sample.text.splitlines(keepends=True):
            at += len(line)
            found = find(line, prompt.expects)
            if found is not None and equal(stored.gold, found.value, prompt.expects):
                yield FirstRight(verdict is True, _tokens(sample, at), _tokens(sample, len(sample.text)))
                break
        else:
            yield FirstRight(verdict is True, None, _tokens(sample, len(sample.text)))


def _tokens(sample: Sample, characters: int) -> int:
    """Of the first so many characters; by their share where the tokens' places are not known."""
    if sample.offsets:
        return sum(offset < characters for offset in sample.offsets)
    return round(sample.usage.completion_tokens * characters / len(sample.text))


def efficiency(chains: Sequence[FirstRight]) -> float:
    """Outcome efficiency: the mean share of a chain up to its first right answer, 0 for wrong ones.

    Source: Chen et al. 2024, arXiv:2412.21187, section 2.2.
    """
    shares = [one.first / one.tokens if one.right and one.first is not None and one.tokens else 0.0 for one in chains]
    return sum(shares) / len(shares) if shares else 0.0


def underthinking(chains: Sequence[FirstRight]) -> float | None:
    """Of wrong chains, the mean share behind a right answer that was given up; None without wrong ones.

    Source: Wang et al. 2025, arXiv:2501.18585, equation 2, with lines in place of thoughts.
    """
    wrong = [one for one in chains if not one.right]
    shares = [1 - one.first / one.tokens if one.first is not None and one.tokens else 0.0 for one in wrong]
    return sum(shares) / len(shares) if shares else None


def control(tokens: Floats, low: float, high: float) -> float:
    """The share of samples whose length is in [low, high].

    Source: Muennighoff et al. 2025, arXiv:2501.19393, section 3.2.
    """
    return float(((tokens >= low) & (tokens <= high)).mean())


def scaling(points: Sequence[tuple[float, float]]) -> float | None:
    """The mean slope of accuracy, a token, between all pairs of (mean tokens, accuracy); None for one length.

    Source: Muennighoff et al. 2025, arXiv:2501.19393, section 3.2.
    """
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(sorted(points), 2) if b[0] > a[0]]
    return sum(slopes) / len(slopes) if slopes else None


def performance(points: Sequence[tuple[float, float]]) -> float:
    """The highest accuracy.

    Raises:
        OptionError: no points.
    """
    if not points:
        raise OptionError("there is no run to tell the performance of")
    return max(accuracy for _, accuracy in points)


def histogram(pool: Pool, bins: int = 30) -> tuple[Floats, Floats, Floats]:
    """(edges, right, wrong): counts of samples by length."""
    long, right = lengths(pool), pool.right
    edges = np.histogram_bin_edges(long, bins)
    mine: Bools = right
    return edges, np.histogram(long[mine], edges)[0].astype(float), np.histogram(long[~mine], edges)[0].astype(float)
