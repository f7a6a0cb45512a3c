"""Best-of-N: sample many solutions, keep the one the scorer likes best."""

from contextlib import aclosing
from dataclasses import replace

from mullover.prompts import Style, style
from mullover.strategies._chains import chains, chose, read
from mullover.types import Answers, Candidate, Model, Prompt, Sampling, Scorer


async def best_of_n(
    model: Model,
    prompt: Prompt,
    *,
    scorer: Scorer,
    n: int = 16,
    style: Style = style("step_by_step"),
    sampling: Sampling = Sampling(temperature=0.7),
) -> Answers:
    """Sample n solutions and answer with the one of highest score.

    Args:
        scorer: sees the prompt and the candidates, never the truth.
        n: solutions to sample, at least 1.
        style: how to ask.
        sampling: temperature above 0, or every solution is the same.

    Yields:
        Answer: first the first solution, then the best. A candidate nobody could judge loses to any
            judged one, however low. A tie goes to the earliest.

    Source: Cobbe et al. 2021, arXiv:2110.14168, section 4.2.
    """
    solutions: dict[int, Candidate] = {}
    async with aclosing(chains(model, prompt, n, style, sampling)) as ended:
        async for i, sample in ended:
            found = read(sample, prompt.expects)
            solutions[i] = Candidate.of(sample, value=None if found is None else found.value)
            if len(solutions) == 1:
                yield chose([solutions[i]], 0, solutions[i].value, "not yet scored: the first solution")
    candidates = [solutions[i] for i in sorted(solutions)]
    yield chose([*candidates], 0, candidates[0].value, "not yet scored: the first solution")
    scores = await scorer(prompt, candidates)
    candidates = [replace(c, score=score) for c, score in zip(candidates, scores, strict=True)]
    best = max(range(len(candidates)), key=lambda i: candidates[i].rank)
    score = candidates[best].score
    yield chose(candidates, best, candidates[best].value, f"best of {len(candidates)}: {score and score.value}")
