"""The folder of one run: run.json says what it is, problems.jsonl holds what it found.

    with RunStore.open(folder, manifest) as store:
        ... if problem.id not in store.done:
            store.append(encode(...), Done.of(...))
        store.close({"status": "finished", ...})

The same command opens the same folder and goes on. The index is a copy for looking things up; see `index.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

from mullover.errors import OptionError, StoreError
from mullover.store import manifest as manifests
from mullover.store.committer import Committer
from mullover.store.done import Done
from mullover.store.files import sync_folder, told
from mullover.store.index import Index, RunRow
from mullover.store.journal import NAME, Journal, line_at
from mullover.store.lock import NAME as LOCK
from mullover.store.lock import Lock
from mullover.store.scan import scan, summary


class RunStore:
    """Made by `open`. Used by one thread; what takes time happens in another."""

    def __init__(self, folder: Path, lock: Lock, content: dict[str, Any], before: str, journal: Journal) -> None:
        self.folder = folder
        self._lock, self._content, self._journal = lock, content, journal
        self._done: dict[str, Done] = {}
        # What was finished before this sitting; those that failed are not among it. It does not grow with
        # `append`, so that a run's memory does not either.
        self.done: Mapping[str, Done] = MappingProxyType(self._done)
        self._before = before
        self._appended = self._closed = False
        self._scan()
        self._committer = Committer(journal, Index.of_writer(), folder)
        self._committer.start()

    @classmethod
    def open(cls, folder: Path, manifest: Mapping[str, Any], *, fresh: bool = False) -> Self:
        """Begin a run in an empty folder, or go on with the one that is there.

        Args:
            folder: made if it is not there.
            manifest: `identity` holds all that decides the results; the rest is good to know. See `manifest.py`.
            fresh: begin again. What was there before is kept as problems-1.jsonl and so on.

        Raises:
            OptionError: another run lives there, or files that are no run.
            StoreError: it cannot be written, is being written by another process, or is damaged.
        """
        folder = folder.absolute()
        with told(folder):
            folder.mkdir(parents=True, exist_ok=True)
            strangers = {path.name for path in folder.iterdir() if not path.name.endswith(".tmp")} - {LOCK}
        if strangers and manifests.NAME not in strangers:
            raise OptionError(f"{folder} holds {min(strangers)} but no run; choose another --out or an empty folder")
        with ExitStack() as opened, told(folder):
            lock = Lock(folder)
            opened.callback(lock.close)
            for part in folder.glob(f"{manifests.NAME}.*.tmp"):  # of a process that was killed
                part.unlink(missing_ok=True)
            stored = manifests.load(folder)
            if stored is None or fresh:
                content, before = manifests.new(manifest), "stopped"
                _set_aside(folder)
            else:
                content, before = manifests.resumed(stored, manifest, folder), str(stored.get("status"))
            manifests.save(folder, content)
            journal = Journal(folder / NAME)
            opened.callback(journal.close)
            sync_folder(folder)
            store = cls(folder, lock, content, before, journal)
            opened.pop_all()
        return store

    def append(self, line: bytes, done: Done) -> None:
        """Keep a finished problem: it survives this process from now on, and a power cut within a second.

        Raises:
            StoreError: the disk is full or fails. The file stays whole, and what it held is kept.
        """
        self._committer.check()
        offset = self._journal.append(line)
        self._appended = True
        self._committer.add((offset, len(line), done))

    def close(self, result: Mapping[str, Any] | None = None) -> None:
        """End this sitting; `result` (plain JSON values, `status` among them) is kept in run.json.

        Without a result the run counts as stopped, or as what it was if nothing was appended. A second
        call does nothing.

        Raises:
            StoreError: something could not be written; the records that could are kept.
        """
        if self._closed:
            return
        self._closed = True
        if result is not None:
            parts = dict(result)
            self._content |= {"status": parts.pop("status", "finished"), "result": parts}
        else:
            self._content["status"] = "stopped" if self._appended else self._before
        try:
            self._committer.close(RunRow.of(self.folder, self._content))
            manifests.save(self.folder, self._content)
        finally:
            self._journal.close()
            self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _note(self, done: Done) -> None:
        """The last record of a problem counts; one that failed is asked again."""
        if done.error:
            self._done.pop(done.id, None)
        else:
            self._done[done.id] = done

    def _scan(self) -> None:
        """Read what is there, and see to a last line that was never finished."""
        path, end = self._journal.path, 0
        for offset, length, done in scan(path):
            self._note(done)
            end = offset + length
        if end == self._journal.size:
            return
        tail = line_at(path, end, self._journal.size - end)
        try:
            done = summary(tail)
        except StoreError:
            self._journal.cut(end)
        else:  # only its newline is missing
            self._journal.append(b"\n")
            self._note(done)


def _set_aside(folder: Path) -> None:
    """Nothing is ever deleted: the old records stay under another name."""
    old = folder / NAME
    number = 1
    while (kept := old.with_stem(f"{old.stem}-{number}")).exists():
        number += 1
    if old.exists():
        with told(old):
            old.rename(kept)
