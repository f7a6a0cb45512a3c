"""The operations of a layer in torch: for any device, and what the kernels for CPUs are checked against."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from mullover.train import fast

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Packing:
    """Where documents lie in one row of tokens."""

    lengths: tuple[int, ...]
    device: torch.device = CPU

    @cached_property
    def starts(self) -> Tensor:
        """(documents + 1,) int32."""
        return torch.tensor([0, *self.lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32).to(self.device)

    @cached_property
    def positions(self) -> Tensor:
        """(tokens,): each token's place in its document."""
        return torch.cat([torch.arange(n) for n in self.lengths]).to(self.device)

    @cached_property
    def grid(self) -> tuple[Tensor, Tensor]:
        """Row and column of each token where every document has a row of its own."""
        rows = torch.repeat_interleave(torch.arange(len(self.lengths)), torch.tensor(self.lengths))
        return rows.to(self.device), self.positions


def rotary(context: int, size: int, theta: float) -> Tensor:
    """(2, context, size // 2): cosine and sine of each place's rotation.

    Source: Su et al. 2021, arXiv:2104.09864, section 3.2.2; halves as transformers has them.
    """
    speed = theta ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
    angles = torch.arange(context, dtype=torch.float64)[:, None] * speed
    return torch.stack((angles.cos(), angles.sin())).float()


def norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Root mean square over the last dimension. Source: Zhang and Sennrich 2019, arXiv:1910.07467."""
    if fast.fits(x):
        return fast.Norm.apply(x, weight, eps)  # type: ignore[no-any-return,no-untyped-call]
    return functional.rms_norm(x, weight.shape, weight, eps)


def swiglu(x: Tensor) -> Tensor:
    """(tokens, 2 * inner) to (tokens, inner). Source: Shazeer 2020, arXiv:2002.05202."""
    if fast.fits(x):
        return fast.Swiglu.apply(x)  # type: ignore[no-any-return,no-untyped-call]
    gate, up = x.chunk(2, -1)
    return functional.silu(gate) * up


def attend(qkv: Tensor, rotary: Tensor, packing: Packing, heads: int) -> Tensor:
    """Causal attention within each document: (tokens, 3 * width) to (tokens, width).

    Args:
        rotary: as `rotary` makes it, for documents of at most `context` tokens.

    Raises:
        ValueError: a document is longer, or the lengths do not add up to the tokens.
    """
    tokens, width = qkv.shape[0], qkv.shape[1] // 3
    if max(packing.lengths) > rotary.shape[1] or sum(packing.lengths) != tokens:  # kernels would read beyond the end
        raise ValueError(f"documents must be at most {rotary.shape[1]} tokens long, and as many as there are")
    if fast.fits(qkv) and fast.fits_heads(width // heads):
        return fast.Attend.apply(qkv, *rotary, packing.starts, heads)  # type: ignore[no-any-return,no-untyped-call]
    turned = rotary[0, packing.positions], rotary[1, packing.positions]
    q, k, v = qkv.view(tokens, 3, heads, width // heads).unbind(1)
    q, k = rotated(q, turned), rotated(k, turned)
    rows, columns = packing.grid
    shape = (len(packing.lengths), max(packing.lengths), heads, width // heads)
    q, k, v = (qkv.new_zeros(shape).index_put((rows, columns), t).transpose(1, 2) for t in (q, k, v))
    found = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    return found.transpose(1, 2)[rows, columns].reshape(tokens, width)


def rotated(x: Tensor, turned: tuple[Tensor, Tensor]) -> Tensor:
    """(tokens, heads, size), each half of a head turned against the other."""
    cos, sin = (t[:, None, :].to(x.dtype) for t in turned)
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


def packed(documents: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Packing]:
    """Documents of ids as one row."""
    ids = torch.tensor([i for document in documents for i in document], dtype=torch.int64)
    return ids.to(device), Packing(tuple(map(len, documents)), device)
