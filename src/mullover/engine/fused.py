"""A forward pass of our own for the Llama family: fewer and larger operations over the same weights.

`mull bench engine` shows what it earns. The modules keep their parameters, which become views of the joined
ones, so that nothing is stored twice and new weights reach both.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor

from mullover.engine.cost import Look
from mullover.engine.groups import Grouper
from mullover.engine.hugging import HuggingFace
from mullover.engine.kernels import Kernels
from mullover.engine.packed import Linear
from mullover.engine.plan import Plan
from mullover.engine.reads import Reader
from mullover.engine.runner import Output
from mullover.engine.whole import Layer, Shape, Whole

STATIC = ("default", "linear", "llama3", "yarn")  # rotary embeddings that know nothing of the text's length
FUSED = ("llama", "mistral", "qwen2", "qwen3")


class Fused(HuggingFace):
    """As `HuggingFace`, for the families of `FUSED`."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        config = model.config
        self._eps = float(config.rms_norm_eps)
        self._layers_joined = [_layer(layer) for layer in model.model.layers]
        self._queries = config.num_attention_heads
        self._head = Linear(model.lm_head.weight.data, None)
        self._whole: Whole | None = None
        self._like = model.lm_head.weight.data[:0]  # by which a rotary embedding knows type and device
        self._rotations = (self._like, self._like)  # of positions that were seen so far

    def allocate(self, blocks: int, size: int) -> Reader | Grouper:
        self._whole = None
        reader = super().allocate(blocks, size)
        self._lay_out()
        return reader

    def swap(self, weights: Mapping[str, Tensor]) -> None:
        super().swap(weights)
        for layer in self._layers_joined:
            for linear in layer.linears:
                linear.repack()
        self._head.repack()
        self._lay_out()

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

    def _attend_here(self) -> None:
        """Its modules are never run, only their weights read."""

    def _probe(self) -> tuple[list[tuple[int, int]], tuple[Look, ...]]:
        config, head = self.model.config, self.model.lm_head.weight
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        turned = self.model.model.rotary_emb(head[:0], torch.zeros((1, 1), dtype=torch.long, device=self.device))
        if turned[0].shape[-1] != size:
            raise ValueError(f"positions turn {turned[0].shape[-1]} numbers of a head of {size}")
        windows = Counter(_window(layer.self_attn) for layer in self.model.model.layers)
        looks = tuple([Look(4 * config.num_attention_heads * size * many, window) for window, many in windows.items()])
        return [(config.num_key_value_heads, size)] * config.num_hidden_layers, looks

    def _lay_out(self) -> None:
        cache, layers, config = self.cache, self._layers_joined, self.model.config
        if cache is None or cache.kernels is None or not Whole.fits(cache.kernels, layers):
            return
        shape = Shape(config.hidden_size, config.intermediate_size, self._queries, *self._shapes[0], self._eps)
        self._whole = Whole(cache.kernels, layers, cache.layers, self.model.model.norm.weight.data, shape)

    def _through(self, plan: Plan) -> Tensor:
        """(T, width) last hidden states."""
        assert self.cache is not None
        x, rotation = self.model.model.embed_tokens(plan.tokens), self._rotation(plan.positions)
        if self._whole is not None and self._whole.takes(plan):
            return self._whole(plan, x, rotation)
        if self.cache.kernels is not None:
            return self._by_kernels(self.cache.kernels, plan, x, rotation)
        return self._by_torch(x, rotation)

    def _rotation(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """(T, width) cosines and sines, looked up where they depend on the position alone."""
        rotary = self.model.model.rotary_emb
        if getattr(rotary, "rope_type", "") not in STATIC:
            cos, sin = rotary(self._like, positions.unsqueeze(0))
            return cos[0].contiguous(), sin[0].contiguous()
        known, wanted = len(self._rotations[0]), int(positions.max()) + 1
        if wanted > known:
            some = torch.arange(max(2 * known, wanted, 512), device=self.device)
            cos, sin = rotary(self._like, some.unsqueeze(0))
            self._rotations = cos[0].contiguous(), sin[0].contiguous()
        return self._rotations[0].index_select(0, positions), self._rotations[1].index_select(0, positions)

    def _by_kernels(self, kernels: Kernels, plan: Plan, x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        """Through all layers, where the matrix products and the runs of tokens are left to torch."""
        cache, eps, queries = self.cache, self._eps, self._queries
        assert cache is not None
        heads, width = self._shapes[0]
        places = plan.places
        for i, layer in enumerate(self._layers_joined):
            qkv = layer.qkv(kernels.rms_norm(x, layer.before, eps)).view(len(x), -1, width)
            kernels.rotate(qkv, rotation, layer.norms, cache.layers[i], places, width**-0.5, eps)
            q, k, v = qkv[:, :queries], qkv[:, queries : queries + heads], qkv[:, queries + heads :]
            seen = cache.seen(i, q, k, v, 1.0, None, layer.window)
            x = layer.out.added(x, seen.flatten(1))
            x = layer.down.added(x, kernels.swiglu(layer.gate_up(kernels.rms_norm(x, layer.after, eps))))
        return kernels.rms_norm(x, self.model.model.norm.weight, eps)

    def _by_torch(self, x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        """The same without kernels."""
        cache, eps, queries, (cos, sin) = self.cache, self._eps, self._queries, rotation
        assert cache is not None
        heads, width = self._shapes[0]
        half = width // 2
        sin = torch.cat((-sin[..., :half], sin[..., half:]), -1)
        scale = cos.new_full((queries + heads, 1), 1.0)  # of scores; put into the rotation of the queries
        scale[:queries] = width**-0.5
        cos, sin = cos.unsqueeze(1) * scale, sin.unsqueeze(1) * scale  # (T, heads, width)
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
        return rms(x, self.model.model.norm.weight, eps)


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
    return Layer(
        layer.input_layernorm.weight,
        qkv,
        norms,
        Linear(attention.o_proj.weight.data, attention.o_proj.bias),
        layer.post_attention_layernorm.weight,
        gate_up,
        Linear(mlp.down_proj.weight.data, mlp.down_proj.bias),
        _window(attention),
    )


def _window(attention: Any) -> int | None:
    """Tokens that a token sees, itself among them; None: all before it."""
    of_all = attention.config.model_type == "mistral"
    window: int | None = attention.config.sliding_window if of_all else getattr(attention, "sliding_window", None)
    return window


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
