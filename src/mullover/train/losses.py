"""Losses as pure functions of logits and targets."""

from torch import Tensor
from torch.nn import functional


def cross_entropy(
    logits: Tensor, targets: Tensor, tokens: float | Tensor | None = None, weights: Tensor | None = None
) -> Tensor:
    """The mean negative log-likelihood of the targets, in nats a token.

    Args:
        logits: (tokens, vocab).
        targets: (tokens,).
        tokens: what the sum is divided by. None: how many targets there are, or the sum of their weights. Where a
            batch is computed in parts or on several devices, it is that of the whole batch, so that parts add up.
        weights: (tokens,) of each target. None: all 1.

    Without a target the loss is 0, and so is its gradient.
    """
    each = functional.cross_entropy(logits.float(), targets, reduction="none")
    if weights is not None:
        each = each * weights.to(each.device)
    if tokens is None:
        tokens = max(1, targets.numel()) if weights is None else weights.sum().clamp(min=1e-9)
    return each.sum() / tokens
