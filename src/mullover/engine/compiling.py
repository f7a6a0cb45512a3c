"""The kernels of `native/`, compiled by the system's C compiler when they are first needed and kept at home.

Where there is no compiler, or another system than Linux, or the result is not what torch computes, there are
none: then the same is done by operations of torch, which takes longer.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor

from mullover.engine.kernels import BLOCK, Kernels
from mullover.engine.packed import Linear
from mullover.engine.plan import Plan
from mullover.engine.reads import Reads
from mullover.engine.whole import Layer, Shape, Whole
from mullover.errors import OptionError
from mullover.home import home

SOURCES = Path(__file__).with_name("native")
FLAGS = (
    *("-std=gnu11", "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC"),
    # As fast as -ffast-math, but NaN stays NaN: a model that computes no numbers must be noticed.
    *("-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros", "-fassociative-math", "-freciprocal-math"),
    *(["-mprefer-vector-width=512"] if platform.machine() == "x86_64" else []),
)
SECONDS = 60  # for the compiler
Some = Callable[..., Tensor]  # of this shape


@lru_cache(maxsize=1)
def kernels() -> Kernels | None:
    """None: there are none here."""
    found = library()
    try:
        mine = None if found is None else Kernels(found)
    except (ValueError, AttributeError):
        return None
    return mine if mine is not None and right(mine) else None


def library(sources: Sequence[Path] = ()) -> ctypes.CDLL | None:
    """Of C files, which may include what lies in `native/`; without any, of those there.

    None: there is no compiler here, or it fails.
    """
    by = compiler()
    if by is None:
        return None
    try:
        made = compiled(by, sources)
        if made.stat().st_uid != os.getuid():  # whoever put it there may have put anything
            return None
        return ctypes.CDLL(str(made))
    except (OSError, subprocess.SubprocessError, OptionError):
        return None


def compiler() -> str | None:
    """The system's; None: there is none, or the system is another than Linux."""
    if sys.platform != "linux":
        return None
    return next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)


def compiled(by: str, sources: Sequence[Path] = ()) -> Path:
    """The library, made anew for another source, compiler or processor, and where what is kept was damaged."""
    version = subprocess.run([by, "--version"], capture_output=True, timeout=SECONDS, check=True).stdout
    sources = sources or sorted(SOURCES.glob("*.c"))
    seen = ([one.read_bytes() for one in (*sources, *sorted(SOURCES.glob("*.h")))], version, _processor(), FLAGS)
    folder = home() / "kernels"
    library = folder / f"{hashlib.sha256(repr(seen).encode()).hexdigest()[:32]}.so"
    seal = library.with_suffix(".sha256")  # a library that is cut short kills the process that loads it
    if not (library.is_file() and seal.is_file() and seal.read_text() == _sum(library)):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as work:
            made, sealed = Path(work) / library.name, Path(work) / seal.name
            command = [by, *FLAGS, *map(str, sources), "-o", str(made), "-lm"]
            subprocess.run(command, capture_output=True, timeout=SECONDS, check=True)
            sealed.write_text(_sum(made))
            made.replace(library)  # whoever makes it meanwhile makes the same
            sealed.replace(seal)
    return library


