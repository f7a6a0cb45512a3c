"""Matrix products with weights laid out beforehand, where a CPU gains from it.

For a few rows the usual product lays the weights out anew at every call, which costs more than the product
itself. Laid out once they take their own size again, so this is done only where there is memory for it.
"""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor

from mullover.engine import memory

LARGE = 1 << 19  # numbers in a weight below which nothing is gained
ROWS = range(4, 129)  # for fewer rows or more, the usual product is as fast


class Linear:
    """x @ weight.T + bias. The weight stays where it is; `repack` after it has changed."""

    __slots__ = ("_packed", "bias", "weight")

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.weight, self.bias = weight, bias
        self._packed: Any = None
        self.repack()

    def repack(self) -> None:
        self._packed = None
        size = self.weight.numel() * self.weight.element_size()
        usual = self.weight.device.type == "cpu" and self.weight.dtype == torch.float32
        if not usual or self.weight.numel() < LARGE or memory.available() < 8 * size + (2 << 30):
            return
        try:
            self._packed = torch.ops.mkldnn._reorder_linear_weight(self.weight.contiguous(), 16)
            probe = torch.ones(ROWS[0], self.weight.shape[1])
            if not torch.allclose(self._through(probe), F.linear(probe, self.weight, self.bias), rtol=1e-3, atol=1e-3):
                self._packed = None
        except (RuntimeError, AttributeError, TypeError):  # this torch has no such thing
            self._packed = None

    def __call__(self, x: Tensor) -> Tensor:
        if self._packed is not None and x.shape[0] in ROWS:
            return self._through(x)
        return F.linear(x, self.weight, self.bias)

    def added(self, to: Tensor, x: Tensor) -> Tensor:
        """`to` plus the product."""
        if self._packed is not None and x.shape[0] in ROWS:
            return to + self._through(x)
        to = torch.addmm(to, x, self.weight.t())
        return to if self.bias is None else to + self.bias

    def _through(self, x: Tensor) -> Tensor:
        found: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._packed, self.bias, "none", [], "")
        return found
