"""Examples to fine-tune on: a JSONL file, each line a conversation or a prompt with its completion."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch

from mullover.errors import OptionError
from mullover.train.loop import Batch

ROLES = ("system", "user", "assistant", "tool")
Spans = list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Example:
    """Ids, and which of them are learned."""

    ids: tuple[int, ...]
    learned: tuple[tuple[int, int], ...]  # (from, up to), in order


def read(path: Path, tokenizer: Any, longest: int) -> tuple[list[Example], int]:
    """The examples of a file, and how many were left out since they are longer than `longest` tokens.

    A line is `{"messages": [{"role": ..., "content": ...}, ...]}`, of which every turn of the assistant is learned,
    or `{"prompt": ..., "completion": ...}`, plain texts of which the completion and the end are learned.

    Args:
        tokenizer: of transformers; conversations are rendered by its chat template.

    Raises:
        OptionError: the file cannot be read, is empty, or a line is none of these.
    """
    found, long = list[Example](), 0
    for number, line in enumerate(lines(path), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        example = _example(line, tokenizer, where)
        if all(end < 2 or first == end for first, end in example.learned):  # nothing stands before a first token
            raise OptionError(f"{where}: nothing is to be learned")
        if len(example.ids) > longest:
            long += 1
        else:
            found.append(example)
    if not found:
        raise OptionError(f"{path} has no example" + (f" of at most {longest} tokens" if long else ""))
    return found, long


def lines(path: Path) -> list[str]:
    """Of a file.

    Raises:
        OptionError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")  # within a text, other characters may end a line
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"cannot read {path}: {error}") from None


def _example(line: str, tokenizer: Any, where: str) -> Example:
    try:
        said = json.loads(line)
        json.dumps(said, ensure_ascii=False).encode()  # half a character cannot be
    except (ValueError, RecursionError) as error:
        raise OptionError(f"{where}: no JSON ({error}); mend or remove that line") from None
    if isinstance(said, dict) and isinstance(said.get("messages"), list):
        return conversation(said["messages"], tokenizer, where)
    if isinstance(said, dict) and all(isinstance(said.get(name), str) for name in ("prompt", "completion")):
        if tokenizer.eos_token_id is None:
            raise OptionError(f"{where}: the model's tokenizer names no end (eos_token); give messages instead")
        asked = tokenizer.encode(said["prompt"])
        rest = _rest(tokenizer, asked, tokenizer.encode(said["prompt"] + said["completion"]), said["completion"])
        ids = (*asked, *rest, tokenizer.eos_token_id)
        return Example(ids, ((len(asked), len(ids)),))
    raise OptionError(f'{where}: it must have "messages", or "prompt" and "completion"')


def conversation(messages: Sequence[Any], tokenizer: Any, where: str) -> Example:
    """Each turn of the assistant is what the template adds to the turns before it, once it was to speak."""
    for one in messages:
        if not (isinstance(one, dict) and one.get("role") in ROLES and isinstance(one.get("content"), str)):
            raise OptionError(f"{where}: a message needs a role of {', '.join(ROLES)} and a text as content")
        if one["role"] == "assistant" and not one["content"]:
            raise OptionError(f"{where}: a turn of the assistant says nothing; calls of tools are not learned")
    if tokenizer.chat_template is None:
        raise OptionError(f"{where}: the model has no chat template; give prompt and completion instead")
    ids, learned = list[int](), Spans()
    for i, one in enumerate(messages):
        if one["role"] != "assistant":
            continue
        try:
            before = _rendered(tokenizer, messages[:i], True)
            after = _rendered(tokenizer, messages[: i + 1], False)
        except Exception as error:  # noqa: BLE001  a template raises whatever it likes
            raise OptionError(f"{where}: the chat template refuses it: {str(error)[:200]}") from None
        if not after.startswith(before):
            raise OptionError(
                f"{where}: the chat template writes a turn in another way once it is over; use completions"
            )
        asked = tokenizer.encode(before, add_special_tokens=False)
        said = _rest(tokenizer, asked, tokenizer.encode(after, add_special_tokens=False), after[len(before) :])
        if asked[: len(ids)] != ids:
            raise OptionError(f"{where}: the chat template changes earlier turns; split the conversation")
        learned.append((len(asked), len(asked) + len(said)))
        ids = [*asked, *said]
    if not learned:
        raise OptionError(f"{where}: nothing of the assistant is to be learned")
    return Example(tuple(ids), tuple(learned))


def _rest(tokenizer: Any, asked: list[int], whole: list[int], text: str) -> list[int]:
    """The ids behind what is asked. By itself a text may get a space before it (SentencePiece), so not by itself."""
    if whole[: len(asked)] == asked:
        return whole[len(asked) :]
    found: list[int] = tokenizer.encode(text, add_special_tokens=False)  # a token would span both
    return found


def _rendered(tokenizer: Any, messages: Sequence[Any], ask: bool) -> str:
    return str(tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=ask))


def batches(examples: Sequence[Example], size: int, epochs: int, seed: int) -> list[list[int]]:
    """Which examples are in which batch: each epoch in another order, as many as `size` tokens take, at least one."""
    found = list[list[int]]()
    for epoch in range(epochs):
        order = list(range(len(examples)))
        Random(f"epoch/{seed}/{epoch}").shuffle(order)
        room = 0
        for i in order:
            if room < len(examples[i].ids):
                found.append([])
                room = size
            found[-1].append(i)
            room -= len(examples[i].ids)
    return found


def batch(examples: Sequence[Example]) -> Batch:
    """Packed in one row."""
    ids, where = list[int](), list[int]()
    for example in examples:
        start = len(ids)
        ids.extend(example.ids)
        where.extend(start + i - 1 for first, end in example.learned for i in range(max(first, 1), end))
    row, told = torch.tensor(ids), torch.tensor(where, dtype=torch.int64)
    return Batch(row, tuple(len(one.ids) for one in examples), told, row[told + 1])


class Examples:
    """Batches from a step on; of several devices each takes its share of every step."""

    def __init__(
        self, examples: Sequence[Example], order: Sequence[Sequence[int]], step: int, device: int = 0, devices: int = 1
    ) -> None:
        self._examples, self._order = examples, order
        self._at, self._stride = step * devices + device, devices

    def __next__(self) -> Batch:
        chosen = self._order[self._at % len(self._order)]  # the last step may go round
        self._at += self._stride
        return batch([self._examples[i] for i in chosen])
