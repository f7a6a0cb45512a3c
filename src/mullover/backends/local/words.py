"""A tokenizer as the engine needs it: text of tokens one by one, and the tokens that begin a text."""

from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from mullover.errors import OptionError

CONTEXT = 4  # tokens before a text that its first one is read after: they settle whether it begins with a space


class Words:
    """Of a directory's tokenizer.json. Special tokens have their text, but the ends of a sample.

    Raises:
        OptionError: there is none, or it is none.
    """

    def __init__(self, folder: Path, ends: frozenset[int], think: tuple[str, str] | None) -> None:
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise OptionError(
                f"{folder} has no tokenizer.json; put the model's there (transformers writes it by save_pretrained)"
            )
        try:
            self.tokenizer: Any = Tokenizer.from_file(str(path))
        except Exception as error:  # noqa: BLE001  the library raises Exception itself
            raise OptionError(f"cannot read {path}: {str(error)[:200]}") from None
        self.ends, self.think = ends, think
        self.text = lru_cache(maxsize=65536)(self._text)

    @property
    def size(self) -> int:
        return int(self.tokenizer.get_vocab_size(with_added_tokens=True))

    def ids(self, text: str, special: bool = False) -> tuple[int, ...]:
        """Tokens of a text, without a tokenizer's own beginning and end unless `special`.

        Raises:
            OptionError: the text holds half of a surrogate pair.
        """
        try:
            text.encode()
        except UnicodeEncodeError:
            raise OptionError(
                "the prompt holds half of a surrogate pair, which no tokenizer takes; remove it"
            ) from None
        found: list[int] = self.tokenizer.encode(text, add_special_tokens=special).ids
        while special and found and found[-1] in self.ends:
            found.pop()
        return tuple(found)

    def stream(self, before: Sequence[int]) -> "Growing":
        return Growing(self.tokenizer, before[-CONTEXT:])

    def _text(self, token: int) -> str:
        return str(self.tokenizer.decode([token], skip_special_tokens=False))

    def begins(self, text: str) -> frozenset[int]:
        """The tokens that begin `text`: those whose text begins with it, and the first of its spelling.

        The empty text stands for the ends.

        Raises:
            OptionError: there is no such token.
        """
        if not text:
            return self.ends
        found = {i for i, piece in enumerate(self._pieces) if piece.startswith(text)}
        found.update(self.ids(text)[:1])
        if not found:
            raise OptionError(f"no token of the model begins {text[:40]!r}; choose another text for the rule")
        return frozenset(found)

    @cached_property
    def _pieces(self) -> list[str]:
        texts: list[str] = self.tokenizer.decode_batch([[i] for i in range(self.size)], skip_special_tokens=False)
        return texts


class Growing:
    """The text of tokens that come one by one."""

    __slots__ = ("_pending", "_stream", "_tokenizer")

    def __init__(self, tokenizer: Any, before: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=False)
        self._pending: list[int] = []
        for token in before:
            self.push(token)
        self._pending = []

    def push(self, token: int) -> str:
        """What is certain now; characters of which bytes are missing come with a later token."""
        try:
            new: str | None = self._stream.step(self._tokenizer, token)
        except Exception:  # noqa: BLE001  the library cannot join it to what came before: it is read on its own
            new = str(self._tokenizer.decode([*self._pending, token], skip_special_tokens=False))
            self._stream = DecodeStream(skip_special_tokens=False)
        if new is None:
            self._pending.append(token)
            return ""
        self._pending = []
        return new

    def rest(self) -> str:
        """Of bytes that make no whole character."""
        pending, self._pending = self._pending, []
        return str(self._tokenizer.decode(pending, skip_special_tokens=False)) if pending else ""
