"""A named task as one entry of a table: where its rows lie, and how a row becomes a problem."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from mullover.errors import OptionError
from mullover.tasks.files import Lines, parsed
from mullover.tasks.hub import Hub, rows_of
from mullover.tasks.problem import Grader, Problem, Task, by_answer
from mullover.types import Kind

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """One named task."""

    what: str  # in a few words, for `mull tasks`
    kind: Kind
    problems: int
    licence: str
    file: str  # below the data folder; it may also lie there gzipped, with .gz behind its name
    problem: Callable[[Row, int], Problem]  # a row and its place in the file, from 0
    rows: Callable[[Path], tuple[Sequence[Row], str]]  # of a file, with the sha256 of its bytes
    grader: Grader = by_answer
    part: tuple[int, int | None] = (0, None)  # from which row of the file to which one before
    hub: Hub | None = None

    def found(self, data: Path | None) -> Path | None:
        """The task's file, or None where the data folder lacks it or there is none."""
        places = [] if data is None else [data / self.file, data / f"{self.file}.gz"]
        return next((place for place in places if place.is_file()), None)

    def load(self, name: str, data: Path | None) -> Task:
        """From the data folder, else from the hub.

        Raises:
            OptionError: it is in neither, or a row is not as it should be.
        """
        file = self.found(data)
        if file is not None:
            rows, sha256 = self.rows(file)
            return self.task(name, rows, str(file), sha256)
        if self.hub is None or not self.hub.reachable:
            raise OptionError(self.missing(name, data))
        rows, sha256 = rows_of(self.hub)
        return self.task(name, rows, f"hf:{self.hub.path}", sha256)

    def task(self, name: str, rows: Sequence[Row], source: str, sha256: str) -> Task:
        try:
            problems = tuple(self.problem(row, i) for i, row in islice(enumerate(rows), *self.part))
        except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
            raise OptionError(
                f"{source}: is not the file that task {name} knows ({error!r}); fetch it again"
            ) from error
        return Task(name, problems, self.grader, source, sha256)

    def missing(self, name: str, data: Path | None) -> str:
        where = "no data folder is given" if data is None else f"{data} has neither"
        hint = "" if self.hub is None else f", or install `datasets` to load {self.hub.path} from the Hugging Face hub"
        return (
            f"task {name} needs {self.file} or {self.file}.gz, and {where}; "
            f"set MULLOVER_DATA or --data to the folder that has it{hint}"
        )


def jsonl(file: Path) -> tuple[Sequence[Row], str]:
    """One JSON object a line; numbers as they are written."""
    lines = Lines(file)
    rows = [parsed(line.text, f"{file}, line {line.number}") for line in lines]
    return rows, lines.sha256


def whole(file: Path) -> tuple[Any, str]:
    """One JSON value, on however many lines; numbers as they are written."""
    lines = Lines(file)
    text = "\n".join(line.text for line in lines)
    return parsed(text, str(file)), lines.sha256


def array(file: Path) -> tuple[Sequence[Row], str]:
    """One JSON array of rows."""
    return whole(file)


def examples(file: Path) -> tuple[Sequence[Row], str]:
    """The `examples` of one JSON object; the rest of it, such as a canary string, is dropped."""
    value, sha256 = whole(file)
    if not isinstance(value, dict) or "examples" not in value:
        raise OptionError(f"{file}: has no examples; fetch it again")
    return value["examples"], sha256


def table(file: Path) -> tuple[Sequence[Row], str]:
    """A CSV table with a head."""
    lines = Lines(file)
    return list(csv.DictReader([line.text for line in lines])), lines.sha256


def tidy(number: str | float | int) -> str:
    """A gold number without the empty decimals a loader gave it: 27.0 is 27."""
    text = str(number)
    return text.removesuffix(".0")
