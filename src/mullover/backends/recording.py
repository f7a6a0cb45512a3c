"""A file of recorded samples, by problem: what is held in memory is where each line begins."""

from array import array
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, BinaryIO, get_args

import orjson

from mullover.backends.converters import converter
from mullover.backends.lines import BOM, is_packed, opened, parsed, read_lines
from mullover.backends.record import Record
from mullover.errors import CapabilityError, OptionError
from mullover.types import Role

AT_ONCE = 16  # samples read from disk together
ROLES: frozenset[Role] = frozenset({"solve", "step", "rollout"})  # what a sample without a role may stand for


class Recording:
    """Every line is read and checked once, when it is opened; then only those that are asked for.

    A plain file stays on disk: 8 bytes are held a line, plus ids and questions. A gzipped or
    converted one cannot be read from the middle, so its lines are held in memory.
    """

    def __init__(self, path: str | Path, name: str = "") -> None:
        """`name` is that of a converter, for a file that is no JSONL of samples.

        Raises:
            OptionError: the file cannot be read, holds no sample, or has a line that is none.
        """
        self.path = path
        self.counted = True  # does every sample that succeeded know its tokens?
        self.questions: dict[str, str] = {}  # from the text of a question to the problem's id
        self.roles: set[str] = set()
        self._places: dict[str, array[int]] = {}  # of each problem's samples: a byte offset, or a place in _held
        self._held: list[bytes] | None = [] if name or is_packed(path) else None
        for where, place, line in self._converted(name) if name else self._read():
            self._index(where, place, line)
        if not self._places:
            raise OptionError(f"{path} holds no recorded sample")

    @property
    def problems(self) -> int:
        return len(self._places)

    def count(self, problem: str) -> int:
        """How many samples of a problem there are; 0 if it was not recorded."""
        return len(self._places.get(problem, ()))

    def near(self, problem: str) -> str:
        """A few ids there are, the like of `problem` first, for an error's message."""
        some = get_close_matches(problem, self._places, 3) or [*self._places][:3]
        return ", ".join(map(repr, some))

    def records(self, problem: str, first: int, n: int) -> Iterator[Record]:
        """Samples `first` to `first + n - 1` of a problem, in file order, each read when it is asked for.

        Raises:
            CapabilityError: the problem or so many samples of it were not recorded.
            OptionError: the file has changed since it was opened.
        """
        there = self.count(problem)
        if not there:
            raise CapabilityError(
                f"{self.path} has no recorded sample of problem {problem!r}; "
                f"it has {self.problems} problems, such as {self.near(problem)}"
            )
        if first + n > there:
            before = f", after {first} before" if first else ""
            raise CapabilityError(
                f"{self.path} has {there} recorded samples of problem {problem!r}, and {n} were asked for{before}; "
                f"lower --n to {there} or less, or record more"
            )
        places = self._places[problem][first : first + n]
        return (Record.of(orjson.loads(line), f"{self.path}") for line in self._lines(problem, places))

    def _lines(self, problem: str, places: "array[int]") -> Iterator[bytes]:
        if self._held is not None:
            yield from (self._held[place] for place in places)
            return
        for at in range(0, len(places), AT_ONCE):
            with opened(self.path) as file:  # not held open, since who reads the samples may take hours
                lines = [_line_at(file, place) for place in places[at : at + AT_ONCE]]
            for line in lines:
                if _id(_object(line, f"{self.path}")) != problem:
                    raise OptionError(f"{self.path} has changed since it was opened; open it again")
                yield line

    def _read(self) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
        for number, offset, raw in read_lines(self.path):
            where = f"{self.path}, line {number}"
            if number == 1 and raw.lstrip().startswith(b"["):
                raise OptionError(
                    f"{where} begins a JSON list; a recording has one object a line, or names a converter"
                )
            line = _object(raw, where)
            yield where, offset if self._held is None else self._hold(raw), line

    def _converted(self, name: str) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
        for where, line in converter(name)(self.path):
            yield where, self._hold(orjson.dumps(line)), line

    def _hold(self, raw: bytes) -> int:
        assert self._held is not None
        self._held.append(raw)
        return len(self._held) - 1

    def _index(self, where: str, place: int, line: Mapping[str, Any]) -> None:
        problem = _id(line)
        if problem is None:
            raise OptionError(f"{where} has no id; it must be the problem's, a string or a whole number")
        record = Record.of(line, where)
        self.counted = self.counted and (record.completion_tokens is not None or bool(record.error))
        self.roles.update((line["role"],) if line.get("role") in get_args(Role) else ROLES)
        if problem not in self._places:
            self._places[problem] = array("Q")
            question = line.get("question", line.get("problem"))
            if isinstance(question, str) and question:
                self.questions.setdefault(question, problem)
        self._places[problem].append(place)


def _line_at(file: BinaryIO, place: int) -> bytes:
    file.seek(place)
    return file.readline().removeprefix(BOM)


def _object(raw: bytes, where: str) -> Mapping[str, Any]:
    line = parsed(raw, where)
    if not isinstance(line, dict):
        raise OptionError(f"{where} is no JSON object")
    return line


def _id(line: Mapping[str, Any]) -> str | None:
    """Whole numbers are ids too."""
    value = line.get("id")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value else None
