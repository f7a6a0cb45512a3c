"""`mull runs`, as a user sees it."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mullover.cli.runs import app
from mullover.errors import MulloverError, OptionError
from mullover.running import Run
from mullover.store import Done, RunStore, canonical, encode, home
from mullover.store.journal import NAME
from mullover.types import Answer, Candidate, Prompt, Sample, Sampling, Score, Usage
from mullover.wrappers import Call

Opened = Callable[..., RunStore]
Record = Callable[..., tuple[bytes, Done]]


def mull(*words: str) -> Result:
    result = CliRunner(env={"COLUMNS": "160"}).invoke(app, words)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def lines(*words: str) -> list[str]:
    """What was printed, runs of spaces made one."""
    return [" ".join(line.split()) for line in mull(*words).stdout.splitlines()]


@pytest.fixture
def run(opened: Opened, record: Record) -> Path:
    folder = home() / "runs" / "sums-fake"
    store = opened(folder)
    for i in (3, 1, 2):
        store.append(*record(i))
    store.append(*record(4, error="no connection"))
    store.close({"seconds": 2.5})
    return folder


class TestLs:
    def test_tells_each_run_in_a_line_the_latest_first(self, run: Path, opened: Opened) -> None:
        store = opened(home() / "runs" / "later", seed=1)
        store.close()
        content = json.loads((store.folder / "run.json").read_bytes())
        content["info"]["created"] = "2099-01-01T00:00:00+00:00"
        (store.folder / "run.json").write_text(json.dumps(content))
        header, later, first = lines("ls")
        assert header == "run created right of accuracy tokens seconds status"
        assert later == "later 2099-01-01 00:00 – 0 – 0 – stopped"
        assert first.startswith("sums-fake ")
        assert first.endswith(" 4 4 100.0% 128 2.5 finished")

    def test_json_has_the_interval(self, run: Path) -> None:
        (shown,) = json.loads(mull("ls", "--json").stdout)
        assert (shown["name"], shown["problems"], shown["correct"], shown["failed"]) == ("sums-fake", 4, 4, 1)
        low, high = shown["ci95"]
        assert 0.5 < low < high == 1.0

    def test_a_run_that_goes_on_is_told_from_one_that_was_killed(self, opened: Opened) -> None:
        folder = home() / "runs" / "one"
        with opened(folder):
            assert json.loads(mull("ls", "--json").stdout)[0]["status"] == "running"
        content = json.loads((folder / "run.json").read_bytes())
        (folder / "run.json").write_text(json.dumps({**content, "status": "running"}))
        assert json.loads(mull("ls", "--json").stdout)[0]["status"] == "stopped"

    def test_limit_tells_how_many_more_there_are(self, opened: Opened) -> None:
        for i in range(3):
            opened(home() / "runs" / f"run{i}", seed=i).close()
        assert lines("ls", "--limit", "1")[-1] == "and 2 more; --limit 3 shows them"

    def test_no_runs_are_no_error(self) -> None:
        assert lines("ls") == ["run created right of accuracy tokens seconds status"]


class TestShow:
    def test_a_run_is_its_accuracy_and_its_problems(self, run: Path) -> None:
        shown = lines("show", "last")
        assert shown[0] == "sums fake vote"
        assert shown[1] == "options n=3; seed 0"
        assert shown[2].startswith("4 of 4 right, 100.0% (")
        assert shown[5:] == [
            "problem answer gold agreement tokens",
            "✓ p3 4 4 2 of 3 32",
            "✓ p1 2 2 2 of 3 32",
            "✓ p2 3 3 2 of 3 32",
            "! p4 failed: no connection 5 2 of 3 32",
        ]

    def test_a_problem_is_its_votes_its_tree_and_its_cost(self, run: Path) -> None:
        assert lines("show", "sums", "p1") == [
            "What is 1 + 1?",
            "",
            "✓ 2 gold 2 2 of 3 agree",
            "",
            "votes",
            "2 ████████████████████████ 2 67% ✓ chosen",
            "6 ████████████ 1 33% ✗",
            "",
            "p1: 3 candidates",
            "├── ✓ 0 sample selected = 2 ✓ step 0",
            "├── ● 1 sample finished = 2 ✓ step 1",
            "└── ● 2 sample finished = 6 ✗ step 2",
            "",
            "cost calls prompt tokens completion tokens seconds",
            "solve 1 11 21 0.25",
        ]

    def test_all_shows_every_prompt_text_seed_and_usage(self, run: Path) -> None:
        shown = "\n".join(lines("show", "last", "p1", "--all"))
        assert "call 0: solve fake, n 3 temperature=0.7" in shown
        assert "[user]\nWhat is 1 + 1?" in shown
        for k, said in enumerate((2, 2, 6)):
            assert f"-- sample {k}: eos, seed {100 + k}, 0 + 7 tokens, 0.000 s\nstep {k}\nANSWER: {said}" in shown

    def test_a_search_is_a_tree(self, opened: Opened) -> None:
        nodes = (
            Candidate("root"),
            Candidate("left", (0,), "step", "pruned", Score(None)),
            Candidate("right", (0,), "step", "open", Score(0.25), {"visits": 3.0}),
            Candidate("both", (1, 2), "edit", "selected", value="9"),
        )
        run = Run(Answer("9", "both", nodes), ())
        with opened(home() / "runs" / "search") as store:
            line = encode("q", run, gold=None, correct=None, grades=None, seconds=0.0, started=0.0)
            store.append(line, Done.of("q", run, None, None))
        assert lines("show", "search", "q")[2:] == [
            "q: 4 candidates",
            "└── ○ 0 sample open root",
            "├── × 1 step pruned score none left",
            "│ └── ✓ 3 edit selected from 1, 2 = 9 both",
            "└── ○ 2 step open score 0.25 visits 3 right",
            "",
            "cost",
        ]

    def test_equal_answers_share_a_bar_however_they_are_written(self, opened: Opened, vote: Callable[..., Run]) -> None:
        run = vote(1)
        values = ("0.5", "1/2", "7")
        candidates = tuple(replace(c, value=v) for c, v in zip(run.answer.candidates, values, strict=True))
        run = replace(run, answer=replace(run.answer, value="1/2", candidates=candidates))
        with opened(home() / "runs" / "half") as store:
            line = encode("q", run, gold=None, correct=True, grades=None, seconds=0.0, started=0.0)
            store.append(line, Done.of("q", run, True, None))
        shown = lines("show", "half", "q")
        assert "1/2 ████████████████████████ 2 67% ✓ chosen" in shown
        assert "7 ████████████ 1 33%" in shown

    def test_what_a_model_wrote_commands_no_terminal(self, opened: Opened) -> None:
        evil = "\x1b]0;pwned\x07\x1b[2J\x9b31m[red]\u202etext\r\x00"
        sample = Sample(evil, "eos", error=evil)
        call = Call(
            "solve",
            Prompt.of(evil),
            1,
            Sampling(stop=(evil,)),
            (sample,),
            Usage(1),
            evil,
            evil,
            (Score(1.0, why=evil),),
        )
        run = Run(Answer(evil, evil, (Candidate.of(sample, value=evil),) * 3, evil), (call,))
        with opened(home() / "runs" / "evil", model=evil) as store:
            line = encode(
                "q" + evil, run, gold=evil, correct=False, grades=[False] * 3, seconds=0.0, started=0.0, error=evil
            )
            store.append(line, Done.of("q" + evil, run, False, [False] * 3, error=evil))
        outputs = [mull(*words).stdout for words in (
            ("ls",), ("ls", "--json"), ("show", "evil"), ("show", "evil", "--json"),
            ("show", "evil", "q"), ("show", "evil", "q", "--all"), ("show", "evil", "q", "--json"),
        )]  # fmt: skip
        for shown in outputs:
            assert not {c for c in shown if not c.isprintable()} - {"\n"}
        assert all("[red]" in shown for shown in outputs[1:])

    def test_json_is_the_record(self, run: Path) -> None:
        assert json.loads(mull("show", "last", "p1", "--json").stdout)["gold"] == "2"
        shown = json.loads(mull("show", "last", "--json").stdout)
        assert [row["id"] for row in shown["problems"]] == ["p3", "p1", "p2", "p4"]

    def test_a_long_table_says_how_much_is_left_out(self, opened: Opened, record: Record) -> None:
        with opened(home() / "runs" / "long") as store:
            for i in range(50):
                store.append(*record(i))
        assert lines("show", "long")[-1] == "and 10 more; --all shows them"
        assert lines("show", "long", "--all")[-1].startswith("✓ p49 ")

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("show", "sumz-fake"), r"did you mean sums-fake\?"),
            (("show", "s"), r"begins 2 runs"),
            (("show", "last", "zzz"), r"no problem 'zzz'; there are p3, p1, p2"),
            (("show", "sums", "p"), r"'p' begins 4 problems"),
            (("show", ""), "no run"),
        ],
    )
    def test_a_wrong_name_is_told_what_there_is(
        self, run: Path, opened: Opened, words: tuple[str, ...], message: str
    ) -> None:
        opened(home() / "runs" / "seconds", seed=1).close()
        (home() / "runs" / "seconds" / "run.json").write_text(
            (home() / "runs" / "seconds" / "run.json").read_text().replace('"created": "2', '"created": "1')
        )
        with pytest.raises(OptionError, match=message):
            mull(*words)

    def test_last_without_any_run_says_how_to_make_one(self) -> None:
        with pytest.raises(MulloverError, match="no run yet"):
            mull("show", "last")


class TestExport:
    def test_writes_the_records_as_they_are(self, run: Path) -> None:
        assert mull("export", "last").stdout_bytes == (run / NAME).read_bytes()

    def test_canonical_is_equal_for_equal_runs(self, opened: Opened, record: Record, tmp_path: Path) -> None:
        with opened(tmp_path / "one") as store:
            for i in (1, 2, 10):
                store.append(*record(i, seconds=0.1))
        with opened(tmp_path / "two") as store:
            store.append(*record(10, seconds=0.2, error="no connection"))
        with opened(tmp_path / "two") as store:
            for i in (10, 2, 1):
                store.append(*record(i, seconds=0.3))
        one, two = (mull("export", str(tmp_path / name), "--canonical").stdout_bytes for name in ("one", "two"))
        assert one == two == b"".join(canonical(record(i)[0]) for i in (1, 10, 2))

    def test_to_a_file(self, run: Path, tmp_path: Path) -> None:
        assert mull("export", "last", "--out", str(tmp_path / "out.jsonl")).stdout == ""
        assert (tmp_path / "out.jsonl").read_bytes() == (run / NAME).read_bytes()

    def test_a_last_line_that_is_still_being_written_is_left_out(self, run: Path) -> None:
        whole = (run / NAME).read_bytes()
        with open(run / NAME, "ab") as file:
            file.write(b'{"v":1,"id":"p')
        assert mull("export", "last").stdout_bytes == whole
        assert mull("export", "last", "--canonical").stdout_bytes.count(b"\n") == 4

    def test_a_reader_that_leaves_is_no_error(self, opened: Opened, record: Record) -> None:
        import subprocess

        with opened(home() / "runs" / "long") as store:
            for i in range(300):  # more than a pipe holds
                store.append(*record(i))
        command = f"{sys.executable} -m mullover runs export long | head -n 1"
        ran = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, check=True)
        assert (ran.stdout.count(b"\n"), ran.stderr) == (1, b"")
