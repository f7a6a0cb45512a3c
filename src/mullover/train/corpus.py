"""Batches of generated documents, made in other processes while the model learns."""

import multiprocessing
import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import accumulate, count
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from random import Random
from typing import Any

import torch
from tokenizers import Tokenizer

from mullover.errors import MulloverError, OptionError
from mullover.tasks.school import FAMILIES
from mullover.tasks.school.document import Document, Draw
from mullover.tasks.school.skills import SKILLS
from mullover.train import chat
from mullover.train.loop import Batch
from mullover.train.recipe import Phase, Recipe

BLOCK = 4096  # documents


def documents(recipe: Recipe, batch: int) -> Iterator[Document]:
    """Those of one batch and on without end: a function of the recipe and the batch alone."""
    rng, phase = Random(f"batch/{recipe.seed}/{batch}"), recipe.phase(batch)
    families, by_family = shares(phase.families or dict.fromkeys(FAMILIES, 1.0))
    skills, by_skill = shares(phase.skills or dict.fromkeys(SKILLS, 1.0))
    by_grade = [*accumulate(phase.grades)]
    for i in count():
        family = FAMILIES[rng.choices(families, cum_weights=by_family)[0]]
        grade = rng.choices(range(1, 6), cum_weights=by_grade)[0]
        skill = rng.choices(skills, cum_weights=by_skill)[0]
        yield SKILLS[skill](Draw.of(family, grade, "train", recipe.seed, place(batch, i)))


def place(batch: int, i: int) -> int:
    """Of a document among all: what a batch has beyond its block lies far behind, where no other has its own."""
    return batch * BLOCK + i if i < BLOCK else ((batch + 1) << 40) + i


def shares(weights: Mapping[str, float]) -> tuple[list[str], list[float]]:
    """Names and their weights, added up; in an order that does not depend on the file's."""
    names = sorted(weights)
    return names, [*accumulate(weights[name] for name in names)]


def batch(recipe: Recipe, tokenizer: Tokenizer, number: int) -> Batch:
    """Of about `recipe.batch` tokens, in whole documents; a function of the recipe and its number alone.

    Documents longer than the context are left out. With a `prompt_weight` the targets are all tokens, weighted; without
    one, those that are said.

    Raises:
        OptionError: a thousand documents are longer than the context.
    """
    ids, lengths, where, weights = list[int](), list[int](), list[int](), list[float]()
    left_out = 0
    for found, turns, known in chat.encoded(tokenizer, documents(recipe, number)):
        if len(found) > recipe.model.context:
            left_out += 1
            if left_out > 1000:
                raise OptionError(f"documents are longer than the context of {recipe.model.context} tokens; raise it")
            continue
        start = len(ids)
        first = start if recipe.prompt_weight else start + known - 1
        where.extend(range(first, start + len(found) - 1))
        # What is given of the assistant's turn may hold a planted slip, which it must never learn to say.
        weights.extend([recipe.prompt_weight] * (turns - 1) + [0.0] * (known - turns) + [1.0] * (len(found) - known))
        ids.extend(found)
        lengths.append(len(found))
        if len(ids) >= recipe.batch:
            break
    row = torch.tensor(ids)
    told = torch.tensor(where)
    return Batch(row, tuple(lengths), told, row[told + 1], torch.tensor(weights) if recipe.prompt_weight else None)


class Stream:
    """Batches in their order from `first` on, from worker processes. Used with `with`.

    Each worker makes every so-manieth batch and is at most one ahead of what its pipe holds.

    Raises:
        OptionError: of `__next__`, when documents are longer than the context.
        MulloverError: of `__next__`, when a worker was ended.
    """

    def __init__(self, recipe: Recipe, tokenizer: Tokenizer, first: int, workers: int = 1) -> None:
        self._next = 0
        self._workers = [_begun(recipe, tokenizer.to_str(), first + i, workers) for i in range(workers)]

    def __next__(self) -> Batch:
        process, pipe = self._workers[self._next % len(self._workers)]
        self._next += 1
        try:
            said = pipe.recv()
        except (EOFError, OSError):
            process.join()
            code = process.exitcode
            raise MulloverError(
                f"a process that draws problems was ended (code {code}); the same command goes on"
            ) from None
        if isinstance(said, Exception):
            raise said
        ids, lengths, where, targets, weights = said
        told = None if weights is None else torch.tensor(weights)
        return Batch(torch.tensor(ids), lengths, torch.tensor(where), torch.tensor(targets), told)

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        for process, pipe in self._workers:
            process.terminate()
            process.join()
            pipe.close()


def _begun(recipe: Recipe, tokenizer: str, first: int, stride: int) -> tuple[BaseProcess, Connection]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(recipe, tokenizer, first, stride, theirs), daemon=True)
    process.start()
    theirs.close()  # or the end of the worker would not end the pipe
    return process, ours


def _work(recipe: Recipe, tokenizer: str, first: int, stride: int, pipe: Connection) -> None:
    """In a worker: it ends when its parent does, and leaves Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(1)
    words = Tokenizer.from_str(tokenizer)
    try:
        for number in count(first, stride):
            pipe.send(_plain(batch(recipe, words, number)))
    except BrokenPipeError:
        pass
    except Exception as error:  # noqa: BLE001  it is the parent's to tell
        pipe.send(error)


def _plain(made: Batch) -> tuple[Any, ...]:
    """By value: tensors would be sent as handles, of which a pipe holds more than memory does."""
    weights = None if made.weights is None else made.weights.tolist()
    return made.ids.tolist(), made.lengths, made.where.tolist(), made.targets.tolist(), weights


def sample_texts(recipe: Recipe, many: int) -> Iterator[str]:
    """What the tokenizer is trained on: the documents of the last phase, in which all is drawn.

    Words of the letter families must stay in pieces, or each would be a token of unknown spelling: they are few.
    """
    last = max(recipe.phases, key=lambda phase: phase.step)
    families = dict(last.families or dict.fromkeys(FAMILIES, 1.0))
    for name in ("last_letters", "letter_count"):
        if name in families and len(families) > 1:
            families[name] *= 0.1
    only = replace(recipe, phases=(Phase(0, families, last.grades, last.skills),), seed=recipe.seed + 1)
    for document, _ in zip(documents(only, 0), range(many), strict=False):
        yield chat.asked(document) + document.said + chat.END
