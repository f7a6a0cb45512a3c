"""Supervised fine-tuning of any Hugging Face model on a file of examples."""

from __future__ import annotations

import hashlib
import math
import os
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW

from mullover.backends.local.folder import Folder
from mullover.engine import memory
from mullover.errors import OptionError
from mullover.seeds import canonical
from mullover.store.files import told
from mullover.store.lock import Lock
from mullover.train import checkpoint, examples
from mullover.train.loop import Alone, Batch, Devices, Loop, Say, Schedule
from mullover.train.ops import Packing

MODEL = "model"
TOLERANCE = 1e-3  # of a logit, between packed and alone, in float32


@dataclass(frozen=True, slots=True)
class Settings:
    """How to fine-tune."""

    epochs: int = 1
    batch: int = 4096  # tokens of a step and device
    lr: float = 1e-5
    warmup: float = 0.03  # share of the steps
    cooldown: float = 0.97  # share of the steps in which the rate falls to 0
    decay: float = 0.0
    lora: int = 0  # rank of the adapters; 0: all weights are trained
    longest: int = 4096  # tokens of an example; longer ones are left out
    seed: int = 0
    checkpoint: float = 300.0  # seconds between checkpoints

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch, self.longest) < 1 or not 0 < self.lr < math.inf or self.lora < 0:
            raise OptionError("epochs, batch and longest must be at least 1, lr above 0 and finite, lora at least 0")
        if not 0 <= self.seed < 1 << 63:
            raise OptionError(f"the seed is {self.seed}; it must be at least 0 and below 2^63")


def sft(data: Path, model: Path, out: Path, settings: Settings, say: Say) -> Path | None:
    """Fine-tune the model of a directory, going on where a run in `out` stopped.

    On several devices it is started by `accelerate launch` or `torchrun`; each takes a batch of its own.

    Returns:
        The directory of the finished model, in `out`; with LoRA the adapters are merged into it. None: of several
        processes this is not the one that writes.

    Raises:
        OptionError: the model, the data or the settings cannot be used, or `out` holds another run.
        StoreError: another process trains there.
    """
    memory.keep_freed()
    if model.resolve() in (out.resolve(), (out / MODEL).resolve()):
        raise OptionError(f"the finished model would take the place of {model}; choose another --out")
    examples.lines(data)  # before a large model is loaded for nothing
    with told(out):
        out.mkdir(parents=True, exist_ok=True)
    devices = _devices()
    with closing(Lock(out)) if devices.main else nullcontext():
        return _tuned(data, model, out, settings, devices, say)


