"""The index is a copy: whatever happens to it, the runs' own files say the same."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mullover.errors import StoreError
from mullover.store import Done, RunStore, home
from mullover.store.index import FILE, Index
from mullover.store.journal import NAME

Opened = Callable[..., RunStore]
Record = Callable[..., tuple[bytes, Done]]


@pytest.fixture
def folder(opened: Opened, record: Record) -> Path:
    """A run of three problems, one of which failed."""
    folder = home() / "runs" / "one"
    store = opened(folder)
    for line in (record(1), record(2), record(3, error="no connection")):
        store.append(*line)
    store.close({"seconds": 2.5})
    return folder


@pytest.fixture
def index() -> Iterator[Callable[[], Index]]:
    """Opens the index, and closes it at the end."""
    there: list[Index] = []

    def open_() -> Index:
        there.append(Index.of_reader())
        return there[-1]

    yield open_
    for each in there:
        each.close()


def told(index: Index) -> list[tuple[str, int, int, int, int]]:
    return [(Path(r.run.folder).name, r.problems, r.correct, r.failed, r.tokens) for r in index.runs()]


ONE = [("one", 3, 3, 1, 96)]


def test_a_run_that_was_closed_is_in_it(folder: Path, index: Callable[[], Index]) -> None:
    (run,) = index().runs()
    assert told(index()) == ONE
    assert (run.run.task, run.run.model, run.run.strategy, run.run.status) == ("sums", "fake", "vote", "finished")
    assert run.run.wall == 2.5


def test_a_problem_is_found_by_its_place_in_the_file(folder: Path, index: Callable[[], Index]) -> None:
    row = index().problem(folder, "p2")
    assert row is not None
    assert (folder / NAME).read_bytes()[row.offset :][: row.length].startswith(b'{"v":1,"id":"p2"')
    assert (row.answer, row.correct, row.tokens, row.error) == ("3", True, 32, "")
    assert index().problem(folder, "p9") is None


@pytest.mark.parametrize("harm", ["missing", "no database", "damaged", "another version"])
def test_it_is_made_again(folder: Path, index: Callable[[], Index], harm: str) -> None:
    path = home() / FILE
    if harm == "another version":
        db = sqlite3.connect(path)
        db.executescript("DROP TABLE problems; ALTER TABLE runs DROP COLUMN tokens; PRAGMA user_version = 99")
        db.close()
    else:
        for name in (f"{FILE}-wal", f"{FILE}-shm"):
            path.with_name(name).unlink(missing_ok=True)
        content = path.read_bytes()
        path.unlink()
        if harm == "no database":
            path.write_bytes(b"nonsense" * 1000)
        elif harm == "damaged":
            path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    again = index()
    again.refresh()
    assert told(again) == ONE
    assert [row.id for row in again.problems(folder)] == ["p1", "p2", "p3"]


def test_another_version_still_tells_where_runs_outside_the_home_are(
    tmp_path: Path, opened: Opened, record: Record, index: Callable[[], Index]
) -> None:
    with opened(tmp_path / "elsewhere") as store:
        store.append(*record(1))
    db = sqlite3.connect(home() / FILE)
    db.execute("PRAGMA user_version = 99")
    db.close()
    again = index()
    again.refresh()
    assert told(again) == [("elsewhere", 1, 1, 0, 32)]


def test_what_it_missed_is_read_when_somebody_looks(
    folder: Path, record: Record, opened: Opened, index: Callable[[], Index], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Index, "of_writer", lambda: None)
        with opened(folder) as store:
            store.append(*record(3))
            store.append(*record(4))
    behind = index()
    assert told(behind) == ONE
    behind.refresh()
    assert told(behind) == [("one", 4, 4, 0, 128)]


def test_a_run_begun_afresh_takes_the_place_of_the_old_one(
    folder: Path, record: Record, opened: Opened, index: Callable[[], Index], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Index, "of_writer", lambda: None)
        with opened(folder, fresh=True) as store:
            for i in range(10, 16):
                store.append(*record(i))
    look = index()
    look.refresh()
    assert told(look) == [("one", 6, 6, 0, 192)]
    assert [row.id for row in look.problems(folder)] == [f"p{i}" for i in range(10, 16)]


def test_a_run_that_was_deleted_is_forgotten(folder: Path, index: Callable[[], Index]) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    look = index()
    look.refresh()
    assert look.runs() == []


def test_it_is_written_while_the_run_goes_on(opened: Opened, record: Record, index: Callable[[], Index]) -> None:
    folder = home() / "runs" / "going"
    with opened(folder) as store:
        store.append(*record(1))
        look, deadline = index(), time.monotonic() + 10
        while not look.problems(folder) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert [row.id for row in look.problems(folder)] == ["p1"]


def test_a_damaged_run_hides_no_other(
    folder: Path, opened: Opened, record: Record, index: Callable[[], Index], capsys: pytest.CaptureFixture[str]
) -> None:
    other = home() / "runs" / "other"
    with opened(other) as store:
        store.append(*record(1))
    with open(other / NAME, "ab") as file:
        file.write(b"nonsense\n" + record(2)[0])
    look = index()
    look.refresh()
    assert ("one", 3, 3, 1, 96) in told(look)
    assert "line 1 after byte" in capsys.readouterr().err
    with pytest.raises(StoreError, match="no record"):
        look.refresh(other)


def test_a_home_that_cannot_be_written_is_one_warning_and_the_run_goes_on(
    tmp_path: Path, opened: Opened, record: Record, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MULLOVER_HOME", str(tmp_path / "file"))
    with opened(tmp_path / "run") as store:
        store.append(*record(1))
    err = capsys.readouterr().err
    assert err.startswith("mull: no index of runs at ")
    assert err.count("\n") == 1
    assert (tmp_path / "run" / NAME).read_bytes() == record(1)[0]


def test_an_index_that_fails_later_is_one_warning_and_the_run_goes_on(
    folder: Path, opened: Opened, record: Record, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(self: Index, *_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Index, "_add", full)
    with opened(folder) as store:
        store.append(*record(4))
        store.append(*record(5))
    assert capsys.readouterr().err == "mull: the index of runs is not kept up: database or disk is full\n"
