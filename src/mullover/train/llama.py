"""The Llama architecture for training: tokens of many documents in one row, without padding."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mullover.train import ops
from mullover.train.ops import Packing


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes; `vocab` comes from the tokenizer."""

    width: int
    layers: int
    heads: int
    inner: int  # of the feed-forward part
    context: int = 1024
    theta: float = 10000.0
    eps: float = 1e-5

    def config(self, vocab: int, end: int) -> dict[str, Any]:
        """As transformers has it, for `LlamaForCausalLM`."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": self.width,
            "intermediate_size": self.inner,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.heads,
            "head_dim": self.width // self.heads,
            "hidden_act": "silu",
            "max_position_embeddings": self.context,
            "rms_norm_eps": self.eps,
            "rope_theta": self.theta,
            "vocab_size": vocab,
            "bos_token_id": None,
            "eos_token_id": end,
            "pad_token_id": end,
            "tie_word_embeddings": False,
            "attention_bias": False,
            "mlp_bias": False,
            "torch_dtype": "bfloat16",
        }


class Layer(nn.Module):
    """Attention, then a gated feed-forward part; q, k, v lie in one matrix, gate and up in another."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads, self.eps = shape.heads, shape.eps
        self.attention_norm = nn.Parameter(torch.ones(shape.width))
        self.qkv = nn.Parameter(torch.empty(3 * shape.width, shape.width))
        self.out = nn.Parameter(torch.empty(shape.width, shape.width))
        self.mlp_norm = nn.Parameter(torch.ones(shape.width))
        self.gate_up = nn.Parameter(torch.empty(2 * shape.inner, shape.width))
        self.down = nn.Parameter(torch.empty(shape.width, shape.inner))

    def forward(self, x: Tensor, rotary: Tensor, packing: Packing) -> Tensor:
        """(tokens, width) to the same."""
        qkv = ops.norm(x, self.attention_norm, self.eps) @ self.qkv.t()
        x = torch.addmm(x, ops.attend(qkv, rotary, packing, self.heads), self.out.t())
        inner = ops.swiglu(ops.norm(x, self.mlp_norm, self.eps) @ self.gate_up.t())
        return torch.addmm(x, inner, self.down.t())


class Llama(nn.Module):
    """Untied embedding and head; the weights of each kind at their usual scale, residual ones smaller by depth."""

    def __init__(self, shape: Shape, vocab: int, seed: int = 0) -> None:
        super().__init__()
        self.shape, self.vocab = shape, vocab
        self.embedding = nn.Parameter(torch.empty(vocab, shape.width))
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.last = nn.Parameter(torch.ones(shape.width))
        self.head = nn.Parameter(torch.empty(vocab, shape.width))
        self.register_buffer("rotary", ops.rotary(shape.context, shape.width // shape.heads, shape.theta), False)
        self._begin(seed)

    def _begin(self, seed: int) -> None:
        noise = torch.Generator().manual_seed(seed)
        small = (2 * self.shape.layers) ** -0.5
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                residual = name.endswith(("out", "down"))
                nn.init.normal_(weight, std=0.02 * (small if residual else 1.0), generator=noise)

    def forward(self, ids: Tensor, packing: Packing, where: Tensor | None = None) -> Tensor:
        """Logits (len(where), vocab) after the tokens at `where`; None: after each.

        Args:
            ids: (tokens,) of all documents, one behind the other.
        """
        x = nn.functional.embedding(ids, self.embedding)
        for layer in self.layers:
            x = layer(x, self.rotary, packing)
        x = x if where is None else x[where]
        return ops.norm(x, self.last, self.shape.eps) @ self.head.t()

    def exported(self) -> dict[str, Tensor]:
        """The weights under the names of transformers."""
        found: dict[str, Tensor] = {"model.embed_tokens.weight": self.embedding}
        found |= {"model.norm.weight": self.last, "lm_head.weight": self.head}
        for i, layer in enumerate(self.layers):
            for name, weight in _parts(layer):
                found[f"model.layers.{i}.{name}.weight"] = weight
        return {name: weight.detach() for name, weight in found.items()}

    @torch.no_grad()
    def take(self, weights: Mapping[str, Tensor]) -> None:
        """The inverse of `exported`."""
        for name, mine in self.exported().items():
            mine.copy_(weights[name])


def _parts(layer: Any) -> list[tuple[str, Tensor]]:
    q, k, v = layer.qkv.chunk(3)
    gate, up = layer.gate_up.chunk(2)
    return [
        ("input_layernorm", layer.attention_norm),
        ("self_attn.q_proj", q),
        ("self_attn.k_proj", k),
        ("self_attn.v_proj", v),
        ("self_attn.o_proj", layer.out),
        ("post_attention_layernorm", layer.mlp_norm),
        ("mlp.gate_proj", gate),
        ("mlp.up_proj", up),
        ("mlp.down_proj", layer.down),
    ]
