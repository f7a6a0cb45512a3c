"""A record read again: the same run, sample by sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from mullover.errors import StoreError
from mullover.running import Mark, Run
from mullover.store.records import VERSION
from mullover.types import (
    NOTHING,
    Answer,
    AnswerSpec,
    Candidate,
    Force,
    Halt,
    Message,
    Prompt,
    Rule,
    Sample,
    Sampling,
    Score,
    Segment,
    Token,
    Usage,
)
from mullover.wrappers import Call


@dataclass(frozen=True, slots=True)
class Stored:
    id: str
    run: Run  # answer, candidates and calls; every sample with its prompt, text, seed and usage
    gold: str | None = None
    correct: bool | None = None
    grades: tuple[bool | None, ...] | None = None  # of each candidate that is a whole sample
    groups: tuple[int | None, ...] | None = None  # of the same: equal numbers are equal answers
    marks: tuple[bool | None, ...] = ()  # of each answer on the run's trail
    error: str = ""
    seconds: float = 0.0
    started: float = 0.0  # since 1970

    @property
    def answer(self) -> Answer:
        return self.run.answer

    @property
    def right(self) -> dict[int, bool | None]:
        """Was candidate i right? None: it could not be judged. Those that were not graded are not in it."""
        return dict(zip(whole(self.answer.candidates), self.grades or (), strict=False))


def whole(candidates: Sequence[Candidate]) -> list[int]:
    """Which of them are whole samples: the ones that are graded beside the answer."""
    return [i for i, c in enumerate(candidates) if c.kind == "sample" and c.sample is not None]


def parse(line: bytes) -> dict[str, Any]:
    """The record as plain JSON.

    Raises:
        StoreError: it is no record, or one of a version that is not known here.
    """
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise StoreError(f"no record: {error}") from error
    if not isinstance(record, dict) or not isinstance(record.get("id"), str):
        raise StoreError("no record: it has no id")
    if record.get("v") != VERSION:
        raise StoreError(f"a record of version {record.get('v')}; this mullover reads version {VERSION}")
    return record


def decode(line: bytes) -> Stored:
    """What `encode` wrote; candidates that came from a recorded sample hold that very sample.

    Raises:
        StoreError: it is no record, or one of a version that is not known here.
    """
    record = parse(line)
    try:
        return _stored(record)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(f"the record of {record['id']} is damaged: {error!r}") from error


def _stored(record: dict[str, Any]) -> Stored:
    reader = _Reader(record)
    calls = tuple([reader.call(call) for call in record.get("calls", ())])
    candidates = tuple([reader.candidate(row, calls) for row in record.get("candidates", ())])
    text = record.get("text", "")
    if "text_at" in record:
        call, sample = record["text_at"]
        text = calls[call].samples[sample].text
    answer = Answer(record.get("answer"), text, candidates, record.get("why", ""), record.get("complete", True))
    clock, grades, groups = record.get("clock", {}), record.get("grades"), record.get("groups")
    trail = record.get("trail", ())
    marks = [
        Mark(row.get("answer"), Usage(**row["usage"], seconds=at))
        for row, at in zip(trail, clock.get("trail", [0.0] * len(trail)), strict=True)
    ]
    return Stored(
        record["id"],
        Run(answer, calls, record.get("oracle", False), tuple(marks)),
        record.get("gold"),
        record.get("correct"),
        None if grades is None else tuple(grades),
        None if groups is None else tuple(groups),
        tuple([row.get("right") for row in trail]),
        record.get("error", ""),
        clock.get("seconds", 0.0),
        clock.get("started", 0.0),
    )


class _Reader:
    """Walks a record in the order it was written, which is the order of its clock."""

    def __init__(self, record: Mapping[str, Any]) -> None:
        self.id, self.model = record["id"], record.get("model", "")
        self.seconds = dict(record.get("clock", {}).get("usages", ()))
        self.usages = 0
        self.segments = [Segment(row[0], tuple(row[1]) if len(row) > 1 else None) for row in record.get("segments", ())]
        self.prompts = [self.prompt(row) for row in record.get("prompts", ())]

    def prompt(self, row: Mapping[str, Any]) -> Prompt:
        expects = row.get("expects", {})
        if "choices" in expects:
            expects = {**expects, "choices": tuple(expects["choices"])}
        messages = tuple([_message(message) for message in row["messages"]])
        return Prompt(messages, (), AnswerSpec(**expects), row.get("origin", self.id))

    def call(self, row: Mapping[str, Any]) -> Call:
        prompt = self.prompts[row["prompt"]]
        if "said" in row:
            prompt = Prompt(
                prompt.messages, tuple([self.segments[i] for i in row["said"]]), prompt.expects, prompt.origin
            )
        usage, rows = self.usage(row), row.get("samples", ())
        samples = tuple([self.sample(sample) for sample in rows])
        seeds = tuple([int(sample["seed"]) for sample in rows if "seed" in sample])
        scores = tuple([self.score(score) for score in row.get("scores", ())])
        return Call(
            row.get("role", "solve"),
            prompt,
            row.get("n", len(samples)),
            _sampling(row, seeds),
            samples,
            usage,
            row.get("model", self.model),
            row.get("error", ""),
            scores,
            seeds,
        )

    def usage(self, row: Mapping[str, Any]) -> Usage:
        spent = row.get("usage")
        if spent is None:
            return NOTHING
        seconds = self.seconds.get(self.usages, 0.0)
        self.usages += 1
        return Usage(**spent, seconds=seconds)

    def sample(self, row: Mapping[str, Any]) -> Sample:
        alternatives, signals = row.get("alternatives"), row.get("signals")
        return Sample(
            row["text"],
            row["finish"],
            tuple(row.get("ids", ())),
            _floats(row.get("logprobs")),
            _floats(row.get("sampling_logprobs")),
            None
            if alternatives is None
            else tuple([tuple([Token(i, text, float(logprob)) for i, text, logprob in some]) for some in alternatives]),
            None if signals is None else {name: tuple(map(float, values)) for name, values in signals.items()},
            tuple(row["offsets"]) if "offsets" in row else None,
            row.get("thought", 0),
            self.usage(row),
            row.get("error", ""),
        )

    def score(self, row: Mapping[str, Any]) -> Score:
        value = row.get("value")
        steps = tuple([None if step is None else float(step) for step in row.get("steps", ())])
        return Score(None if value is None else float(value), steps, row.get("why", ""), self.usage(row))

    def candidate(self, row: Mapping[str, Any], calls: Sequence[Call]) -> Candidate:
        sample = None
        if "at" in row:
            call, i = row["at"]
            sample = calls[call].samples[i]
        elif "sample" in row:
            sample = self.sample(row["sample"])
        return Candidate(
            row["text"] if sample is None else row.get("text", sample.text),
            tuple(row.get("parents", ())),
            row.get("kind", "sample"),
            row.get("status", "open"),
            self.score(row["score"]) if "score" in row else None,
            {name: float(value) for name, value in row.get("numbers", {}).items()},
            sample,
            row.get("value"),
        )


def _message(row: Mapping[str, Any]) -> Message:
    return Message.of(row["role"], row["text"]) if "text" in row else Message(row["role"], tuple(row["parts"]))


def _sampling(row: Mapping[str, Any], drawn: Sequence[int]) -> Sampling | None:
    if "sampling" not in row:
        return None
    fields = dict(row["sampling"])
    for name in ("stop", "signals"):
        if name in fields:
            fields[name] = tuple(fields[name])
    if "rules" in fields:
        fields["rules"] = tuple(map(_rule, fields["rules"]))
    if "halt" in fields:
        signal, below, window = fields["halt"]
        fields["halt"] = Halt(signal, float(below), window)
    seeds = tuple(map(int, row.get("seeds", drawn)))
    return Sampling(**fields, role=row.get("role", "solve"), seeds=seeds, first=row.get("first", 0))


def _rule(row: Sequence[Any] | Mapping[str, Any]) -> Rule | Force:
    if isinstance(row, Mapping):
        return Force(row["force"], row["at"], row["where"])
    text, bias, where, *limits = row
    return Rule(text, float(bias), where, *limits)


def _floats(values: Sequence[float | str] | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(map(float, values))
