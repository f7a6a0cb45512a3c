"""From the model's next-token distribution to the one that is sampled from, and a draw from it."""

import math
from collections.abc import Mapping

from mullover.types import Sampling

_SLACK = 1e-12  # 0.3 + 0.22 >= 0.52 must hold for floats too


def distribution(row: Mapping[int, float], sampling: Sampling, bias: Mapping[int, float]) -> dict[int, float]:
    """P of each token that can be drawn, most likely first; a tie keeps the order of `row`.

    Biases (nats) come first, then temperature, top_k, top_p and min_p, each on what the one before it
    left. top_p keeps the fewest most likely tokens whose mass reaches it; min_p those at least so
    likely as that share of the likeliest. Temperature 0 leaves the likeliest token alone.

    Args:
        row: P(token), each above 0, most likely first.
        bias: added to a token's log-probability; -inf forbids it.

    Returns:
        dict: empty if every token is forbidden.
    """
    if not bias and sampling.temperature == 1 and sampling.top_p == 1 and not sampling.top_k and not sampling.min_p:
        return dict(row)
    ranked = biased(row, bias)
    if not ranked:
        return {}
    peak = ranked[0][1]
    if sampling.temperature == 0:
        return {ranked[0][0]: 1.0}
    if sampling.top_k:
        ranked = ranked[: sampling.top_k]
    weights = {i: math.exp((logit - peak) / sampling.temperature) for i, logit in ranked}
    kept = _truncated(weights, sampling)
    total = math.fsum(kept.values())
    return {i: weight / total for i, weight in kept.items() if weight > 0}


def biased(row: Mapping[int, float], bias: Mapping[int, float]) -> list[tuple[int, float]]:
    """(token, biased log-probability) of each token that is not forbidden, likeliest first; ties as in `row`."""
    logits = [(i, math.log(p) + bias.get(i, 0.0)) for i, p in row.items()]
    return sorted([one for one in logits if one[1] > -math.inf], key=lambda one: -one[1])


def pick(chances: dict[int, float], u: float) -> int:
    """The token at quantile u, in [0, 1), of a distribution."""
    below = 0.0
    for token, p in chances.items():
        below += p
        if u < below:
            return token
    return next(reversed(chances))  # rounding: the chances sum to a little less than 1


def _truncated(weights: Mapping[int, float], sampling: Sampling) -> Mapping[int, float]:
    if sampling.top_p < 1:
        enough, mass = sampling.top_p * math.fsum(weights.values()) - _SLACK, 0.0
        kept: dict[int, float] = {}
        for i, weight in weights.items():
            kept[i] = weight
            mass += weight
            if mass >= enough:
                break
        weights = kept
    if sampling.min_p > 0:
        least = sampling.min_p * max(weights.values()) - _SLACK
        weights = {i: weight for i, weight in weights.items() if weight >= least}
    return weights
