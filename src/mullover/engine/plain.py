"""Llama's modules without transformers, whose import takes longer than a small model takes to answer.

Names and places of the weights are those of `transformers`; only `Fused` runs them.
"""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from mullover.engine.families import kind_of, rope_of

NUMBERS = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "vocab_size",
    "max_position_embeddings",
)
USUAL = {"attention_bias": False, "mlp_bias": False, "tie_word_embeddings": False, "hidden_act": "silu"}


def fits(config: Mapping[str, Any]) -> bool:
    """Is it a Llama in its usual form: rotation that does not scale, no biases, a head of its own, silu?"""
    rope = rope_of(config)
    return (
        config.get("model_type") == "llama"
        and all(isinstance(config.get(name), int) and config[name] > 0 for name in NUMBERS)
        and all(config.get(name, value) == value for name, value in USUAL.items())
        and isinstance(rope, dict)
        and kind_of(rope) == "default"
        and not config.get("quantization_config")
        and all(isinstance(one, (int, float)) for one in (theta_of(config), config.get("rms_norm_eps", 1e-6)))
        and _shared(config)
    )


def _shared(config: Mapping[str, Any]) -> bool:
    """Do queries share heads evenly, and do heads have an even width?"""
    queries, width = config["num_attention_heads"], config["hidden_size"]
    heads, size = config.get("num_key_value_heads") or queries, config.get("head_dim") or width // queries
    return isinstance(heads, int) and isinstance(size, int) and heads > 0 and not queries % heads and not size % 2


def theta_of(config: Mapping[str, Any]) -> Any:
    return (config.get("rope_parameters") or {}).get("rope_theta", config.get("rope_theta", 10000.0))


class Rotation:
    """Cosines and sines of positions. Source: Su et al. 2021, arXiv:2104.09864; halves as transformers has them."""

    rope_type = "default"

    def __init__(self, size: int, theta: float) -> None:
        self.speeds = 1.0 / theta ** (torch.arange(0, size, 2, dtype=torch.int64).float() / size)

    def __call__(self, like: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """(1, T, size) each, of positions (1, T)."""
        angles = positions.float().unsqueeze(-1) * self.speeds.to(positions.device)
        both = torch.cat((angles, angles), -1)
        return both.cos().to(like.dtype), both.sin().to(like.dtype)


class PlainLlama(nn.Module):
    """Raises KeyError or TypeError where a number is missing: see `fits`."""

    def __init__(self, config: Mapping[str, Any], dtype: torch.dtype) -> None:
        super().__init__()
        queries, width = config["num_attention_heads"], config["hidden_size"]
        heads = config.get("num_key_value_heads") or queries
        size = config.get("head_dim") or width // queries
        said = {"rms_norm_eps": 1e-6, **USUAL, **config, "num_key_value_heads": heads, "head_dim": size}
        self.config = SimpleNamespace(**said)
        model: Any = nn.Module()
        model.embed_tokens = Weight(dtype, config["vocab_size"], width)
        layers = [self._layer(width, queries, heads, size, dtype) for _ in range(config["num_hidden_layers"])]
        model.layers = nn.ModuleList(layers)
        model.norm = Weight(dtype, width)
        self.lm_head = Weight(dtype, config["vocab_size"], width)
        model.rotary_emb = Rotation(size, float(theta_of(config)))
        self.model = model

    def _layer(self, width: int, queries: int, heads: int, size: int, dtype: torch.dtype) -> nn.Module:
        def linear(into: int, out: int) -> Weight:
            return Weight(dtype, out, into)

        layer: Any = nn.Module()
        attention: Any = nn.Module()
        mlp: Any = nn.Module()
        attention.config = self.config
        attention.q_proj, attention.o_proj = linear(width, queries * size), linear(queries * size, width)
        attention.k_proj, attention.v_proj = linear(width, heads * size), linear(width, heads * size)
        inner = self.config.intermediate_size
        mlp.gate_proj, mlp.up_proj, mlp.down_proj = linear(width, inner), linear(width, inner), linear(inner, width)
        layer.self_attn, layer.mlp = attention, mlp
        layer.input_layernorm, layer.post_attention_layernorm = Weight(dtype, width), Weight(dtype, width)
        return layer  # type: ignore[no-any-return]

    @property
    def device(self) -> torch.device:
        return self.lm_head.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.lm_head.weight.dtype

    @property
    def base_model(self) -> Any:
        return self.model

    def get_output_embeddings(self) -> "Weight":
        return self.lm_head

    def get_input_embeddings(self) -> Any:
        return self.model.embed_tokens

    def take(self, weights: Mapping[str, Tensor]) -> tuple[list[str], list[str]]:
        """Weights by name, as they are in a file. Returns names that are missing, and names of other shapes."""
        mine = {name: weight.shape for name, weight in self.named_parameters()}
        dtype = self.dtype
        fitting = {n: w.to(dtype) for n, w in weights.items() if n in mine and w.shape == mine[n]}
        self.load_state_dict(fitting, strict=False, assign=True)
        return sorted(set(mine) - set(weights)), sorted(n for n in mine if n in weights and n not in fitting)


class Weight(nn.Module):
    """A weight that is not there yet, since filling it with noise first takes time. Of tokens: their rows."""

    bias = None

    def __init__(self, dtype: torch.dtype, *shape: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape, dtype=dtype, device="meta"))

    def forward(self, tokens: Tensor) -> Tensor:
        return nn.functional.embedding(tokens, self.weight)
