"""A model as judge: asked for a mark from 0 to 10. Its words are in judge.txt."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

from mullover.aio import settled
from mullover.errors import ModelError
from mullover.scorers.exact import said
from mullover.types import Candidate, Model, Prompt, Sample, Sampling, Score

VERDICT = re.compile(r"\W*VERDICT:\W*(10|[0-9])(?:\s*/\s*10)?\W*")  # a whole line; stars and dots around it are fine
GREEDY = Sampling(temperature=0, max_tokens=2048)


@dataclass(frozen=True, slots=True)
class Judge:
    """Marks / 10, so from 0.0 to 1.0.

    None where the judge failed, was cut off or gave no mark on its last line: that is not a bad mark. None too where
    there is nothing to judge. Pictures and other parts of the prompt that are no text are not shown to the judge.

    Source: single-answer grading of Zheng et al. 2023, arXiv:2306.05685, section 3.1; the delimiters are ours.
    """

    model: Model
    sampling: Sampling = GREEDY

    async def __call__(self, prompt: Prompt, candidates: Sequence[Candidate]) -> list[Score]:
        sampling = replace(self.sampling, role="judge")
        solutions = [said(prompt, candidate).strip() for candidate in candidates]
        asks = [Prompt.of(asked(prompt.text, solution)) for solution in solutions if solution]
        replies = iter(await settled(*(self.model.sample(ask, 1, sampling) for ask in asks)))
        return [mark(next(replies)) if solution else Score(None, why="nothing to judge") for solution in solutions]


def asked(question: str, solution: str) -> str:
    """The judge's prompt. A solution cannot forge the delimiters: they hold a hash of itself."""
    nonce = blake2b(f"{question}\0{solution}".encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return template().format(nonce=nonce, question=question, solution=solution)


@lru_cache(maxsize=1)
def template() -> str:
    return Path(__file__).with_name("judge.txt").read_text(encoding="utf-8").strip()


def mark(reply: list[Sample] | Exception) -> Score:
    """Only the last line counts, so a verdict that the judge quotes from the solution does not.

    Raises:
        Exception: whatever went wrong, unless it is the model that failed.
    """
    if isinstance(reply, ModelError):
        return Score(None, why=f"the judge failed: {reply}")
    if isinstance(reply, Exception):
        raise reply
    sample = reply[0]
    found = VERDICT.fullmatch(sample.answer.rstrip().rpartition("\n")[2])
    if found is None or sample.finish == "length":
        return Score(None, why=f"no mark: {sample.answer}")
    return Score(int(found[1]) / 10, why=sample.answer)
