"""The kernels of `kernels.c`, compiled by the system's C compiler when they are first needed and kept at home.

Where there is no compiler, or another system than Linux, or the result is not what torch computes, there are
none: then the same is done by operations of torch, which takes longer.
"""

import ctypes
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor

from mullover.engine.reads import Reads
from mullover.home import home

BLOCK = 32  # slots of a block, as in kernels.c
SOURCE = Path(__file__).with_name("kernels.c")
FLAGS = (
    *("-std=gnu11", "-O3", "-march=native", "-mprefer-vector-width=512", "-fopenmp", "-shared", "-fPIC"),
    # As fast as -ffast-math, but NaN stays NaN: a model that computes no numbers must be noticed.
    *("-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros", "-fassociative-math", "-freciprocal-math"),
)
SECONDS = 120  # for the compiler
WIDEST = 512  # numbers of a head

_P, _N, _F, _I = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float, ctypes.c_int
SIGNATURES = {
    "attend": [_P] * 8 + [_N] * 6 + [_F, _I],
    "norm": [_P] * 3 + [_N] * 2 + [_F, _I],
    "gated": [_P] * 2 + [_N] * 2 + [_I],
    "whole": [_P, _P, _N, *[_P] * 8, _N, *[_P] * 3, _N, _P, *[_N] * 6, _F, _I],
    "log_sums": [_P] * 2 + [_N] * 2 + [_I],
    "quantile": [_P] * 4 + [_N] * 2 + [_I],
    "turn": [_P] * 9 + [_N] * 5 + [_F, _F, _I],
}


class Kernels:
    """All tensors are float32 on a CPU, close together but for rows of `q`."""

    def __init__(self, library: Any) -> None:
        self._calls = library
        self.lanes = int(library.lanes())  # numbers of a vector
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
            q.data_ptr(), cache.data_ptr(), out.data_ptr(),
            reads.tiles.data_ptr(), reads.entries.data_ptr(), reads.rows.data_ptr(), reads.ends.data_ptr(),
            reads.positions.data_ptr(), len(reads.tiles) - 1, q.stride(0), heads, queries // heads, width,
            window or 0, softcap or 0.0, torch.get_num_threads(),
        )  # fmt: skip
        return out

    def norm(self, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        """(rows, width) over its root mean square, times `weight`."""
        out = torch.empty_like(x)
        self._calls.norm(
            x.data_ptr(), weight.data_ptr(), out.data_ptr(), len(x), x.shape[1], eps, torch.get_num_threads()
        )
        return out

    def gated(self, both: Tensor) -> Tensor:
        """(rows, 2 * width) of gates and of what they let through: silu(gate) * up."""
        out = both.new_empty(len(both), both.shape[1] // 2)
        self._calls.gated(both.data_ptr(), out.data_ptr(), len(both), out.shape[1], torch.get_num_threads())
        return out

    def whole(
        self,
        x: Tensor,
        layers: Tensor,
        depth: int,
        norm: Tensor,
        turning: tuple[Tensor, Tensor],
        reads: Reads,
        places: tuple[Tensor | None, Tensor, Tensor],
        room: Tensor,
        shape: Sequence[int],
        eps: float,
    ) -> None:
        """All layers of a model, over single tokens; see `whole.Whole`."""
        writes, blocks, slots = places
        self._calls.whole(
            x.data_ptr(), layers.data_ptr(), depth, norm.data_ptr(), turning[0].data_ptr(), turning[1].data_ptr(),
            reads.tiles.data_ptr(), reads.entries.data_ptr(), reads.rows.data_ptr(), reads.ends.data_ptr(),
            reads.positions.data_ptr(), len(reads.tiles) - 1, None if writes is None else writes.data_ptr(),
            blocks.data_ptr(), slots.data_ptr(), len(blocks), room.data_ptr(), len(x), *shape, eps,
            torch.get_num_threads(),
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

    def turn(
        self,
        qkv: Tensor,
        turning: tuple[Tensor, Tensor],
        norms: tuple[Tensor, Tensor] | None,
        cache: Tensor,
        places: tuple[Tensor | None, Tensor, Tensor],
        scale: float,
        eps: float,
    ) -> None:
        """Turn queries and keys by their positions, in place; scale queries; store new keys and values.

        Args:
            qkv: (tokens, query heads + 2 * heads, width).
            turning: cosines and sines, (tokens, width) each.
            norms: weights of the norms of queries and of keys, before they are turned.
            places: which tokens are new (None: all), and the block and slot of each of these.
        """
        heads, width = cache.shape[1], cache.shape[4]
        writes, blocks, slots = places
        self._calls.turn(
            qkv.data_ptr(), turning[0].data_ptr(), turning[1].data_ptr(),
            *((None, None) if norms is None else (norms[0].data_ptr(), norms[1].data_ptr())), cache.data_ptr(),
            None if writes is None else writes.data_ptr(), blocks.data_ptr(), slots.data_ptr(), len(qkv), len(blocks),
            qkv.shape[1] - 2 * heads, heads, width, scale, eps, torch.get_num_threads(),
        )  # fmt: skip


@lru_cache(maxsize=1)
def kernels() -> Kernels | None:
    """None: there are none here."""
    by = compiler()
    if by is None:
        return None
    try:
        found = Kernels(ctypes.CDLL(str(compiled(by))))
    except (OSError, subprocess.SubprocessError, AttributeError):
        return None
    return found if right(found) else None


def compiler() -> str | None:
    """The system's; None: there is none, or the system is another than Linux."""
    if sys.platform != "linux":
        return None
    return next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)


def compiled(by: str) -> Path:
    """The library, made anew for another source, compiler or processor."""
    version = subprocess.run([by, "--version"], capture_output=True, timeout=SECONDS, check=True).stdout
    seen = (SOURCE.read_bytes(), version, _processor(), " ".join(FLAGS).encode())
    folder = home() / "kernels"
    library = folder / f"{hashlib.sha256(repr(seen).encode()).hexdigest()[:32]}.so"
    if not library.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as work:
            made = Path(work) / library.name
            command = [by, *FLAGS, str(SOURCE), "-o", str(made), "-lm"]
            subprocess.run(command, capture_output=True, timeout=SECONDS, check=True)
            made.replace(library)  # whoever made the same meanwhile made the same
    return library


def _processor() -> bytes:
    """What it can do: `-march=native` means another thing elsewhere."""
    lines = Path("/proc/cpuinfo").read_bytes().splitlines()
    return b"\n".join(sorted({line for line in lines if line.startswith((b"model name", b"flags", b"Features"))}))


def right(found: Kernels) -> bool:
    """Do they compute what torch does? A compiler may err, and so may what is kept."""
    noise = torch.Generator().manual_seed(0)
    both, q = torch.randn(3, 8, 40, generator=noise).unbind(0)[:2]
    cache = torch.randn(2, 1, 2, BLOCK, 40, generator=noise)
    reads = Reads.of_one_block(8, 5)
    seen = found.attend(q.unsqueeze(1).contiguous(), cache, reads)[:, 0]
    keys, values = cache[0, 0, :, :5]
    wanted = torch.softmax(q @ keys.T, -1) @ values
    gate, up = both.chunk(2, -1)
    norm = torch.rms_norm(both, (40,), q[0], 1e-6)
    return bool(
        torch.allclose(seen, wanted, atol=1e-4)
        and torch.allclose(found.gated(both), F.silu(gate) * up, atol=1e-4)
        and torch.allclose(found.norm(both, q[0].contiguous(), 1e-6), norm, atol=1e-4)
    )
