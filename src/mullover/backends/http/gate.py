"""How many requests one endpoint gets at once, and whether it gets any."""

import asyncio
import math
import time
from collections import deque
from contextlib import suppress

from mullover.backends.http.failures import AttemptError

START, LEAST, MOST = 32, 1, 1024  # requests in flight
SLOW = 4.0  # times the usual wait for a first word: growing further would only lengthen the queue
SLACK = 0.5  # seconds of waiting that are never slow
BROKEN = 5  # failures in a row after which an endpoint is left alone
COOL = 0.5  # seconds for the first time, then twice as long each time
COLD = 15.0
PATIENCE = 60.0  # seconds out of use after which nobody waits for it any more
NEVER_SERVED = 2  # failures, and seconds, for one that has never answered: perhaps it is not there
TOO_LONG = 120.0  # seconds: a server that asks for more is not waited for


class Gate:
    """A cap on requests in flight that finds its own height, and a circuit breaker.

    The cap grows by one with each success while it is all used, until the server first says it is busy or
    gets slow; then by one for a whole cap of successes. Busy halves it, once for all that were sent
    before. After `BROKEN` failures in a row nothing is sent for a while, then one request that tries.

    Source: Chiu & Jain 1989 (additive increase, multiplicative decrease); Nygard 2007 (circuit breaker).
    """

    def __init__(self, name: str, room: int = MOST) -> None:
        """
        Args:
            room: the cap's own cap: this process may open only so many connections.
        """
        self.name, self.room = name, max(LEAST, min(MOST, room))
        self.cap, self.live, self.most = float(min(START, self.room)), 0, 0
        self.doubling = True
        self.epoch = 0.0  # requests sent before this have been answered for
        self.until = 0.0  # nothing is sent before: the server asked for it, or is left alone
        self.failures = 0
        self.broken = 0.0  # since when, 0: it is not
        self.served = False
        self.last = ""  # failure
        self.rest = COOL  # seconds until the next trial
        self.trying = 0  # trials in flight
        self.usual = self.recent = 0.0  # seconds to the first word
        self.waiting: deque[asyncio.Future[None]] = deque()
        self.timer: asyncio.TimerHandle | None = None

    @property
    def is_broken(self) -> bool:
        return self.broken > 0

    @property
    def is_gone(self) -> bool:
        """Out of use for so long that nobody waits."""
        return self.broken > 0 and time.monotonic() - self.broken > (PATIENCE if self.served else NEVER_SERVED)

    @property
    def is_ready_for_trial(self) -> bool:
        """It broke, its rest is over, and nobody tries it yet."""
        return self.broken > 0 and self._open()

    @property
    def pause(self) -> float:
        """Seconds until it may be asked again."""
        return max(0.0, self.until - time.monotonic())

    async def enter(self) -> None:
        """Wait for a place.

        Raises:
            AttemptError: the endpoint went out of use meanwhile.
        """
        if self.is_gone and time.monotonic() < self.until:
            raise AttemptError(f"{self.name} is out of use: {self.last}", "moved")
        if not self.waiting and self._open():
            self._take()
            return
        place = asyncio.get_running_loop().create_future()
        self.waiting.append(place)
        self._later()
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                self.leave()
            else:
                with suppress(ValueError):
                    self.waiting.remove(place)
            raise

    def leave(self, entered: float = math.inf) -> None:
        """A request that had its place since `entered` ended, however it did."""
        self.live -= 1
        if self.broken and entered >= self.broken:
            self.trying = max(0, self.trying - 1)
        self._next()

    def well(self, sent: float, waited: float | None) -> None:
        """A request that was sent at `sent` was answered; its first word came after `waited` seconds.

        None: it was a refusal, whose speed tells nothing of answers.
        """
        self.served = True
        self.failures = 0
        if self.broken:
            self.broken = self.until = 0.0
        if waited is None:
            return
        self.recent = waited if not self.recent else 0.9 * self.recent + 0.1 * waited
        self.usual = waited if not self.usual else min(0.999 * self.usual + 0.001 * waited, self.recent)
        if self.recent > SLOW * self.usual + SLACK:
            self.doubling = False
            if sent > self.epoch and self.live >= START:
                self._shrink(0.9)
        elif self.live + 1 >= self.cap:
            self.cap = min(self.room, self.cap + (1.0 if self.doubling else 1.0 / self.cap))

    def busy(self, sent: float, after: float | None) -> None:
        """It said 429, and maybe for how long."""
        self.doubling = False
        if sent > self.epoch:
            self._shrink(0.5)
        self._wait(after)

    def down(self, why: str, after: float | None = None, sent: float = math.inf) -> None:
        """It broke, or could not be reached; it may have said for how long.

        Each trial that fails doubles the rest; those that were sent before the breaker opened are no trials.
        """
        self.last = why
        self._wait(after)
        self.failures += 1
        if self.failures < (BROKEN if self.served else NEVER_SERVED):
            return
        now = time.monotonic()
        if not self.broken:
            self.broken, self.rest, self.trying = now, COOL, 0
            self._wait(self.rest)
        elif sent > self.broken:
            self.rest = min(COLD, 2 * self.rest)
            self._wait(self.rest)
        while self.waiting:
            place = self.waiting.popleft()
            if not place.done():
                place.set_exception(AttemptError(f"{self.name} went out of use: {why}", "moved"))

    def _wait(self, after: float | None) -> None:
        if after is not None:
            self.until = max(self.until, time.monotonic() + min(after, TOO_LONG))

    def _open(self) -> bool:
        return self._room() and time.monotonic() >= self.until

    def _room(self) -> bool:
        """One trial at a time goes to a broken endpoint; requests from before that still hang are none."""
        return self.trying < 1 if self.broken else self.live < int(self.cap)

    def _take(self) -> None:
        self.live += 1
        self.trying += self.is_broken
        self.most = max(self.most, self.live)

    def _shrink(self, by: float) -> None:
        self.epoch = time.monotonic()
        self.cap = max(LEAST, self.cap * by)

    def _next(self) -> None:
        while self.waiting and self._open():
            place = self.waiting.popleft()
            if not place.done():
                self._take()
                place.set_result(None)
        self._later()

    def _later(self) -> None:
        """Look again when the pause is over; what waits for a place alone is woken by who leaves."""
        if self.timer is None and self.waiting and self._room():
            wait = max(0.0, self.until - time.monotonic())
            self.timer = asyncio.get_running_loop().call_later(wait, self._woken)

    def _woken(self) -> None:
        self.timer = None
        self._next()
