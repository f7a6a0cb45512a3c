"""A forward pass of our own for the Llama family: fewer and larger operations over the same weights.

`mull bench engine` shows what it earns. The modules keep their parameters, which become views of the joined
ones, so that nothing is stored twice and new weights reach both.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor

from mullover.engine.hugging import HuggingFace
from mullover.engine.packed import Linear
from mullover.engine.plan import Plan
from mullover.engine.runner import Output

FUSED = ("llama", "mistral", "qwen2", "qwen3")


@dataclass(frozen=True, slots=True)
class Layer:
    before: Tensor  # (width,) of the norm before attention
    qkv: Linear  # to (query heads + 2 key heads) * head width
    norms: tuple[Tensor, Tensor] | None  # (head width,) of queries and of keys
    out: Linear
    after: Tensor  # of the norm before the MLP
    gate_up: Linear
    down: Linear
    window: int | None


class Fused(HuggingFace):
    """As `HuggingFace`, for the families of `FUSED`."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        config = model.config
        self._eps = float(config.rms_norm_eps)
        self._layers_joined = [_layer(layer) for layer in model.model.layers]
        self._queries = config.num_attention_heads
        self._head = Linear(model.lm_head.weight.data, None)

    def swap(self, weights: Mapping[str, Tensor]) -> None:
        super().swap(weights)
        for layer in self._layers_joined:
            for linear in (layer.qkv, layer.out, layer.gate_up, layer.down):
                linear.repack()
        self._head.repack()

    @staticmethod
    def fits(model: Any) -> bool:
        return bool(model.config.model_type in FUSED and model.config.hidden_act == "silu")

    def forward(self, plan: Plan) -> Output:
        assert self.cache is not None
        self.cache.plan = plan
        try:
            with torch.inference_mode():
                hidden = self._through(plan)[plan.wanted]
                logits = self._head(hidden)
                return Output(logits if logits.dtype == torch.float64 else logits.float(), hidden)
        finally:
            self.cache.plan = None

    def _through(self, plan: Plan) -> Tensor:
        """(T, width) last hidden states."""
        model, cache, eps = self.model.model, self.cache, self._eps
        assert cache is not None
        heads, width = self._shapes[0]
        queries, half = self._queries, width // 2
        x = model.embed_tokens(plan.tokens)
        cos, sin = model.rotary_emb(x, plan.positions.unsqueeze(0))
        sin = torch.cat((-sin[..., :half], sin[..., half:]), -1)
        scale = cos.new_full((queries + heads, 1), 1.0)  # of scores; put into the turning of the queries
        scale[:queries] = width**-0.5
        cos, sin = cos[0].unsqueeze(1) * scale, sin[0].unsqueeze(1) * scale  # (T, heads, width)
        for i, layer in enumerate(self._layers_joined):
            qkv = layer.qkv(rms(x, layer.before, eps)).view(len(x), -1, width)
            qk, v = qkv[:, : queries + heads], qkv[:, queries + heads :]
            if layer.norms is not None:
                qk = torch.cat(
                    (rms(qk[:, :queries], layer.norms[0], eps), rms(qk[:, queries:], layer.norms[1], eps)), 1
                )
            qk = torch.addcmul(qk * cos, torch.roll(qk, half, -1), sin)
            seen = cache.attend(i, qk[:, :queries], qk[:, queries:], v, 1.0, None, layer.window)
            x = layer.out.added(x, seen.flatten(1))
            gate, up = layer.gate_up(rms(x, layer.after, eps)).chunk(2, -1)
            x = layer.down.added(x, F.silu(gate).mul_(up))
        return rms(x, model.norm.weight, eps)


def rms(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x over its root mean square, times `weight`."""
    if x.is_cuda or x.dtype not in (torch.float32, torch.float64):
        return torch.rms_norm(x, weight.shape, weight, eps)
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    scaled: Tensor = x * norm.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
    return scaled.mul_(weight)


def _layer(layer: Any) -> Layer:
    attention, mlp = layer.self_attn, layer.mlp
    qkv = _joined(attention.q_proj, attention.k_proj, attention.v_proj)
    gate_up = _joined(mlp.gate_proj, mlp.up_proj)
    norms = (attention.q_norm.weight, attention.k_norm.weight) if hasattr(attention, "q_norm") else None
    window = getattr(attention, "sliding_window", None)
    if attention.config.model_type == "mistral":
        window = attention.config.sliding_window
    return Layer(
        layer.input_layernorm.weight,
        qkv,
        norms,
        Linear(attention.o_proj.weight.data, attention.o_proj.bias),
        layer.post_attention_layernorm.weight,
        gate_up,
        Linear(mlp.down_proj.weight.data, mlp.down_proj.bias),
        window,
    )


def _joined(*linears: Any) -> Linear:
    """Their weights below one another; they themselves keep views of it."""
    weight = torch.cat([linear.weight.data for linear in linears])
    bias = torch.cat([linear.bias.data for linear in linears]) if linears[0].bias is not None else None
    at = 0
    for linear in linears:
        size = len(linear.weight)
        linear.weight.data = weight[at : at + size]
        if bias is not None:
            linear.bias.data = bias[at : at + size]
        at += size
    return Linear(weight, bias)
