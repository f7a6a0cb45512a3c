"""A scorer from the model itself: how likely it found what it wrote."""

import math
from collections.abc import Sequence

from mullover.types import Candidate, Prompt, Score, Scorer


def likelihood() -> Scorer:
    """The mean log-probability of a candidate's own tokens, under the raw model.

    Returns:
        Scorer: nats per token, at most 0, the end token included. None where the candidate has no sample, the model
            gave no log-probabilities, or one of them is not finite.

    Source: Wang et al. 2022, arXiv:2203.11171, equation 1, before the exponential: the normalised probability by
    which they weigh votes.
    """

    async def score(prompt: Prompt, candidates: Sequence[Candidate]) -> list[Score]:
        return [mean(candidate) for candidate in candidates]

    return score


def mean(candidate: Candidate) -> Score:
    logprobs = candidate.sample.logprobs if candidate.sample is not None else None
    if not logprobs:
        return Score(None, why="the model gave no log-probabilities")
    value = math.fsum(logprobs) / len(logprobs) if all(map(math.isfinite, logprobs)) else math.nan
    if math.isnan(value):
        return Score(None, why="a log-probability is not finite")
    return Score(value, why=f"mean over {len(logprobs)} tokens, nats")
