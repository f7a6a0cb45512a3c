"""From what a user types to a run's folder, and from a problem's id to its record."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from difflib import get_close_matches
from pathlib import Path

from mullover.errors import OptionError, StoreError
from mullover.store import manifest as manifests
from mullover.store.canonical import canonical
from mullover.store.files import told
from mullover.store.index import Index
from mullover.store.journal import NAME, line_at, lines
from mullover.store.scan import scan
from mullover.store.stored import parse


def find_run(name: str, index: Index) -> Path:
    """A folder, the name of one that is known, a unique beginning of such a name, or `last`.

    Raises:
        OptionError: no such run, or several.
    """
    folder = Path(name).expanduser().absolute()
    if (folder / manifests.NAME).is_file():
        return folder
    if name == "last":
        index.refresh()
        if runs := index.runs():
            return Path(runs[0].run.folder)
        raise OptionError(f"there is no run yet below {manifests.home() / 'runs'}; `mull eval` makes one")
    known = {path.name: path for path in index.folders() if (path / manifests.NAME).is_file()}
    found = [name] if name in known else sorted(each for each in known if name and each.startswith(name))
    if len(found) == 1:
        return known[found[0]]
    if found:
        raise OptionError(f"{name!r} begins {len(found)} runs: {', '.join(found[:3])}...; type more of it")
    near = get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else "`mull runs ls` lists them"
    raise OptionError(f"no run {name!r}; {hint}")


def find_runs(*names: str) -> list[Path]:
    """`find_run` of each, for who needs no index beside that."""
    with closing(Index.of_reader()) as index:
        return [find_run(name, index) for name in names]


def record_of(folder: Path, problem: str, index: Index) -> bytes:
    """The last record of a problem, by its id or a unique beginning of it; the index must be fresh.

    Raises:
        OptionError: no such problem, or several.
        StoreError: the record cannot be read.
    """
    row = index.problem(folder, problem)
    if row is None:
        found = [each for each in index.problems(folder) if each.id.startswith(problem)]
        if len(found) != 1:
            some = ", ".join(each.id for each in (found or index.problems(folder, 3))[:3])
            kind = f"{problem!r} begins {len(found)} problems" if found else f"no problem {problem!r}"
            raise OptionError(f"{folder.name}: {kind}; there are {some or 'none'}...")
        row = found[0]
    line = line_at(folder / NAME, row.offset, row.length)
    if parse(line)["id"] != row.id:
        raise StoreError(f"{folder / NAME} was changed by hand; delete {index.path} and try again")
    return line


def exported(folder: Path, canonically: bool) -> Iterator[bytes]:
    """Lines: all records in the file's order; or canonical ones, the last of each problem, by id."""
    path = folder / NAME
    if not canonically:
        yield from (line for _, line in lines(path))
        return
    last = {done.id: (offset, length) for offset, length, done in scan(path)}
    with told(path), open(path, "rb") as file:
        for problem in sorted(last):
            file.seek(last[problem][0])
            yield canonical(file.read(last[problem][1]))
