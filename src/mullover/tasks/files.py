"""Lines of a text file, plain or gzipped, each bounded and checked. Every error names the file and the line."""

import gzip
import hashlib
import json
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from mullover.errors import OptionError

LONGEST = 8 << 20  # bytes of one line; a question with its solution is a few thousand
GZIP = b"\x1f\x8b"
BOM = b"\xef\xbb\xbf"


class Numeral(str):
    """A JSON number as the file writes it: no digit is lost, and 1e999 does no harm."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Line:
    number: int  # from 1
    text: str


class Lines:
    """The lines of a file that are not blank, and the sha256 of all its bytes once they have been read."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._hash = hashlib.sha256()

    def __iter__(self) -> Iterator[Line]:
        refuse_irregular(self.file)
        try:
            with opened(self.file) as stream:
                yield from self._checked(stream)
        except (OSError, EOFError, zlib.error) as error:
            raise OptionError(f"{self.file}: cannot be read: {error}") from error

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def _checked(self, stream: BufferedIOBase) -> Iterator[Line]:
        number = 0
        while raw := stream.readline(LONGEST + 1):
            number += 1
            if len(raw) > LONGEST:
                raise OptionError(f"{self.file}, line {number}: longer than {LONGEST >> 20} MiB; is this a JSONL file?")
            self._hash.update(raw)
            text = self._text(raw.removeprefix(BOM) if number == 1 else raw, number).strip()
            if text:
                yield Line(number, text)

    def _text(self, raw: bytes, number: int) -> str:
        if b"\0" in raw:
            raise OptionError(f"{self.file}, line {number}: holds a NUL byte; the file must be UTF-8 text")
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise OptionError(f"{self.file}, line {number}: is not UTF-8 ({error.reason}); save it as UTF-8") from error


def refuse_irregular(file: Path) -> None:
    """Only a regular file can be read twice, and ends.

    Raises:
        OptionError: it is a folder, a pipe or a device.
    """
    try:
        mode = file.stat().st_mode
    except (OSError, ValueError):  # there is none: whoever opens it says so
        return
    if stat.S_ISDIR(mode):
        raise OptionError(f"{file} is a folder; give the JSONL file in it")
    if not stat.S_ISREG(mode):
        what = "a pipe (FIFO)" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
        raise OptionError(f"{file} is {what}, not a regular file; write the problems to a file first")


def opened(file: Path) -> BufferedIOBase:
    """The file's bytes, unzipped where they begin like a gzip file, whatever its name."""
    with file.open("rb") as stream:
        zipped = stream.read(2) == GZIP
    return gzip.open(file, "rb") if zipped else file.open("rb")


def parsed(text: str, where: str) -> Any:
    """JSON with its numbers kept as they are written; NaN and Infinity are none.

    Raises:
        OptionError: it is no JSON, or holds a character that cannot be written as UTF-8.
    """
    try:
        value = json.loads(text, parse_int=Numeral, parse_float=Numeral, parse_constant=_refused)
    except json.JSONDecodeError as error:
        raise OptionError(f"{where}: broken JSON: {error.msg} at character {error.pos + 1}") from error
    except RecursionError as error:
        raise OptionError(f"{where}: broken JSON: nested too deeply") from error
    except ValueError as error:
        raise OptionError(f"{where}: broken JSON: {error}") from error
    if "\\u" in text and (bad := unwritable(value)):
        raise OptionError(f"{where}: holds {bad}; take it out")
    return value


def unwritable(value: Any) -> str:
    """What a JSON escape can smuggle into a text and no file or prompt can hold; empty if nothing."""
    found = json.dumps(value, ensure_ascii=False)
    if "\\u0000" in found:
        return "a NUL character"
    return "half of a surrogate pair" if any("\ud800" <= c <= "\udfff" for c in found) else ""


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")
