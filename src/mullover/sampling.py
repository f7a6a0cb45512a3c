"""How samples are to be drawn. `types` has these nouns too; they stand here for their length."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from mullover.errors import OptionError

Role = Literal["solve", "step", "judge", "critique", "edit", "rollout", "score"]
Where = Literal["always", "thinking", "answer"]


@dataclass(frozen=True, slots=True)
class Rule:
    """Add `bias` (nats) to the logit of each token that begins `text`; -inf forbids it. The empty text is the end.

    It holds where `where`, `window` and `before` all let it; all count tokens of the sample, not of the prompt.

    Args:
        window: only for the first `window` tokens of each thought; 0: for all of it. A thought begins where the
            sample does, and anew with each token that this rule is about: one at position t starts one
            that the rule holds for at positions below t + window. Wang et al. 2025, arXiv:2501.18585.
        before: only at positions 0 to `before` - 1; 0: at all of them.
            `Rule("", -inf, before=b)` lets no sample end before b tokens.
    """

    text: str
    bias: float
    where: Where = "always"
    window: int = 0
    before: int = 0


@dataclass(frozen=True, slots=True)
class Force:
    """Once `at` tokens came, the tokens of `text` come next, whatever the model and the rules say; once a sample.

    Within reasoning (or the answer) only tokens drawn there count, and it waits until the next one would be there
    too. Once begun, the text is said to its end, but for max_tokens, stop and halt. Of two that are due, the first
    of `rules` comes first. Their logprobs are the model's own, their sampling logprobs 0.
    """

    text: str
    at: int
    where: Where = "always"


@dataclass(frozen=True, slots=True)
class Halt:
    """Stop a sample when the mean of a signal over its last `window` tokens falls below `below`."""

    signal: str
    below: float
    window: int


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to draw.

    With `distinct_first`, sample k = `first` + its index in the call begins with the k-th likeliest token after the
    rules and before temperature and truncations, 0 the likeliest; then it is drawn as asked. There its sampling
    logprob is 0. A k beyond the possible tokens is a failed sample, a forced first token comes before it.
    Wang & Zhou 2024, arXiv:2402.10200.
    """

    temperature: float = 1.0  # 0 is greedy
    top_p: float = 1.0
    top_k: int = 0  # 0: all
    min_p: float = 0.0
    max_tokens: int = 2048  # new tokens, per sample
    stop: tuple[str, ...] = ()  # kept in the text; a sample ends after the token that completes one
    top_logprobs: int = 0  # alternatives per token, most likely first
    thinking: bool | str | int | None = None  # on, off, an effort or a token budget; None: as the model does
    rules: tuple[Rule | Force, ...] = ()
    signals: tuple[str, ...] = ()
    halt: Halt | None = None
    distinct_first: bool = False  # sample k of a request, from 0, begins with the k-th likeliest token
    role: Role = field(default="solve", compare=False)  # for the ledger; changes no seed
    seeds: tuple[int, ...] = field(default=(), compare=False)  # one per sample; `run` fills them in
    first: int = field(
        default=0, compare=False
    )  # how many samples of this request the run asked before; `run` fills it in

    def __post_init__(self) -> None:
        if isinstance(self.stop, str):
            raise OptionError(f"stop is the text {self.stop!r}; give a tuple of texts")
        if not 0 <= self.temperature < math.inf:
            raise OptionError(f"temperature is {self.temperature}; use 0 for greedy or a positive number")
        if not 0 < self.top_p <= 1:
            raise OptionError(f"top_p is {self.top_p}; it must be in (0, 1]")
        if self.top_k < 0:
            raise OptionError(f"top_k is {self.top_k}; use 0 for all tokens or a positive number")
        if self.top_logprobs < 0:
            raise OptionError(f"top_logprobs is {self.top_logprobs}; use 0 for none or a positive number")
        if not 0 <= self.min_p <= 1:
            raise OptionError(f"min_p is {self.min_p}; it must be in [0, 1]")
        if self.max_tokens < 1:
            raise OptionError(f"max_tokens is {self.max_tokens}; it must be at least 1")

    def seeded(self, seeds: tuple[int, ...], first: int) -> Sampling:
        """`replace` for the one change that every call sees, at a fifth of its time."""
        return Sampling(
            self.temperature,
            self.top_p,
            self.top_k,
            self.min_p,
            self.max_tokens,
            self.stop,
            self.top_logprobs,
            self.thinking,
            self.rules,
            self.signals,
            self.halt,
            self.distinct_first,
            self.role,
            seeds,
            first,
        )
