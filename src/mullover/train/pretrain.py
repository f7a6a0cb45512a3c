"""Training a small model from nothing, by a recipe."""

import json
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor

from mullover.engine import memory
from mullover.errors import OptionError
from mullover.store.files import told, write_whole
from mullover.store.lock import Lock
from mullover.train import chat, checkpoint, corpus
from mullover.train.llama import Llama
from mullover.train.loop import Batch, Loop, Say
from mullover.train.ops import Packing
from mullover.train.optim import optimizers
from mullover.train.recipe import Recipe

TEXTS = 12000  # documents that the tokenizer is trained on
MODEL = "model"  # the folder of a run in which the model lies, for all who serve it
Exam = Callable[[Path, int], None]  # a directory with the model, and after how many steps


def pretrain(recipe: Recipe, folder: Path, say: Say, exam: Exam | None = None) -> Path:
    """Train to the end of the recipe, going on where a run in this folder stopped.

    Args:
        exam: called every `recipe.exam` steps and at the end, with a directory that holds the model; and again where
            a run goes on at such a step.

    Returns:
        Path: the directory of the finished model, in `folder`.

    Raises:
        OptionError: the folder holds another run.
        StoreError: another process trains there now.
    """
    memory.keep_freed()
    with told(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with closing(Lock(folder)):
        return _pretrain(recipe, folder, say, exam)


def _pretrain(recipe: Recipe, folder: Path, say: Say, exam: Exam | None) -> Path:
    tokenizer = tokenizer_of(recipe, folder, say)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(recipe.seed)  # its state is in the checkpoint, and torch starts from another each time
    model = Llama(recipe.model, tokenizer.get_vocab_size(), recipe.seed).to(device)

    def forward(batch: Batch) -> Tensor:
        logits: Tensor = model(batch.ids.to(device), Packing(batch.lengths, device), batch.where.to(device))
        return logits

    loop = Loop(folder, model, optimizers(model, recipe), recipe.schedule, forward, recipe.identity)
    if loop.done.step:
        say(f"going on at step {loop.done.step}")
    else:
        loop.save()  # so that the tokenizer is never taken for that of another recipe

    def examined(step: int) -> None:
        if exam is not None and (step % recipe.exam == 0 or step == recipe.steps):
            loop.save()
            exam(export(model, tokenizer, folder / MODEL), step)

    if loop.done.step:
        examined(loop.done.step)  # which a kill may have cut short
    workers = 1 if device.type == "cpu" else max(1, (os.cpu_count() or 1) - 1)  # a CPU learns slower than one draws
    with corpus.Stream(recipe, tokenizer, loop.done.step, workers) as stream:
        for step in loop.steps(stream, say, recipe.checkpoint):
            examined(step)
    return export(model, tokenizer, folder / MODEL)


def tokenizer_of(recipe: Recipe, folder: Path, say: Say) -> Tokenizer:
    """That of the run in the folder, trained if it is not there yet.

    Raises:
        OptionError: what is there is damaged.
        StoreError: it cannot be written.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        say("training the tokenizer")
        trained = chat.trained(corpus.sample_texts(recipe, TEXTS), recipe.vocab)
        write_whole(path, [trained.to_str(pretty=True).encode()])
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001  the library raises nothing narrower
        raise OptionError(f"{path} is damaged ({error}); choose another --out") from None


def export(model: Llama, tokenizer: Tokenizer, to: Path) -> Path:
    """In bfloat16, as transformers and everything that serves models read it; in place of what was there."""
    weights = {name: weight.to(torch.bfloat16).contiguous().cpu() for name, weight in model.exported().items()}
    end = chat.end(tokenizer)
    ends = {"eos_token_id": end, "pad_token_id": end}  # no temperature: it would go before that of a strategy
    with checkpoint.replaced(to) as made:
        save_file(weights, made / "model.safetensors", {"format": "pt"})
        for name, value in (("config", model.shape.config(model.vocab, end)), ("generation_config", ends)):
            (made / f"{name}.json").write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
        chat.save(tokenizer, made, model.shape.context)
    return to
