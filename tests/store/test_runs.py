"""A run's folder survives what happens to folders."""

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mullover.errors import OptionError, StoreError
from mullover.store import Done, RunStore, decode, default_folder, home, new_folder_for_ask
from mullover.store.journal import NAME

Opened = Callable[..., RunStore]
Record = Callable[..., tuple[bytes, Done]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "one"


def ids(folder: Path) -> list[str]:
    return [json.loads(line)["id"] for line in (folder / NAME).read_bytes().splitlines()]


def told(folder: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads((folder / "run.json").read_bytes())
    return content


def fill(store: RunStore, record: Record, kept: list[str]) -> None:
    for i in range(1000):
        store.append(*record(i))
        kept.append(f"p{i}")


class TestResuming:
    def test_what_was_appended_is_done_when_the_folder_is_opened_again(
        self, folder: Path, opened: Opened, record: Record
    ) -> None:
        with opened(folder) as store:
            store.append(*record(1))
            store.append(*record(2))
        with opened(folder) as store:
            assert store.done == {"p1": record(1)[1], "p2": record(2)[1]}
            store.append(*record(3))
        assert ids(folder) == ["p1", "p2", "p3"]
        assert [decode(line).answer.value for line in (folder / NAME).read_bytes().splitlines()] == ["2", "3", "4"]

    def test_a_problem_that_failed_is_not_done(self, folder: Path, opened: Opened, record: Record) -> None:
        with opened(folder) as store:
            store.append(*record(1, error="no connection"))
        with opened(folder) as store:
            assert not store.done
            store.append(*record(1))
        with opened(folder) as store:
            assert list(store.done) == ["p1"]

    def test_the_last_record_of_a_problem_counts(self, folder: Path, opened: Opened, record: Record) -> None:
        with opened(folder) as store:
            store.append(*record(1, seconds=1.0))
            store.append(*record(1, seconds=2.0))
        with opened(folder) as store:
            assert store.done["p1"].seconds == 2.0

    @pytest.mark.parametrize("tail", [b'{"v":1,"id":"p', b"\x00" * 50, b'{"v":1,"id":"p\n', b"\x00" * 50 + b"\n"])
    def test_a_last_line_that_was_never_finished_is_cut_off(
        self, folder: Path, opened: Opened, record: Record, tail: bytes
    ) -> None:
        with opened(folder) as store:
            store.append(*record(1))
        with open(folder / NAME, "ab") as file:
            file.write(tail)
        with opened(folder) as store:
            assert list(store.done) == ["p1"]
            store.append(*record(2))
        assert ids(folder) == ["p1", "p2"]

    def test_a_last_record_that_lacks_only_its_newline_is_kept(
        self, folder: Path, opened: Opened, record: Record
    ) -> None:
        with opened(folder) as store:
            store.append(*record(1))
        (folder / NAME).write_bytes((folder / NAME).read_bytes()[:-1])
        with opened(folder) as store:
            assert list(store.done) == ["p1"]
            store.append(*record(2))
        assert ids(folder) == ["p1", "p2"]

    @pytest.mark.parametrize("broken", [b"nonsense", b'{"v":1}', b'{"v":1,"id":"p9","usage":3}', b'{"v":9,"id":"p9"}'])
    def test_a_broken_line_in_the_middle_is_named_and_nothing_is_touched(
        self, folder: Path, opened: Opened, record: Record, broken: bytes
    ) -> None:
        with opened(folder) as store:
            store.append(*record(1))
        with open(folder / NAME, "ab") as file:
            file.write(broken + b"\n" + record(2)[0])
        before = (folder / NAME).read_bytes()
        with pytest.raises(StoreError, match=r"problems\.jsonl line 2"):
            opened(folder)
        assert (folder / NAME).read_bytes() == before

    def test_the_limit_may_grow(self, folder: Path, opened: Opened, record: Record) -> None:
        with opened(folder, limit=1) as store:
            store.append(*record(1))
        with opened(folder, limit=5) as store:
            assert list(store.done) == ["p1"]
        assert told(folder)["info"]["limit"] == 5  # type: ignore[index]

    def test_another_seed_is_another_run(self, folder: Path, opened: Opened) -> None:
        opened(folder).close()
        with pytest.raises(OptionError, match=r"seed is 0 there and 1 here.*--out"):
            opened(folder, seed=1)
        with pytest.raises(OptionError, match=r"options\.n is \"3\" there and null here"):
            opened(folder, options={})

    def test_a_number_is_the_same_number_however_it_is_written(self, folder: Path, opened: Opened) -> None:
        opened(folder, sampling={"temperature": 1}).close()
        opened(folder, sampling={"temperature": 1.0}).close()

    def test_beginning_afresh_keeps_what_was_there(self, folder: Path, opened: Opened, record: Record) -> None:
        for expected in ([], ["problems-1.jsonl"], ["problems-1.jsonl", "problems-2.jsonl"]):
            with opened(folder, fresh=True) as store:
                assert not store.done
                store.append(*record(1))
            assert sorted(path.name for path in folder.glob("problems-*")) == expected


class TestTheFolder:
    def test_one_with_other_files_is_refused(self, folder: Path, opened: Opened) -> None:
        folder.mkdir(parents=True)
        (folder / "thesis.tex").write_text("mine")
        with pytest.raises(OptionError, match=r"thesis\.tex"):
            opened(folder)
        assert [path.name for path in folder.iterdir()] == ["thesis.tex"]

    def test_a_second_writer_is_refused_and_told_who_is_first(self, folder: Path, opened: Opened) -> None:
        with opened(folder), pytest.raises(StoreError, match=f"another process \\({os.getpid()}\\)"):
            opened(folder)
        opened(folder).close()

    def test_a_refusal_leaves_the_folder_free(self, folder: Path, opened: Opened) -> None:
        opened(folder).close()
        for _ in range(2):
            with pytest.raises(OptionError):
                opened(folder, seed=1)
        opened(folder).close()

    def test_the_same_manifest_finds_its_folder_again(self) -> None:
        manifest = {"identity": {"task": "a/b.jsonl", "model": "http://h:1/v1#Qwen 3", "strategy": "vote", "n": 1}}
        found = default_folder(manifest)
        assert found.parent == home() / "runs"
        assert found.name.startswith("b.jsonl-Qwen_3-vote-")
        assert found == default_folder({**manifest, "limit": 7, "command": ["eval"]})
        assert found != default_folder({"identity": {**manifest["identity"], "n": 2}})

    def test_a_name_cannot_leave_the_home(self) -> None:
        found = default_folder(
            {"identity": {"task": "../..", "model": "/etc/passwd\n\x1b", "strategy": {"name": ".."}}}
        )
        assert found.parent == home() / "runs"
        assert "\n" not in found.name

    def test_each_question_has_a_folder_of_its_own(self) -> None:
        assert len({new_folder_for_ask() for _ in range(20)}) > 15

    def test_what_a_killed_process_left_half_written_is_cleared_away(self, folder: Path, opened: Opened) -> None:
        folder.mkdir(parents=True)
        (folder / "run.json.123.tmp").write_text("{")
        opened(folder).close()
        assert sorted(path.name for path in folder.iterdir()) == ["lock", "problems.jsonl", "run.json"]

    def test_a_damaged_manifest_is_named(self, folder: Path, opened: Opened) -> None:
        opened(folder).close()
        (folder / "run.json").write_text("{")
        with pytest.raises(StoreError, match=r"run\.json is damaged"):
            opened(folder)

    def test_a_manifest_without_identity_is_refused(self, folder: Path) -> None:
        with pytest.raises(OptionError, match="identity"):
            RunStore.open(folder, {"task": "a"})


class TestClosing:
    def test_the_result_is_kept(self, folder: Path, opened: Opened) -> None:
        opened(folder).close({"status": "finished", "accuracy": 0.5})
        assert (told(folder)["status"], told(folder)["result"]) == ("finished", {"accuracy": 0.5})

    def test_without_a_result_a_run_is_stopped(self, folder: Path, opened: Opened, record: Record) -> None:
        with opened(folder) as store:
            assert told(folder)["status"] == "running"
            store.append(*record(1))
        assert told(folder)["status"] == "stopped"

    def test_looking_in_takes_no_result_away(self, folder: Path, opened: Opened) -> None:
        opened(folder).close({"accuracy": 0.5})
        opened(folder).close()
        assert (told(folder)["status"], told(folder)["result"]) == ("finished", {"accuracy": 0.5})

    def test_twice_is_once(self, folder: Path, opened: Opened) -> None:
        store = opened(folder)
        store.close({"accuracy": 0.5})
        store.close()
        assert told(folder)["result"] == {"accuracy": 0.5}


class TestTrouble:
    @pytest.fixture
    def small_disk(self, tmp_path: Path) -> Iterator[Path]:
        disk = tmp_path / "disk"
        disk.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True)
        if mounted.returncode:
            pytest.skip("needs the right to mount")
        yield disk
        subprocess.run(["umount", "-l", str(disk)], check=True)

    def test_a_full_disk_is_one_clear_line_and_nothing_is_lost(
        self, small_disk: Path, opened: Opened, record: Record
    ) -> None:
        folder, kept = small_disk / "run", list[str]()
        store = opened(folder)
        with pytest.raises(StoreError, match=r"the disk is full.*run the same command again") as caught:
            fill(store, record, kept)
        assert "\n" not in str(caught.value)
        assert ids(folder) == kept
        assert (folder / NAME).read_bytes().endswith(b"}\n")
        with pytest.raises(StoreError, match="the disk is full"):
            store.close({"accuracy": 1.0})  # run.json does not fit either
        (folder / NAME).write_bytes(b"".join((folder / NAME).read_bytes().splitlines(True)[:5]))  # space is made
        with opened(folder) as store:
            assert list(store.done) == kept[:5]

    def test_a_line_that_is_half_written_is_taken_back(
        self, folder: Path, opened: Opened, record: Record, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write, left = os.write, [100]

        def little(fd: int, data: bytes) -> int:
            if not left[0]:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written = write(fd, data[: left[0]])
            left[0] -= written
            return written

        with opened(folder) as store:
            store.append(*record(1))
            whole = (folder / NAME).read_bytes()
            monkeypatch.setattr(os, "write", little)
            with pytest.raises(StoreError, match="the disk is full"):
                store.append(*record(2))
            assert (folder / NAME).read_bytes() == whole
            left[0] = 1 << 20
            store.append(*record(2))
        assert ids(folder) == ["p1", "p2"]

    def test_short_writes_are_gone_on_with(
        self, folder: Path, opened: Opened, record: Record, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write = os.write
        with opened(folder) as store:
            monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:100]))
            store.append(*record(1))
            store.append(*record(2))
            monkeypatch.undo()
        assert ids(folder) == ["p1", "p2"]

    def test_lines_that_the_disk_refuses_to_keep_are_told_at_the_end_at_the_latest(
        self, folder: Path, opened: Opened, record: Record, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def failing(fd: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        store = opened(folder)
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", failing)
            store.append(*record(1))
            with pytest.raises(StoreError, match="Input/output error"):
                store.close()
        assert ids(folder) == ["p1"]
        opened(folder).close()  # the lock was given back

    def test_a_file_where_the_folder_should_be_is_one_clear_line(self, folder: Path, opened: Opened) -> None:
        folder.parent.mkdir(parents=True)
        folder.write_text("")
        with pytest.raises(StoreError, match=str(folder)):
            opened(folder)

    def test_a_folder_that_may_not_be_written_is_one_clear_line(self, folder: Path, tmp_path: Path) -> None:
        script = (
            "import os, sys; from pathlib import Path; from mullover.errors import StoreError\n"
            "from mullover.store import RunStore\n"
            "if os.getuid() == 0: os.setuid(65534)\n"
            "try: RunStore.open(Path(sys.argv[1]), {'identity': {}})\n"
            "except StoreError as error: print(error)\n"
        )
        folder.mkdir(parents=True)
        for parent in (tmp_path, *tmp_path.parents[:2]):
            parent.chmod(0o755)
        folder.chmod(0o555)
        ran = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=True)
        assert ran.stderr == ""
        assert "cannot be written: Permission denied; choose another folder or change its permissions" in ran.stdout
        assert ran.stdout.count("\n") == 1

    def test_a_limit_on_file_sizes_is_one_clear_line(self, folder: Path, opened: Opened, record: Record) -> None:
        resource = pytest.importorskip("resource")
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        store, kept = opened(folder), list[str]()
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
            with pytest.raises(StoreError, match="file size limit"):
                fill(store, record, kept)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, before)
        store.close()
        assert kept
        assert ids(folder) == kept

    def test_a_line_without_its_end_is_refused(self, folder: Path, opened: Opened, record: Record) -> None:
        line, done = record(1)
        with opened(folder) as store, pytest.raises(OptionError, match="newline"):
            store.append(line[:-1], done)


KILLED = """
import sys
from pathlib import Path
from mullover.running import Run
from mullover.store import Done, RunStore, encode
from mullover.types import Answer

store = RunStore.open(Path(sys.argv[1]), {"identity": {"task": "t"}})
for i in range(len(store.done), 1_000_000):
    run = Run(Answer(str(i), "x" * 3000), ())
    line = encode(f"p{i}", run, gold=None, correct=None, grades=None, seconds=0.0, started=0.0)
    store.append(line, Done.of(f"p{i}", run, None, None))
    print(i, flush=True)
"""


def test_kill_9_loses_nothing_that_was_appended(folder: Path) -> None:
    said = -1
    for _ in range(2):
        writer = subprocess.Popen([sys.executable, "-c", KILLED, str(folder)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        for _ in range(500):
            said = int(writer.stdout.readline())
        writer.kill()
        said = max([said, *map(int, writer.stdout.read().split("\n")[:-1])])
        writer.wait()
        writer.stdout.close()
    with RunStore.open(folder, {"identity": {"task": "t"}}) as store:
        assert len(store.done) >= said + 1
        assert list(store.done) == [f"p{i}" for i in range(len(store.done))]
