"""What the engine is asked: a prompt in tokens, and what is wanted of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from torch import Tensor

from mullover.engine.rules import Compiled
from mullover.types import Event, Sampling

if TYPE_CHECKING:
    from mullover.engine.sequence import Live

Deliver = Callable[["Request", list[Event]], None]


@dataclass(eq=False)
class Request:
    """n samples of one prompt, or the scores of texts that follow it.

    `deliver` is called from the engine's thread, once a step, with what is new. A request of which two
    deliveries were not yet `read` is left out of steps until they are: nobody's tokens run far ahead of
    whoever pays for them. `read` may be called from another thread.
    """

    ids: tuple[int, ...]  # of the prompt; at least one
    sampling: Sampling
    deliver: Deliver
    seeds: Sequence[int] = ()  # one per sample
    rules: tuple[Compiled, ...] = ()
    texts: tuple[tuple[int, ...], ...] = ()  # to be scored: then there are no samples
    hidden: bool = False  # of scored texts, the last hidden state of each is wanted too
    opened: bool = False  # reasoning has begun in the prompt
    adapter: str = ""  # what is cached under another one is not found; no runner here has any yet
    context: int = 1 << 62  # tokens a sequence may reach
    order: int = 0  # of arrival
    told: int = 0  # deliveries; only the engine counts here
    taken: int = 0  # deliveries that were read; only the reader counts here
    live: set["Live"] = field(default_factory=set)
    waiting: list[int] = field(default_factory=list)  # indices of samples that have not begun, last first
    states: dict[int, Tensor] = field(default_factory=dict)  # (width,) the last hidden state of each text

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Signals to be measured, each once."""
        halt = self.sampling.halt
        return tuple(dict.fromkeys((*self.sampling.signals, *([halt.signal] if halt else []))))

    @property
    def size(self) -> int:
        return len(self.texts) or len(self.seeds)

    @property
    def stalled(self) -> bool:
        return self.told - self.taken >= 2

    def read(self) -> None:
        """All that was delivered until now was dealt with."""
        self.taken = self.told
