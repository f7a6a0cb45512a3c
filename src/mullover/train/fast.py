"""The operations of `ops` by kernels for CPUs, each with its way back."""

import ctypes
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mullover.engine import compiling

HERE = Path(__file__).with_name("native")
WIDTHS = (1, 2, 4)  # vectors of a head that the kernel for attention is made for
_P, _N, _F, _I = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float, ctypes.c_int
SIGNATURES = {
    "norm_forward": [_P] * 4 + [_N, _N, _F, _I],
    "norm_backward": [_P] * 6 + [_N, _N, _I],
    "swiglu_forward": [_P] * 2 + [_N, _N, _I],
    "swiglu_backward": [_P] * 3 + [_N, _N, _I],
    "attend_packed": [_P] * 8 + [_N] * 3 + [_I],
}


@lru_cache(maxsize=1)
def library() -> Any:
    """None: there are no kernels here."""
    found = compiling.library((HERE / "train.c",))
    if found is None:
        return None
    for name, kinds in SIGNATURES.items():
        call = getattr(found, name)
        call.argtypes, call.restype = kinds, _I if name == "attend_packed" else None
    return found


def call(name: str, *args: Any) -> None:
    """Tensors as pointers, and the number of threads behind all."""
    said = [one.data_ptr() if isinstance(one, Tensor) else one for one in args]
    if getattr(library(), name)(*said, torch.get_num_threads()):
        raise MemoryError("no memory for attention; take a smaller batch")


def fits(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype == torch.float32 and library() is not None


def fits_heads(size: int) -> bool:
    return size in [n * int(library().lanes()) for n in WIDTHS]


class Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        x = x.contiguous()
        y, scale = torch.empty_like(x), x.new_empty(len(x))
        call("norm_forward", x, weight, y, scale, *x.shape, eps)
        ctx.save_for_backward(x, weight, scale)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight, scale = ctx.saved_tensors
        dx, dweight = torch.empty_like(x), x.new_empty(torch.get_num_threads(), x.shape[1])
        call("norm_backward", dy.contiguous(), x, weight, scale, dx, dweight, *x.shape)
        return dx, dweight.sum(0), None


class Swiglu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.contiguous()
        y = x.new_empty(len(x), x.shape[1] // 2)
        call("swiglu_forward", x, y, *y.shape)
        ctx.save_for_backward(x)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        dx = torch.empty_like(x)
        call("swiglu_backward", dy.contiguous(), x, dx, *dy.shape)
        return dx


class Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, cos: Tensor, sin: Tensor, starts: Tensor, heads: int) -> Tensor:
        qkv = qkv.contiguous()
        out, norms = qkv.new_empty(len(qkv), qkv.shape[1] // 3), qkv.new_empty(len(qkv), heads)
        ctx.heads, ctx.sizes = heads, (len(starts) - 1, heads, out.shape[1] // heads)
        call("attend_packed", qkv, cos, sin, starts, out, norms, None, None, *ctx.sizes)
        ctx.save_for_backward(qkv, cos, sin, starts, out, norms)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dout: Tensor) -> tuple[Tensor, None, None, None, None]:
        qkv, cos, sin, starts, out, norms = ctx.saved_tensors
        dqkv = torch.empty_like(qkv)
        call("attend_packed", qkv, cos, sin, starts, out, norms, dout.contiguous(), dqkv, *ctx.sizes)
        return dqkv, None, None, None, None
