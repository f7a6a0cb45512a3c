"""A pass over single tokens in one call: for small models on a CPU, where the calls cost as much as what they do."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mullover.engine.kernels import Kernels
from mullover.engine.packed import LARGE, Linear
from mullover.engine.plan import Plan
from mullover.engine.reads import Reads

ROWS = 256  # more than these are multiplied faster by torch


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

    @property
    def linears(self) -> tuple[Linear, ...]:
        return self.qkv, self.out, self.gate_up, self.down


@dataclass(frozen=True, slots=True)
class Shape:
    hidden: int
    inner: int  # of the MLP
    queries: int  # heads
    heads: int  # of keys
    width: int  # of a head
    eps: float


class Whole:
    """Weights laid out for the kernel, beside those of the model.

    Args:
        caches: keys and values, by layer.
        norm: weight of the last norm.
    """

    def __init__(
        self, kernels: Kernels, layers: Sequence[Layer], caches: Sequence[Tensor], norm: Tensor, shape: Shape
    ) -> None:
        self._kernels, self._norm, self._shape, self._depth = kernels, norm, shape, len(layers)
        self._kept = list[Tensor]()  # what the table points at
        rows = [self._row(layer, cache) for layer, cache in zip(layers, caches, strict=True)]
        self._table = torch.tensor(rows, dtype=torch.int64)
        assert self._table.shape[1] == kernels.layer_words

    @staticmethod
    def fits(kernels: Kernels, layers: Sequence[Layer]) -> bool:
        """Are all weights small, and of such sizes as the kernel takes?"""
        wide = 2 * kernels.lanes
        return all(
            layer.gate_up.bias is None
            and layer.down.bias is None
            and all(
                linear.weight.numel() < LARGE and not (linear.weight.shape[0] % wide or linear.weight.shape[1] % wide)
                for linear in layer.linears
            )
            for layer in layers
        )

    def takes(self, plan: Plan) -> bool:
        return not plan.spans and plan.rows <= ROWS

    def __call__(self, plan: Plan, x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        """(T, hidden): the last hidden states, normed.

        Args:
            x: (T, hidden) embeddings, which are overwritten.
            rotation: cosines and sines, (T, width) each.
        """
        assert isinstance(plan.reads, Reads)
        s = self._shape
        padded, seen = -(-len(x) // 8) * 8, s.queries * s.width
        room = x.new_empty(padded * (max(s.hidden, seen) + 2 * seen + 2 * s.heads * s.width + s.inner))
        places = plan.places
        self._kernels.whole(
            x, self._table, self._depth, self._norm, rotation, plan.reads, places, room,
            (s.hidden, s.inner, s.queries, s.heads, s.width), s.eps,
        )  # fmt: skip
        return x

    def _row(self, layer: Layer, cache: Tensor) -> list[int]:
        """As struct Layer of native/layers.c."""
        gate, up = layer.gate_up.weight.chunk(2)
        lanes = self._kernels.lanes
        both = torch.stack((gate.view(-1, lanes, gate.shape[1]), up.view(-1, lanes, up.shape[1])), 1).flatten(0, 2)
        told: list[Tensor | None] = [
            layer.before, self._panels(layer.qkv.weight), layer.qkv.bias, *(layer.norms or (None, None)),
            self._panels(layer.out.weight), layer.out.bias, layer.after, self._panels(both),
            self._panels(layer.down.weight), cache,
        ]  # fmt: skip
        self._kept += [one for one in told if one is not None]
        return [*(0 if one is None else one.data_ptr() for one in told), layer.window or 0]

    def _panels(self, weight: Tensor) -> Tensor:
        """(out, in) to (panels, in, lanes)."""
        return weight.view(-1, self._kernels.lanes, weight.shape[1]).transpose(1, 2).contiguous()
