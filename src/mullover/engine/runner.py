"""The port to whatever computes logits: a model with a cache of its own kind stands behind these five."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from mullover.engine.cost import Cost
from mullover.engine.groups import Grouper
from mullover.engine.plan import Plan
from mullover.engine.reads import Reader


@dataclass(frozen=True, slots=True)
class Output:
    """Of one pass."""

    logits: Tensor  # (wanted, vocabulary), float32 or float64
    hidden: Tensor  # (wanted, width): the last hidden states that the head made them from


class Runner(Protocol):
    device: torch.device
    vocabulary: int  # logits a token has
    context: int  # tokens a sequence may have
    cost: Cost
    slot_bytes: int  # of the state that one token leaves behind

    def allocate(self, blocks: int, size: int) -> Reader | Grouper:
        """Make room for the states of `blocks` blocks of `size` tokens; what was there is gone.

        Returns who puts down what single queries read in the way that this runner takes it.
        """
        ...

    def forward(self, plan: Plan) -> Output:
        """Prefill and decode in one: read the plan's tokens, leave their states in the plan's slots."""
        ...

    def wipe(self, places: Sequence[tuple[int, int]]) -> None:
        """Zero the states of blocks that hold no numbers, each from a slot on: (block, slot)."""
        ...

    def swap(self, weights: Mapping[str, Tensor]) -> None:
        """Take other weights, by name. Raises OptionError, and keeps the old ones, if they do not fit."""
        ...
