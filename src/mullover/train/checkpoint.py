"""The state of a run on disk: whole or not at all, and never a pickle."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from mullover.errors import OptionError, StoreError
from mullover.store.files import sync_folder, told

NAME = "checkpoint.safetensors"


def save(folder: Path, model: nn.Module, optimizers: Sequence[Optimizer], facts: Mapping[str, Any]) -> None:
    """In place of the one before, which stays until this one is on the disk."""
    tensors = {f"model/{name}": weight.detach().contiguous() for name, weight in _learned(model).items()}
    tensors |= {f"noise/{i}": state for i, state in enumerate(_noise())}
    for i, name, state in _states(model, optimizers):
        tensors.update({f"{i}/{name}/{key}": torch.as_tensor(value).contiguous() for key, value in state.items()})
    made = folder / f"{NAME}.new"
    with writing(made):
        save_file(tensors, made, {"facts": json.dumps(facts)})
        readable(made)
        with made.open("rb") as file:
            os.fsync(file.fileno())
        made.replace(folder / NAME)
        sync_folder(folder)


def readable(path: Path) -> None:
    """For whom the user's umask lets read: safetensors lets nobody else."""
    plain = path.with_name(f"{path.name}.mode")
    plain.touch()
    path.chmod(plain.stat().st_mode)
    plain.unlink()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """The errors of the system, and of safetensors when it writes, become ours."""
    try:
        with told(path):
            yield
    except SafetensorError as error:
        raise StoreError(
            f"{path} cannot be written ({error}); free some space and run the same command again, what finished is kept"
        ) from error


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """A new directory to fill, which takes the place of `folder` once it is filled."""
    made = folder.with_name(f"{folder.name}.new")
    with writing(made):
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        yield made
        for file in made.glob("*.safetensors"):
            readable(file)
    with writing(folder):
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)


def load(folder: Path, model: nn.Module, optimizers: Sequence[Optimizer]) -> dict[str, Any] | None:
    """Facts of the checkpoint, once model and optimizers are as they were; None where there is none.

    Raises:
        OptionError: it is damaged, or of another model.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no mapping
            facts: dict[str, Any] = json.loads((file.metadata() or {})["facts"])
        if not isinstance(facts, dict):
            raise ValueError("its facts are no table")
        with torch.no_grad():
            for name, weight in _learned(model).items():
                weight.copy_(tensors[f"model/{name}"])
        _restore(model, optimizers, tensors)
        if facts.get("step") and not any(one.state for one in optimizers):
            raise ValueError("it has no states of the optimizers")
        _restore_noise([tensors[name] for name in sorted(tensors) if name.startswith("noise/")])
    except (OSError, ValueError, LookupError, RuntimeError, SafetensorError) as error:
        raise OptionError(f"{path} is no checkpoint of this recipe ({error}); choose another --out") from None
    return facts


def _learned(model: nn.Module) -> dict[str, Tensor]:
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def _noise() -> list[Tensor]:
    """What dropout draws from."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state()] if torch.cuda.is_available() else [])]


def _restore_noise(states: Sequence[Tensor]) -> None:
    for state, give in zip(states, (torch.set_rng_state, torch.cuda.set_rng_state), strict=False):
        give(state)


def _names(model: nn.Module) -> dict[int, str]:
    return {id(weight): name for name, weight in model.named_parameters()}


def _states(model: nn.Module, optimizers: Sequence[Optimizer]) -> list[tuple[int, str, Mapping[str, Any]]]:
    names = _names(model)
    return [(i, names[id(w)], state) for i, one in enumerate(optimizers) for w, state in one.state.items()]


def _restore(model: nn.Module, optimizers: Sequence[Optimizer], tensors: Mapping[str, Tensor]) -> None:
    weights = dict(model.named_parameters())
    for key, tensor in tensors.items():
        if key.count("/") == 2:
            i, name, field = key.split("/")
            of = weights[name]
            on_cpu = field == "step"  # AdamW counts there
            optimizers[int(i)].state[of][field] = tensor if on_cpu else tensor.to(of.device)
