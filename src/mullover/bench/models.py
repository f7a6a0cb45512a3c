"""Models of given shapes with random weights, or of a directory, each ready for all engines."""

import copy
import gc
import json
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import transformers

from mullover.engine.compiling import kernels
from mullover.engine.families import check
from mullover.engine.fused import Fused
from mullover.engine.hugging import HuggingFace
from mullover.errors import OptionError


@dataclass(frozen=True, slots=True)
class Shape:
    name: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    vocabulary: int
    tied: bool = False
    family: str = "llama"  # or qwen2
    context: int = 2048


S = Shape("S", 256, 6, 4, 2, 768, 512)
M = Shape("M", 768, 12, 12, 4, 2048, 8192)


class Bed:
    """One model for all engines: its weights once, modules for each, since every engine has its own attention."""

    def __init__(self, model: Any, name: str) -> None:
        self.name, self.model = name, model.eval().requires_grad_(False)
        self.device = model.device
        self.vocabulary = int(model.get_output_embeddings().weight.shape[0])
        self.context = int(getattr(model.config, "max_position_embeddings", 1 << 20))

    def twin(self, attention: str = "sdpa") -> Any:
        """Other modules over the same weights, for transformers; nothing ends a sample."""
        shared = {id(p): p for p in (*self.model.parameters(), *self.model.buffers())}
        twin = copy.deepcopy(self.model, shared)
        twin.set_attn_implementation(attention)
        library: Any = transformers  # of which not all is typed
        twin.generation_config = library.GenerationConfig(pad_token_id=0)
        return twin

    def runner(self, fused: bool = True) -> HuggingFace:
        """Of the engine. `fused`: with its own forward pass, where there is one for the family."""
        gc.collect()  # runners that are done with: their modules, hooks and caches hold one another
        twin = self.twin()
        return Fused(twin) if fused and Fused.fits(twin) else HuggingFace(twin)

    @property
    def fuses(self) -> bool:
        return Fused.fits(self.model)


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def dtype(where: torch.device) -> torch.dtype:
    """A CPU without bf16 instructions is far slower in bf16."""
    return torch.bfloat16 if where.type == "cuda" else torch.float32


def build(shape: Shape, where: torch.device | None = None, kind: torch.dtype | None = None, seed: int = 0) -> Bed:
    """Random weights, the same for a seed."""
    where = where or device()
    torch.manual_seed(seed)
    config, model = {
        "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
        "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
    }[shape.family]
    made = config(
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        vocab_size=shape.vocabulary,
        tie_word_embeddings=shape.tied,
        max_position_embeddings=shape.context,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    before = torch.get_default_dtype()
    torch.set_default_dtype(kind or dtype(where))  # so that a large model is never there in float32
    try:
        with where:
            return Bed(model(made), shape.name)
    finally:
        torch.set_default_dtype(before)


def load(folder: str) -> Bed:
    """A model of a directory, from safetensors alone.

    Raises:
        OptionError: it has no such model, or one of a family that the engine does not run.
    """
    try:
        check(json.loads((Path(folder) / "config.json").read_text(encoding="utf-8")), folder)
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype(device()), use_safetensors=True, local_files_only=True
        )
    except OptionError:
        raise
    except (OSError, ValueError) as error:
        told = " ".join(str(error).split())[:200]
        raise OptionError(f"{folder} has no model that can be loaded ({told}); give a directory") from None
    return Bed(model.to(device()), Path(folder).name)


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    where = device()
    name = torch.cuda.get_device_name() if where.type == "cuda" else processor()
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "device": f"{where.type} ({name})",
        "dtype": str(dtype(where)).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "kernels": "C" if where.type == "cpu" and kernels() else "none",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }
