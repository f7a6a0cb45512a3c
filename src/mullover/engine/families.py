"""Which models of transformers the engine runs as they are, and why others are refused."""

from collections.abc import Mapping
from typing import Any

from mullover.errors import OptionError

FAMILIES = (
    "gemma",
    "gemma2",
    "gemma3_text",
    "gpt2",
    "granite",
    "llama",
    "mistral",
    "olmo",
    "olmo2",
    "olmo3",
    "phi3",
    "qwen2",
    "qwen3",
    "smollm3",
)
RECURRENT = (
    "mamba",
    "rwkv",
    "recurrent_gemma",
    "jamba",
    "falcon_h1",
    "zamba",
    "xlstm",
    "bamba",
    "qwen3_next",
    "qwen3_5",
)
MOVING = ("dynamic", "longrope")  # positions that are turned by how long the longest sequence of a batch is


def check(config: Any, where: str) -> None:
    """Is a model of this configuration (a mapping) one that the engine runs?

    Raises:
        OptionError: it is not; it says why, and what there is.
    """
    family = str(config.get("model_type", ""))
    if config.get("is_encoder_decoder"):
        raise OptionError(f"{where} is of the family {family!r}, an encoder-decoder; {_there_are()}")
    if any(family.startswith(name) for name in RECURRENT):
        raise OptionError(f"{where} is of the family {family!r}, whose state is recurrent; {_there_are()}")
    if family not in FAMILIES:
        own = ", and code of its own is never run" if config.get("auto_map") else ""
        raise OptionError(f"{where} is of the family {family!r}, which the engine does not run{own}; {_there_are()}")
    layers = config.get("num_hidden_layers", config.get("n_layer", 1))
    if not isinstance(layers, int) or layers < 1:
        raise OptionError(f"{where} has num_hidden_layers {layers!r} in its config.json; it must be at least 1")
    rope = rope_of(config)
    if not isinstance(rope, dict):
        raise OptionError(f"{where} has the rope {str(rope)[:40]!r} in its config.json; it must be an object")
    for one in [rope, *(value for value in rope.values() if isinstance(value, dict))]:
        kind = kind_of(one)
        if kind in MOVING:
            raise OptionError(
                f"{where} turns positions by the kind {kind!r}, which depends on what else is in a batch; "
                "set rope_type to default or yarn in its config.json, or serve it elsewhere"
            )


def rope_of(config: Any) -> Any:
    """What a configuration says of rotation, under its new name or the old one; an object, if it is right."""
    return config.get("rope_parameters") or config.get("rope_scaling") or {}


def kind_of(rope: Mapping[str, Any]) -> Any:
    return rope.get("rope_type", rope.get("type", "default"))


def _there_are() -> str:
    return f"there are {', '.join(FAMILIES)}; serve it elsewhere and give its URL"