def _tuned(data: Path, model: Path, out: Path, settings: Settings, devices: Several | One, say: Say) -> Path | None:
    tokenizer, net = _loaded(model, settings.lora > 0)
    torch.manual_seed(settings.seed)  # of fresh adapters
    net = _adapted(net, settings.lora) if settings.lora else net
    net = net.to(devices.device)
    context = int(getattr(net.config, "max_position_embeddings", 1 << 20))
    told, long = examples.read(data, tokenizer, min(settings.longest, context))
    order = examples.batches(told, settings.batch, settings.epochs, settings.seed)
    steps = -(-len(order) // devices.count)
    if devices.main:
        say(f"{len(told)} examples in {steps} steps" + (f"; {long} are too long and left out" if long else ""))
        if not any(tokenizer.eos_token_id in one.ids[first:end] for one in told for first, end in one.learned):
            say(f"no turn of the assistant has the end {tokenizer.eos_token!r}: the model will not learn to stop")
    weights = [weight for weight in net.parameters() if weight.requires_grad]
    optimizer = AdamW(weights, lr=settings.lr, betas=(0.9, 0.999), weight_decay=settings.decay)
    wrapped, forward = devices.wrapped(net), row
    if not packs(net, told):
        say("this model does not tell packed examples apart: each has a row of its own")
        forward = padded
    schedule = Schedule(steps, int(settings.warmup * steps), settings.cooldown)
    identity = _identity(data, model, settings, devices.count)
    loop = Loop(out, net, [optimizer], schedule, lambda batch: forward(wrapped, batch), lambda _: identity, devices)
    stream = examples.Examples(told, order, loop.done.step, devices.index, devices.count)
    net.train()
    for _ in loop.steps(stream, say, settings.checkpoint):
        pass
    if devices.main:
        _saved(net, tokenizer, out / MODEL)
    return out / MODEL if devices.main else None


def row(net: Any, batch: Batch) -> Tensor:
    """Logits of the targets; the places of tokens, which begin anew with each example, keep them apart."""
    device = next(net.parameters()).device
    packing = Packing(batch.lengths, device)
    with _half(device):
        told = net(
            input_ids=batch.ids.to(device).unsqueeze(0),
            position_ids=packing.positions.unsqueeze(0),
            use_cache=False,
            logits_to_keep=batch.where.to(device),
        )
    logits: Tensor = told.logits[0]
    return logits


def _half(device: torch.device) -> torch.autocast:
    """Products in bfloat16 on a GPU, where weights stay float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def padded(net: Any, batch: Batch) -> Tensor:
    """The same, each example in a row of its own."""
    device = next(net.parameters()).device
    rows, columns = Packing(batch.lengths, device).grid
    ids = torch.zeros((len(batch.lengths), max(batch.lengths)), dtype=torch.int64, device=device)
    mask = torch.zeros_like(ids)
    ids[rows, columns], mask[rows, columns] = batch.ids.to(device), 1
    with _half(device):
        logits = net(input_ids=ids, attention_mask=mask, use_cache=False).logits
    where = batch.where.to(device)
    told: Tensor = logits[rows[where], columns[where]]
    return told


@torch.no_grad()
def packs(net: Any, told: list[examples.Example]) -> bool:
    """Is a short example computed behind another one as it is alone? Families differ in what they make of places."""
    short = sorted(told, key=lambda one: len(one.ids))[0]
    long = next((one for one in told if 1 < len(one.ids) <= 256), short)
    net.eval()
    try:
        alone, behind = row(net, examples.batch([short])), row(net, examples.batch([long, short]))
    except (TypeError, ValueError, RuntimeError):
        return False
    room = max(TOLERANCE, 8 * torch.finfo(alone.dtype).eps) * alone.abs().max().clamp(min=1)
    return bool((alone - behind[len(behind) - len(alone) :]).abs().max() < room)


def _loaded(path: Path, adapters: bool) -> tuple[Any, Any]:
    if missing := [name for name in ("transformers", "tokenizers") if find_spec(name) is None]:
        raise OptionError(f"fine-tuning needs {', '.join(missing)}; pip install 'mullover[train]'")
    Folder.read(path)  # says what is wrong with it
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # What is trained must be float32: steps of a small learning rate are lost in the rounding of bfloat16.
    kind = torch.bfloat16 if adapters and torch.cuda.is_available() else torch.float32
    where = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(path), **where)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            str(path), dtype=kind, use_safetensors=True, output_loading_info=True, **where
        )
    except Exception as error:  # noqa: BLE001  the library raises whatever went wrong
        raise OptionError(f"cannot load {path}: {str(error).strip().splitlines()[0][:200]}") from None
    net, found = loaded
    if lacking := sorted([*found["missing_keys"], *(str(key) for key in found["mismatched_keys"])]):
        raise OptionError(f"{path} lacks weights: {', '.join(lacking[:3])}{', ...' if len(lacking) > 3 else ''}")
    if len(tokenizer) > (rows := net.get_input_embeddings().num_embeddings):
        raise OptionError(f"the tokenizer of {path} has {len(tokenizer)} tokens, the model {rows}; they are no pair")
    net.get_input_embeddings().padding_idx = None  # the end is a padding token to many, and must be learned
    return tokenizer, net


def _adapted(net: Any, rank: int) -> Any:
    """With low-rank adapters on all linear layers. Source: Hu et al. 2021, arXiv:2106.09685; alpha is 2 r."""
    if find_spec("peft") is None:
        raise OptionError("LoRA needs peft; pip install 'mullover[train]', or leave --lora out")
    from peft import LoraConfig, get_peft_model

    return get_peft_model(
        net, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    )


class Several(Devices):
    """By accelerate: each process has a copy, gradients are averaged."""

    def __init__(self) -> None:
        from accelerate import Accelerator

        self._by = Accelerator(cpu=not torch.cuda.is_available())
        if (kind := self._by.distributed_type) not in ("MULTI_GPU", "MULTI_CPU"):
            raise OptionError(f"accelerate is set to {kind.value}; each device has a whole model here: use MULTI_GPU")
        self.main, self.index, self.count = self._by.is_main_process, self._by.process_index, self._by.num_processes
        self.device = self._by.device

    def wrapped(self, net: Any) -> Any:
        return self._by.prepare_model(net)

    def backward(self, loss: Tensor) -> None:
        self._by.backward(loss)

    def total(self, count: Tensor) -> Tensor:
        shared: Tensor = self._by.reduce(count, "sum") / self.count
        return shared


class One(Alone):
    index, count = 0, 1
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def wrapped(self, net: Any) -> Any:
        return net


def _devices() -> Several | One:
    """Several where a launcher began several processes."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return One()
    if find_spec("accelerate") is None:
        raise OptionError("several devices need accelerate; pip install 'mullover[train]'")
    return Several()


def _identity(data: Path, model: Path, settings: Settings, devices: int) -> str:
    with data.open("rb") as file:
        seen = hashlib.file_digest(file, "sha256").hexdigest()
    said = {name: value for name, value in asdict(settings).items() if name != "checkpoint"}
    return hashlib.sha256(canonical([said, seen, Folder.read(model).digest, devices]).encode()).hexdigest()[:16]


def _saved(net: Any, tokenizer: Any, to: Path) -> None:
    whole = net.merge_and_unload() if hasattr(net, "merge_and_unload") else net
    with checkpoint.replaced(to) as made:
        whole.save_pretrained(made, safe_serialization=True)
        tokenizer.save_pretrained(made)
