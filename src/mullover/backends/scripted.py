"""A Model for tests, docs and examples: it says what you tell it to, in turn."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from mullover.backends.checks import seeds_of
from mullover.backends.lines import items
from mullover.backends.record import Record
from mullover.backends.thinking import THINK, is_open, thought
from mullover.backends.words import WORD, word_id, words
from mullover.errors import ModelError, OptionError
from mullover.types import NOTHING, Event, Events, Finish, Model, ModelInfo, Price, Prompt, Sample, Sampling, Usage

CAN = frozenset(
    {"temperature", "top_p", "top_k", "min_p", "max_tokens", "stop", "thinking", "segments", "turns"}
)  # what it says depends on none of the first four, as a text that is certain would not
SHORT = 32  # words of a text that comes as one event; a longer one comes in events of CHUNK
CHUNK = 16
REMEMBERED = 4096  # problems whose turn is known, and short texts whose events are

Said = str | Exception | Sample
Part = tuple[str, tuple[int, ...], Usage, Sample | None]  # an event less its index


class Scripted(Model):
    """Says given texts in turn, within each problem, or what a function makes of the prompt.

    A text in `says` is a sample, an Exception a sample that fails with its message, and a Sample is
    given as it is; what it lacks of ids and usage is filled in. The turn is counted by the prompt's
    origin, so that results do not depend on which problems run at the same time; it is forgotten
    once 4,096 other problems have been asked since. A call takes its turns when it begins.

    A token is a word with the space that follows, and one more with id 0 ends a text. The first
    sample of a call pays for the prompt, in words; the others read it from the cache. Text in
    <think>...</think> at the beginning of a text is its reasoning: `thinking=False` leaves it out,
    and a number keeps so many of its words.

    Args:
        says: at least one thing to say; or a function, which may return any of them too.
        price: of its tokens, for budgets in money.

    Raises:
        OptionError: nothing to say.
    """

    def __init__(
        self,
        says: Sequence[Said] | Callable[[Prompt], Said],
        *,
        name: str = "scripted",
        price: Price | None = None,
    ) -> None:
        if isinstance(says, str):
            says = [says]  # a text is a sequence of texts too, but nobody means its characters
        if not callable(says) and not says:
            raise OptionError(f"{name} has nothing to say; give it at least one text")
        self._says = says if callable(says) else tuple(map(_checked, says))
        self._turns = OrderedDict[str, int]()
        can = CAN if callable(self._says) else CAN | _carried(self._says)
        self.info = ModelInfo(name, can, think=THINK, price=price)

    async def stream(self, prompt: Prompt, n: int, sampling: Sampling) -> Events:
        seeds_of(self.info, prompt, n, sampling)
        says, turn, paid = self._says, self._turn(prompt.origin, n), False
        asked = len(prompt.text.split()) + len(prompt.said.split())
        opened = bool(prompt.segments) and is_open(prompt.said, THINK)
        for index in range(n):
            await asyncio.sleep(0)  # let others run and clocks fire
            said = says(prompt) if callable(says) else says[(turn + index) % len(says)]
            if isinstance(said, str):
                for text, ids, usage, sample in _spoken(said, sampling, opened, asked, paid):
                    yield Event(index, text, ids, usage, sample)
                    if sample is None:
                        await asyncio.sleep(0)
                paid = True
            elif isinstance(said, Sample):
                sample = _filled(said, asked, paid)
                paid = paid or sample.usage is not said.usage
                yield Event(index, sample.text, sample.ids, sample.usage, sample)
            else:
                error = _checked(said)
                yield Event(index, sample=Sample("", "error", error=str(error) or type(error).__name__))

    def _turn(self, origin: str, n: int) -> int:
        """Which thing a call says first. Its turns are its own, whatever other calls do meanwhile."""
        turn = self._turns.pop(origin, 0)
        self._turns[origin] = turn + n
        if len(self._turns) > REMEMBERED:
            self._turns.popitem(last=False)
        return turn


def _checked(said: Said) -> Said:
    if not isinstance(said, (str, Exception, Sample)):
        raise OptionError(f"a script says texts, exceptions and samples, not {said!r}")
    return said


def open_scripted(path: str | Path) -> Scripted:
    """A Scripted from a JSON list, or from JSONL (plain or gzipped) with one thing to say a line.

    Each is a string, or an object with `text` or `completion`, and maybe `finish` or
    `finish_reason`, or with `error`.

    Raises:
        OptionError: the file cannot be read, says nothing, or is broken; with the line.
    """
    says = [_item(value, where) for where, value in items(path)]
    if not says:
        raise OptionError(f"{path} has nothing to say; give it at least one text")
    return Scripted(says, name=f"scripted:{path}")


def _item(value: object, where: str) -> Said:
    if isinstance(value, str):
        return value
    record = Record.of(value, where)
    if record.error:
        return ModelError(record.error)
    ended_by_itself = record.finish == "eos" and not record.ids
    return record.text if ended_by_itself else Sample(record.text, record.finish, record.ids, thought=record.thought)


def _carried(says: Sequence[Said]) -> frozenset[str]:
    """What all given samples carry can be asked for."""
    given = [said for said in says if isinstance(said, Sample)]
    carried = {
        "top_logprobs": all(sample.alternatives is not None for sample in given),
        "signals": all(sample.signals is not None for sample in given),
    }
    return frozenset(name for name, everywhere in carried.items() if everywhere and len(given) == len(says))


class _Words(NamedTuple):
    """A text in tokens: what does not depend on who pays for the prompt."""

    parts: tuple[tuple[str, tuple[int, ...], int], ...]  # text, ids, how many of them are reasoning
    finish: Finish
    thought: int


def _spoken(said: str, sampling: Sampling, opened: bool, asked: int, paid: bool) -> Sequence[Part]:
    """The events of one sample. A short text said before costs a look-up."""
    if sampling.thinking is not None:
        said = _thinking(said, sampling.thinking)
    if len(said) <= 8 * SHORT:
        return _short(said, sampling.stop, sampling.max_tokens, opened, asked, paid)
    return tuple(_parts(_long(said, sampling.stop, sampling.max_tokens, opened), asked, paid))


@lru_cache(REMEMBERED)
def _short(said: str, stop: tuple[str, ...], most: int, opened: bool, asked: int, paid: bool) -> tuple[Part, ...]:
    return tuple(_parts(_worded(said, stop, most, opened), asked, paid))


@lru_cache(16)
def _long(said: str, stop: tuple[str, ...], most: int, opened: bool) -> _Words:
    return _worded(said, stop, most, opened)


def _worded(said: str, stop: tuple[str, ...], most: int, opened: bool) -> _Words:
    """Cut after the token that completes a stop string, or at the most tokens."""
    tokens, finish = words(said, THINK), "eos"
    if ends := [said.find(string) + len(string) for string in stop if string in said]:
        kept, finish = _count_up_to(tokens, min(ends)), "stop"
        tokens = tokens[:kept]
    if len(tokens) + (finish == "eos") > most:
        tokens, finish = tokens[:most], "length"
    ids = [*map(word_id, tokens)]
    if finish == "eos":
        tokens.append("")
        ids.append(0)
    text = "".join(tokens)
    reasoning = thought(text, THINK, opened)
    thinking = _count_up_to(tokens, reasoning) if reasoning else 0
    step = len(tokens) if len(tokens) <= SHORT else CHUNK
    parts = tuple(
        ("".join(tokens[i : i + step]), tuple(ids[i : i + step]), max(0, min(thinking - i, step)))
        for i in range(0, len(tokens), step)
    )
    return _Words(parts, finish, reasoning)  # type: ignore[arg-type]


def _parts(said: _Words, asked: int, paid: bool) -> Iterator[Part]:
    prompt, cached = (0, asked) if paid else (asked, 0)
    whole = "".join([text for text, _, _ in said.parts])
    ids = tuple(i for _, some, _ in said.parts for i in some)
    total = Usage(0, prompt, cached, len(ids), sum(thinking for _, _, thinking in said.parts))
    sample = Sample(whole, said.finish, ids, thought=said.thought, usage=total)
    last = len(said.parts) - 1
    for at, (text, some, thinking) in enumerate(said.parts):
        usage = total if not last else Usage(0, 0 if at else prompt, 0 if at else cached, len(some), thinking)
        yield text, some, usage, sample if at == last else None


def _count_up_to(tokens: Sequence[str], end: int) -> int:
    """How many of the first tokens hold the first `end` characters."""
    length = 0
    for count, token in enumerate(tokens):
        if length >= end:
            return count
        length += len(token)
    return len(tokens)


def _thinking(said: str, thinking: bool | str | int) -> str:
    """Without its reasoning, or with so many words of it; an effort changes nothing."""
    end = thought(said, THINK)
    if not end or thinking is True or isinstance(thinking, str):
        return said
    if thinking is False:
        return said[end:].lstrip()
    opener, closer = THINK
    head, tail = said[:end], said[end:]
    closed = head.endswith(closer)
    begin = head.index(opener) + len(opener)
    reasons = WORD.findall(head[begin : len(head) - len(closer) if closed else len(head)])
    return said if len(reasons) <= thinking else head[:begin] + "".join(reasons[:thinking]) + closer + tail


def _filled(given: Sample, asked: int, paid: bool) -> Sample:
    """A given sample with the ids and usage it lacks; one that failed is given as it is."""
    if given.finish in ("error", "cancelled"):
        return given
    ids = given.ids
    if not ids and given.logprobs is None:
        ids = tuple(map(word_id, words(given.text, THINK))) + ((0,) if given.finish == "eos" else ())
    reasoning = given.thought or thought(given.text, THINK)
    if given.usage != NOTHING:
        return replace(given, ids=ids, thought=reasoning)
    prompt, cached = (0, asked) if paid else (asked, 0)
    return replace(given, ids=ids, thought=reasoning, usage=Usage(0, prompt, cached, len(ids), 0))
