"""What the toy says at a spot: whole samples, log-probabilities of what is given."""

import math
from dataclasses import replace

from mullover.backends.table import END, Table
from mullover.laws.upstream.kinds import Refused
from mullover.laws.upstream.voice import Spot, Voice, spelled
from mullover.types import Prompt, Sample, Sampling, Segment, Token

FLOOR = -9999.0  # what vLLM writes for minus infinity


async def speak(voice: Voice, spot: Spot, sampling: Sampling, budget: int | None, must: bool) -> Sample:
    """One sample, with at most `budget` tokens between its delimiters of reasoning, if one is given.

    Where the toy has nothing to say, the request is refused; if it `must` be answered for the sake of
    its prompt, the answer is the end token.
    """
    sample = await _said(voice, spot.prompt, spot.quiet, sampling)
    if budget is not None and sample.finish != "error":
        sample = await _cut_short(voice, spot, sampling, budget, sample)
    if sample.finish != "error":
        return sample
    if not must:
        raise Refused(400, sample.error)
    return Sample("", "eos", (END,), (0.0,), alternatives=((),) if sampling.top_logprobs else None, offsets=(0,))


def given(voice: Voice, spot: Spot, top: int) -> list[dict[int, float] | None]:
    """Of each id of a prompt: its own, then the `top` likeliest, nats. Words of the question are certain."""
    rows: list[dict[int, float] | None] = [{i: 0.0} for i in spot.head]
    table = voice.table(spot)
    for k, i in enumerate(spot.prefix):
        node = table.node(spot.prefix[:k])
        chances = node.row if node else {}
        own = math.log(chances[i]) if i in chances else FLOOR
        rows.append({i: own} | {j: math.log(p) for j, p in [*chances.items()][:top]})
    return [None, *rows[1:]] if rows else []


async def _said(voice: Voice, prompt: Prompt, quiet: bool, sampling: Sampling) -> Sample:
    events = [event async for event in voice.toy(quiet).stream(prompt, 1, sampling)]
    sample = events[-1].sample
    if sample is None:
        raise Refused(500, "the toy broke off")
    return sample


async def _cut_short(voice: Voice, spot: Spot, sampling: Sampling, budget: int, whole: Sample) -> Sample:
    """Reasoning that outlasts its budget is ended by force, and the answer goes on from there."""
    reasons = _reasons(voice, spot, whole)
    if len(reasons) <= budget:
        return whole
    closer = voice.think[1]
    begun = _joined(_first(whole, reasons[budget]), _forced(voice.table(spot), closer))
    left = sampling.max_tokens - len(begun.ids)
    if left < 1:
        return _first(begun, sampling.max_tokens)
    prompt = spot.prompt.then(Segment(begun.text, begun.ids))
    answer = await _said(voice, prompt, spot.quiet, replace(sampling, max_tokens=left))
    return answer if answer.finish == "error" else _joined(begun, answer)


def _reasons(voice: Voice, spot: Spot, whole: Sample) -> list[int]:
    """Which tokens are reasoning, without its delimiters."""
    opener, closer = voice.think
    begins = 0
    if not voice.opened(spot):
        if not whole.text.lstrip().startswith(opener):
            return []
        begins = whole.text.index(opener) + len(opener)
    at = whole.text.find(closer)
    ends = len(whole.text) if at < 0 else at
    return [k for k, offset in enumerate(whole.offsets or ()) if begins <= offset < ends]


def _forced(table: Table, text: str) -> Sample:
    ids = spelled(table, text)
    starts = tuple(len(table.decode(ids[:k])) for k in range(len(ids)))
    return Sample(text, "length", ids, (0.0,) * len(ids), offsets=starts)


def _first(sample: Sample, count: int) -> Sample:
    offsets, logprobs, tops = sample.offsets or (), sample.logprobs or (), sample.alternatives
    text = sample.text[: offsets[count]] if count < len(offsets) else sample.text
    tops = None if tops is None else tops[:count]
    return Sample(text, "length", sample.ids[:count], logprobs[:count], alternatives=tops, offsets=offsets[:count])


def _joined(one: Sample, two: Sample) -> Sample:
    return Sample(
        one.text + two.text,
        two.finish,
        (*one.ids, *two.ids),
        (*(one.logprobs or ()), *(two.logprobs or ())),
        alternatives=(*_tops(one), *_tops(two)),
        offsets=(*(one.offsets or ()), *(len(one.text) + offset for offset in two.offsets or ())),
    )


def _tops(sample: Sample) -> tuple[tuple[Token, ...], ...]:
    return ((),) * len(sample.ids) if sample.alternatives is None else sample.alternatives
