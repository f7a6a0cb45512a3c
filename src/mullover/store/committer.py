"""Makes lines last and looks after the index, in a thread of its own, a few times a second."""

from __future__ import annotations

import threading
from collections import deque
from pathlib import Path

from mullover.errors import StoreError
from mullover.store.index import Index, RunRow
from mullover.store.journal import Journal
from mullover.store.scan import Row

EVERY = 0.2  # seconds between two commits, at least: one fsync pays for all lines of that time


class Committer(threading.Thread):
    """One fsync and one transaction for whatever came since the last."""

    def __init__(self, journal: Journal, index: Index | None, folder: Path) -> None:
        super().__init__(name="mullover-store", daemon=True)
        self._journal, self._index, self._folder = journal, index, folder
        self._rows: deque[Row] = deque()
        self._wake, self._closing = threading.Event(), threading.Event()
        self._failure: StoreError | None = None

    def add(self, row: Row) -> None:
        self._rows.append(row)
        if not self._wake.is_set():
            self._wake.set()

    def check(self) -> None:
        """Raises StoreError if lines could not be made to last since the last look."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def run(self) -> None:
        if self._index is not None:
            self._index.begin(self._folder)
        while not self._closing.is_set():
            self._wake.wait()
            self._closing.wait(EVERY)
            self._wake.clear()
            self._commit()

    def close(self, run: RunRow) -> None:
        """Commit what is left and end the thread; `run` is what the index is to say of it."""
        self._closing.set()
        self._wake.set()
        self.join()
        self._commit()
        if self._index is not None:
            self._index.end(self._folder, run)
            self._index.close()
        self.check()

    def _commit(self) -> None:
        rows = [self._rows.popleft() for _ in range(len(self._rows))]
        if not rows:
            return
        try:
            self._journal.sync()
        except StoreError as failure:
            self._failure = failure
        if self._index is not None:
            self._index.add(self._folder, rows)