def _sum(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _processor() -> bytes:
    """What it can do: `-march=native` means another thing elsewhere."""
    lines = Path("/proc/cpuinfo").read_bytes().splitlines()
    return b"\n".join(sorted({line for line in lines if line.startswith((b"model name", b"flags", b"Features"))}))


def right(found: Kernels) -> bool:
    """Does each compute what torch does? A compiler may err."""
    noise = torch.Generator().manual_seed(0)

    def some(*shape: int) -> Tensor:
        return torch.randn(shape, generator=noise)

    return all(check(found, some) for check in (_attends, _multiplies, _draws, _passes))


def _attends(found: Kernels, some: Some) -> bool:
    """A block that all queries read, and one that each reads alone; with and without window and softcap."""
    rows, own = 9, torch.arange(9) * 3 + 1
    cache, q = some(rows + 1, 2, 2, BLOCK, 40), some(rows, 4, 40)
    entries = [(0, 0, 0, 0), *((1 + i, 0, BLOCK, rows + i) for i in range(rows)), (0, 0, 0, 2 * rows)]
    told = ([(0, 0), (len(entries) - 1, rows)], entries, [*range(rows)] * 2, [BLOCK] * rows + own.tolist())
    tables = [torch.tensor(one, dtype=torch.int32) for one in (*told, (own + BLOCK - 1).tolist())]
    for window, cap in ((None, None), (7, 2.0)):
        seen = found.attend(q, cache, Reads(*tables), window, cap)
        for i, count in enumerate(own.tolist()):
            kv = torch.cat((cache[0], cache[1 + i, :, :, :count]), 2)[:, :, -(window or 99) :].repeat_interleave(2, 0)
            scores = (kv[:, 0] @ q[i].unsqueeze(-1))[..., 0]
            scores = scores if cap is None else cap * torch.tanh(scores / cap)
            if not close(seen[i], (torch.softmax(scores, -1).unsqueeze(1) @ kv[:, 1])[:, 0]):
                return False
    return True


def _multiplies(found: Kernels, some: Some) -> bool:
    x, weight, qkv = some(5, 40), some(40), some(5, 5, 40)
    cos, sin, cache = some(5, 20).repeat(1, 2), some(5, 20).repeat(1, 2), torch.zeros(5, 1, 2, BLOCK, 40)
    places = (None, torch.arange(5), torch.arange(5))
    normed = [torch.rms_norm(qkv[:, :3], (40,), weight, 1e-6) / 2, torch.rms_norm(qkv[:, 3:4], (40,), weight, 1e-6)]
    turned = [part * cos[:, None] + torch.cat((-part[..., 20:], part[..., :20]), -1) * sin[:, None] for part in normed]
    rotated = qkv.clone()
    found.rotate(rotated, (cos, sin), (weight, weight), cache, places, 0.5, 1e-6)
    stored = cache[places[1], 0, :, places[2]]
    gate, up = x.chunk(2, -1)
    return (
        close(found.rms_norm(x, weight, 1e-6), torch.rms_norm(x, (40,), weight, 1e-6))
        and close(found.swiglu(x), F.silu(gate) * up)
        and close(rotated, torch.cat((*turned, qkv[:, 4:]), 1))
        and close(stored, torch.cat((turned[1], qkv[:, 4:]), 1))
    )


def _draws(found: Kernels, some: Some) -> bool:
    logits, uniform = some(7, 600) * 3, [0.0, 0.1, 0.4, 0.5, 0.6, 0.9, 0.99]
    norms = torch.logsumexp(logits, -1, keepdim=True)
    below = (logits.double() - norms).exp().cumsum(-1)
    below /= below[:, -1:].clone()
    tokens = torch.searchsorted(below, torch.tensor(uniform, dtype=torch.float64).unsqueeze(1), right=True)
    return close(found.log_sums(logits), norms) and torch.equal(found.quantile(logits, norms, uniform), tokens)


def _passes(found: Kernels, some: Some) -> bool:
    """One layer over tokens that see themselves alone, so that attention gives each its own value."""
    wide, rows = 2 * found.lanes, 13
    qkv, out, gate_up, down = (some(n * wide, wide) / 4 for n in (2, 1, 2, 1))
    bias, before, after, last = some(2 * wide), some(wide), some(wide), some(wide)
    layer = Layer(
        before, Linear(qkv, bias), None, Linear(out, None), after, Linear(gate_up, None), Linear(down, None), 0
    )
    cache, x, angles = torch.zeros(rows, 1, 2, BLOCK, wide // 2), some(rows, wide), some(rows, wide // 2)
    each = torch.arange(rows)
    entries = [(i, 0, 0, i) for i in range(rows + 1)]
    told = ([(0, 0), (rows, rows)], entries, each.tolist(), [1] * rows, [0] * rows)
    reads = Reads(*(torch.tensor(one, dtype=torch.int32) for one in told))
    plan = Plan(each, each, each, None, each, torch.zeros_like(each), rows, reads, ())
    whole = Whole(found, [layer], [cache], last, Shape(wide, wide, 2, 1, wide // 2, 1e-6))
    value = F.linear(torch.rms_norm(x, (wide,), before, 1e-6), qkv, bias)[:, -(wide // 2) :]
    wanted = x + F.linear(value.repeat(1, 2), out)
    gate, up = F.linear(torch.rms_norm(wanted, (wide,), after, 1e-6), gate_up).chunk(2, -1)
    wanted = torch.rms_norm(wanted + F.linear(F.silu(gate) * up, down), (wide,), last, 1e-6)
    return close(whole(plan, x.clone(), (angles.cos(), angles.sin())), wanted)


def close(found: Tensor, wanted: Tensor) -> bool:
    return torch.allclose(found, wanted, rtol=1e-4, atol=1e-4)
