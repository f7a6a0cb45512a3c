"""Which size and optimizer learn most in equal minutes: the loss on problems of dev, after a whole schedule each.

    python benchmarks/sizes.py MINUTES

On three families of the pocket recipe, asked directly and step by step.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from mullover.engine import memory
from mullover.tasks.school import FAMILIES
from mullover.tasks.school.document import Document, Draw
from mullover.tasks.school.skills import SKILLS
from mullover.train import chat, corpus
from mullover.train.llama import Llama, Shape
from mullover.train.loop import Batch, Loop
from mullover.train.losses import cross_entropy
from mullover.train.ops import Packing, packed
from mullover.train.optim import optimizers
from mullover.train.recipe import Phase, Recipe

MIX = Phase(
    0,
    {"sums": 1.0, "story": 1.0, "last_letters": 1.0},
    (2.0, 2.0, 1.5, 0.5, 0.0),
    {"plain": 2.0, "direct": 1.0, "step_by_step": 4.0, "thinking": 2.0},
)
BASE = Recipe(Shape(128, 6, 4, 352), steps=1, phases=(MIX,), seed=1, decay=0.02, warmup=30, cooldown=0.5)
WAYS = {
    "96 x 6, Muon": replace(BASE, model=Shape(96, 6, 3, 256)),
    "128 x 6, Muon": BASE,
    "128 x 6, AdamW": replace(BASE, optimizer="adamw"),
    "128 x 6, Muon, loss on questions too (0.1)": replace(BASE, prompt_weight=0.1),
    "192 x 6, Muon": replace(BASE, model=Shape(192, 6, 6, 512)),
}
TRIED = 6  # steps by which the speed is told


def dev() -> Iterator[Document]:
    for family in MIX.families:
        for grade in (1, 2, 3):
            for i in range(40):
                yield SKILLS["step_by_step"](Draw.of(FAMILIES[family], grade, "dev", 5, i))


def seconds_of_a_step(way: Recipe, tokenizer: Tokenizer) -> float:
    trained(replace(way, steps=1), tokenizer)  # which also compiles kernels, and fills the heap
    began = time.perf_counter()
    trained(replace(way, steps=TRIED), tokenizer)
    return (time.perf_counter() - began) / TRIED


def trained(said: Recipe, tokenizer: Tokenizer) -> tuple[Llama, int]:
    """The model, and how many tokens it saw."""
    model, tokens = Llama(said.model, tokenizer.get_vocab_size(), said.seed), 0

    def forward(batch: Batch) -> Tensor:
        logits: Tensor = model(batch.ids, Packing(batch.lengths), batch.where)
        return logits

    with tempfile.TemporaryDirectory() as folder:
        loop = Loop(Path(folder), model, optimizers(model, said), said.schedule, forward, said.identity)
        for step in range(said.steps):
            batch = corpus.batch(said, tokenizer, step)
            tokens += len(batch.ids)
            loop.learn(batch)
    return model, tokens


def main(minutes: float) -> None:
    memory.keep_freed()
    tokenizer = chat.trained(corpus.sample_texts(BASE, 4000), BASE.vocab)
    held = list(chat.encoded(tokenizer, dev()))
    ids, packing = packed([one for one, _, _ in held], torch.device("cpu"))
    starts = packing.starts.tolist()
    spans = [range(s + known - 1, s + len(one) - 1) for (one, _, known), s in zip(held, starts, strict=False)]
    where = torch.tensor([i for span in spans for i in span])
    for name, way in WAYS.items():
        steps = int(60 * minutes / seconds_of_a_step(way, tokenizer))
        said, began = replace(way, steps=steps), time.perf_counter()
        model, tokens = trained(said, tokenizer)
        with torch.no_grad():
            found = float(cross_entropy(model(ids, packing, where), ids[where + 1]))
        weights = sum(weight.numel() for weight in model.parameters())
        spent = (time.perf_counter() - began) / 60
        cost = f"{weights:10,} weights {steps:5} steps {tokens / 1e6:5.1f} M tokens {spent:5.1f} min"
        print(f"{name:44}{cost}  dev loss {found:.4f}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(float(sys.argv[1]))
