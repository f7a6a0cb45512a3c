"""Text in pieces, for backends without a tokeniser: words with the space that follows them."""

import re
from zlib import crc32

WORD = re.compile(r"\S+\s*|\s+")
_PIECE = re.compile(r"\s*(?:\S{1,64}\s*){1,16}|\s+")


def words(text: str, think: tuple[str, str] | None = None) -> list[str]:
    """They add up to `text`. Delimiters of reasoning are words of their own."""
    if think is None or (think[0] not in text and think[1] not in text):
        return WORD.findall(text)
    ends = "|".join(map(re.escape, think))
    return re.findall(rf"(?:{ends})\s*|(?:(?!{ends})\S)+\s*|\s+", text)


def word_id(word: str) -> int:
    """The same number for the same word everywhere, never 0, and nothing to remember."""
    return crc32(word.encode("utf-8", "surrogatepass")) or 1


def pieces(text: str) -> list[str]:
    """At most 16 words each, or 1,024 characters of text without spaces; at least one, if only ""."""
    return _PIECE.findall(text) or [""]


def shares(total: int, parts: int) -> list[int]:
    """`total` over `parts` as evenly as whole numbers allow; they add up to it."""
    return [total * (i + 1) // parts - total * i // parts for i in range(parts)]
