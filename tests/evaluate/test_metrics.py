"""Estimators against exact values and brute force."""

from collections import Counter
from itertools import combinations

import pytest

from mullover.evaluate.metrics import pass_at, pass_curve, wilson


def test_pass_at_k_has_its_golden_values() -> None:
    golden = {(10, 3, 1): 0.3, (10, 3, 2): 0.5333, (10, 3, 5): 0.9167, (200, 1, 100): 0.5, (5, 5, 3): 1.0}
    assert {case: round(pass_at(*case), 4) for case in golden} == golden


def test_pass_at_k_is_the_mean_over_all_subsets() -> None:
    pool = [True, False, True, False, False, False]
    for k in range(1, 7):
        subsets = list(combinations(pool, k))
        assert pass_at(6, 2, k) == pytest.approx(sum(any(subset) for subset in subsets) / len(subsets))


def test_the_curve_averages_over_problems_up_to_the_smallest_pool() -> None:
    curve = pass_curve(Counter({(4, 2): 1, (3, 0): 1}))
    assert curve == pytest.approx({1: 0.25, 2: (1 - 1 / 6) / 2, 3: 0.5})
    assert pass_curve({}) == {}


def test_wilson_intervals_hold_the_proportion_and_stay_in_bounds() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    low, high = wilson(31, 45)
    assert (round(low, 3), round(high, 3)) == (0.543, 0.805)
    for n in (1, 5, 100):
        for correct in (0, n // 2, n):
            low, high = wilson(correct, n)
            assert 0 <= low <= correct / n <= high <= 1
