"""One toy sample while it grows: what it has said, and how its next token is drawn."""

import math
from dataclasses import dataclass, field

from mullover.backends.draw import biased, distribution, pick
from mullover.backends.rules import Ruled, Rules
from mullover.backends.signals import signal
from mullover.backends.table import END, Node, Table
from mullover.backends.thinking import is_open, thought
from mullover.errors import ModelError
from mullover.seeds import noise
from mullover.types import NOTHING, Event, Finish, Sample, Sampling, Token, Usage

_ONE = Usage(completion_tokens=1)
_ONE_THOUGHT = Usage(completion_tokens=1, reasoning_tokens=1)


class Request:
    """What the samples of one call share: where they begin, and every distribution met so far."""

    def __init__(self, table: Table, prefix: tuple[int, ...], said: str, sampling: Sampling) -> None:
        self.table, self.prefix, self.sampling = table, prefix, sampling
        self.start = table.node(prefix)
        self.opened = table.think is not None and is_open(said, table.think)
        self.names = tuple(dict.fromkeys((*sampling.signals, *([sampling.halt.signal] if sampling.halt else []))))
        self._signals = [signal(name) for name in self.names]
        self.rules = Rules(sampling.rules, table)
        self._chances: dict[tuple[Node, tuple[int, ...]], dict[int, float]] = {}
        self._measured: dict[Node, tuple[float, ...]] = {}

    def chances(self, node: Node, holding: tuple[int, ...]) -> dict[int, float]:
        """What the next token is drawn from where these rules hold; empty if they forbid every token."""
        key = (node, holding)
        if key not in self._chances:
            self._chances[key] = distribution(node.row, self.sampling, self.rules.bias(holding))
        return self._chances[key]

    def ranked(self, node: Node, holding: tuple[int, ...]) -> list[int]:
        """The possible tokens where these rules hold, likeliest first."""
        return [i for i, _ in biased(node.row, self.rules.bias(holding))]

    def measured(self, node: Node) -> tuple[float, ...]:
        """The signals there, in the order of `names`."""
        if node not in self._measured:
            logprobs, size = [math.log(p) for p in node.row.values()], len(self.table.texts)
            self._measured[node] = tuple(measure(logprobs, size) for measure in self._signals)
        return self._measured[node]


@dataclass(slots=True)
class Sequence:
    request: Request
    index: int  # which sample of its call
    seed: int
    prompt: Usage  # what reading the prompt costs this sample
    node: Node | None
    text: str = ""
    thought: int = 0
    reasoning: int = 0  # tokens
    ids: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    sampling_logprobs: list[float] = field(default_factory=list)
    alternatives: list[tuple[Token, ...]] = field(default_factory=list)
    signals: list[tuple[float, ...]] = field(default_factory=list)
    ruled: Ruled | None = field(init=False)

    def __post_init__(self) -> None:
        self.ruled = Ruled(self.request.rules) if self.request.rules.any else None

    def advance(self) -> Event:
        """Draw one token. A failure ends this sequence and no other."""
        request, node = self.request, self.node
        if node is None or not node.row:
            return self._failed(request.table.nowhere((*request.prefix, *self.ids)))
        thinking = self._thinks()
        try:
            token, p = self._draw(node, thinking)
        except ModelError as error:
            return self._failed(str(error))
        if self.ruled is not None:
            self.ruled.drew(token, thinking)
        self._measure(node, token, p)
        text = request.table.texts[token]
        self.node = node.next[token]
        self.ids.append(token)
        self.offsets.append(len(self.text))
        self.text += text
        cost = self._cost()
        finish = self._finish()
        return Event(self.index, text, (token,), cost, self._sample(finish) if finish else None)

    def _draw(self, node: Node, thinking: bool) -> tuple[int, float]:
        """The next token and its probability there. Raises ModelError if there is none."""
        request, ruled = self.request, self.ruled
        forced = None if ruled is None else ruled.forced(thinking)
        if forced is not None:
            if forced not in node.row:
                text = request.table.texts[forced]
                raise ModelError(f"the toy language cannot go on with the forced {text!r} after {self.text!r}")
            return forced, 1.0
        holding = () if ruled is None else ruled.holding(thinking)
        chances = request.chances(node, holding)
        if not chances:
            raise ModelError(f"the rules forbid every token that can follow {self.text!r}")
        if request.sampling.distinct_first and not self.ids:
            ranked, k = request.ranked(node, holding), request.sampling.first + self.index
            if k >= len(ranked):
                raise ModelError(f"sample {k} has no first token of its own: only {len(ranked)} are possible")
            return ranked[k], 1.0
        token = pick(chances, noise(self.seed, len(self.ids)))
        return token, chances[token]

    def _measure(self, node: Node, token: int, p: float) -> None:
        request = self.request
        self.logprobs.append(math.log(node.row[token]))
        self.sampling_logprobs.append(math.log(p))
        if top := request.sampling.top_logprobs:
            texts = request.table.texts
            self.alternatives.append(tuple(Token(i, texts[i], math.log(q)) for i, q in [*node.row.items()][:top]))
        if request.names:
            self.signals.append(request.measured(node))

    def _thinks(self) -> bool:
        """Would the next token be reasoning?"""
        think = self.request.table.think
        if think is None or not self.text:
            return self.request.opened
        return is_open(self.text, think) or (self.request.opened and think[1] not in self.text)

    def _cost(self) -> Usage:
        """Of the token just drawn; the first pays for the prompt too."""
        think = self.request.table.think
        if think is not None:
            self.thought = thought(self.text, think, self.request.opened)
        reasons = self.offsets[-1] < self.thought
        self.reasoning += reasons
        one = _ONE_THOUGHT if reasons else _ONE
        return self.prompt + one if len(self.ids) == 1 else one

    def _finish(self) -> Finish | None:
        sampling = self.request.sampling
        if self.ids[-1] == END:
            return "eos"
        if sampling.stop and any(stop in self.text for stop in sampling.stop):
            return "stop"
        if sampling.halt is not None and self._halts(sampling.halt.signal, sampling.halt.window, sampling.halt.below):
            return "halted"
        return "length" if len(self.ids) >= sampling.max_tokens else None

    def _halts(self, name: str, window: int, below: float) -> bool:
        """Only a full window counts."""
        at = self.request.names.index(name)
        last = [values[at] for values in self.signals[-window:]]
        return len(last) == window and math.fsum(last) / window < below

    def _failed(self, error: str) -> Event:
        return Event(self.index, sample=self._sample("error", error))

    def _sample(self, finish: Finish, error: str = "") -> Sample:
        request, wanted = self.request, self.request.sampling.signals
        spent = Usage(completion_tokens=len(self.ids), reasoning_tokens=self.reasoning)
        return Sample(
            self.text,
            finish,
            tuple(self.ids),
            tuple(self.logprobs),
            tuple(self.sampling_logprobs),
            tuple(self.alternatives) if request.sampling.top_logprobs else None,
            {name: self._column(request.names.index(name)) for name in wanted} if wanted else None,
            tuple(self.offsets),
            self.thought,
            self.prompt + spent if self.ids else NOTHING,
            error,
        )

    def _column(self, at: int) -> tuple[float, ...]:
        return tuple([values[at] for values in self.signals])
