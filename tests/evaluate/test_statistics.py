"""Intervals, paired tests, corrections and power: against scipy, statsmodels, and simulation."""

import math

import numpy as np
import pytest

from mullover.evaluate.metrics import wilson
from mullover.evaluate.statistics import holm, interval, mcnemar, resampled, two_sided, visible


def test_wilson_is_statsmodels() -> None:
    statsmodels = pytest.importorskip("statsmodels.stats.proportion")
    for correct, total in [(0, 10), (1, 7), (56, 400), (399, 400), (10, 10)]:
        assert wilson(correct, total) == pytest.approx(
            statsmodels.proportion_confint(correct, total, method="wilson"), abs=1e-12
        )
    assert wilson(0, 0) == (0.0, 1.0)


def test_mcnemar_is_statsmodels_and_scipys_binomial_test() -> None:
    tables, stats = pytest.importorskip("statsmodels.stats.contingency_tables"), pytest.importorskip("scipy.stats")
    for b, c in [(0, 0), (0, 5), (3, 9), (20, 21), (150, 90)]:
        assert mcnemar(b, c) == pytest.approx(tables.mcnemar([[7, b], [c, 9]], exact=True).pvalue)
        if b + c:
            assert mcnemar(b, c) == pytest.approx(stats.binomtest(b, b + c).pvalue)
    assert mcnemar(0, 0) == 1.0 and mcnemar(6000, 6000) == 1.0


def test_holm_is_statsmodels() -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    values = [0.01, 0.04, 0.03, 0.005, 0.5]
    adjusted = holm({str(i): p for i, p in enumerate(values)})
    assert [adjusted[str(i)] for i in range(5)] == pytest.approx(multitest.multipletests(values, method="holm")[1])
    assert holm({}) == {}


def test_the_bootstrap_is_scipys() -> None:
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(0).random(200) ** 2
    ours = interval(resampled(values[:, None], resamples=20_000))
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    assert (ours[0][0], ours[1][0]) == pytest.approx((theirs.low, theirs.high), abs=1e-3)


def test_intervals_cover_19_in_20() -> None:
    """10,000 experiments of 100, 200 and 400 problems with an accuracy anywhere in .1 to .9."""
    rng = np.random.default_rng(5)
    for n in (100, 200, 400):
        p = rng.uniform(0.1, 0.9, 10_000)
        correct = rng.binomial(n, p)
        spans = {c: wilson(c, n) for c in range(n + 1)}
        covered = np.mean([spans[c][0] <= q <= spans[c][1] for c, q in zip(correct.tolist(), p, strict=True)])
        assert abs(covered - 0.95) < 0.01
        # the bootstrap of a proportion is a binomial law, so its interval can be looked up instead of drawn
        table = {c: np.quantile(rng.binomial(n, c / n, 4000) / n, (0.025, 0.975)) for c in set(correct.tolist())}
        covered = np.mean([table[c][0] <= q <= table[c][1] for c, q in zip(correct.tolist(), p, strict=True)])
        assert abs(covered - 0.95) < 0.01


def test_intervals_of_paired_differences_cover_19_in_20() -> None:
    rng, n, hits = np.random.default_rng(6), 100, []
    for _ in range(10_000):
        hard, gain = rng.uniform(0.2, 0.8), rng.uniform(-0.1, 0.1)
        level = rng.beta(4 * hard, 4 * (1 - hard), n)  # problems differ in how hard they are
        first, second = rng.random(n) < level, rng.random(n) < np.clip(level + gain, 0, 1)
        true = np.mean(np.clip(level + gain, 0, 1) - level)
        low, high = interval(resampled((second * 1.0 - first)[:, None], resamples=200, seed=int(rng.integers(1 << 30))))
        hits.append(low[0] <= true <= high[0])
    assert abs(np.mean(hits) - 0.95) < 0.02  # given these problems it is a little wide: their levels do not vary


def test_whole_clusters_are_drawn() -> None:
    values = np.repeat(np.random.default_rng(2).random(50) < 0.5, 8)[:, None] * 1.0
    clusters = np.repeat(np.arange(50), 8).tolist()
    alone, together = resampled(values), resampled(values, clusters=clusters)
    assert together.std() / alone.std() == pytest.approx(math.sqrt(8), rel=0.1)
    same = resampled(values, clusters=range(400))
    assert same == pytest.approx(alone)


def test_columns_stay_paired() -> None:
    values = np.random.default_rng(3).random((60, 1))
    means = resampled(np.hstack([values, values - 0.1]))
    assert means[:, 0] - means[:, 1] == pytest.approx(0.1)


def test_one_problem_has_an_honest_interval_only_by_wilson_and_none_is_an_error() -> None:
    assert wilson(1, 1)[0] < 0.25
    with pytest.raises(ValueError, match="no problems"):
        resampled(np.zeros((0, 2)))


def test_p_values_of_resampled_differences() -> None:
    means = np.linspace(-1, 1, 2001)[:, None]
    assert two_sided(means)[0] == 1.0
    assert two_sided(np.abs(means) + 0.1)[0] == pytest.approx(2 / 2002)
    assert two_sided(np.zeros((100, 1)))[0] == 1.0


def test_what_can_be_seen_is_seen_with_the_power_it_names() -> None:
    """200 problems, of which 92 in 1,000 differ: 6 points."""
    least = visible(200, 0.092)
    assert least is not None and least == pytest.approx(0.06, abs=0.002)
    rng = np.random.default_rng(4)
    draws = rng.multinomial(200, [(0.092 + least) / 2, (0.092 - least) / 2, 1 - 0.092], 4000)
    z = (draws[:, 0] - draws[:, 1]) / np.sqrt(np.maximum(1, draws[:, 0] + draws[:, 1]))
    assert np.mean(np.abs(z) > 1.96) == pytest.approx(0.8, abs=0.05)  # a normal approximation
    assert visible(10, 0.05) is None and visible(100, 0.0) is None and visible(0, 0.5) is None
