"""Muon for the matrices within the layers, AdamW for all else."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from mullover.train.recipe import Recipe

NEWTON = (3.4445, -4.7750, 2.0315)  # Source: Jordan et al. 2024, "Muon", the quintic's coefficients
ROUNDS = 5


def orthogonal(g: Tensor) -> Tensor:
    """Near U V^T of each matrix (..., m, n) = U S V^T, by Newton's iteration.

    Singular values above 0.004 of the norm come out between 0.68 and 1.21, smaller ones below.
    """
    a, b, c = NEWTON
    x: Tensor = g / (g.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    for _ in range(ROUNDS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if tall else x


class Muon(Optimizer):
    """Momentum whose update is made orthogonal. Matrices that lie in one parameter, as q, k and v, are taken apart.

    Args:
        params: (parameter, how many matrices lie in it, one above the other).

    Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; Nesterov momentum 0.95,
    update scaled by sqrt(max(1, rows / columns)).
    """

    def __init__(
        self, params: Iterable[tuple[Tensor, int]], lr: float = 0.02, momentum: float = 0.95, decay: float = 0.0
    ) -> None:
        groups: dict[tuple[int, torch.Size], list[Tensor]] = {}
        for weight, parts in params:
            groups.setdefault((parts, weight.shape), []).append(weight)
        grouped = [{"params": weights, "parts": parts} for (parts, _), weights in groups.items()]
        super().__init__(grouped, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Parameters of one shape in one go."""
        for group in self.param_groups:
            weights = [w for w in group["params"] if w.grad is not None]
            if weights:
                self._step(group, weights)

    def _step(self, group: dict[str, Any], weights: Sequence[Tensor]) -> None:
        momentum, parts = group["momentum"], group["parts"]
        moved = []
        for weight in weights:
            assert weight.grad is not None
            state = self.state[weight]
            if not state:
                state["momentum"] = torch.zeros_like(weight)
            state["momentum"].lerp_(weight.grad, 1 - momentum)
            moved.append(torch.lerp(weight.grad, state["momentum"], momentum))
        together = torch.stack([one.view(parts, -1, one.shape[1]) for one in moved])
        rows, columns = together.shape[-2:]
        update = orthogonal(together) * max(1.0, rows / columns) ** 0.5
        for weight, change in zip(weights, update.flatten(1, 2), strict=True):
            weight.mul_(1 - group["lr"] * group["decay"]).add_(change, alpha=-group["lr"])


def optimizers(model: nn.Module, recipe: Recipe) -> list[Optimizer]:
    """Of a model of `llama.Llama`: by Muon for matrices of layers and AdamW for the rest, or by AdamW for all."""
    lr, decay = recipe.lr, recipe.decay
    inside = [(n, w) for n, w in model.named_parameters() if n.startswith("layers.") and w.dim() == 2]
    names = {n for n, _ in inside}
    rest = [w for n, w in model.named_parameters() if n not in names]
    if recipe.optimizer == "adamw":
        groups = [{"params": [w for _, w in inside], "weight_decay": decay}, {"params": rest, "weight_decay": 0.0}]
        return [AdamW(groups, lr=lr, betas=(0.9, 0.95), eps=1e-10)]
    parts = {"qkv": 3, "gate_up": 2}
    matrices = [(w, parts.get(n.rpartition(".")[2], 1)) for n, w in inside]
    return [
        Muon(matrices, recipe.matrix_lr, decay=decay),
        AdamW(rest, lr=lr, betas=(0.9, 0.95), eps=1e-10, weight_decay=0.0),
    ]
