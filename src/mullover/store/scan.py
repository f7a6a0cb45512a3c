"""The records of a run, one after the other, without holding them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mullover.errors import StoreError
from mullover.store.done import Done
from mullover.store.journal import lines
from mullover.store.stored import parse

Row = tuple[int, int, Done]  # offset and length of a record in its file, bytes; what it says


def scan(path: Path, start: int = 0) -> Iterator[Row]:
    """Every whole record from byte `start` on, in the file's order; one problem may come more than once.

    A last line that was never finished is left out.

    Raises:
        StoreError: the file cannot be read, or a line before the last is no record.
    """
    broken: tuple[int, StoreError] | None = None
    for number, (offset, line) in enumerate(lines(path, start), 1):
        if broken is not None:
            where = f"line {broken[0]}" + (f" after byte {start}" if start else "")
            raise StoreError(
                f"{path} {where}: {broken[1]}; mend or delete that line, the others are whole"
            ) from broken[1]
        try:
            yield offset, len(line), summary(line)
        except StoreError as error:
            broken = number, error


def summary(line: bytes) -> Done:
    """What the tally needs of a record.

    Raises:
        StoreError: it is none.
    """
    record = parse(line)
    try:
        return Done.read(record)
    except (KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"the record of {record['id']} is damaged: {error!r}") from error
