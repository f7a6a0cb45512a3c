"""The append-only file of records. A line is there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from mullover.errors import OptionError, StoreError
from mullover.store.files import BINARY, failure, told

NAME = "problems.jsonl"


class Journal:
    """Written by one process at a time; each line leaves in one write, so a killed process loses none of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with told(path):
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | BINARY, 0o666)
            self.size = os.fstat(self._fd).st_size

    def append(self, line: bytes) -> int:
        """Where it begins. A line that does not fit is taken back, and the file stays as it was.

        Raises:
            StoreError: the disk is full or fails.
        """
        if not line.endswith(b"\n"):
            raise OptionError("a record is one line that ends with a newline; write what `encode` returned")
        start = self.size
        try:
            written = os.write(self._fd, line)
            while written < len(line):  # short writes come before the error that explains them
                written += os.write(self._fd, line[written:])
        except OSError as error:
            self.cut(start)
            raise failure(error, self.path) from error
        self.size = start + written
        return start

    def cut(self, size: int) -> None:
        with told(self.path):
            os.ftruncate(self._fd, size)
        self.size = size

    def sync(self) -> None:
        """Until it returns, a power cut may take the last lines; a killed process takes none."""
        with told(self.path):
            os.fsync(self._fd)

    def close(self) -> None:
        os.close(self._fd)


def lines(path: Path, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """(offset, line) of each whole line; what follows the last newline is left out.

    Raises:
        StoreError: the file cannot be read.
    """
    with told(path), open(path, "rb") as file:
        file.seek(start)
        for line in file:
            if not line.endswith(b"\n"):
                return
            yield start, line
            start += len(line)


def line_at(path: Path, offset: int, length: int) -> bytes:
    with told(path), open(path, "rb") as file:
        file.seek(offset)
        line = file.read(length)
    if len(line) != length:
        raise StoreError(f"{path} has no {length} bytes at {offset}")
    return line
