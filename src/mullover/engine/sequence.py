"""One sample, or one scored text, while it lives in the engine."""

import math
from dataclasses import dataclass
from functools import lru_cache

from mullover.engine.cost import Cost
from mullover.engine.request import Request
from mullover.engine.rules import RuleState
from mullover.engine.text import Spoken, Vocabulary
from mullover.engine.tree import Node
from mullover.types import NOTHING, Event, Finish, Sample, Token, Usage


@dataclass(slots=True)
class Drawn:
    """One token of one sequence. An `error` has no token."""

    token: int
    logprob: float = 0.0  # of the raw model
    sampling_logprob: float = 0.0  # of the distribution it was drawn from
    alternatives: tuple[Token, ...] = ()
    signals: tuple[float, ...] = ()
    error: str = ""
    broken: bool = False  # the model computed no numbers


class Live:
    """A sequence: where it stands in the prefix tree, what is still to be computed, and what it has said.

    All tokens of it are the prompt's, then `ids`. The first `placed` of them are in the tree; the rest, of
    which there is at least one between two steps, are computed next.
    """

    __slots__ = (
        "again",
        "alternatives",
        "cached",
        "computed",
        "flops",
        "ids",
        "index",
        "logprobs",
        "offset",
        "placed",
        "prompt",
        "request",
        "rules",
        "sampling_logprobs",
        "signals",
        "spoken",
        "tip",
        "tokens",
        "totals",
        "tries",
    )

    def __init__(self, request: Request, index: int, vocabulary: Vocabulary) -> None:
        self.request, self.index = request, index
        self.tip: Node | None = None
        self.offset = 0
        self.tokens = [*request.ids, *(request.texts[index] if request.texts else ())]
        self.placed = 0
        self.ids: list[int] = []
        self.logprobs: list[float] = []
        self.sampling_logprobs: list[float] = []
        self.alternatives: list[tuple[Token, ...]] = []
        self.signals: list[tuple[float, ...]] = []
        self.totals = [0.0]  # of the halt's signal, up to each token
        self.computed = 0  # tokens computed for it and not yet told in an event
        self.again = False  # it was put off, so that tokens are computed twice
        self.tries = 0  # how often it was put off although it was alone: then it stays alone
        self.prompt = self.cached = 0  # tokens of it that were told
        self.flops = 0.0
        think = vocabulary.think
        self.spoken = Spoken(vocabulary.stream(request.ids[-8:]), request.sampling.stop, think, request.opened)
        self.rules = RuleState(request.rules) if request.rules else None

    @property
    def todo(self) -> int:
        return len(self.tokens) - self.placed

    @property
    def length(self) -> int:
        return len(self.tokens)

    @property
    def shareable(self) -> int:
        """Tokens that need not be looked from if they are cached."""
        return len(self.request.ids) - 1 if self.request.texts else len(self.tokens)

    def grow(self, drawn: Drawn, vocabulary: Vocabulary, price: Cost) -> Event:
        """A token was drawn: what it says, what it cost, and whether it was the last."""
        request, inside, reasoned = self.request, self.spoken.inside, self.spoken.reasoning
        seen = len(self.tokens)
        self._note(drawn)
        end = drawn.token in vocabulary.ends
        new = self.spoken.say(drawn.token, end)
        if self.rules is not None:
            self.rules.drew(drawn.token, inside)
        finish: Finish | None = None
        if end:
            finish = "eos"
        elif self.spoken.stopped(new):
            finish = "stop"
        elif self._halts():
            finish = "halted"
        elif len(self.ids) >= request.sampling.max_tokens or len(self.tokens) >= request.context:
            finish = "length"
        if finish is not None and not end:
            new += self.spoken.finish()
        cost = self._cost(self.spoken.reasoning - reasoned, price, seen)
        if cost.prompt_tokens or cost.cached_tokens:
            self.prompt += cost.prompt_tokens
            self.cached += cost.cached_tokens
        self.flops += cost.flops
        return Event(self.index, new, (drawn.token,), cost, self.sample(finish) if finish else None)

    def _note(self, drawn: Drawn) -> None:
        self.ids.append(drawn.token)
        self.tokens.append(drawn.token)
        self.logprobs.append(drawn.logprob)
        self.sampling_logprobs.append(drawn.sampling_logprob)
        if self.request.sampling.top_logprobs:
            self.alternatives.append(drawn.alternatives)
        if drawn.signals:
            self.signals.append(drawn.signals)
            if self.request.sampling.halt is not None:
                at = self.request.names.index(self.request.sampling.halt.signal)
                self.totals.append(self.totals[-1] + drawn.signals[at])

    def _cost(self, reasoning: int, price: Cost, seen: int) -> Usage:
        """Of the token just drawn after `seen` others; the first pays for the prompt too, and one after a delay for
        what came again."""
        prompt = cached = 0
        if len(self.ids) == 1:
            prompt = self.computed
            cached = max(0, len(self.request.ids) - prompt)
        elif self.again:
            prompt = max(0, self.computed - 1)
        start = seen - (prompt + (len(self.ids) > 1))
        self.computed, self.again = 0, False
        if not (prompt or cached or reasoning):
            return _one(price, start)
        return Usage(
            prompt_tokens=prompt,
            cached_tokens=cached,
            completion_tokens=1,
            reasoning_tokens=reasoning,
            flops=price.of(start, seen),
        )

    def failed(self, error: str) -> Event:
        rest = self.spoken.finish()
        return Event(self.index, rest, (), NOTHING, self.sample("error", error))

    @property
    def usage(self) -> Usage:
        """What all its events have told."""
        if not self.ids:
            return NOTHING
        spoken, generated = self.spoken.reasoning, len(self.ids)
        return Usage(0, self.prompt, self.cached, generated, spoken, flops=self.flops)

    def sample(self, finish: Finish, error: str = "") -> Sample:
        sampling = self.request.sampling
        names = self.request.names
        wanted = {name: tuple([row[names.index(name)] for row in self.signals]) for name in sampling.signals}
        return Sample(
            self.spoken.text,
            finish,
            tuple(self.ids),
            tuple(self.logprobs),
            tuple(self.sampling_logprobs),
            tuple(self.alternatives) if sampling.top_logprobs else None,
            wanted if sampling.signals else None,
            tuple(self.spoken.offsets),
            self.spoken.thought,
            self.usage,
            error,
        )

    def _halts(self) -> bool:
        """Only a full window counts."""
        halt = self.request.sampling.halt
        if halt is None or len(self.signals) < halt.window:
            return False
        mean = (self.totals[-1] - self.totals[-1 - halt.window]) / halt.window
        if abs(mean - halt.below) < 1e-6 * max(1.0, abs(self.totals[-1])):  # too near for a difference of sums
            at = self.request.names.index(halt.signal)
            mean = math.fsum(row[at] for row in self.signals[-halt.window :]) / halt.window
        return mean < halt.below


@lru_cache(maxsize=1 << 15)
def _one(price: Cost, at: int) -> Usage:
    return Usage(completion_tokens=1, flops=price.of(at, at + 1))
