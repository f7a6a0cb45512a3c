"""An index of all runs, for looking things up. Never the truth: it can be deleted at any time.

It is a copy of what the folders say, made again wherever it is missing, behind, damaged or of another
version. Where it cannot be written, one line says so and everything else works.
"""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

from mullover.errors import StoreError
from mullover.store import manifest as manifests
from mullover.store.journal import NAME, line_at
from mullover.store.scan import Row, scan
from mullover.store.sheets import sheet_of

VERSION = 2
FILE = "index.sqlite"
BATCH = 1000  # records in one transaction of a rebuild

_SCHEMA = """
CREATE TABLE runs (
    folder TEXT PRIMARY KEY, run TEXT, created TEXT, task TEXT, model TEXT, strategy TEXT, status TEXT, wall REAL,
    size INTEGER NOT NULL DEFAULT 0, problems INTEGER, judged INTEGER, correct INTEGER, failed INTEGER, tokens INTEGER,
    seconds REAL
);
CREATE TABLE problems (
    folder TEXT, id TEXT, offset INTEGER, length INTEGER, correct INTEGER, answer TEXT, tokens INTEGER, seconds REAL,
    error TEXT, PRIMARY KEY (folder, id)
) WITHOUT ROWID;
CREATE TABLE sheets (folder TEXT, id TEXT, offset INTEGER, sheet BLOB, PRIMARY KEY (folder, id));
"""
_TOTALS = """
UPDATE runs SET (problems, judged, correct, failed, tokens, seconds) = (
    SELECT count(*), count(correct), coalesce(sum(correct), 0), coalesce(sum(error <> ''), 0), coalesce(sum(tokens), 0),
        coalesce(sum(seconds), 0.0)
    FROM problems WHERE problems.folder = runs.folder
) WHERE folder = ?
"""


@dataclass(frozen=True, slots=True)
class RunRow:
    """What run.json says of a run, shortly."""

    folder: str
    run: str
    created: str
    task: str
    model: str
    strategy: str
    status: str
    wall: float | None  # seconds from start to end, where the result says so

    @staticmethod
    def of(folder: Path, content: Mapping[str, Any]) -> RunRow:
        parts, wall = content["identity"], (content.get("result") or {}).get("seconds")
        task, model, strategy = (_name(parts.get(name)) for name in ("task", "model", "strategy"))
        run, created, status = content.get("run", ""), content["info"].get("created", ""), content.get("status", "")
        wall = float(wall) if isinstance(wall, int | float) else None
        return RunRow(str(folder), str(run), str(created), task, model, strategy, str(status), wall)


@dataclass(frozen=True, slots=True)
class Listed:
    """A run and its totals."""

    run: RunRow
    problems: int
    judged: int  # those whose answer could be judged right or wrong
    correct: int
    failed: int  # asked again by the same command
    tokens: int
    seconds: float  # of all problems together; they may overlap


@dataclass(frozen=True, slots=True)
class Problem:
    id: str
    offset: int  # bytes, in problems.jsonl
    length: int
    correct: bool | None
    answer: str | None
    tokens: int
    seconds: float
    error: str


_RUN = tuple([field.name for field in fields(RunRow)])
_SUMS = tuple([field.name for field in fields(Listed) if field.name != "run"])
_UPSERT = (
    f"INSERT INTO runs ({', '.join(_RUN)}) VALUES ({', '.join('?' * len(_RUN))}) ON CONFLICT (folder) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _RUN[1:])
)


