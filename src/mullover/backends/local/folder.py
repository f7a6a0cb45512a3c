"""What a model's directory says, read and checked before anything large is loaded."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mullover.backends.template import Template
from mullover.errors import OptionError
from mullover.types import Sampling

DEFAULTS = ("temperature", "top_p", "top_k", "min_p")
LARGE = 256 << 20  # bytes of weights that are hashed in full; of more, three parts of each file
THINK = ("<think>", "</think>")


@dataclass(frozen=True)
class Folder:
    """One directory in the Hugging Face layout."""

    path: Path
    config: Mapping[str, Any]
    ends: frozenset[int]
    defaults: Mapping[str, Any]  # of the sampling, by the model's own word
    template: Template | None
    template_text: str

    @classmethod
    def read(cls, path: Path) -> "Folder":
        """Raises OptionError: it is no model that can be loaded without running code that it brings."""
        config = _json(path / "config.json")
        if config is None:
            raise OptionError(
                f"{path} has no config.json, so it is no model's directory; name one in Hugging Face's layout"
            )
        weights = [*path.glob("*.safetensors")]
        if not weights:
            pickled = [*path.glob("*.bin"), *path.glob("*.pt"), *path.glob("*.pth")]
            way_out = (
                f"only {pickled[0].name}, which could run code when read; convert it to safetensors"
                if pickled
                else "no weights; put its .safetensors files there"
            )
            raise OptionError(f"{path} has {way_out}")
        generation = _json(path / "generation_config.json") or {}
        said = generation.get("eos_token_id", config.get("eos_token_id"))
        ends = frozenset(said if isinstance(said, list) else [] if said is None else [said])
        template, text = _template(path)
        return cls(path, config, ends, _defaults(generation), template, text)

    @property
    def think(self) -> tuple[str, str] | None:
        """Delimiters of reasoning, where the template or the tokenizer has them."""
        tokenizer = self.path / "tokenizer.json"
        if THINK[1] in self.template_text:
            return THINK
        known = f'"{THINK[1]}"'
        return (
            THINK if tokenizer.is_file() and known in tokenizer.read_text(encoding="utf-8", errors="replace") else None
        )

    @property
    def weights(self) -> list[Path]:
        """The files that the index names; without one `model.safetensors`, or all there are."""
        index = _json(self.path / "model.safetensors.index.json")
        if index is not None and isinstance(index.get("weight_map"), dict):
            return [self.path / Path(name).name for name in sorted({str(v) for v in index["weight_map"].values()})]
        whole = self.path / "model.safetensors"
        return [whole] if whole.is_file() else sorted(self.path.glob("*.safetensors"))

    @property
    def switches(self) -> bool:
        """Can thinking be turned on and off by the template?"""
        return "enable_thinking" in self.template_text

    @property
    def digest(self) -> str:
        """Of the weights and what is said about them: other files are another model."""
        told = hashlib.sha256()
        for path in sorted([*self.path.glob("*.json"), *self.path.glob("*.jinja"), *self.path.glob("*.safetensors")]):
            size = path.stat().st_size
            told.update(f"{path.name}:{size}:".encode())
            with path.open("rb") as file:
                if size <= LARGE:
                    told.update(hashlib.file_digest(file, "sha256").digest())
                    continue
                for at in (0, size // 2, size - (1 << 20)):
                    file.seek(at)
                    told.update(file.read(1 << 20))
        return told.hexdigest()


def _json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise OptionError(f"cannot read {path}: {str(error)[:200]}") from None
    if not isinstance(found, dict):
        raise OptionError(f"{path} holds no object; put the model's there")
    return found


def _defaults(generation: Mapping[str, Any]) -> dict[str, Any]:
    """The model's generation config, less what no sampling can have."""
    if generation.get("do_sample") is False:
        return {}
    said = {name: generation[name] for name in DEFAULTS if generation.get(name) is not None}
    try:
        Sampling(**said)
    except (OptionError, TypeError):
        return {}
    return said


def _template(path: Path) -> tuple[Template | None, str]:
    """The chat template and its text; a file of its own before the tokenizer's configuration."""
    config, own = path / "tokenizer_config.json", path / "chat_template.jinja"
    said = _json(config) or {}
    if own.is_file():
        found = Template.read(str(own))
        tokens = Template.tokens_of(said)
        return Template(found.jinja, tokens), own.read_text(encoding="utf-8")
    if said.get("chat_template"):
        return Template.read(str(config)), json.dumps(said["chat_template"], ensure_ascii=False)
    return None, ""
