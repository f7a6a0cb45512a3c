"""All named tasks: each family's table under one roof."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from mullover.errors import OptionError
from mullover.tasks import bigbench, code_reading, contest, mistakes, problem_file, puzzles, school_math, symbolic
from mullover.tasks.entry import Entry
from mullover.tasks.files import refuse_irregular
from mullover.tasks.problem import Task
from mullover.tasks.school import FAMILIES, task
from mullover.types import Kind

ENTRIES: Mapping[str, Entry] = {
    **school_math.TASKS,
    **contest.TASKS,
    **bigbench.TASKS,
    **symbolic.TASKS,
    **puzzles.TASKS,
    **mistakes.TASKS,
    **code_reading.TASKS,
}

LATER = {
    "humaneval": "its answers are programs that must be run",
    "mbpp": "its answers are programs that must be run",
    "blocksworld": "its answers are plans that must be executed",
    "planbench": "its answers are plans that must be executed",
}


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One line of `mull tasks`."""

    name: str
    problems: int | None  # None where only loading would tell
    kind: Kind
    what: str
    licence: str
    available: bool  # its file is in the data folder, or `datasets` is installed and the hub has it


def names() -> list[str]:
    """All named tasks, in the order of their families."""
    return list(ENTRIES)


def describe(data: Path | None = None) -> list[TaskRow]:
    """What there is, without loading anything: the named tasks, then the generated ones. `data` as in `load`."""
    folder = data_folder(data)
    named = [TaskRow(name, e.problems, e.kind, e.what, e.licence, available(e, folder)) for name, e in ENTRIES.items()]
    ours = [TaskRow(f"school/{f.name}/GRADE", None, f.kind, f.what, "Apache-2.0", True) for f in FAMILIES.values()]
    return [*named, *ours]


def available(entry: Entry, data: Path | None) -> bool:
    return entry.found(data) is not None or (entry.hub is not None and entry.hub.reachable)


def load(name_or_file: str, *, data: Path | None = None, kind: Kind | None = None) -> Task:
    """A named task, or the problems of a JSONL file.

    Args:
        name_or_file: a name of `names()`, or `school/FAMILY/GRADE` for generated problems; anything else is the
            path of a problem file. A file whose path is also a task's name is meant by `./name`.
        data: the folder that holds the named sets. None: the environment's MULLOVER_DATA, if it is set.
        kind: what the answers of a problem file are. None: the file says so, or its gold answers do.

    Raises:
        OptionError: there is no such task or file, its data is not to be found, or a line of it is bad.
    """
    entry = ENTRIES.get(name_or_file)
    if entry is None and task.is_school(name_or_file) and not Path(name_or_file).exists():
        if kind is not None:
            raise OptionError(f"task {name_or_file} knows the kind of its answers; a kind is for problem files only")
        return task.load(name_or_file)
    if entry is None:
        return from_file(name_or_file, kind)
    if kind is not None and kind != entry.kind:
        raise OptionError(f"task {name_or_file} has answers of kind {entry.kind}; a kind is for problem files only")
    return entry.load(name_or_file, data_folder(data))


def from_file(path: str, kind: Kind | None) -> Task:
    file = Path(path).expanduser()
    if file.is_file():
        return problem_file.read(file, kind)
    refuse_irregular(file)
    if file.suffix in (".jsonl", ".json", ".gz", ".txt", ".csv"):
        raise OptionError(f"there is no file {path}; give the path of a problem file, or a name from `mull tasks`")
    if path in LATER:
        raise OptionError(f"{path} is not built in yet: {LATER[path]}; `mull tasks` lists what is")
    near = get_close_matches(path, ENTRIES, n=3, cutoff=0.5)
    meant = f" Did you mean {' or '.join(near)}?" if near else ""
    raise OptionError(f"no task and no file {path!r}.{meant} `mull tasks` lists all")


def data_folder(data: Path | None) -> Path | None:
    """Given, or from the environment; never a path this library knows by itself."""
    given = os.environ.get("MULLOVER_DATA", "")
    return data if data is not None else (Path(given).expanduser() if given else None)
