"""Tokens to text, one token at a time, with what depends on text: stop strings, and where reasoning ends."""

from collections.abc import Sequence
from typing import Protocol


class Stream(Protocol):
    def push(self, token: int) -> str:
        """The text that is certain now; characters of which bytes are missing come later."""
        ...

    def rest(self) -> str:
        """What never became certain."""
        ...


class Vocabulary(Protocol):
    """What the engine needs of a tokenizer."""

    ends: frozenset[int]  # tokens that end a sample; they have no text
    think: tuple[str, str] | None  # delimiters of reasoning

    def stream(self, before: Sequence[int]) -> Stream:
        """Text of what follows the tokens `before`."""
        ...

    def text(self, token: int) -> str:
        """Of one token alone."""
        ...


class Spoken:
    """What a sample has said."""

    __slots__ = (
        "_longest",
        "_stops",
        "_stream",
        "_think",
        "_undecided",
        "inside",
        "offsets",
        "open",
        "reasoning",
        "text",
        "thought",
    )

    def __init__(self, stream: Stream, stops: Sequence[str], think: tuple[str, str] | None, opened: bool) -> None:
        self._stream, self._stops, self._think = stream, tuple(stops), think
        self._longest = max(map(len, stops), default=0)
        self.text = ""
        self.offsets: list[int] = []
        self.open = opened and think is not None  # does reasoning that the text began with still go on?
        self._undecided = not opened  # may it still turn out to begin with reasoning?
        self.inside = self.open  # would the next token be reasoning?
        self.thought = 0  # characters of reasoning, delimiters included
        self.reasoning = 0  # tokens of reasoning

    def say(self, token: int, end: bool) -> str:
        """Add a token; its new text. The end token has none, but brings what is left of the one before it."""
        self.offsets.append(len(self.text))
        new = self._stream.rest() if end else self._stream.push(token)
        self.text += new
        if self._think is not None:
            self._follow(new, self._think)
            self.reasoning += self.offsets[-1] < self.thought or (self.open and not end)
        return new

    def finish(self) -> str:
        """The sample ended without an end token: what never became certain."""
        new = self._stream.rest()
        self.text += new
        if self._think is not None:
            self._follow(new, self._think)
        return new

    def stopped(self, new: str) -> bool:
        """Did `new` complete a stop string?"""
        if not self._longest or not new:
            return False
        tail = self.text[max(0, len(self.text) - len(new) - self._longest + 1) :]
        return any(stop in tail for stop in self._stops)

    def _follow(self, new: str, think: tuple[str, str]) -> None:
        """Where reasoning stands after `new`. Only reasoning that the text begins with is set apart."""
        if not new:
            return
        opener, closer = think
        tail = self.text[max(0, len(self.text) - len(new) - max(len(opener), len(closer)) + 1) :]
        if opener in tail or closer in tail:
            self.inside = self.text.rfind(opener) > self.text.rfind(closer)
        if self._undecided:
            begun = self.text.lstrip()
            self._undecided = len(begun) < len(opener) and opener.startswith(begun)
            self.open = begun.startswith(opener)
            self.reasoning = len(self.offsets) - 1 if self.open else 0  # what came before the opener was whole
        if self.open:
            at = self.text.find(closer, max(0, self.thought - len(closer) + 1))
            self.thought = at + len(closer) if at >= 0 else len(self.text)
            self.open = at < 0
