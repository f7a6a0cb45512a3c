"""Self-consistency: sample many chains of thought, answer with what most of them reach."""

import math
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Literal

from mullover.errors import CapabilityError
from mullover.prompts import Style, style
from mullover.strategies._chains import Votes, chains
from mullover.types import Answers, Model, Prompt, Sample, Sampling

Weights = Literal["equal", "normalized", "unnormalized"]


async def self_consistency(
    model: Model,
    prompt: Prompt,
    *,
    n: int = 16,
    weights: Weights = "equal",
    style: Style = style("step_by_step"),
    sampling: Sampling = Sampling(temperature=0.7),
) -> Answers:
    """Sample n chains of thought and sum over them: the answer of the largest total wins.

    Args:
        n: chains, at least 1. They share one prompt.
        weights: of a chain's vote. `equal` counts chains; `unnormalized` takes P(chain), which long
            chains hardly have; `normalized` takes its geometric mean per token. The last two need logprobs.
        style: how to ask.
        sampling: temperature above 0, or every chain is the same chain.

    Yields:
        Answer: the vote so far, each time a chain ends. None while no chain states an answer; chains
            that state none have no vote. A tie goes to the lowest sample index.

    Source: Wang et al. 2022, arXiv:2203.11171, section 2 and table 1 (the weighted sums).
    """
    if weights != "equal":
        sampling = replace(sampling, top_logprobs=max(1, sampling.top_logprobs))
    votes = Votes(prompt.expects, WEIGH[weights])
    async with aclosing(chains(model, prompt, n, style, sampling)) as ended:
        async for i, sample in ended:
            votes.add(i, sample)
            yield votes.answer()
    if await votes.merge():
        yield votes.answer()


def logprobs(sample: Sample) -> tuple[float, ...]:
    if sample.logprobs is None:
        raise CapabilityError(
            "the votes are weighted by probability, and the model gave no logprobs; take equal weights"
        )
    return sample.logprobs


WEIGH: dict[Weights, Callable[[Sample], float] | None] = {
    "equal": None,
    "unnormalized": lambda sample: math.exp(sum(logprobs(sample))),
    "normalized": lambda sample: math.exp(sum(logprobs(sample)) / max(1, len(logprobs(sample)))),
}
