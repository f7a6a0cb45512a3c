"""An engine with a thread of its own, for callers in any number of event loops."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from torch import Tensor

from mullover.engine.engine import Engine
from mullover.engine.request import Request
from mullover.types import Event

IDLE = 5.0  # seconds without work after which the thread ends; the next request begins another

Inbox = asyncio.Queue[list[Event]]


class Service:
    """Only its thread touches the engine. What others want done between two steps, they leave as a note."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._notes = deque[Callable[[], object]]()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._post: dict[asyncio.AbstractEventLoop, list[tuple[Inbox, Request, list[Event]]]] = {}

    def submit(self, request: Request) -> Inbox:
        """Where its events come, in the event loop that runs now."""
        loop, inbox = asyncio.get_running_loop(), Inbox()

        def deliver(request: Request, events: list[Event]) -> None:
            self._post.setdefault(loop, []).append((inbox, request, events))

        request.deliver = deliver
        self.note(lambda: self.engine.add(request))
        return inbox

    def cancel(self, request: Request) -> None:
        """Its sequences are gone before the next step."""
        self.note(lambda: self.engine.cancel(request))

    def read(self, request: Request) -> None:
        """All that was delivered to it was dealt with."""
        stalled = request.stalled
        request.read()
        if stalled:
            self.note(_nothing)

    def swap(self, weights: Mapping[str, Tensor]) -> "Future[int]":
        """Take other weights once every live sequence has ended; the new version.

        Requests that come after this wait for it. Its errors are those of `Engine.swap`.
        """
        done: Future[int] = Future()
        self.note(lambda: self.engine.swap_soon(weights, done))
        return done

    def note(self, do: Callable[[], object]) -> None:
        with self._wake:
            self._notes.append(do)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mullover-engine", daemon=True)
                self._thread.start()
            self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                notes = [*self._notes]
                self._notes.clear()
            for do in notes:
                do()
            if self._step():
                continue
            with self._wake:
                if not self._notes and not self._wake.wait(IDLE) and not self._notes and not self.engine.busy:
                    self._thread = None
                    return

    def _step(self) -> bool:
        """False: there is nothing to do until somebody leaves a note."""
        try:
            went = self.engine.step()
        except Exception as error:  # noqa: BLE001  everyone who waits is told
            self.engine.abandon(f"the engine broke: {type(error).__name__}: {str(error)[:300]}")
            went = True
        for loop, posts in self._post.items():
            try:
                loop.call_soon_threadsafe(_spread, posts)
            except RuntimeError:  # the loop is closed, and with it all who waited there
                for _, request, _ in posts:
                    self.engine.cancel(request)
        self._post = {}
        return went


def _spread(posts: list[tuple[Inbox, Any, list[Event]]]) -> None:
    for inbox, _, events in posts:
        inbox.put_nowait(events)


def _nothing() -> None:
    """Only wakes the thread."""
