"""The kernels of `native/`, as functions of tensors. `compiling` makes them."""

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mullover.engine.reads import Reads

BLOCK = 32  # slots of a block
WIDEST = 512  # numbers of a head

_P, _N, _F, _I = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float, ctypes.c_int
SIGNATURES = {
    "attend": [_P] * 8 + [_N] * 6 + [_F, _I],
    "rms_norm": [_P] * 3 + [_N] * 2 + [_F, _I],
    "swiglu": [_P] * 2 + [_N] * 2 + [_I],
    "whole": [_P, _P, _N, *[_P] * 8, _N, *[_P] * 3, _N, _P, *[_N] * 6, _F, _I],
    "log_sums": [_P] * 2 + [_N] * 2 + [_I],
    "quantile": [_P] * 4 + [_N] * 2 + [_I],
    "rotate": [_P] * 9 + [_N] * 5 + [_F, _F, _I],
}


Places = tuple[Tensor | None, Tensor, Tensor]  # which tokens are new (None: all), and the block and slot of each


def _reads(reads: Reads) -> tuple[int, ...]:
    tables = (reads.tiles, reads.entries, reads.rows, reads.ends, reads.positions)
    return *(one.data_ptr() for one in tables), len(reads.tiles) - 1


def _pointers(*tensors: Tensor | None) -> tuple[int | None, ...]:
    return tuple([None if one is None else one.data_ptr() for one in tensors])


class Kernels:
    """All tensors are float32 on a CPU, close together but for rows of `q`."""

    def __init__(self, library: Any) -> None:
        self._calls = library
        self.lanes = int(library.lanes())  # numbers of a vector
        self.layer_words = int(library.layer_words())  # of 8 bytes, of struct Layer
        if library.block() != BLOCK:
            raise ValueError(f"the kernels take blocks of {library.block()} slots, not {BLOCK}")
        for name, kinds in SIGNATURES.items():
            call = getattr(library, name)
            call.argtypes, call.restype = kinds, None

    def attend(
        self, q: Tensor, cache: Tensor, reads: Reads, window: int | None = None, softcap: float | None = None
    ) -> Tensor:
        """What each of the single queries sees: (rows, query heads, width).

        Args:
            q: (rows, query heads, width), scaled; rows may lie apart.
            cache: (blocks, heads, 2, BLOCK, width).
        """
        _, queries, width = q.shape
        heads = cache.shape[1]
        out = q.new_empty(q.shape)
        self._calls.attend(
            *_pointers(q, cache, out), *_reads(reads), q.stride(0), heads, queries // heads, width,
            window or 0, softcap or 0.0, torch.get_num_threads(),
        )  # fmt: skip
        return out

    def rms_norm(self, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        """(rows, width) over its root mean square, times `weight`."""
        out = torch.empty_like(x)
        self._calls.rms_norm(
            x.data_ptr(), weight.data_ptr(), out.data_ptr(), len(x), x.shape[1], eps, torch.get_num_threads()
        )
        return out

    def swiglu(self, both: Tensor) -> Tensor:
        """(rows, 2 * width) of gates and of what they let through: silu(gate) * up."""
        out = both.new_empty(len(both), both.shape[1] // 2)
        self._calls.swiglu(both.data_ptr(), out.data_ptr(), len(both), out.shape[1], torch.get_num_threads())
        return out

    def whole(
        self,
        x: Tensor,
        layers: Tensor,
        depth: int,
        norm: Tensor,
        rotation: tuple[Tensor, Tensor],
        reads: Reads,
        places: Places,
        room: Tensor,
        shape: Sequence[int],
        eps: float,
    ) -> None:
        """All layers of a model, over single tokens; see `whole.Whole`."""
        self._calls.whole(
            *_pointers(x, layers), depth, *_pointers(norm, *rotation), *_reads(reads), *_pointers(*places),
            len(places[1]), room.data_ptr(), len(x), *shape, eps, torch.get_num_threads(),
        )  # fmt: skip

    def log_sums(self, logits: Tensor) -> Tensor:
        """(rows, 1): the log of the sum of the exponentials; of infinite ones NaN."""
        out = logits.new_empty(len(logits), 1)
        self._calls.log_sums(logits.data_ptr(), out.data_ptr(), *logits.shape, torch.get_num_threads())
        return out

    def quantile(self, logits: Tensor, norms: Tensor, uniform: Sequence[float]) -> Tensor:
        """(rows, 1): as `sampler.quantile` of exp(logits - norms)."""
        at = torch.tensor(uniform, dtype=torch.float64)
        tokens = torch.empty((len(at), 1), dtype=torch.long)
        self._calls.quantile(
            logits.data_ptr(), norms.data_ptr(), at.data_ptr(), tokens.data_ptr(), *logits.shape,
            torch.get_num_threads(),
        )  # fmt: skip
        return tokens

    def rotate(
        self,
        qkv: Tensor,
        rotation: tuple[Tensor, Tensor],
        norms: tuple[Tensor, Tensor] | None,
        cache: Tensor,
        places: Places,
        scale: float,
        eps: float,
    ) -> None:
        """Rotate queries and keys by their positions, in place; scale queries; store new keys and values.

        Args:
            qkv: (tokens, query heads + 2 * heads, width).
            rotation: cosines and sines, (tokens, width) each.
            norms: weights of the norms of queries and of keys, before they are rotated.
        """
        heads, width = cache.shape[1], cache.shape[4]
        self._calls.rotate(
            *_pointers(qkv, *rotation, *(norms or (None, None)), cache, *places), len(qkv), len(places[1]),
            qkv.shape[1] - 2 * heads, heads, width, scale, eps, torch.get_num_threads(),
        )  # fmt: skip
