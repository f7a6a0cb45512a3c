"""What sampling methods would get from 1 to n samples of a pool, with intervals: nothing is drawn again."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mullover.evaluate.pools import EXACT, best_curves, drawn_curves, majority_curves, pass_curves
from mullover.evaluate.results import Floats, Pool
from mullover.evaluate.statistics import RESAMPLES, interval, resampled

DRAWS = 20_000  # random orders in all, where a curve has no closed form
LEAST = 8  # of them a problem
SHOWN = (1, 2, 4, 5, 8, 10, 16, 20, 32, 40, 50, 64, 100, 128, 200, 256, 400, 500, 512, 1000)


@dataclass(frozen=True)
class Curve:
    """Column k - 1 of each array is for k samples; shares of problems."""

    name: str
    what: str
    mean: Floats
    low: Floats  # of the 95 % interval, by a bootstrap of problems
    high: Floats
    error: Floats  # standard error of the Monte Carlo, 0 where the curve is exact
    each: Floats  # [problems, n]


def pool_curves(
    pool: Pool, *, resamples: int = RESAMPLES, seed: int = 0, clusters: Sequence[object] | None = None
) -> list[Curve]:
    """pass@k and maj@k; best-of-k and the vote weighted by score where there are scores; by probability where known.

    Votes are exact up to 200 samples, weighted ones are means over random orders. Scores below 0 are no weights.
    """
    problems, n = pool.groups.shape
    zero, orders = np.zeros((problems, n)), max(LEAST, DRAWS // problems)
    found: list[tuple[str, str, Floats, Floats]] = [("pass", "some sample is right", pass_curves(pool.right), zero)]
    if n <= EXACT:
        found.append(("majority", "the commonest answer is right", majority_curves(pool.groups, pool.right), zero))
    else:
        drawn = drawn_curves(pool.groups, pool.right, None, orders, seed)
        found.append(("majority", "the commonest answer is right", *drawn))
    for name, weights in (("score", pool.scores), ("probability", pool.sure)):
        if weights is None:
            continue
        if name == "score":
            found.append(("best", "the sample of highest score is right", best_curves(weights, pool.right), zero))
        known = np.nan_to_num(weights, nan=0.0)
        if (known >= 0).all():
            drawn = drawn_curves(pool.groups, pool.right, known, orders, seed)
            found.append((f"weighted by {name}", f"the answer of most {name} is right", *drawn))
    means = resampled(np.hstack([each for _, _, each, _ in found]), resamples=resamples, seed=seed, clusters=clusters)
    low, high = interval(means)
    made = []
    for i, (name, what, each, variance) in enumerate(found):
        own, error = slice(i * n, (i + 1) * n), np.sqrt(variance.sum(axis=0)) / problems
        made.append(Curve(name, what, each.mean(axis=0), low[own], high[own], error, each))
    return made


def spent_tokens(pool: Pool) -> Floats:
    """Mean tokens a problem for k samples, [n]: what was computed of the prompt for the first k, and k mean samples."""
    each: Floats = pool.prompt.mean(axis=0).cumsum() + pool.tokens.mean() * np.arange(1, pool.n + 1)
    return each


def shown(n: int) -> list[int]:
    """The usual numbers of samples up to n, and n."""
    return [*(k for k in SHOWN if k < n), n]
