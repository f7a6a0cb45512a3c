"""Estimators over graded problems. Pure functions of counts."""

import math
from collections.abc import Mapping

Z95 = 1.959963984540054  # the 97.5 % quantile of the standard normal distribution


def wilson(correct: int, total: int) -> tuple[float, float]:
    """The 95 % score interval of a proportion; (0, 1) where nothing was measured.

    Source: Wilson 1927, doi:10.1080/01621459.1927.10502953.
    """
    if total == 0:
        return 0.0, 1.0
    p, z2 = correct / total, Z95 * Z95
    centre = (p + z2 / (2 * total)) / (1 + z2 / total)
    half = Z95 * math.sqrt(p * (1 - p) / total + z2 / (4 * total * total)) / (1 + z2 / total)
    return (centre - half if correct else 0.0), (centre + half if correct < total else 1.0)  # both are exact there


def pass_at(n: int, correct: int, k: int) -> float:
    """The chance that k of n samples, drawn without putting back, hold one of the `correct` right ones.

    1 - C(n - c, k) / C(n, k), without bias; needs k <= n.

    Source: Chen et al. 2021, arXiv:2107.03374, section 2.1.
    """
    return 1.0 - math.comb(n - correct, k) / math.comb(n, k)


def pass_curve(pools: Mapping[tuple[int, int], int]) -> dict[int, float]:
    """Mean pass@k for the usual k up to the smallest pool; `pools` counts problems by (samples, right ones)."""
    least, problems = min((n for n, _ in pools), default=0), sum(pools.values())
    ks = [k for k in (1, 2, 4, 5, 8, 10, 16, 20, 32, 40, 50, 64, 100, 128, 200, 256, 500, 512, 1000) if k < least]
    if least:
        ks.append(least)
    return {k: math.fsum(many * pass_at(n, c, k) for (n, c), many in pools.items()) / problems for k in ks}
