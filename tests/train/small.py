"""Small recipes, models and data for the tests of training."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tests.backends.local_models import save
from tokenizers import Tokenizer
from torch import Tensor

from mullover.train import chat, corpus
from mullover.train.llama import Llama, Shape
from mullover.train.loop import Batch
from mullover.train.recipe import Phase, Recipe

SHAPE = Shape(width=32, layers=2, heads=2, inner=48, context=256)
EASY = Phase(0, {"sums": 1.0}, (1.0, 1.0, 0.0, 0.0, 0.0), {"plain": 1.0, "step_by_step": 1.0})
TINY = Recipe(SHAPE, steps=12, phases=(EASY,), vocab=300, batch=512, warmup=2, exam=4, questions=1, checkpoint=1e9)


@cache
def tokenizer(recipe: Recipe = TINY) -> Tokenizer:
    """Of a few documents, without the time that a whole sample takes."""
    return chat.trained(corpus.sample_texts(recipe, 60), recipe.vocab)


class Here:
    """`corpus.Stream` without processes."""

    def __init__(self, recipe: Recipe, tokenizer: Tokenizer, first: int, workers: int = 1) -> None:
        self.recipe, self.tokenizer, self.next = recipe, tokenizer, first

    def __next__(self) -> Batch:
        self.next += 1
        return corpus.batch(self.recipe, self.tokenizer, self.next - 1)

    def __enter__(self) -> "Here":
        return self

    def __exit__(self, *_: object) -> None:
        """There is nothing to end."""


def noisy(shape: Shape = SHAPE, vocab: int = 61, seed: int = 0) -> Llama:
    """With weights large enough, and norms far enough from 1, to show what is wrong."""
    model = Llama(shape, vocab, seed)
    noise = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for weight in model.parameters():
            spread = 0.3 if weight.dim() == 1 else 0.2
            weight.add_(spread * torch.randn(weight.shape, generator=noise))
    return model


def row_of(lengths: Sequence[int], vocab: int = 61) -> Tensor:
    return torch.randint(0, vocab, (sum(lengths),), generator=torch.Generator().manual_seed(7))


def shaped(**fields: Any) -> Shape:
    return replace(SHAPE, **fields)


def hugging(folder: Path, **config: Any) -> Path:
    """A Llama of transformers with a chat template, whose tokenizer knows its end."""
    save(folder, **config)
    told = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|end|>", "pad_token": "<|end|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    return folder


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def data_of(path: Path, *examples: Any) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in examples))
    return path


def steady(log: Path) -> list[dict[str, Any]]:
    """Lines of a run's log, but for what depends on the machine."""
    return [{key: v for key, v in line.items() if key not in ("seconds", "speed")} for line in lines_of(log)]
