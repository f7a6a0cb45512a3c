"""Recorded samples of real models as a Model: the same answers for free, again and again."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

from mullover.backends.checks import seeds_of
from mullover.backends.questions import asked
from mullover.backends.record import Record
from mullover.backends.recording import Recording
from mullover.backends.thinking import THINK
from mullover.backends.words import pieces, shares
from mullover.errors import CapabilityError
from mullover.types import NOTHING, Event, Events, Model, ModelInfo, Prompt, Sample, Sampling, Usage

CAN = frozenset({"temperature", "top_p", "top_k", "min_p"})


class Replay(Model):
    """Says what was recorded: JSONL, plain or gzipped, one line a sample.

    A line has the `id` of its problem and `text` or `completion`; it may have `finish` or
    `finish_reason`, `reasoning`, `error`, `ids`, `logprobs`, counts of tokens (in `usage` or by
    themselves), and the `question` or `problem` for prompts that carry no id. `#converter` names the
    shape of another file (`mullover.backends.converters`).

    Sample i of a call is recorded sample `sampling.first + i` of problem `prompt.origin`, in file
    order, however the problem was put: the recording cannot know which prompt it answered. A line
    without a `role` stands for a solution; to replay judges or critics, record their role.

    Temperature, top_p, top_k and min_p were the recording's and change nothing. Neither does
    `max_tokens`, since a cut would corrupt what was recorded; a sample that was cut then ends by
    length now. `info.can` does not claim it, so that a user's own wish for it is refused.

    If every sample has its completion_tokens, usage counts tokens; else it counts words, as
    `info.unit` says. The first sample of a call pays for the prompt, as recorded or in words.

    Memory: a plain file stays on disk (8 bytes are held a sample); a gzipped or converted one is
    held unpacked, up to 256 MB.

    Raises:
        OptionError: a file that cannot be read, holds no sample, or has a line that is none.
    """

    def __init__(self, path: str | Path, converter: str = "", *, name: str | None = None) -> None:
        self.recording = Recording(path, converter)
        unit = "tokens" if self.recording.counted else "words"
        self.info = ModelInfo(name or f"replay:{path}", CAN, think=THINK, unit=unit)  # type: ignore[arg-type]

    async def stream(self, prompt: Prompt, n: int, sampling: Sampling) -> Events:
        seeds_of(self.info, prompt, n, sampling)
        if sampling.role not in self.recording.roles:
            said = ", ".join(sorted(self.recording.roles))
            raise CapabilityError(f"{self.info.name} cannot {sampling.role}; its samples were recorded to {said}")
        problem, size = self._problem(prompt), len(prompt.text.split())
        paid = False
        for index, record in enumerate(self.recording.records(problem, sampling.first, n)):
            for event in self._events(index, record, size, paid):
                await asyncio.sleep(0)  # let others run and clocks fire
                yield event
            paid = paid or not record.error

    def _problem(self, prompt: Prompt) -> str:
        """The id that the prompt carries, or that of the question it asks."""
        if prompt.origin:
            return prompt.origin
        questions = self.recording.questions
        question = asked(prompt, questions)
        if question is None:
            why = "none of the recorded questions is in it" if questions else "the recording has no questions to match"
            raise CapabilityError(
                f"{self.info.name} cannot tell which recorded problem this is: the prompt has no id, and {why}; "
                f"use a task whose ids are {self.recording.near('')}..."
            )
        return questions[question]

    def _events(self, index: int, record: Record, size: int, paid: bool) -> Iterator[Event]:
        """At most 16 words each, so that a budget can cut inside a sample."""
        if record.error:
            yield Event(index, record.text, record.ids, NOTHING, self._sample(record, NOTHING))
            return
        usage = self._usage(record, size, paid)
        parts = [record.text] if record.ids else pieces(record.text)  # known ids cannot be dealt out to words
        tokens, thoughts = shares(usage.completion_tokens, len(parts)), shares(usage.reasoning_tokens, len(parts))
        last, ids = len(parts) - 1, record.ids
        for at, part in enumerate(parts):
            prompt, cached = (0, 0) if at else (usage.prompt_tokens, usage.cached_tokens)
            cost = usage if not last else Usage(0, prompt, cached, tokens[at], thoughts[at])
            yield Event(index, part, ids, cost, self._sample(record, usage) if at == last else None)

    def _usage(self, record: Record, size: int, paid: bool) -> Usage:
        if self.info.unit == "tokens":
            size = size if record.prompt_tokens is None else record.prompt_tokens
            completion, reasoning = record.completion_tokens or 0, record.reasoning_tokens
        else:
            completion, reasoning = len(record.text.split()), len(record.text[: record.thought].split())
        return Usage(0, 0 if paid else size, size if paid else 0, completion, reasoning)

    def _sample(self, record: Record, usage: Usage) -> Sample:
        return Sample(
            record.text,
            record.finish,
            record.ids,
            record.logprobs,
            thought=record.thought,
            usage=usage,
            error=record.error,
        )
