"""Batches of generated documents, made in other processes while the model learns."""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import accumulate, count
from random import Random

import torch
from tokenizers import Tokenizer

from mullover.errors import OptionError
from mullover.tasks.school import FAMILIES
from mullover.tasks.school.document import Document, Draw
from mullover.tasks.school.skills import SKILLS
from mullover.train import chat
from mullover.train.loop import Batch
from mullover.train.recipe import Phase, Recipe

AHEAD = 8  # batches a worker may be ahead


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
        yield SKILLS[skill](Draw.of(family, grade, "train", recipe.seed, batch * 4096 + i))


def shares(weights: Mapping[str, float]) -> tuple[list[str], list[float]]:
    """Names and their weights, added up; in an order that does not depend on the file's."""
    names = sorted(weights)
    return names, [*accumulate(weights[name] for name in names)]


def batch(recipe: Recipe, tokenizer: Tokenizer, number: int) -> Batch:
    """Documents longer than the context are left out."""
    ids, lengths, where, weights = list[int](), list[int](), list[int](), list[float]()
    left_out = 0
    for found, known in chat.encoded(tokenizer, documents(recipe, number)):
        if len(found) > recipe.model.context:
            left_out += 1
            if left_out > 1000:
                raise OptionError(f"documents are longer than the context of {recipe.model.context} tokens; raise it")
            continue
        start = len(ids)
        first = start if recipe.prompt_weight else start + known - 1
        where.extend(range(first, start + len(found) - 1))
        weights.extend([recipe.prompt_weight] * (start + known - 1 - first) + [1.0] * (len(found) - known))
        ids.extend(found)
        lengths.append(len(found))
        if len(ids) >= recipe.batch:
            break
    row = torch.tensor(ids)
    told = torch.tensor(where)
    return Batch(row, tuple(lengths), told, row[told + 1], torch.tensor(weights) if recipe.prompt_weight else None)


class Stream:
    """Batches in their order from `first` on, from worker processes. Used with `with`."""

    def __init__(self, recipe: Recipe, tokenizer: Tokenizer, first: int, workers: int = 1) -> None:
        self._next = first
        self._pool = multiprocessing.get_context("spawn").Pool(workers, _begin, (recipe, tokenizer.to_str()))
        self._coming = deque(self._ask(first + i) for i in range(AHEAD * workers))

    def _ask(self, number: int) -> "multiprocessing.pool.AsyncResult[Batch]":
        return self._pool.apply_async(_made, (number,))

    def __next__(self) -> Batch:
        self._coming.append(self._ask(self._next + len(self._coming)))
        self._next += 1
        return self._coming.popleft().get(timeout=300)

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.terminate()
        self._pool.join()


_with: tuple[Recipe, Tokenizer] | None = None


def _begin(recipe: Recipe, tokenizer: str) -> None:
    """In a worker: it ends when its parent does, and leaves Ctrl-C to it."""
    global _with
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(1)
    _with = recipe, Tokenizer.from_str(tokenizer)


def _made(number: int) -> Batch:
    if _with is None:
        raise RuntimeError("the worker was not begun")
    return batch(*_with, number)


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
