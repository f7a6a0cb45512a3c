"""A toy language: every path it can say, with its probability."""

import math
import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TypeVar

from mullover.backends.thinking import THINK
from mullover.errors import ModelError, OptionError

END = 0  # the end token's id; its text is empty

K = TypeVar("K", bound=Hashable)
P = TypeVar("P", bound=str | tuple[str, ...])


class Node:
    """All paths with one beginning. Nodes are told apart by identity."""

    __slots__ = ("_row", "mass", "next")

    def __init__(self) -> None:
        self.next: dict[int, Node] = {}
        self.mass = 0.0  # P(a path begins so)
        self._row: dict[int, float] | None = None

    @property
    def row(self) -> Mapping[int, float]:
        """P(next token), most likely first; a tie goes to the token named first. Empty after an end."""
        if self._row is None:
            total = math.fsum(node.mass for node in self.next.values())
            ranked = sorted(self.next.items(), key=lambda item: (-item[1].mass, item[0]))
            self._row = {i: node.mass / total for i, node in ranked}
        return self._row


class Table:
    """`Table({"5|.": 0.6, "3+5|=8": 0.4})`: "|" parts tokens, weights need not sum to 1.

    A path can also be given as a tuple of tokens, for tokens with "|" in them. A path of weight 0
    cannot be said, but its tokens can be spelled. Text is tokenised greedily, longest token first,
    which need not be the way it was sampled.

    Args:
        think: the delimiters of reasoning; <think> and </think> if they occur in a path.

    Raises:
        OptionError: no path, an empty token, or weights that are negative, not finite or all 0.
    """

    def __init__(self, paths: Mapping[P, float], think: tuple[str, str] | None = None) -> None:
        spelled = {tuple(path.split("|")) if isinstance(path, str) else path: p for path, p in paths.items()}
        total = _total(spelled)
        self.texts: tuple[str, ...] = ("", *dict.fromkeys(token for path in spelled for token in path))
        ids = {text: i for i, text in enumerate(self.texts)}
        self.paths: Mapping[tuple[int, ...], float] = {
            (*(ids[token] for token in path), END): p / total for path, p in spelled.items() if p / total
        }
        self.root = Node()
        for path, p in self.paths.items():
            self._add(path, p)
        self.think = think or (THINK if any(_thinks("".join(path)) for path in spelled) else None)
        self._ids = ids
        self._tokens = re.compile("|".join(map(re.escape, sorted(self.texts[1:], key=len, reverse=True))))

    def encode(self, text: str) -> tuple[int, ...]:
        """Raises ModelError if the language cannot spell it."""
        ids = self.spelled(text)
        if ids is None:
            some = ", ".join(map(repr, self.texts[1:21]))
            raise ModelError(f"the toy language cannot spell {text!r}; its tokens are {some}")
        return ids

    def spelled(self, text: str) -> tuple[int, ...] | None:
        """`encode`, but None for what cannot be spelled."""
        tokens: list[str] = self._tokens.findall(text)
        whole = sum(map(len, tokens)) == len(text)
        return tuple([self._ids[token] for token in tokens]) if whole else None

    def decode(self, ids: Iterable[int]) -> str:
        return "".join([self.texts[i] for i in ids])

    def begins(self, text: str) -> frozenset[int]:
        """The tokens that begin `text`: those whose text begins with it, and the first of its spelling.

        The empty text stands for the end token.
        """
        if not text:
            return frozenset({END})
        found = {i for i, token in enumerate(self.texts) if token.startswith(text)}
        if match := self._tokens.match(text):
            found.add(self._ids[match[0]])
        return frozenset(found)

    def node(self, prefix: Iterable[int]) -> Node | None:
        """Where `prefix` leads; None if no path begins so."""
        node: Node | None = self.root
        for i in prefix:
            if node is None:
                return None
            node = node.next.get(i)
        return node

    def row(self, prefix: tuple[int, ...]) -> Mapping[int, float]:
        """P(next token | prefix), most likely first. Raises ModelError where no path goes on."""
        node = self.node(prefix)
        if node is None or not node.row:
            raise ModelError(self.nowhere(prefix))
        return node.row

    def nowhere(self, prefix: tuple[int, ...]) -> str:
        said = self.decode(i for i in prefix if 0 <= i < len(self.texts))
        return f"the toy language has no path that goes on after {said!r}, as tokens {prefix}"

    def logprobs(self, prefix: tuple[int, ...], ids: tuple[int, ...]) -> tuple[float, ...]:
        """log P of each id after those before it, nats; -inf from the first impossible one on."""
        node, logprobs = self.node(prefix), list[float]()
        for i in ids:
            p = node.row.get(i, 0.0) if node else 0.0
            logprobs.append(math.log(p) if p else -math.inf)
            node = node.next.get(i) if node else None
        return tuple(logprobs)

    def probabilities(self, answer_of: Callable[[str], K]) -> dict[K, float]:
        """Exactly P(answer): the sum over all paths that reach it."""
        masses: dict[K, list[float]] = {}
        for ids, p in self.paths.items():
            masses.setdefault(answer_of(self.decode(ids)), []).append(p)
        return {answer: math.fsum(some) for answer, some in masses.items()}

    def _add(self, path: tuple[int, ...], p: float) -> None:
        node = self.root
        node.mass += p
        for i in path:
            node = node.next.setdefault(i, Node())
            node.mass += p


def _total(paths: Mapping[tuple[str, ...], float]) -> float:
    if not paths:
        raise OptionError("a table needs at least one path")
    for path, weight in paths.items():
        if not path or not all(path):
            raise OptionError(f"the path {'|'.join(path)!r} has an empty token")
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight <= 1e300:
            raise OptionError(f"the path {'|'.join(path)!r} has weight {weight!r}; it must be a number, 0 or more")
    if not (total := math.fsum(paths.values())):
        raise OptionError("the weights of the paths are all 0; at least one must be above")
    return total


def _thinks(text: str) -> bool:
    return THINK[0] in text and THINK[1] in text
