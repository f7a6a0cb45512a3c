"""Marks a run whose strategy was allowed to see the truth, so that no table takes it for a result."""

from collections.abc import Sequence
from dataclasses import dataclass

from mullover.types import Candidate, Prompt, Score, Scorer


@dataclass(frozen=True, slots=True)
class Oracle:
    """The scores of a scorer that knows the truth, unchanged; `oracle` tells whoever stores or ranks the run.

    It shows what choosing could gain at most. Leaderboards and `auto` refuse it.
    """

    scorer: Scorer
    oracle: bool = True

    async def __call__(self, prompt: Prompt, candidates: Sequence[Candidate]) -> list[Score]:
        return await self.scorer(prompt, candidates)
