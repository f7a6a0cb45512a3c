"""Chain of thought: one chain of reasoning, then the answer."""

from contextlib import aclosing

from mullover.prompts import Style, style
from mullover.strategies._chains import Votes, chains
from mullover.types import Answers, Model, Prompt, Sampling


async def chain_of_thought(
    model: Model,
    prompt: Prompt,
    *,
    style: Style = style("step_by_step"),
    sampling: Sampling = Sampling(temperature=0),
) -> Answers:
    """Ask the model to reason before it answers, and read the answer of one chain.

    Args:
        style: `step_by_step`; `two_stage` asks for the answer in a second call; `few_shot` shows
            worked examples; or the path of a text file.
        sampling: greedy unless said otherwise.

    Yields:
        Answer: once. None if the chain states no answer.

    Departures: the paper's few-shot examples are its own; ours are our own words.

    Source: Wei et al. 2022, arXiv:2201.11903 (few_shot); Kojima et al. 2022, arXiv:2205.11916 (the others).
    """
    votes = Votes(prompt.expects)
    async with aclosing(chains(model, prompt, 1, style, sampling)) as ended:
        async for i, sample in ended:
            votes.add(i, sample)
    yield votes.answer()
