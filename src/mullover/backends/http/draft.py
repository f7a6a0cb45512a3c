"""One sample while it is being said."""

import math
from collections.abc import Callable, Sequence

from mullover.backends.http.wire import Piece
from mullover.backends.thinking import THINK, recorded_thought, thought
from mullover.types import NOTHING, Event, Finish, Sample, Token, Usage

FINISH: dict[str, Finish] = {
    "length": "length",
    "max_tokens": "length",
    "content_filter": "error",
    "error": "error",
    "abort": "error",
    "cancelled": "error",
}  # every other word is an end


class Draft:
    """The text so far of sample `index`: its reasoning in <think> tags, whatever field it came in.

    opened: the assistant's turn so far has begun to reason, and not ended it.
    """

    def __init__(self, index: int, opened: bool) -> None:
        self.index, self.opened = index, opened
        self.told = NOTHING  # usage that events have told of this sample, failed attempts too
        self.said = 0  # characters that events have told of this attempt
        self.begin()

    def begin(self) -> None:
        """Another attempt: what was said is void."""
        self.parts: list[str] = []
        self.ids: list[int] = []
        self.tokens: list[str] = []
        self.logprobs: list[float] = []
        self.alternatives: list[tuple[Token, ...]] = []
        self.reasoning = 0  # characters of a reasoning field, tags included
        self.thinks = False  # now
        self.spoke = False
        self.finish = ""
        self.stop: str | None = None
        self.cut = False  # we ended it, before the server did
        self.seen = 0  # tokens, at least
        self.size = 0  # characters
        self.counted = 0  # of those, told by events
        self.fresh: list[str] = []
        self.fresh_ids: list[int] = []

    def add(self, piece: Piece, stops: Sequence[str] = ()) -> None:
        """
        Args:
            stops: strings that end it, where the server does not tell which one did.
        """
        if self.finish:  # what comes after an end is no part of it
            return
        if piece.reasoning or piece.text:
            new = self._say(piece)
            if stops:
                self._look(stops, new)
        if piece.ids:
            self.ids += piece.ids
            self.fresh_ids += piece.ids
        if piece.logprobs:
            self.tokens += piece.tokens
            self.logprobs += piece.logprobs
            self.alternatives += piece.alternatives
        if piece.ids or piece.logprobs:
            self.seen += len(piece.ids) or len(piece.logprobs)
        elif piece.text or piece.reasoning:
            self.seen += 1
        if piece.finish and not self.cut:
            self.finish, self.stop = piece.finish, piece.stop
            self._keep_stop()

    def _say(self, piece: Piece) -> int:
        before = len(self.parts)
        if piece.reasoning and not self.spoke:  # what is thought after the first visible word is no part of the text
            if not self.thinks:
                self.thinks = True
                self.parts.append(THINK[0])
            self.parts.append(piece.reasoning)
        if piece.text:
            self.spoke = True
            if self.thinks:
                self.thinks = False
                self.parts.append(THINK[1])
                self.reasoning = self.reasoning or sum(map(len, self.parts))
            self.parts.append(piece.text)
        new = self.parts[before:]
        self.fresh += new
        long = sum(map(len, new))
        self.size += long
        return long

    def _keep_stop(self) -> None:
        """A stop string that the server names and its reasoning parser swallowed, such as </think>."""
        if self.stop and not "".join(self.parts[-8:]).endswith(self.stop):
            if self.stop == THINK[1] and self.thinks:
                self.thinks = False
                self.reasoning = self.reasoning or sum(map(len, self.parts)) + len(self.stop)
            self.parts.append(self.stop)
            self.fresh.append(self.stop)

    def _look(self, stops: Sequence[str], new: int) -> None:
        """End at a stop string that the last `new` characters complete; the piece that does so stays whole."""
        tail, at = "", len(self.parts)
        while at and len(tail) < new + max(map(len, stops)) - 1:
            at -= 1
            tail = self.parts[at] + tail
        if found := [stop for stop in stops if stop in tail]:
            self.finish, self.stop, self.cut = "stop", found[0], True

    def grown(self) -> Event | None:
        """What was said since the last event; a sample's end tells its last words together with its cost."""
        if self.finish or not (self.fresh or self.fresh_ids):
            return None
        usage = Usage(completion_tokens=self.seen - self.counted)
        self.counted = self.seen
        return self._event(usage)

    def paid(self, usage: Usage) -> Event:
        """What this attempt cost beyond what events told; the last event if the sample has ended."""
        return self._event(usage, self.sample)

    def is_beyond(self, tokens: int) -> bool:
        """Has it said what no answer of so many tokens can?"""
        return self.seen > 2 * tokens + 64 or self.size > 100 * tokens + 10_000

    def _event(self, usage: Usage, sample: Callable[[], Sample] | None = None) -> Event:
        self.told = usage if self.told is NOTHING else self.told + usage
        text, ids = "".join(self.fresh), tuple(self.fresh_ids)
        self.said += len(text) + len(ids)
        self.fresh, self.fresh_ids = [], []
        return Event(self.index, text, ids, usage, sample() if sample is not None and self.finish else None)

    def failed(self, why: str) -> Event:
        """The last event of a sample that failed for good."""
        return Event(self.index, sample=Sample("".join(self.parts), "error", usage=self.told, error=why))

    def again(self, usage: Usage) -> Event:
        """This attempt failed, and another begins."""
        self.told += usage
        void, self.said = self.said > 0, 0
        self.begin()
        return Event(self.index, usage=usage, void=void)

    def sample(self) -> Sample:
        """As far as it went; its usage is what events told."""
        text, finish = "".join(self.parts), FINISH.get(self.finish, "eos")
        if finish == "eos" and self.stop is not None:
            finish = "stop"
        error = f"the server ended it: {self.finish}" if finish == "error" else ""
        ids, logprobs = tuple(self.ids), tuple(self.logprobs) or None
        if logprobs is not None and (any(map(math.isnan, logprobs)) or (ids and len(ids) != len(logprobs))):
            finish, error = "error", "the server gave a log-probability that is no number, or too few of them"
            logprobs = None
        told = any(self.alternatives) and len(self.alternatives) == len(self.logprobs)
        return Sample(
            text,
            finish,
            ids,
            logprobs,
            alternatives=tuple(self.alternatives) if told and logprobs is not None else None,
            offsets=self._offsets(text) if logprobs is not None else None,
            thought=self._thought(text),
            usage=self.told,
            error=error,
        )

    def _thought(self, text: str) -> int:
        if self.reasoning or self.thinks:
            return self.reasoning or len(text)
        return thought(text, THINK, True) if self.opened else recorded_thought(text)

    def _offsets(self, text: str) -> tuple[int, ...] | None:
        """Known where the tokens' texts are the text; an end token stands after it."""
        at, offsets = 0, list[int]()
        for token in self.tokens:
            offsets.append(at)
            at += len(token)
        spelled = "".join(self.tokens)
        if spelled.startswith(text) and offsets and offsets[-1] <= len(text):
            return tuple(offsets)
        return None
