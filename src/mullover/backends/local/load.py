"""From a directory to an engine that serves it."""

import sys
import warnings
import weakref
from dataclasses import dataclass
from logging import CRITICAL
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

import mullover.engine  # noqa: F401  before torch: it says how idle threads wait
from mullover.backends.local.folder import Folder
from mullover.backends.local.words import Words
from mullover.engine import families, memory, plain
from mullover.engine.engine import Engine
from mullover.engine.service import Service
from mullover.errors import OptionError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "float64": torch.float64}
FORM = "DIRECTORY;kv_memory=2GB;dtype=bfloat16;device=cuda"


@dataclass(frozen=True)
class Settings:
    """How a directory is to be run; None: as its machine does best."""

    kv_memory: int | None = None  # bytes
    dtype: str | None = None
    device: str | None = None

    @classmethod
    def parse(cls, spec: str) -> tuple[Path, "Settings"]:
        """Of `DIRECTORY` or of FORM, in which each setting may be left out.

        Raises:
            OptionError: no such setting, or it cannot have that value.
        """
        folder, *words = spec.split(";")
        said: dict[str, Any] = {}
        for word in words:
            name, _, value = word.partition("=")
            if name not in cls.__dataclass_fields__ or not value:
                raise OptionError(f"{word[:40]!r} is no setting of a local model; write {FORM}")
            said[name] = memory.parsed(value, name) if name == "kv_memory" else value
        if said.get("dtype", "float32") not in DTYPES:
            raise OptionError(f"dtype is {said['dtype'][:40]!r}; it must be one of {', '.join(DTYPES)}")
        return Path(folder), cls(**said)


_served: "weakref.WeakValueDictionary[tuple[Path, Settings, str], Service]" = weakref.WeakValueDictionary()


def service(folder: Folder, settings: Settings) -> Service:
    """An engine with its own thread; one for all who open the same files in the same way.

    Raises:
        OptionError: the directory is none that can be run here; it says why.
    """
    key = (folder.path.resolve(), settings, folder.digest)
    found = _served.get(key)
    if found is None:
        found = _served[key] = Service(engine(folder, settings))
    return found


def engine(folder: Folder, settings: Settings) -> Engine:
    families.check(folder.config, str(folder.path))
    words = Words(folder.path, folder.ends, folder.think)
    device = _device(settings.device)
    dtype = DTYPES[settings.dtype] if settings.dtype else torch.bfloat16 if device.type == "cuda" else torch.float32
    if device.type == "cpu":
        memory.keep_freed()
    from mullover.engine.fused import Fused
    from mullover.engine.hugging import HuggingFace

    model = _model(folder, dtype).to(device)
    if words.size > (size := int(model.get_output_embeddings().weight.shape[0])):
        raise OptionError(f"{folder.path} has {words.size} tokens and a model of {size}; its tokenizer is another's")
    try:
        runner = Fused(model) if Fused.fits(model) else HuggingFace(model)
    except (RuntimeError, IndexError, ValueError) as error:
        raise OptionError(f"{folder.path} cannot compute a token; its config.json is wrong: {_first(error)}") from None
    size = memory.default(device) if settings.kv_memory is None else settings.kv_memory
    wide = device.type == "cuda"
    return Engine(runner, words, memory=size, most=512 if wide else 256, chunk=8192 if wide else 512)


def _device(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise OptionError(f"device is {name[:40]!r}: {_first(error)}") from None
    if device.type == "meta":
        raise OptionError("device is 'meta', which computes nothing; write cpu or cuda")
    return device


def _model(folder: Folder, dtype: torch.dtype) -> Any:
    """The weights in their module: from safetensors alone, from the disk alone, and no code but transformers' own."""
    model, missing, wrong = (_plain if plain.fits(folder.config) else _of_transformers)(folder, dtype)
    if missing:
        raise OptionError(f"{folder.path} lacks weights: {', '.join(missing[:3])}; its files are not complete")
    if wrong:
        raise OptionError(f"{folder.path} has weights of other sizes than its config.json: {', '.join(wrong[:3])}")
    broken = [name for name, weight in model.named_parameters() if not _finite(weight)]
    if broken:
        raise OptionError(f"{folder.path} has weights that are no finite numbers: {', '.join(broken[:3])}")
    return model


def _plain(folder: Folder, dtype: torch.dtype) -> tuple[Any, list[str], list[str]]:
    """A model that needs no transformers, and the names of weights that are missing or do not fit."""
    weights = dict[str, torch.Tensor]()
    try:
        for file in folder.weights:
            weights |= load_file(file)
    except (OSError, ValueError, SafetensorError) as error:
        raise OptionError(f"cannot load {folder.path}: {_first(error)}") from None
    model = plain.PlainLlama(folder.config, dtype)
    return model, *model.take(weights)


def _of_transformers(folder: Folder, dtype: torch.dtype) -> tuple[Any, list[str], list[str]]:
    """The same, for every other family."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    if not (sys.stderr and sys.stderr.isatty()):
        logging.disable_progress_bar()  # type: ignore[no-untyped-call,unused-ignore]
    told_until_now = logging.get_verbosity()  # type: ignore[no-untyped-call,unused-ignore]
    logging.set_verbosity(CRITICAL)  # type: ignore[no-untyped-call,unused-ignore]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found: Any = AutoModelForCausalLM.from_pretrained(
                str(folder.path),
                dtype=dtype,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are told below, by name
            )
    except Exception as error:  # noqa: BLE001  the library raises whatever went wrong; the user hears the first line
        raise OptionError(f"cannot load {folder.path}: {_first(error)}") from None
    finally:
        logging.set_verbosity(told_until_now)  # type: ignore[no-untyped-call,unused-ignore]
    model, told = found
    wrong = sorted(str(one[0]) for one in told.get("mismatched_keys", ()))
    return model, sorted(told.get("missing_keys", ())), wrong


def _finite(weight: torch.Tensor) -> bool:
    low, high = weight.detach().aminmax()  # which are NaN if one of them is
    return bool(torch.isfinite(low) and torch.isfinite(high))


def _first(error: Exception) -> str:
    """What a library says went wrong, in one line: its first two, as the second often holds the reason."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    return f"{type(error).__name__}: {' '.join(lines[:2])}"[:300]
