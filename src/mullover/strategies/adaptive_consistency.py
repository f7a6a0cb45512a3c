"""Adaptive consistency: sample until the leading answer is unlikely to be overtaken."""

from contextlib import aclosing
from math import comb

from mullover.prompts import Style, style
from mullover.strategies._chains import Votes, chains
from mullover.types import Answers, Model, Prompt, Sampling


async def adaptive_consistency(
    model: Model,
    prompt: Prompt,
    *,
    n: int = 40,
    at_once: int = 4,
    confidence: float = 0.95,
    style: Style = style("step_by_step"),
    sampling: Sampling = Sampling(temperature=0.7),
) -> Answers:
    """Vote after every chain; stop once the leader is `confidence`-sure to beat the runner-up.

    Args:
        n: chains at most.
        at_once: chains in flight together; what still runs at the stop is cancelled, but was paid for.
        confidence: bound on P(p > 1/2) under Beta(leader + 1, runner-up + 1).
        style: how to ask.
        sampling: temperature above 0, or every chain is the same chain.

    Yields:
        Answer: the vote so far. Chains that state no answer do not vote. A tie goes to the lowest index.

    Departures: with `at_once` above 1, chains are heard as they end, so short ones are heard first.

    Source: Aggarwal et al. 2023, arXiv:2305.11860, section 3 (Beta stopping rule).
    """
    votes = Votes(prompt.expects)
    for start in range(0, n, at_once):
        async with aclosing(chains(model, prompt, min(at_once, n - start), style, sampling)) as ended:
            async for i, sample in ended:
                votes.add(start + i, sample)
                yield votes.answer()
                leader, runner_up, *_ = [*votes.sizes(), 0, 0]
                if sure(leader, runner_up) >= confidence:
                    return
    if await votes.merge():
        yield votes.answer()


def sure(leader: int, runner_up: int) -> float:
    """P(p > 1/2) under Beta(leader + 1, runner_up + 1), exactly."""
    flips = leader + runner_up + 1
    return float(sum(comb(flips, j) for j in range(leader + 1)) / 2**flips)  # integers: exact, however many votes
