"""Reading JSON and JSON Lines that users give us: every complaint names the file and the line."""

import gzip
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

import orjson

from mullover.errors import OptionError

UNPACKED = 256 << 20  # bytes; a .gz is held in memory, since it cannot be read from the middle
BOM = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"


def is_packed(path: str | Path) -> bool:
    """By its first bytes, not by its name."""
    with opened(path) as file:
        return file.read(2) == _GZIP


def read_lines(path: str | Path) -> Iterator[tuple[int, int, bytes]]:
    """(line number from 1, byte offset, line without its end) of a plain or gzipped text file; blank lines are passed.

    Raises:
        OptionError: it cannot be read, is no whole gzip file, or unpacks to more than 256 MB.
    """
    packed = is_packed(path)
    offset = 0
    try:
        with opened(path) as plain:
            file = cast(BinaryIO, gzip.GzipFile(fileobj=plain)) if packed else plain
            for number, line in enumerate(iter(partial(file.readline, UNPACKED + 1), b""), 1):
                said = line.removeprefix(BOM) if number == 1 else line
                if said.strip():
                    yield number, offset, said.rstrip(b"\r\n")
                offset += len(line)
                if packed and offset > UNPACKED:
                    raise OptionError(f"{path} unpacks to more than {UNPACKED >> 20} MB; gunzip it first")
    except (OSError, EOFError, zlib.error) as error:
        raise OptionError(f"cannot read {path}: {error}") from None


def read_json(path: str | Path) -> Any:
    """The one JSON value of a plain or gzipped file.

    Raises:
        OptionError: as `read_lines`, or it is no JSON.
    """
    raw = b"\n".join(line for _, _, line in read_lines(path))
    return parsed(raw, f"{path}")


def parsed(raw: bytes, where: str) -> Any:
    """The JSON value of some bytes; `where` is what an error calls them."""
    if not raw.strip():
        raise OptionError(f"{where} is blank")
    if b"\0" in raw:
        raise OptionError(f"{where} has null bytes; it was damaged, perhaps by a crash while it was written")
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise OptionError(f"{where} is no JSON: {error}") from None


def items(path: str | Path) -> Iterator[tuple[str, Any]]:
    """(where it stands, value) of each line of a JSONL file, or of each element of a JSON list."""
    lines = read_lines(path)
    if next((line for _, _, line in lines if line.strip()), b"").lstrip().startswith(b"["):
        values = read_json(path)
        yield from ((f"{path}, item {i}", value) for i, value in enumerate(values, 1))
        return
    for number, _, line in read_lines(path):
        where = f"{path}, line {number}"
        yield where, parsed(line, where)


def opened(path: str | Path) -> BinaryIO:
    """A regular file, for reading bytes; raises OptionError."""
    if Path(path).exists() and not Path(path).is_file():
        raise OptionError(f"cannot read {path}: it is no regular file")
    try:
        return Path(path).open("rb")
    except FileNotFoundError:
        raise OptionError(f"there is no file {path}") from None
    except OSError as error:
        raise OptionError(f"cannot read {path}: {error.strerror or error}") from None
