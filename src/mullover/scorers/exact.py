"""Scores by the answer's value. The truth is bound here and nowhere else."""

from collections.abc import Sequence

from mullover.answers import equivalent, find, key
from mullover.errors import OptionError
from mullover.types import AnswerSpec, Candidate, Prompt, Score, Scorer

SHOWN = 100  # characters of an answer in a score's `why`


def exact(truth: str | Sequence[str], spec: AnswerSpec) -> Scorer:
    """Grades in evaluation and rewards in training; for choosing it exists only inside `Oracle`.

    Args:
        truth: the gold answer, or every answer that counts as right.
        spec: the kind of answer. For kind `math` two answers may be equal by math-verify though their keys differ.

    Returns:
        Scorer: 1.0 if the stated answer equals a truth, 0.0 if it differs from all, None if none is stated.
            Equal answers are compared once per closure, however many candidates state them.

    Raises:
        OptionError: no truth is given.
    """
    golds = (truth,) if isinstance(truth, str) else tuple(truth)
    if not golds:
        raise OptionError("no truth to compare with; give at least one right answer")
    verdicts = {key(gold, spec): True for gold in golds}

    async def score(prompt: Prompt, candidates: Sequence[Candidate]) -> list[Score]:
        return [await judge(stated(prompt, candidate, spec)) for candidate in candidates]

    async def judge(value: str | None) -> Score:
        if value is None:
            return Score(None, why="no answer stated")
        name = key(value, spec)
        if name not in verdicts:
            verdicts[name] = await right(value)
        return Score(float(verdicts[name]), why=f"{value[:SHOWN]} against {golds[0][:SHOWN]}")

    async def right(value: str) -> bool:
        for gold in golds:
            if await equivalent(gold, value, spec):
                return True
        return False

    return score


def stated(prompt: Prompt, candidate: Candidate, spec: AnswerSpec) -> str | None:
    """The answer a candidate states: its own `value`, or the one found in what it says after its reasoning.

    None where it states none; what a cut by length left unfinished is not taken for an answer.
    """
    if candidate.value is not None:
        return candidate.value
    cut = candidate.sample is not None and candidate.sample.finish == "length"
    found = find(said(prompt, candidate), spec, truncated=cut)
    return None if found is None else found.value


def said(prompt: Prompt, candidate: Candidate) -> str:
    """The assistant's turn up to the end of the candidate, without the candidate's reasoning."""
    sample = candidate.sample
    own = sample.answer if sample is not None and sample.text == candidate.text else candidate.text
    return prompt.said + own
