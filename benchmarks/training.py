"""Tokens a second of a training step: our packed rows with and without kernels, and transformers with padded rows.

    python benchmarks/training.py

All take the same documents of the pocket recipe, the same optimizer step left out, in turn, medians of 5 rounds.
"""

import statistics
import time
from collections.abc import Callable
from unittest.mock import patch

import torch
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from mullover.engine import memory
from mullover.train import chat, corpus, fast, recipe
from mullover.train.llama import Llama
from mullover.train.loop import Batch
from mullover.train.losses import cross_entropy
from mullover.train.ops import Packing

ROUNDS = 5


def ours(model: Llama, batch: Batch) -> None:
    cross_entropy(model(batch.ids, Packing(batch.lengths), batch.where), batch.targets).backward()  # type: ignore[no-untyped-call]
    model.zero_grad()


def theirs(model: LlamaForCausalLM, batch: Batch) -> None:
    """As transformers' own trainers do: a row a document, padded to the longest."""
    rows, columns = Packing(batch.lengths).grid
    ids = torch.zeros((len(batch.lengths), max(batch.lengths)), dtype=torch.int64)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    ids[rows, columns], mask[rows, columns] = batch.ids, 1
    labels[rows[batch.where + 1], columns[batch.where + 1]] = batch.targets
    model(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
    model.zero_grad()


def without_kernels(step: Callable[[], None]) -> None:
    with patch.object(fast, "fits", return_value=False):
        step()


def main() -> None:
    memory.keep_freed()
    path = recipe.named("pocket")
    if path is None:
        raise SystemExit("the recipe pocket is not there")
    said = recipe.read(path)
    tokenizer: Tokenizer = chat.trained(corpus.sample_texts(said, 4000), said.vocab)
    model = Llama(said.model, tokenizer.get_vocab_size())
    config = LlamaConfig(**said.model.config(tokenizer.get_vocab_size(), 0))
    config.dtype = torch.float32
    other = LlamaForCausalLM(config)
    batch = corpus.batch(said, tokenizer, 5000)
    ways: dict[str, Callable[[], None]] = {
        "kernels": lambda: ours(model, batch),
        "torch": lambda: without_kernels(lambda: ours(model, batch)),
        "transformers": lambda: theirs(other, batch),
    }
    took: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(ROUNDS + 1):
        for name, step in ways.items():
            began = time.perf_counter()
            step()
            if round_:  # the first warms up
                took[name].append(time.perf_counter() - began)
    tokens, base = len(batch.ids), statistics.median(took["transformers"])
    print(f"{tokens} tokens in {len(batch.lengths)} documents, {sum(p.numel() for p in model.parameters()):,} weights")
    for name, seconds in took.items():
        middle = statistics.median(seconds)
        print(f"{name:14}{tokens / middle:9,.0f} tokens/s {base / middle:6.2f} times transformers")


if __name__ == "__main__":
    main()
