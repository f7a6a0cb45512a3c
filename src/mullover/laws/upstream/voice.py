"""The toy behind the server, and the ids it gives to the words of prompts."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mullover.backends.table import Table
from mullover.backends.thinking import THINK, is_open
from mullover.backends.toy import Toy
from mullover.errors import ModelError
from mullover.laws.upstream.kinds import Refused
from mullover.laws.upstream.template import read_chat, rendered
from mullover.types import Message, Prompt, Segment

_WORDS = re.compile(r"<\|(?:system|user|assistant|tool|end|quiet)\|>\n?|\s*(?:(?!<\|)\S)+|\s+|<")


@dataclass(frozen=True, slots=True)
class Spot:
    """A prompt as the model sees it: the chat, then the assistant's turn so far by the toy's ids."""

    prompt: Prompt
    quiet: bool
    head: tuple[int, ...]  # ids of everything before the assistant's turn
    prefix: tuple[int, ...]  # ids of the assistant's turn so far
    words: int

    @property
    def ids(self) -> tuple[int, ...]:
        return (*self.head, *self.prefix)


class Voice:
    """One toy, another for when thinking is off, and one vocabulary for both."""

    def __init__(self, model: Toy, quiet: Toy | None) -> None:
        self.model, self.quiet = model, quiet
        tables = [t for toy in (model, quiet) if toy for t in (toy.table, *toy.questions.values()) if t]
        self.first = max(1000, *(len(table.texts) for table in tables))  # ids from here on are words of prompts
        self._plain = tables[0]
        self._words: list[str] = []
        self._ids: dict[str, int] = {}

    @property
    def think(self) -> tuple[str, str]:
        return self.model.info.think or THINK

    def toy(self, quiet: bool) -> Toy:
        return self.quiet if quiet and self.quiet is not None else self.model

    def table(self, spot: Spot) -> Table:
        return self.toy(spot.quiet).table_of(spot.prompt)

    def opened(self, spot: Spot) -> bool:
        """Did the assistant's turn so far begin to reason, and not end it?"""
        return is_open(spot.prompt.said, self.think)

    # From requests to spots

    def of_chat(self, messages: Sequence[Message], quiet: bool, said: str = "") -> Spot:
        """Raises Refused if the toy cannot spell `said`."""
        prompt = Prompt(tuple(messages))
        words = sum(len(message.text.split()) for message in messages) + len(said.split())
        prefix = spelled(self.toy(quiet).table_of(prompt), said)
        head = self.encode(rendered(messages, quiet))
        return Spot(prompt.then(Segment(said, prefix)) if said else prompt, quiet, head, prefix, words)

    def of_text(self, text: str) -> Spot:
        """A rendered chat is read as one; any other text is a question."""
        chat = read_chat(text)
        if chat is not None:
            return self.of_chat(*chat)
        return Spot(Prompt.of(text), False, self.encode(text), (), len(text.split()))

    def of_ids(self, ids: Sequence[int]) -> Spot:
        """The words of a prompt, and then what the assistant said. Raises Refused for an unknown id."""
        cut = next((i for i, one in enumerate(ids) if one < self.first), len(ids))
        head, prefix = tuple(ids[:cut]), tuple(ids[cut:])
        if any(not 0 <= i - self.first < len(self._words) for i in head):
            raise Refused(400, f"Token id {max(ids)} is out of vocabulary")
        spot = self.of_text("".join([self._words[i - self.first] for i in head]))
        table = self.table(spot)
        if any(not 0 <= i < len(table.texts) for i in prefix):
            raise Refused(400, f"Token id {max(prefix)} is out of vocabulary")
        prompt = spot.prompt.then(Segment(table.decode(prefix), prefix)) if prefix else spot.prompt
        return Spot(prompt, spot.quiet, head, prefix, len(ids))

    # Ids

    def encode(self, text: str) -> tuple[int, ...]:
        """One id a word, its leading white space included."""
        return tuple([self._id(word) for word in _WORDS.findall(text)])

    def tokenized(self, text: str) -> tuple[int, ...]:
        """A chat in its template, something the toy could say, or else words."""
        if read_chat(text) is not None:
            return self.of_text(text).ids
        said = self._plain.spelled(text)
        return self.encode(text) if said is None else said

    def decode(self, ids: Iterable[int]) -> str:
        """Raises Refused for an unknown id."""
        return "".join([self.text_of(self._plain, i) for i in ids])

    def text_of(self, table: Table, i: int) -> str:
        if self.first <= i < self.first + len(self._words):
            return self._words[i - self.first]
        if not 0 <= i < len(table.texts):
            raise Refused(400, f"Token id {i} is out of vocabulary")
        return table.texts[i]

    def _id(self, word: str) -> int:
        if word not in self._ids:
            self._ids[word] = self.first + len(self._words)
            self._words.append(word)
        return self._ids[word]


def spelled(table: Table, said: str) -> tuple[int, ...]:
    """Raises Refused if the toy cannot say it."""
    try:
        return table.encode(said) if said else ()
    except ModelError as error:
        raise Refused(400, str(error)) from None
