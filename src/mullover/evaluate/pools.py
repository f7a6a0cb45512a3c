"""What a method would get from k samples of each problem, from one pool of n: pure functions of arrays.

Every curve is an array of [problems, n]: column k - 1 is the chance of being right with k of the n samples, drawn
without putting back and heard in random order, so equal votes and equal scores are split evenly. A problem's curve
is without bias; means over problems and their intervals are `statistics.py`'s.

`groups` says which answer each sample states, [problems, n] int: equal numbers are equal answers, below 0 is none.
`right` says whether it is right, [problems, n] bool.
"""

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

EXACT = 200  # samples up to which a vote's curve is computed, not drawn: its cost grows with n^3
ROWS = 512  # problems worked on together: 512 * 200 floats of 8 bytes, times some nodes, stay in the cache


def pass_curves(right: Bools) -> Floats:
    """pass@k: some sample of k is right. 1 - C(n - c, k) / C(n, k) for c right ones.

    Source: Chen et al. 2021, arXiv:2107.03374, section 2.1.
    """
    n = right.shape[1]
    k = np.arange(1, n + 1)
    c = np.arange(n + 1)[:, None]
    # C(n-c, k) / C(n, k) as a product of factors (n-c-i) / (n-i) for i < k; it stays 0 once a factor is 0
    missed = np.cumprod(np.clip(n - c - (k - 1), 0, None) / (n - k + 1), axis=1)
    curves: Floats = 1.0 - missed[right.sum(axis=1)]
    return curves


def best_curves(scores: Floats, right: Bools) -> Floats:
    """best-of-k: the sample of highest score is right. A score of NaN could not be judged and loses to any other.

    Source: the law of the largest of k drawn without putting back; Cobbe et al. 2021, arXiv:2110.14168, section 4.2.
    """
    n = right.shape[1]
    ranked = np.where(np.isnan(scores), -np.inf, scores)
    order = np.argsort(-ranked, axis=1, kind="stable")
    ranked, hits = np.take_along_axis(ranked, order, 1), np.take_along_axis(right.astype(float), order, 1)
    hits = _mean_of_ties(ranked, hits)
    k, rank = np.arange(1, n + 1), np.arange(n)[:, None]
    log = np.array([math.lgamma(i + 1) for i in range(n + 1)])
    rest = n - 1 - rank - (k - 1)  # those below that rank that are not among the k
    chance = np.where(
        rest >= 0,
        np.exp(log[n - 1 - rank] - log[k - 1] - log[np.clip(rest, 0, None)] - (log[n] - log[k] - log[n - k])),
        0.0,
    )  # [rank, k]: that this rank is the best of k
    curves: Floats = hits @ chance
    return curves


def majority_curves(groups: Ints, right: Bools) -> Floats:
    """maj@k: the answer that most of k samples state is right. Samples without an answer have no vote.

    For each right answer of size c, sum over its votes j: C(c, j) times the coefficient of x^(k-j) in the product over
    other answers h of sum_{i<j} C(h, i) x^i + u C(h, j) x^j, and of (1 + x)^(silent ones), integrated over u in 0..1,
    which gives a tie of t + 1 answers the weight 1 / (t + 1); Gauss and Legendre's nodes make that exact. Answers
    smaller than j cannot reach it and count as silent.

    Raises:
        ValueError: more than `EXACT` samples; draw them then, by `drawn_curves`.
    """
    problems, n = groups.shape
    if n > EXACT:
        raise ValueError(f"{n} samples; a vote's curve is exact up to {EXACT}")
    curves = np.zeros((problems, n))
    total = _binomials(n)[n]
    cases: dict[tuple[int, ...], list[int]] = {}  # (size of a right answer, other sizes) -> whose
    for row in range(problems):
        for case in _cases(groups[row], right[row]):
            cases.setdefault(case, []).append(row)
    by_size: dict[int, list[tuple[int, ...]]] = {}
    for case in cases:
        by_size.setdefault(case[0], []).append(case)
    for size, of_size in by_size.items():
        for start in range(0, len(of_size), ROWS):
            part = of_size[start : start + ROWS]
            wins = _wins(size, [case[1:] for case in part], n) / total[1:]
            for case, win in zip(part, wins, strict=True):
                np.add.at(curves, cases[case], win)  # a row may come twice: two right answers of one size
    return curves


