"""Floating-point operations of computing tokens: of the matrix products, which are nearly all."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Look:
    """What layers of one kind do for a token that looks at another one."""

    operations: int  # of all those layers together: 4 for each number of a query
    window: int | None = None  # a token sees itself and what is before it, so many together; None: all


@dataclass(frozen=True, slots=True)
class Cost:
    body: int  # weights that each token is multiplied with: 2 operations each
    head: int  # those of the logits, for tokens after which one is drawn
    looks: tuple[Look, ...] = ()

    def of(self, start: int, end: int) -> float:
        """Of computing the tokens at positions start..end-1, and the logits after the last; 0 of none.

        Source: Kaplan et al. 2020, arXiv:2001.08361, section 2.1; attention counted by the keys that are looked at.
        """
        seen = sum(look.operations * (_keys(end, look.window) - _keys(start, look.window)) for look in self.looks)
        return float(2 * self.body * (end - start) + 2 * self.head * (end > start) + seen)


def _keys(tokens: int, window: int | None) -> int:
    """Those that the first `tokens` tokens look at, themselves among them."""
    full = tokens if window is None else min(tokens, window)
    return full * (full + 1) // 2 + (tokens - full) * full
