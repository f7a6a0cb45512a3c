"""Direct: the model's likeliest answer without reasoning; the baseline of every table."""

from contextlib import aclosing

from mullover.prompts import Style, style
from mullover.strategies._chains import Votes, chains
from mullover.types import Answers, Model, Needs, Prompt, Sampling

NEEDS = Needs(sampling={"temperature": 0}, why="direct is the single likeliest answer; take chain_of_thought to sample")


async def direct(
    model: Model,
    prompt: Prompt,
    *,
    style: Style = style("direct"),
    sampling: Sampling = Sampling(temperature=0, max_tokens=256),
) -> Answers:
    """Ask for the answer alone, decode greedily.

    Args:
        style: how to ask.
        sampling: temperature is 0 whatever it says.

    Yields:
        Answer: once. None if the text states no answer.

    Source: Wei et al. 2022, arXiv:2201.11903, section 3 (standard prompting).
    """
    votes = Votes(prompt.expects)
    async with aclosing(chains(model, prompt, 1, style, sampling)) as ended:
        async for i, sample in ended:
            votes.add(i, sample)
    yield votes.answer()