def drawn_curves(
    groups: Ints, right: Bools, weights: Floats | None, orders: int, seed: int = 0
) -> tuple[Floats, Floats]:
    """The vote over the first k of `orders` random orders of each pool: weighted@k, or maj@k without weights.

    Args:
        weights: of each sample's vote, finite and at least 0; None counts votes.

    Returns:
        The curves, and their Monte Carlo variances [problems, n]: of a mean over problems the standard error is
        sqrt(sum of variances) / problems.
    """
    problems, n = groups.shape
    rng = np.random.default_rng(seed)
    means, variances = np.zeros((problems, n)), np.zeros((problems, n))
    for row in range(problems):
        names, which = np.unique(groups[row], return_inverse=True)
        truth = np.zeros(len(names), bool)
        truth[which[right[row]]] = True
        order = rng.permuted(np.tile(np.arange(n), (orders, 1)), axis=1)
        votes = np.zeros((orders, n, len(names)))
        votes[np.arange(orders)[:, None], np.arange(n), which[order]] = 1.0 if weights is None else weights[row][order]
        votes[:, :, names < 0] = 0
        totals = votes.cumsum(axis=1)
        top = totals >= totals.max(axis=2, keepdims=True) * (1 - 1e-12)  # sums of floats in another order
        top &= totals > 0
        hits = (top & truth).sum(axis=2) / np.maximum(1, top.sum(axis=2))
        means[row], variances[row] = hits.mean(axis=0), hits.var(axis=0, ddof=1) / orders if orders > 1 else 0.25
    return means, variances


def _mean_of_ties(ranked: Floats, hits: Floats) -> Floats:
    """Each hit becomes the mean over those of equal rank in its row."""
    begins = np.ones_like(ranked, bool)
    begins[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    block = (begins.cumsum() - 1).reshape(ranked.shape)
    sums, counts = np.bincount(block.ravel(), hits.ravel()), np.bincount(block.ravel())
    means: Floats = (sums / counts)[block]
    return means


def _cases(groups: Ints, right: Bools) -> Iterator[tuple[int, ...]]:
    """(its size, sizes of the others falling) for each right answer."""
    stated = groups >= 0
    names, sizes = np.unique(groups[stated], return_counts=True)
    truth = set(groups[stated & right].tolist())
    known = dict(zip(names.tolist(), sizes.tolist(), strict=True))
    for name in truth:
        yield (known[name], *sorted((size for other, size in known.items() if other != name), reverse=True))


def _wins(size: int, others: list[tuple[int, ...]], n: int) -> Floats:
    """How many of the subsets of each size 1..n an answer of `size` votes wins, ties by their share. [rows, n]"""
    choose = _binomials(n)
    width = max(map(len, others), default=0)
    sizes = np.array([[*row, *[0] * (width - len(row))] for row in others], np.int64).reshape(len(others), width)
    won = np.zeros((len(others), n + 1))
    for j in range(1, size + 1):
        rivals = int((sizes >= j).sum(axis=1).max(initial=0))
        points, shares = _nodes(rivals // 2 + 1)
        points, shares = (points + 1) / 2, shares / 2
        silent = n - size - np.where(sizes >= j, sizes, 0).sum(axis=1)
        ways = np.repeat(choose[silent][:, None, :], len(points), axis=1)  # [rows, nodes, votes of others]
        for rival in range(rivals):
            own = sizes[:, rival]
            terms = choose[own, : j + 1] * (own >= j)[:, None]
            terms[own < j, 0] = 1.0
            grown = ways * terms[:, 0, None, None]
            for i in range(1, j + 1):
                factor = terms[:, i, None, None] * (points[None, :, None] if i == j else 1.0)
                grown[:, :, i:] += factor * ways[:, :, :-i]
            ways = grown
        won[:, j:] += choose[size, j] * (ways * shares[None, :, None]).sum(axis=1)[:, : n + 1 - j]
    return won[:, 1:]


@lru_cache(maxsize=256)
def _nodes(many: int) -> tuple[Floats, Floats]:
    """Gauss and Legendre's, of polynomials up to degree 2 * many - 1."""
    return np.polynomial.legendre.leggauss(many)


def _binomials(n: int) -> Floats:
    """C(m, k) for m, k up to n."""
    table = np.zeros((n + 1, n + 1))
    table[:, 0] = 1.0
    for m in range(1, n + 1):
        table[m, 1:] = table[m - 1, 1:] + table[m - 1, :-1]
    return table
