"""An enumerable Model: everything about it can be computed exactly, so methods can be tested against truth."""

import asyncio
from collections.abc import Callable, Mapping
from collections.abc import Sequence as Many
from pathlib import Path
from typing import Any

from mullover.backends.checks import check_prompt, seeds_of
from mullover.backends.lines import read_json
from mullover.backends.questions import asked
from mullover.backends.sequence import Request, Sequence
from mullover.backends.signals import signal
from mullover.backends.table import K, Table
from mullover.errors import CapabilityError, OptionError
from mullover.types import Events, Model, ModelInfo, Prompt, Sampling, Usage

CAN = frozenset(
    {
        "temperature", "top_p", "top_k", "min_p", "max_tokens", "stop", "top_logprobs",
        "rules", "signals", "halt", "distinct_first", "segments", "turns", "score",
    }
)  # fmt: skip
STEP = 16  # tokens between two looks at the clock, within one sample

APPLES = Table(
    {
        "5. |The answer is |5": 0.30,  # the single likeliest path is wrong
        "3+2=5, |3+5=8. |The answer is |8": 0.22,
        "Dad has 5; |5+3=8. |The answer is |8": 0.20,
        "I have 3, |he 5. |The answer is |8": 0.18,
        "Hmm": 0.10,
    }
)


class Toy(Model):
    """A model given as a table of reasoning paths with their probabilities.

    It says the same whatever it is asked, unless `questions` has a table for the question: its whole
    text, or the known question that stands last in it. Noise is a function of a sample's seed and a
    token's position. The end token is id 0. Signals are those of `mullover.backends.signals`. The
    prompt costs its words and the tokens of its segments: computed for a call's first sample, read
    from the cache for the others. A rule for the empty text biases the end token. A forced text is
    tokenised as any bare text is; where its next token is impossible, the sample fails.

    Args:
        table: for every question that `questions` does not have; None: there is no other.
        questions: a table for each of some questions.

    Raises:
        OptionError: no table at all.
    """

    def __init__(
        self, table: Table | None = APPLES, questions: Mapping[str, Table] | None = None, *, name: str = "toy"
    ) -> None:
        self.table, self.questions = table, dict(questions or {})
        tables = [*([table] if table else []), *self.questions.values()]
        if not tables:
            raise OptionError("a toy needs at least one table")
        self.info = ModelInfo(name, CAN, think=next((one.think for one in tables if one.think), None))

    async def stream(self, prompt: Prompt, n: int, sampling: Sampling) -> Events:
        seeds = seeds_of(self.info, prompt, n, sampling)
        for name in (*sampling.signals, *([sampling.halt.signal] if sampling.halt else [])):
            signal(name)  # an unknown one is refused before the first token
        table = self.table_of(prompt)
        prefix = _prefix(table, prompt)
        request = Request(table, prefix, prompt.said, sampling)
        size = len(prompt.text.split()) + len(prefix)
        for index, seed in enumerate(seeds):
            paid = Usage(cached_tokens=size) if index else Usage(prompt_tokens=size)
            sequence = Sequence(request, index, seed, paid, request.start)
            event = None
            while event is None or event.sample is None:
                if len(sequence.ids) % STEP == 0:
                    await asyncio.sleep(0)  # let others run and clocks fire
                event = sequence.advance()
                yield event

    async def score(self, prompt: Prompt, texts: Many[str]) -> list[tuple[float, ...]]:
        """Exact; -inf from the first impossible token on, and one -inf for what it cannot spell."""
        check_prompt(self.info, prompt)
        table = self.table_of(prompt)
        prefix, scores = _prefix(table, prompt), list[tuple[float, ...]]()
        for text in texts:
            await asyncio.sleep(0)
            ids = table.spelled(text)
            scores.append((float("-inf"),) if ids is None else table.logprobs(prefix, ids))
        return scores

    def table_of(self, prompt: Prompt) -> Table:
        """Raises CapabilityError if there is none for what `prompt` asks."""
        question = asked(prompt, self.questions) if self.questions else None
        table = self.table if question is None else self.questions[question]
        if table is None:
            raise CapabilityError(f"{self.info.name} has no table for {prompt.question!r}; add one, or one for all")
        return table

    def probabilities(self, answer_of: Callable[[str], K], prompt: Prompt | None = None) -> dict[K, float]:
        """Exactly P(answer): the sum over all paths of the table, or of the one for `prompt`."""
        return self.table_of(prompt or Prompt.of("")).probabilities(answer_of)


def open_toy(path: str | Path = "") -> Toy:
    """A Toy from JSON: {"paths": {"a|b": 0.6, ...}}, {"questions": {question: {"a|b": 0.6, ...}}}, or both.

    An empty path opens the built-in table. Beside "questions", "paths" is for all others.

    Raises:
        OptionError: the file cannot be read, is no such JSON, or a table in it cannot be one.
    """
    if not str(path):
        return Toy()
    data = read_json(path)
    if not isinstance(data, dict) or not ("paths" in data or "questions" in data):
        raise OptionError(f'{path} has no paths; it must be {{"paths": {{"a|b": 0.6}}}} or {{"questions": {{...}}}}')
    if unknown := data.keys() - {"paths", "questions"}:
        raise OptionError(f"{path} has {', '.join(sorted(unknown))}; a toy has paths and questions")
    asked_of = data.get("questions", {})
    if not isinstance(asked_of, dict):
        raise OptionError(f'{path}: "questions" must be an object of questions, each with its paths')
    questions = {question: _table(paths, f"{path}, question {question!r}") for question, paths in asked_of.items()}
    default = _table(data["paths"], f"{path}") if "paths" in data else None
    if default is None and not questions:
        raise OptionError(f"{path} has no paths")
    return Toy(default, questions, name=f"toy:{path}")


def _table(paths: Any, where: str) -> Table:
    if not isinstance(paths, dict):
        raise OptionError(f'{where}: paths must be an object such as {{"a|b": 0.6}}')
    try:
        return Table(paths)
    except OptionError as error:
        raise OptionError(f"{where}: {error}") from None


def _prefix(table: Table, prompt: Prompt) -> tuple[int, ...]:
    """Ids that were sampled are used as they are; only bare text is tokenised."""
    return tuple(i for s in prompt.segments for i in (table.encode(s.text) if s.ids is None else s.ids))
