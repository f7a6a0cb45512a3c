"""Curves over k samples from one pool, against counting every subset."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mullover.evaluate.pools import best_curves, drawn_curves, majority_curves, pass_curves

POOLS = st.lists(st.tuples(st.integers(-1, 3), st.booleans(), st.integers(0, 3)), min_size=1, max_size=8)


def arrays(pool: list[tuple[int, bool, int]]) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.float64]]:
    """One problem; what is right depends on the answer alone, and no answer is never right."""
    groups, marks, scores = zip(*pool, strict=True)
    truth = {group for group, mark in zip(groups, marks, strict=True) if mark and group >= 0}
    return np.array([groups]), np.array([[group in truth for group in groups]]), np.array([scores], float)


def share(tops: list[bool]) -> float:
    return sum(tops) / len(tops) if tops else 0.0


@given(POOLS)
@settings(max_examples=60, deadline=None)
def test_curves_are_means_over_all_subsets(pool: list[tuple[int, bool, int]]) -> None:
    groups, right, scores = arrays(pool)
    n = len(pool)
    votes, hits, best = (np.zeros(n) for _ in range(3))
    for k in range(1, n + 1):
        subsets = list(itertools.combinations(range(n), k))
        for subset in subsets:
            stated = [groups[0, i] for i in subset if groups[0, i] >= 0]
            most = max((stated.count(a) for a in stated), default=0)
            winners = [right[0][groups[0] == a][0] for a in set(stated) if stated.count(a) == most]
            votes[k - 1] += share(winners) / len(subsets)
            hits[k - 1] += any(right[0, i] for i in subset) / len(subsets)
            high = max(scores[0, i] for i in subset)
            best[k - 1] += share([right[0, i] for i in subset if scores[0, i] == high]) / len(subsets)
    assert majority_curves(groups, right)[0] == pytest.approx(votes)
    assert pass_curves(right)[0] == pytest.approx(hits)
    assert best_curves(scores, right)[0] == pytest.approx(best)


def test_golden_values() -> None:
    ten = np.array([[True] * 3 + [False] * 7])
    assert pass_curves(ten)[0, [0, 1, 4]] == pytest.approx([0.3, 8 / 15, 11 / 12])
    half = np.zeros((1, 200), bool)
    half[0, 0] = True
    assert pass_curves(half)[0, 99] == pytest.approx(0.5)


def test_a_vote_of_two_answers_is_the_hypergeometric_law() -> None:
    n, c = 100, 60
    groups = np.array([[0] * c + [1] * (n - c)])
    curve = majority_curves(groups, groups == 0)[0]
    for k in (1, 2, 5, 41, 100):
        law = [math.comb(c, j) * math.comb(n - c, k - j) / math.comb(n, k) for j in range(k + 1)]
        assert curve[k - 1] == pytest.approx(
            sum(p for j, p in enumerate(law) if 2 * j > k) + law[k // 2] / 2 * (k % 2 == 0)
        )


def test_drawn_votes_agree_with_the_exact_ones_within_their_error() -> None:
    rng = np.random.default_rng(1)
    groups = rng.integers(-1, 4, (40, 20))
    right = groups == 2
    means, variances = drawn_curves(groups, right, None, orders=400, seed=3)
    error = np.sqrt(variances.sum(axis=0)) / len(groups)
    apart = np.abs((means - majority_curves(groups, right)).mean(axis=0))
    assert (apart[:-1] < 4 * error[:-1] + 1e-12).all()
    assert apart[-1] < 1e-12 and (error[:-1] > 0).all()


def test_weights_decide_a_weighted_vote() -> None:
    groups, right = np.array([[0, 1, 1, -1]]), np.array([[True, False, False, False]])
    weights = np.array([[0.9, 0.3, 0.3, 9.0]])
    assert drawn_curves(groups, right, weights, orders=50)[0][0, -1] == 1.0
    assert drawn_curves(groups, right, None, orders=50)[0][0, -1] == 0.0


def test_what_nobody_could_judge_loses_to_what_was_judged_however_low() -> None:
    scores, right = np.array([[math.nan, -1e9]]), np.array([[True, False]])
    assert best_curves(scores, right)[0] == pytest.approx([0.5, 0.0])


def test_a_pool_too_large_for_exact_votes_says_so() -> None:
    with pytest.raises(ValueError, match="exact up to 200"):
        majority_curves(np.zeros((1, 201), int), np.ones((1, 201), bool))


def test_equal_votes_of_two_right_answers_count_both() -> None:
    groups = np.array([[0, 1, 2, -1]])
    curve = majority_curves(groups, np.array([[True, True, False, False]]))[0]
    assert curve[-1] == pytest.approx(2 / 3)
