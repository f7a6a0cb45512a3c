"""A finished problem as one line of JSON.

A field that has its default is left out. What repeats is written once: prompts and segments stand in
tables that calls point into, and a candidate or an answer points at the sample it was read from.
Every number of seconds is under `clock`, so that two runs can be compared without it.

`stored.py` reads it, `canonical.py` compares it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from math import fsum
from typing import Any

import orjson

from mullover.running import Mark, Run
from mullover.seeds import changed
from mullover.store.plain import all_in_words, in_words, plain
from mullover.types import NOTHING, Candidate, Force, Message, Prompt, Rule, Sample, Sampling, Score, Segment, Usage
from mullover.wrappers import Call

VERSION = 1
COUNTS = (
    "calls", "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "retries", "partial",
    "sandbox_runs",
)  # fmt: skip
MEASURES = ("flops", "money")


def encode(
    problem_id: str,
    run: Run,
    *,
    gold: str | None,
    correct: bool | None,
    grades: Sequence[bool | None] | None,
    groups: Sequence[int | None] | None = None,
    marks: Sequence[bool | None] = (),
    seconds: float,
    started: float,
    error: str = "",
) -> bytes:
    """One line, newline included, that `decode` turns into an equal run.

    Args:
        gold: the right answer, where there is one.
        correct: None where the answer could not be judged.
        grades: of each candidate that is a whole sample (`whole` of stored.py), in order; None: could not be judged.
        groups: of the same candidates: which of the different answers it states, from 0 in the order of the samples;
            None: it states none. Equal answers have equal numbers, so that nobody has to compare them again.
        marks: was each answer on the run's trail right?
        seconds: from the problem's start to its end, on the wall clock.
        started: seconds since 1970.
        error: why the problem failed; such a record does not count as done.

    Lone surrogates, which no JSON reader takes, become U+FFFD one for one, so that offsets still fit.
    What else JSON has no word for (bytes, unknown objects in message parts) is written as text.
    """
    writer = _Writer(problem_id, run.calls[0].model if run.calls else "")
    answer = run.answer
    record: dict[str, Any] = {"v": VERSION, "id": problem_id}
    if answer.value is not None:
        record["answer"] = answer.value
    if correct is not None:
        record["correct"] = correct
    if gold is not None:
        record["gold"] = gold
    calls = [writer.call(call) for call in run.calls]
    writer.look_up(run.calls)
    if answer.text:
        at = writer.first.get(answer.text)
        record["text" if at is None else "text_at"] = answer.text if at is None else at
    if answer.why:
        record["why"] = answer.why
    if not answer.complete:
        record["complete"] = False
    if run.oracle:
        record["oracle"] = True
    if error:
        record["error"] = error
    if run.calls:
        record |= {"usage": by_role(run.calls), "model": writer.model, "prompts": writer.prompts}
        if writer.segments:
            record["segments"] = writer.segments
        record["calls"] = calls
    if answer.candidates:
        record["candidates"] = [writer.candidate(candidate) for candidate in answer.candidates]
    if grades is not None:
        record["grades"] = grades
    if groups is not None:
        record["groups"] = groups
    if run.trail:
        record["trail"] = [_mark(mark, right) for mark, right in zip_longest(run.trail, marks[: len(run.trail)])]
    record["clock"] = {"started": started, "seconds": seconds}
    if run.trail:
        record["clock"]["trail"] = [mark.spent.seconds for mark in run.trail]
    if writer.seconds:
        record["clock"]["usages"] = writer.seconds
        record["clock"]["roles"] = {role: usage.seconds for role, usage in run.usage.items()}
    try:
        return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # rare: something in it that JSON cannot say
        return orjson.dumps(plain(record), option=orjson.OPT_APPEND_NEWLINE)


def by_role(calls: Sequence[Call]) -> dict[str, dict[str, float]]:
    """What each role has cost, without seconds; sums do not depend on the order of the calls."""
    roles: dict[str, list[Usage]] = {}
    for call in calls:
        roles.setdefault(call.role, []).append(call.usage)
    return {role: _sum(usages) for role, usages in roles.items()}


def _sum(usages: list[Usage]) -> dict[str, float]:
    if len(usages) == 1:
        return _counts(usages[0])
    sums: dict[str, float] = {name: sum([getattr(usage, name) for usage in usages]) for name in COUNTS}
    sums |= {name: fsum([getattr(usage, name) for usage in usages]) for name in MEASURES}
    return {name: value for name, value in sums.items() if value}


class _Writer:
    """What one record has in common: its tables, its clock, and where each sample stands."""

    def __init__(self, origin: str, model: str) -> None:
        self.origin, self.model = origin, model
        self.prompts: list[dict[str, Any]] = []
        self.segments: list[list[Any]] = []
        self.seconds: list[list[Any]] = []  # (which usage, seconds) of those that took any
        self.first: dict[str, tuple[int, int]] = {}  # text -> the first sample that says it
        self._usages = 0
        self._at: dict[tuple[int, int, str], int] = {}
        self._prompts: dict[str, int] = {}
        self._segments: dict[Segment, int] = {}
        self.places: dict[int, tuple[int, int] | None] = {}  # id of a sample -> its call, and its place in it

    def call(self, call: Call) -> dict[str, Any]:
        out: dict[str, Any] = {"prompt": self.prompt(call.prompt)}
        sampling, samples = call.sampling, call.samples
        if call.role != "solve":
            out["role"] = call.role
        if call.model != self.model:
            out["model"] = call.model
        if call.prompt.segments:
            out["said"] = [self.segment(segment) for segment in call.prompt.segments]
        if call.n != len(samples):
            out["n"] = call.n
        if sampling is not None:
            out["sampling"] = _sampling(sampling)
            if sampling.first:
                out["first"] = sampling.first
            if sampling.seeds != call.seeds:  # it was cut short, or some did not end
                out["seeds"] = sampling.seeds
        if call.usage is not NOTHING:
            out["usage"] = self.usage(call.usage)
        if samples:
            out["samples"] = rows = [self.sample(sample) for sample in samples]
            for row, seed in zip(rows, call.seeds, strict=False):
                row["seed"] = seed
        if call.error:
            out["error"] = call.error
        if call.scores:
            out["scores"] = [self.score(score) for score in call.scores]
        return out

    def prompt(self, prompt: Prompt) -> int:
        """Its place in the table; the same messages are looked at only once."""
        key = (id(prompt.messages), id(prompt.expects), prompt.origin)
        at = self._at.get(key)
        if at is None:
            row: dict[str, Any] = {"messages": [_message(message) for message in prompt.messages]}
            if expects := changed(prompt.expects):
                row["expects"] = expects
            if prompt.origin != self.origin:
                row["origin"] = prompt.origin
            at = self._at[key] = self._prompts.setdefault(repr(row), len(self.prompts))
            if at == len(self.prompts):
                self.prompts.append(row)
        return at

    def segment(self, segment: Segment) -> int:
        at = self._segments.setdefault(segment, len(self.segments))
        if at == len(self.segments):
            self.segments.append([segment.text] if segment.ids is None else [segment.text, segment.ids])
        return at

    def usage(self, usage: Usage) -> dict[str, float]:
        if usage.seconds:
            self.seconds.append([self._usages, usage.seconds])
        self._usages += 1
        return _counts(usage)

    def sample(self, sample: Sample) -> dict[str, Any]:
        out: dict[str, Any] = {"text": sample.text, "finish": sample.finish}
        if sample.usage is not NOTHING:
            out["usage"] = self.usage(sample.usage)
        if sample.thought:
            out["thought"] = sample.thought
        if sample.error:
            out["error"] = sample.error
        if sample.ids:
            out["ids"] = sample.ids
        if sample.logprobs is not None:
            out["logprobs"] = all_in_words(sample.logprobs)
        if sample.sampling_logprobs is not None:
            out["sampling_logprobs"] = all_in_words(sample.sampling_logprobs)
        if sample.alternatives is not None:
            out["alternatives"] = [[[t.id, t.text, in_words(t.logprob)] for t in some] for some in sample.alternatives]
        if sample.signals is not None:
            out["signals"] = {name: all_in_words(values) for name, values in sample.signals.items()}
        if sample.offsets is not None:
            out["offsets"] = sample.offsets
        return out

    def score(self, score: Score) -> dict[str, Any]:
        out: dict[str, Any] = {}
        if score.value is not None:
            out["value"] = in_words(score.value)
        if score.steps:
            out["steps"] = [None if step is None else in_words(step) for step in score.steps]
        if score.why:
            out["why"] = score.why
        if score.usage is not NOTHING:
            out["usage"] = self.usage(score.usage)
        return out

    def look_up(self, calls: Sequence[Call]) -> None:
        """Remember where each sample stands, for what points at it."""
        for c, call in enumerate(calls):
            for s, sample in enumerate(call.samples):
                at = (c, s)
                known = self.places.setdefault(id(sample), at)
                if known is not at and known is not None and known[0] != c:
                    self.places[id(sample)] = (
                        None  # one object in two calls: which is meant would depend on their order
                    )
                self.first.setdefault(sample.text, at)

    def candidate(self, candidate: Candidate) -> dict[str, Any]:
        out: dict[str, Any] = {}
        sample = candidate.sample
        if sample is not None:
            at = self.places.get(id(sample))
            out["sample" if at is None else "at"] = self.sample(sample) if at is None else at
        if sample is None or candidate.text != sample.text:
            out["text"] = candidate.text
        if candidate.parents:
            out["parents"] = candidate.parents
        if candidate.kind != "sample":
            out["kind"] = candidate.kind
        if candidate.status != "open":
            out["status"] = candidate.status
        if candidate.value is not None:
            out["value"] = candidate.value
        if candidate.score is not None:
            out["score"] = self.score(candidate.score)
        if candidate.numbers:
            out["numbers"] = {name: in_words(value) for name, value in candidate.numbers.items()}
        return out


def _message(message: Message) -> dict[str, Any]:
    parts = message.parts
    if (
        len(parts) == 1
        and len(parts[0]) == 2
        and parts[0].get("type") == "text"
        and isinstance(parts[0].get("text"), str)
    ):
        return {"role": message.role, "text": parts[0]["text"]}
    return {"role": message.role, "parts": parts}


def _sampling(sampling: Sampling) -> dict[str, Any]:
    fields = changed(sampling)
    if sampling.rules:
        fields["rules"] = [_rule(rule) for rule in sampling.rules]
    if sampling.halt is not None:
        fields["halt"] = [sampling.halt.signal, in_words(sampling.halt.below), sampling.halt.window]
    return fields


def _rule(rule: Rule | Force) -> list[Any] | dict[str, Any]:
    if isinstance(rule, Force):
        return {"force": rule.text, "at": rule.at, "where": rule.where}
    limits = [rule.window, rule.before] if rule.window or rule.before else []
    return [rule.text, in_words(rule.bias), rule.where, *limits]


def _mark(mark: Mark, right: bool | None) -> dict[str, Any]:
    told = {"answer": mark.value, "right": right}
    return {name: value for name, value in told.items() if value is not None} | {"usage": _counts(mark.spent)}


def _counts(usage: Usage) -> dict[str, float]:
    out: dict[str, float] = {}
    if usage.calls:
        out["calls"] = usage.calls
    if usage.prompt_tokens:
        out["prompt_tokens"] = usage.prompt_tokens
    if usage.cached_tokens:
        out["cached_tokens"] = usage.cached_tokens
    if usage.completion_tokens:
        out["completion_tokens"] = usage.completion_tokens
    if usage.reasoning_tokens:
        out["reasoning_tokens"] = usage.reasoning_tokens
    if usage.retries:
        out["retries"] = usage.retries
    if usage.partial:
        out["partial"] = usage.partial
    if usage.flops:
        out["flops"] = usage.flops
    if usage.money:
        out["money"] = usage.money
    if usage.sandbox_runs:
        out["sandbox_runs"] = usage.sandbox_runs
    return out
