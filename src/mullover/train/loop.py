"""The loop that pretraining and fine-tuning share: steps, a schedule, a log, checkpoints that survive a kill."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mullover.errors import ModelError, OptionError
from mullover.store.files import write_whole
from mullover.train import checkpoint
from mullover.train.losses import cross_entropy

LOGGED = 20  # steps between lines of the log
LOG = "log.jsonl"
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Batch:
    """Documents in one row; `where` are the tokens after which one is to be told."""

    ids: Tensor  # (tokens,)
    lengths: tuple[int, ...]
    where: Tensor  # (targets,) places in `ids`
    targets: Tensor  # (targets,)
    weights: Tensor | None = None  # (targets,) of each in the loss; None: all 1


class Stream(Protocol):
    """Batches in their order, from the step where the loop goes on."""

    def __next__(self) -> Batch: ...


@dataclass(frozen=True, slots=True)
class Schedule:
    """The learning rate: up in `warmup` steps, level, and down to 0 over the last `cooldown` share."""

    steps: int
    warmup: int
    cooldown: float
    clip: float = 1.0  # of the gradient's norm

    def rate(self, step: int) -> float:
        """What the full rates are multiplied with at a step, counted from 0."""
        falling = max(1.0, self.cooldown * self.steps)
        return min(1.0, (step + 1) / max(1, self.warmup), (self.steps - step) / falling)


@dataclass
class Done:
    """How far a run is."""

    step: int = 0  # the next one
    tokens: int = 0
    targets: int = 0
    seconds: float = 0.0


class Devices(Protocol):
    """What several devices do together; `Alone` is one."""

    main: bool

    def backward(self, loss: Tensor) -> None: ...
    def total(self, count: Tensor) -> Tensor: ...


class Alone:
    main = True

    def backward(self, loss: Tensor) -> None:
        loss.backward()  # type: ignore[no-untyped-call]

    def total(self, count: Tensor) -> Tensor:
        """Over all devices, divided by how many there are: gradients are averaged over them."""
        return count


class Loop:
    """One training run in its folder; what is on the disk is enough to go on after a kill.

    Args:
        forward: logits (targets, vocab) of a batch.
        identity: of what the weights depend on after a number of steps, besides the rates; a folder goes on only
            where all that is done would be the same.

    Raises:
        OptionError: the folder holds another run.
    """

    def __init__(
        self,
        folder: Path,
        model: nn.Module,
        optimizers: Sequence[Optimizer],
        schedule: Schedule,
        forward: Callable[[Batch], Tensor],
        identity: Callable[[int], str],
        devices: Devices | None = None,
    ) -> None:
        self.folder, self.model, self.optimizers, self.schedule = folder, model, optimizers, schedule
        self.forward, self.identity, self.devices = forward, identity, devices or Alone()
        self.full = [[group["lr"] for group in one.param_groups] for one in optimizers]
        facts = checkpoint.load(folder, model, optimizers) or {}
        past = facts.pop("past", None)
        self.done = counts(facts, folder)
        if past is not None and past != self._past():
            raise OptionError(
                f"{folder} holds a run by another recipe, or one whose {self.done.step} steps would have been others "
                "(towards the end the rate falls); choose another --out"
            )
        if self.devices.main:
            self._forget_later()

    def _forget_later(self) -> None:
        """Lines of the log behind the checkpoint: these steps are done again."""
        log = self.folder / LOG
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
        write_whole(log, (f"{line}\n".encode() for line in lines if _step(line) <= self.done.step))

    def _past(self) -> str:
        """Of all that the weights depend on so far; what comes later may still be changed."""
        rates = [self.schedule.rate(step) for step in range(self.done.step)]
        return hashlib.sha256(json.dumps([self.identity(self.done.step), rates]).encode()).hexdigest()[:16]

    def save(self) -> None:
        """Keep all that the run is.

        Raises:
            ModelError: a weight is no finite number; the checkpoint before stays.
        """
        if not all(torch.isfinite(weight).all() for weight in self.model.parameters() if weight.requires_grad):
            raise ModelError(
                f"after step {self.done.step} weights are no finite numbers; choose a lower learning rate and another "
                f"--out; what {self.folder} holds stays as it is"
            )
        if self.devices.main:
            checkpoint.save(self.folder, self.model, self.optimizers, {"past": self._past(), **asdict(self.done)})

    def steps(self, stream: Stream, say: Say, every: float) -> Iterator[int]:
        """To the end of the schedule: yields after each step, which is the number of those done.

        Args:
            every: seconds between checkpoints.

        Raises:
            ModelError: the loss or a weight is no finite number.
            StoreError: the checkpoint cannot be written.
        """
        saved, done = time.monotonic(), self.done
        while done.step < self.schedule.steps:
            began = time.monotonic()
            batch = next(stream)
            line = self.learn(batch)
            done.seconds += (took := time.monotonic() - began)
            last = done.step == self.schedule.steps
            if self.devices.main and (last or done.step % LOGGED == 0):
                line |= {"seconds": round(done.seconds, 1), "speed": round(len(batch.ids) / took)}
                with (self.folder / LOG).open("a", encoding="utf-8") as log:
                    log.write(json.dumps(line) + "\n")
                say(self._told(line))
            if last or time.monotonic() - saved > every:
                self.save()
                saved = time.monotonic()
            yield done.step

    def learn(self, batch: Batch) -> dict[str, Any]:
        """One step, as the log tells it: the loss a target and the norm of its gradient.

        Raises:
            ModelError: the loss is no finite number; nothing is changed.
        """
        rate = self.schedule.rate(self.done.step)
        for optimizer, full in zip(self.optimizers, self.full, strict=True):
            for group, lr in zip(optimizer.param_groups, full, strict=True):
                group["lr"] = rate * lr
        weight = batch.weights.sum() if batch.weights is not None else torch.tensor(float(len(batch.targets)))
        logits = self.forward(batch)
        shared = self.devices.total(weight.to(logits.device)).clamp(min=1e-9)
        loss = cross_entropy(logits, batch.targets.to(logits.device), shared, batch.weights)
        if not torch.isfinite(loss.detach()):
            raise ModelError(
                f"the loss of step {self.done.step + 1} is no finite number; choose a lower learning rate and another "
                f"--out; what {self.folder} holds stays as it is"
            )
        self.devices.backward(loss)
        learned = [w for w in self.model.parameters() if w.grad is not None]
        norm = nn.utils.clip_grad_norm_(learned, self.schedule.clip)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        done = self.done
        done.step += 1
        done.tokens += len(batch.ids)
        done.targets += len(batch.targets) if batch.weights is None else int((batch.weights == 1).sum())
        told = {"step": done.step, "loss": round(float(loss.detach()), 4), "norm": round(float(norm), 3)}
        return {**told, "rate": round(rate, 4), "tokens": done.tokens, "targets": done.targets}

    def _told(self, line: dict[str, Any]) -> str:
        left = (self.schedule.steps - line["step"]) * line["seconds"] / line["step"]
        where = f"step {line['step']}/{self.schedule.steps}  loss {line['loss']:.3f}"
        return f"{where}  {line['speed']} tokens/s  {left / 60:.0f} min left"


def counts(facts: dict[str, Any], folder: Path) -> Done:
    """Of a checkpoint.

    Raises:
        OptionError: they are none.
    """
    known = Done()
    if not facts.keys() <= asdict(known).keys() or any(type(value) not in (int, float) for value in facts.values()):
        raise OptionError(f"the counts in the checkpoint of {folder} are damaged; choose another --out")
    return Done(**facts)


def _step(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return 1 << 60  # a line that was cut short
