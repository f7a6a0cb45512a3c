"""Hard budgets: what is spent, and what is promised to calls in flight."""

import asyncio
from dataclasses import dataclass

from mullover.errors import BudgetSpent, OptionError
from mullover.types import Price, Usage

PATIENCE = 1.0  # seconds to wait for callers who hold a promise and do not go on
FREE = Price()


@dataclass(frozen=True, slots=True)
class Budget:
    """Hard limits for one run.

    tokens: generated, computed prompt and verifier tokens together.
    seconds: of wall clock.
    money: in the currency of the model's price; a model without one is refused.
    """

    tokens: int | None = None
    seconds: float | None = None
    money: float | None = None

    def __post_init__(self) -> None:
        for name in ("tokens", "seconds", "money"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise OptionError(f"the budget in {name} is {value}; it must be 0 or more")


@dataclass(slots=True, eq=False)
class Promise:
    """What one call may still cost."""

    tokens: int
    money: float
    idle: bool = False  # its caller has the word: it may be the caller who waits for this to be given back


class Meter:
    """Counts what is spent while it is being spent."""

    def __init__(self, budget: Budget) -> None:
        self.tokens, self.money = budget.tokens, budget.money
        self.limited = self.tokens is not None or self.money is not None
        self.spent = 0
        self.paid = 0.0
        self.refused = False  # something was not bought, whatever the strategy made of that
        self.promises: set[Promise] = set()
        self._changed: asyncio.Event | None = None

    def open(self) -> None:
        """Refuse to begin what cannot be paid for."""
        if self.tokens is not None and self.spent >= self.tokens:
            self._refuse(f"{self.spent} of {self.tokens} tokens are spent")
        if self.money is not None and self.paid >= self.money:
            self._refuse(f"{self.paid:.6g} of {self.money:.6g} in money is spent")

    def add(self, usage: Usage, money: float, promise: Promise | None = None) -> None:
        """Count what an event cost; a promise shrinks by it."""
        self.spent += usage.tokens
        self.paid += money
        if promise is not None:
            promise.tokens = max(0, promise.tokens - usage.tokens)
            promise.money = max(0.0, promise.money - money)
        if self.tokens is not None and self.spent > self.tokens:
            self._refuse(f"{self.spent} of {self.tokens} tokens are spent")
        if self.money is not None and self.paid > self.money * (1 + 1e-12):  # sums of floats
            self._refuse(f"{self.paid:.6g} of {self.money:.6g} in money is spent")

    async def reserve(self, prompt_tokens: int, n: int, max_tokens: int, price: Price | None) -> tuple[Promise, int]:
        """Promise n samples what they may cost at most: (the promise, the most each may generate).

        Waits while other calls hold what is left, since most give some of it back; but not for long where
        all who hold something have the word themselves.
        """
        price = price or FREE
        while True:
            self.open()
            each = self._each(prompt_tokens, n, max_tokens, price)
            if each >= 1:
                tokens = prompt_tokens + n * each
                promise = Promise(tokens, prompt_tokens * price.prompt + n * each * price.completion)
                self.promises.add(promise)
                return promise, each
            if not self.promises or not await self._some_change():
                self._refuse(f"what is left is too little for {n} samples of a prompt of about {prompt_tokens} tokens")

    def end(self, promise: Promise) -> None:
        self.promises.discard(promise)
        self.tell()

    def tell(self) -> None:
        """Wake those who wait: a promise shrank, or its caller got or gave up the word."""
        if self._changed is not None:
            self._changed.set()

    def _each(self, prompt_tokens: int, n: int, most: int, price: Price) -> int:
        if self.tokens is not None:
            held = sum([promise.tokens for promise in self.promises])
            most = min(most, (self.tokens - self.spent - held - prompt_tokens) // n)
        if self.money is not None:
            left = self.money - self.paid - sum([promise.money for promise in self.promises])
            left -= prompt_tokens * price.prompt
            most = min(most, int(left / (n * price.completion))) if price.completion else most if left >= 0 else 0
        return most

    async def _some_change(self) -> bool:
        """False if nothing moved, and nobody who holds a promise is being served."""
        self._changed = self._changed or asyncio.Event()
        self._changed.clear()
        stuck = all(promise.idle for promise in self.promises)
        try:
            async with asyncio.timeout(PATIENCE if stuck else None):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def _refuse(self, why: str) -> None:
        self.refused = True
        raise BudgetSpent(why)
