"""What the doctor takes as proof, and what not."""

from typing import Any

from mullover.backends.http.failures import AttemptError, in_words
from mullover.backends.http.probe import Reply
from mullover.backends.thinking import THINK

ENOUGH = 8  # characters that must go on as they should


def if_refused(error: AttemptError) -> None:
    """A refusal is an answer; that a server was busy or broke is none, and goes on up."""
    if error.again != "no":
        raise error


def thinks(reply: Reply) -> bool:
    """Did it reason, in a field, in tags or hidden?"""
    counted = reply.usage.reasoning_tokens if reply.usage is not None else 0
    return bool(reply.reasoning or counted or THINK[0] in reply.said)


def halves(reply: Reply) -> tuple[str, str, tuple[int, ...]]:
    """The visible answer parted between two tokens, and the ids before that where they are told."""
    pieces = [piece for piece in reply.pieces if piece.text]
    at = len(pieces) // 2
    ids = tuple([i for piece in pieces[:at] for i in piece.ids])
    known = all(piece.ids for piece in pieces[:at]) and not any(piece.reasoning for piece in reply.pieces)
    return "".join([p.text for p in pieces[:at]]), "".join([p.text for p in pieces[at:]]), ids if known else ()


def said_by(value: Any) -> str:
    """The text of a whole raw completion.

    Raises:
        AttemptError: there is none.
    """
    try:
        return str(value["choices"][0]["text"])
    except (KeyError, IndexError, TypeError):
        raise AttemptError(f"the server sent no text: {in_words(value)}") from None


def goes_on(said: str, rest: str) -> bool:
    """Does it say what comes next? White space at the seam may be lost."""
    said, rest = said.strip(), rest.strip()
    return bool(said) and said[:ENOUGH] == rest[: len(said[:ENOUGH])]


def alike(text: str, other: str) -> bool:
    """Equal for the first half: what rounding does to the rest is no matter."""
    half = max(1, min(len(text), len(other)) // 2)
    return bool(text) and text[:half] == other[:half]
