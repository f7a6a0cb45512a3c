"""How far an evaluation is: a bar on a terminal, plain lines elsewhere, both on stderr; and what is waited for."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from mullover.cli.output import clean
from mullover.openers import open_model
from mullover.types import Model

EVERY = 2.0  # seconds between plain lines


@contextmanager
def patient(what: str) -> Iterator[None]:
    """Whoever waits longer than EVERY is told for what, once, on stderr."""

    def tell() -> None:
        if sys.stderr is not None:
            print(f"{what} ...", file=sys.stderr, flush=True)

    timer = threading.Timer(EVERY, tell)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def waited_for(spec: str | None) -> Model:
    """The model of `--model`, opened."""
    with patient(f"opening {clean(spec or 'the model')[:200]}"):
        return open_model(spec)


class Progress:
    def __init__(self, total: int, what: str) -> None:
        self.total, self.what = total, what
        self.next = 0.0 if sys.stderr.isatty() else time.monotonic() + EVERY
        self.bar: Any = None
        self.line: Any = None

    def __enter__(self) -> "Progress":
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[so_far]}", markup=False),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
            )
            self.bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self.line = self.bar.add_task(self.what, total=self.total, so_far="")
            self.bar.start()
        return self

    def tell(self, done: int, correct: int, tokens: int) -> None:
        """Called after each problem; cheap when there is nothing to show yet."""
        now = time.monotonic()
        if now < self.next and (self.bar is None or done < self.total):
            return
        so_far = f"{correct / max(1, done):.1%} right, {tokens:,} tokens"
        if self.bar is not None:
            self.next = now + 0.1
            self.bar.update(self.line, completed=done, so_far=so_far)
        else:
            self.next = now + EVERY
            print(f"{self.what}: {done}/{self.total}, {so_far}", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
