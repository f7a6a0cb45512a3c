"""Scores written down beforehand, for tests of searches on the toy model."""

from collections.abc import Mapping, Sequence

from mullover.types import Candidate, Prompt, Score, Scorer


def table(values: Mapping[str, float | None]) -> Scorer:
    """The value of the longest listed text that the solution so far begins with; None if none is listed.

    Args:
        values: text -> score, any real number, or None for "could not judge". "" is the value of everything else.
    """

    async def score(prompt: Prompt, candidates: Sequence[Candidate]) -> list[Score]:
        return [look_up(prompt.said + candidate.text) for candidate in candidates]

    def look_up(text: str) -> Score:
        begun = [start for start in values if text.startswith(start)]
        if not begun:
            return Score(None, why="not in the table")
        start = max(begun, key=len)
        return Score(values[start], why=f"begins with {start!r}")

    return score
