"""Training a small model from nothing, by a recipe."""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor
from torch.optim import Optimizer

from mullover.engine import memory
from mullover.errors import OptionError
from mullover.train import chat, checkpoint, corpus
from mullover.train.llama import Llama
from mullover.train.losses import cross_entropy
from mullover.train.ops import Packing
from mullover.train.optim import optimizers
from mullover.train.recipe import Recipe

TEXTS = 12000  # documents that the tokenizer is trained on
LOGGED = 20  # steps between lines of the log
Say = Callable[[str], None]
Exam = Callable[[Path, int], None]  # a directory with the model of that step


@dataclass
class Run:
    """One training run in its folder; what is on the disk is enough to go on after a kill."""

    recipe: Recipe
    folder: Path
    tokenizer: Tokenizer
    model: Llama
    optimizers: Sequence[Optimizer]
    step: int = 0  # the next one
    tokens: int = 0
    targets: int = 0
    seconds: float = 0.0

    @classmethod
    def begin(cls, recipe: Recipe, folder: Path, say: Say) -> "Run":
        """A new run, or the one that was begun in this folder.

        Raises:
            OptionError: the folder holds a run by another recipe.
        """
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "tokenizer.json"
        if not path.is_file():
            say("training the tokenizer")
            made = chat.trained(corpus.sample_texts(recipe, TEXTS), recipe.vocab)
            made.save(str(path) + ".new")
            Path(str(path) + ".new").replace(path)
        tokenizer = Tokenizer.from_file(str(path))
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model = Llama(recipe.model, tokenizer.get_vocab_size(), recipe.seed).to(device)
        run = cls(recipe, folder, tokenizer, model, optimizers(model, recipe))
        facts = checkpoint.load(folder, model, run.optimizers)
        if facts is not None:
            run._resume(facts)
            say(f"going on at step {run.step}")
        run._forget_later()
        return run

    def _resume(self, facts: dict[str, Any]) -> None:
        if facts["identity"] != self.recipe.identity:
            raise OptionError(f"{self.folder} holds a run by another recipe; choose another --out")
        self.step, self.tokens, self.targets = facts["step"], facts["tokens"], facts["targets"]
        self.seconds = facts["seconds"]

    def _forget_later(self) -> None:
        """Lines of the log behind the checkpoint: these steps are done again."""
        log = self.folder / "log.jsonl"
        lines = [line for line in log.read_text().splitlines() if _step(line) < self.step] if log.is_file() else []
        log.write_text("".join(f"{line}\n" for line in lines))

    @property
    def device(self) -> torch.device:
        return self.model.embedding.device

    def save(self) -> None:
        facts = {"identity": self.recipe.identity, "step": self.step, "tokens": self.tokens}
        facts |= {"targets": self.targets, "seconds": self.seconds}
        checkpoint.save(self.folder, self.model, self.optimizers, facts)

    def export(self, to: Path) -> Path:
        """As transformers and everything that serves models read it."""
        made = to.with_name(f"{to.name}.new")
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        weights = {name: w.to(torch.bfloat16).contiguous().cpu() for name, w in self.model.exported().items()}
        save_file(weights, made / "model.safetensors", {"format": "pt"})
        end = chat.end(self.tokenizer)
        config = self.recipe.model.config(self.tokenizer.get_vocab_size(), end)
        (made / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        sampling = {"do_sample": True, "temperature": 1.0, "eos_token_id": end, "pad_token_id": end}
        (made / "generation_config.json").write_text(json.dumps(sampling, indent=2) + "\n")
        chat.save(self.tokenizer, made, self.recipe.model.context)
        shutil.rmtree(to, ignore_errors=True)
        made.rename(to)
        return to

    def learn(self, batch: corpus.Batch) -> tuple[float, float]:
        """One step: its loss, a target, and the norm of its gradient."""
        rate = self.recipe.rate(self.step)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * group.setdefault("full_lr", group["lr"])
        loss = self.loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1
        self.tokens += len(batch.ids)
        self.targets += len(batch.targets)
        return float(loss.detach()), float(norm)

    def loss(self, batch: corpus.Batch) -> Tensor:
        packing = Packing(batch.lengths, self.device)
        logits = self.model(batch.ids.to(self.device), packing, batch.where.to(self.device))
        return cross_entropy(logits, batch.targets.to(self.device), weights=batch.weights)


def _step(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return 1 << 60  # a line that was cut short


def pretrain(recipe: Recipe, folder: Path, say: Say, exam: Exam | None = None) -> Path:
    """Train to the end of the recipe, going on where a run in this folder stopped.

    Args:
        exam: called every `recipe.exam` steps and at the end, with a directory that holds the model.

    Returns:
        Path: the directory of the finished model, in `folder`.

    Raises:
        OptionError: the folder holds another run.
    """
    memory.keep_freed()
    run = Run.begin(recipe, folder, say)
    saved = time.monotonic()
    with corpus.Stream(recipe, run.tokenizer, run.step) as stream, (folder / "log.jsonl").open("a") as log:
        for lines in _steps(run, stream):
            if run.step % LOGGED == 0 or run.step == recipe.steps:
                log.write(json.dumps(lines) + "\n")
                log.flush()
                say(told(lines, recipe))
            examined = exam is not None and (run.step % recipe.exam == 0 or run.step == recipe.steps)
            if examined or time.monotonic() - saved > recipe.checkpoint:
                run.save()
                saved = time.monotonic()
            if examined and exam is not None:
                exam(run.export(folder / "model"), run.step)
    run.save()
    return run.export(folder / "model")


def _steps(run: Run, stream: corpus.Stream) -> Iterator[dict[str, Any]]:
    """What the log says of each step."""
    while run.step < run.recipe.steps:
        began = time.monotonic()
        batch = next(stream)
        loss, norm = run.learn(batch)
        run.seconds += (took := time.monotonic() - began)
        yield {
            "step": run.step, "loss": round(loss, 4), "norm": round(norm, 3),
            "rate": round(run.recipe.rate(run.step - 1), 4),
            "tokens": run.tokens, "targets": run.targets, "seconds": round(run.seconds, 1),
            "speed": round(len(batch.ids) / took),
        }  # fmt: skip


def told(line: dict[str, Any], recipe: Recipe) -> str:
    left = (recipe.steps - line["step"]) * line["seconds"] / max(1, line["step"])
    speed = f"{line['speed']} tokens/s  {left / 60:.0f} min left"
    return f"step {line['step']}/{recipe.steps}  loss {line['loss']:.3f}  {speed}"
