"""What the machine could do at best: the bare matrix products of a model, and reading its keys and values once.

Nothing else of a model is counted: no norms, no attention arithmetic, no sampling, no scheduling.
"""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor

JOINED = ({"q_proj", "k_proj", "v_proj"}, {"gate_proj", "up_proj"})  # over one input: one product
TRIES = 5
Pass = Callable[[], object]


def products(model: Any) -> list[tuple[int, int]]:
    """(in, out) of each matrix product of a pass, the head last."""
    head = model.get_output_embeddings()
    found = list[tuple[int, int]]()
    last: tuple[str, set[str]] = ("", set())
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if module is head or weight is None or weight.dim() != 2 or isinstance(module, torch.nn.Embedding):
            continue
        parent, _, own = name.rpartition(".")
        out, inner = weight.shape if isinstance(module, torch.nn.Linear) else weight.shape[::-1]
        group = next((group for group in JOINED if own in group), set())
        if group and last == (parent, group):
            found[-1] = (inner, found[-1][1] + out)
        else:
            found.append((inner, out))
        last = (parent, group)
    out, inner = head.weight.shape
    return [*found, (inner, out)]


class Roofline:
    """Of one model, with weights of its own for every product of every layer."""

    def __init__(self, model: Any) -> None:
        weight = model.get_output_embeddings().weight
        self.like = weight.new_empty(0)
        self.weights = [self._random(out, inner) for inner, out in products(model)]
        self._passes = dict[tuple[int, bool], Pass]()
        self._reads = dict[int, Pass]()
        self.layout = dict[int, str]()  # of the weights, the fastest, by rows

    def step(self, rows: int, read: float) -> float:
        """Seconds of a step of `rows` sequences that reads `read` bytes of keys and values."""
        return self._seconds(self._products(rows, True)) + self._seconds(self._read(int(read)))

    def prefill(self, tokens: int) -> float:
        """Seconds of reading so many tokens of prompts at once, without the head."""
        return self._seconds(self._products(tokens, False))

    def _random(self, *shape: int) -> Tensor:
        return torch.randn(shape, dtype=self.like.dtype, device=self.like.device)

    def _products(self, rows: int, head: bool) -> Pass:
        if (rows, head) not in self._passes:
            weights = self.weights if head else self.weights[:-1]
            inputs = {inner: self._random(rows, inner) for inner in {w.shape[1] for w in weights}}
            ways = {name: way for name, way in _ways(weights, inputs, rows) if way is not None}
            speeds = {name: self._seconds(way) for name, way in ways.items()}
            best = min(speeds, key=lambda name: speeds[name])
            self.layout[rows] = best
            self._passes[rows, head] = ways[best]
        return self._passes[rows, head]

    def _read(self, size: int) -> Pass:
        if size not in self._reads:
            buffer = self._random(max(1, size // self.like.element_size()))
            self._reads = {size: _graphed(buffer.sum)}  # one buffer at a time
        return self._reads[size]

    def _seconds(self, one: Pass) -> float:
        with torch.inference_mode():
            one()
            return median(timed(self.like.device, one) for _ in range(TRIES))


def _ways(weights: list[Tensor], inputs: dict[int, Tensor], rows: int) -> list[tuple[str, Pass | None]]:
    """Ways to multiply; on a CPU with packed weights too, where torch has them: None if not."""
    pairs = [(inputs[w.shape[1]], w) for w in weights]
    plain = _graphed(lambda: [F.linear(x, w) for x, w in pairs])
    if weights[0].device.type != "cpu" or weights[0].dtype != torch.float32 or rows == 1:
        return [("plain", plain)]
    packed: Pass | None = None
    try:
        pack, multiply = torch.ops.mkldnn._reorder_linear_weight, torch.ops.mkldnn._linear_pointwise
        ready = [(x, pack(w, rows)) for x, w in pairs]
        packed = lambda: [multiply(x, w, None, "none", [], "") for x, w in ready]  # noqa: E731
        packed()
    except (AttributeError, NotImplementedError, RuntimeError):  # these are no public operations
        packed = None
    return [("plain", plain), ("packed", packed)]


def _graphed(one: Pass) -> Pass:
    """On CUDA, without the time to launch each operation."""
    if not torch.cuda.is_available():
        return one
    cuda: Any = torch.cuda  # of which not all is typed
    side = cuda.Stream()
    side.wait_stream(cuda.current_stream())
    with torch.inference_mode(), cuda.stream(side):
        one()
    cuda.current_stream().wait_stream(side)
    graph = cuda.CUDAGraph()
    with torch.inference_mode(), cuda.graph(graph):
        one()
    replay: Pass = graph.replay
    return replay


def timed(device: torch.device, one: Pass) -> float:
    """Seconds, until the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    one()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
