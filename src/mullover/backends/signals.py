"""Per-token signals of how sure a model is, each a number of the raw distribution of the next token.

All are in nats, of the model at temperature 1 before rules, over its whole vocabulary of V tokens:

- `entropy`: -sum p log p. 0 is certain, log V knows nothing.
- `certainty`: KL(uniform || p) = -(1/V) sum log(V p). 0 knows nothing; higher is surer
  (Kang et al. 2025, arXiv:2502.18581).
- `confidence@k`: -(1/k) sum of the k highest log p. log V knows nothing; higher is surer, since a
  peaked distribution leaves little to the others (Fu et al. 2025, arXiv:2508.15260, with k=20).
  With k above V it is the mean over all V.

Here a token can be impossible, which no softmax ever says; then log p counts as FLOOR, or the latter
two would be infinite.
"""

import math
import re
from collections.abc import Callable, Sequence

from mullover.errors import CapabilityError

FLOOR = -20.0  # nats, about 2e-9; less likely tokens are counted as so likely

Signal = Callable[[Sequence[float], int], float]


def signal(name: str) -> Signal:
    """A function of (log p of the possible tokens, likeliest first; V).

    Raises:
        CapabilityError: no signal of that name.
    """
    if name in _NAMED:
        return _NAMED[name]
    if match := re.fullmatch(r"confidence@([1-9]\d{0,8})", name):
        k = int(match[1])
        return lambda logprobs, size: confidence(logprobs, size, k)
    raise CapabilityError(f"no signal {name!r}; there are entropy, certainty and confidence@k, such as confidence@20")


def entropy(logprobs: Sequence[float], size: int) -> float:
    return -math.fsum(math.exp(logprob) * logprob for logprob in logprobs) + 0.0


def certainty(logprobs: Sequence[float], size: int) -> float:
    return confidence(logprobs, size, size) - math.log(size)


def confidence(logprobs: Sequence[float], size: int, k: int) -> float:
    k = min(k, size)
    known = [max(logprob, FLOOR) for logprob in logprobs[:k]]
    return -math.fsum([*known, FLOOR * (k - len(known))]) / k


_NAMED: dict[str, Signal] = {"entropy": entropy, "certainty": certainty}