class Index:
    """One connection, used by one thread at a time."""

    def __init__(self, path: Path | None, check: bool = False) -> None:
        """At `path`, or in memory.

        Raises:
            OSError: its folder cannot be made.
            sqlite3.Error: it cannot be opened or, where that is checked, is damaged.
        """
        self.path = path
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path or ":memory:", timeout=5, isolation_level=None, check_same_thread=False)
        self._broken = False
        try:
            self._prepare(check)
        except sqlite3.Error:
            self._db.close()
            raise

    @classmethod
    def of_writer(cls, check: bool = False) -> Index | None:
        """The one in the home folder, made anew if it is damaged; None, and a word on stderr, where it cannot be."""
        path = manifests.home() / FILE
        try:
            try:
                return cls(path, check)
            except sqlite3.OperationalError:  # not to be written, or locked: nothing that a new one would mend
                raise
            except sqlite3.DatabaseError:
                for name in (FILE, f"{FILE}-wal", f"{FILE}-shm"):
                    path.with_name(name).unlink(missing_ok=True)
                return cls(path)
        except (sqlite3.Error, OSError) as error:
            warn(f"no index of runs at {path}: {error}")
            return None

    @classmethod
    def of_reader(cls) -> Index:
        """The one in the home folder, or one in memory where that cannot be; `refresh` fills it."""
        return cls.of_writer(check=True) or cls(None)

    def close(self) -> None:
        self._db.close()

    def begin(self, folder: Path) -> None:
        """A run begins or goes on there; what the index lacks of it is read."""
        self._attempt(lambda: self._update(folder))

    def add(self, folder: Path, rows: Sequence[Row]) -> None:
        """Records that were appended; their totals wait for the end."""

        def work() -> None:
            with self._transaction():
                self._add(folder, rows)

        self._attempt(work)

    def end(self, folder: Path, run: RunRow) -> None:
        def work() -> None:
            with self._transaction():
                self._db.execute(_UPSERT, astuple(run))
                self._db.execute(_TOTALS, [str(folder)])

        self._attempt(work)

    def refresh(self, folder: Path | None = None) -> None:
        """Make good what is missing or behind: of one run, or of all known ones and those in the home folder.

        Raises:
            StoreError: the index fails; or, where one run was named, that run is damaged.
        """
        for each in [folder] if folder else self.folders():
            try:
                self._update(each)
            except sqlite3.Error as error:
                raise StoreError(f"the index {self.path} fails: {error}; delete it, it will be made again") from error
            except StoreError as error:
                if folder is not None:
                    raise
                warn(str(error))  # one damaged run hides no other

    def folders(self) -> list[Path]:
        """Those it knows, and all in the home folder."""
        return sorted({*map(Path, self._known()), *(manifests.home() / "runs").absolute().glob("*/")})

    def runs(self) -> list[Listed]:
        """All, the latest first."""
        columns = ", ".join([*_RUN, *_SUMS])
        rows = self._db.execute(
            f"SELECT {columns} FROM runs WHERE problems IS NOT NULL ORDER BY created DESC, folder DESC"
        ).fetchall()
        return [Listed(RunRow(*row[: len(_RUN)]), *row[len(_RUN) :]) for row in rows]

    def problems(self, folder: Path, limit: int = -1) -> list[Problem]:
        """Of one run, in the file's order; all with a negative limit."""
        names = [field.name for field in fields(Problem)]
        query = f"SELECT {', '.join(names)} FROM problems WHERE folder = ? ORDER BY offset LIMIT ?"
        return [_problem(row) for row in self._db.execute(query, [str(folder), limit])]

    def problem(self, folder: Path, problem_id: str) -> Problem | None:
        names = [field.name for field in fields(Problem)]
        query = f"SELECT {', '.join(names)} FROM problems WHERE folder = ? AND id = ?"
        row = self._db.execute(query, [str(folder), problem_id]).fetchone()
        return None if row is None else _problem(row)

    def sheets(
        self, folder: Path, tell: Callable[[int, int], object] = lambda done, many: None
    ) -> Iterator[tuple[str, bytes]]:
        """(id, sheet) of each problem of a run, in the file's order; those the index lacks are made and kept.

        Args:
            tell: hears how many of those that were lacking are made.

        Raises:
            StoreError: a record is damaged, or the file is another one than the index knows.
        """
        name = str(folder)
        lacking = self._db.execute(
            "SELECT id, offset, length FROM problems AS p WHERE folder = ? AND NOT EXISTS (SELECT 1 FROM sheets AS s "
            "WHERE s.folder = p.folder AND s.id = p.id AND s.offset = p.offset) ORDER BY offset",
            [name],
        ).fetchall()
        for start in range(0, len(lacking), BATCH):
            part = lacking[start : start + BATCH]
            made = [(name, id_, at, sheet_of(line_at(folder / NAME, at, length))) for id_, at, length in part]
            with self._transaction():
                self._db.executemany("INSERT OR REPLACE INTO sheets VALUES (?, ?, ?, ?)", made)
            tell(start + len(part), len(lacking))
        yield from self._db.execute(
            "SELECT s.id, s.sheet FROM sheets AS s JOIN problems AS p USING (folder, id) WHERE s.folder = ? "
            "AND s.offset = p.offset ORDER BY p.offset",
            [name],
        )

    def _prepare(self, check: bool) -> None:
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        if check and (found := self._db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(found)
        with self._transaction():  # even to look: one that cannot be written is no use
            if self._db.execute("PRAGMA user_version").fetchone()[0] == VERSION:
                return
            known = self._known()  # folders outside the home could not be found again
            for (name,) in self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                self._db.execute(f'DROP TABLE "{name}"')
            for statement in filter(str.strip, _SCHEMA.split(";")):
                self._db.execute(statement)
            self._db.executemany("INSERT INTO runs (folder) VALUES (?)", [(folder,) for folder in known])
            self._db.execute(f"PRAGMA user_version={VERSION}")

    def _known(self) -> list[str]:
        try:
            return [folder for (folder,) in self._db.execute("SELECT folder FROM runs")]
        except sqlite3.OperationalError:  # a new file, or one of a version that had no such column
            return []

    def _update(self, folder: Path) -> None:
        content = manifests.load(folder)
        with self._transaction():
            if content is None:
                self._forget(folder)
                return
            row = self._db.execute("SELECT run, size, problems FROM runs WHERE folder = ?", [str(folder)]).fetchone()
            run, start, counted = row or (None, 0, None)
            new, path = RunRow.of(folder, content), folder / NAME
            size = path.stat().st_size if path.exists() else 0
            if run != new.run or size < start:
                self._forget(folder)
                start, counted = 0, None
            self._db.execute(_UPSERT, astuple(new))
            rows = scan(path, start) if size > start else iter(())
            while batch := list(islice(rows, BATCH)):
                self._add(folder, batch)
                counted = None
            if counted is None:
                self._db.execute(_TOTALS, [str(folder)])

    def _add(self, folder: Path, rows: Sequence[Row]) -> None:
        name = str(folder)
        self._db.executemany(
            "INSERT OR REPLACE INTO problems VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (name, d.id, offset, length, d.correct, d.answer, d.tokens, d.seconds, d.error)
                for offset, length, d in rows
            ],
        )
        end = rows[-1][0] + rows[-1][1]
        self._db.execute("UPDATE runs SET size = ?, problems = NULL WHERE folder = ?", [end, name])

    def _forget(self, folder: Path) -> None:
        for table in ("sheets", "problems", "runs"):
            self._db.execute(f"DELETE FROM {table} WHERE folder = ?", [str(folder)])

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # an error of the disk has rolled it back already
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _attempt(self, work: Callable[[], object]) -> None:
        """A failure harms nobody: the index stays behind, and is made good when it is read."""
        if self._broken:
            return
        try:
            work()
        except (sqlite3.Error, OSError) as error:
            self._broken = True
            warn(f"the index of runs is not kept up: {error}")


def _problem(row: Sequence[Any]) -> Problem:
    problem_id, offset, length, correct, *rest = row
    return Problem(problem_id, offset, length, None if correct is None else bool(correct), *rest)


def _name(value: Any) -> str:
    """A spec string, or the name in a table."""
    return str(value.get("name", "")) if isinstance(value, Mapping) else "" if value is None else str(value)


def warn(text: str) -> None:
    print(f"mull: {text}", file=sys.stderr)
