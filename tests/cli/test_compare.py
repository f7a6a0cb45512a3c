"""`mull compare` as a user types it: the files it writes, what it asks again, what it refuses."""

import csv
import json
import re
import shutil
import sys
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from mullover.backends.toy import Toy
from mullover.cli import main
from mullover.evaluate.results import load
from mullover.store import home
from mullover.types import Events, Prompt, Sampling

pytest.importorskip("matplotlib")
SCHOOL = Path(__file__).parents[2] / "examples" / "school.jsonl"
TOY = f"toy:{SCHOOL.with_name('school.toy.json')}"
THREE = ("--strategies", "direct,chain_of_thought,self_consistency", "--n", "1,2,4")
FILES = {"table.csv", "compare.json", "report.html", "curves.png", "curves.svg"}
Capsys = pytest.CaptureFixture[str]


def mull(capsys: Capsys, out: Path | str, *words: str, task: object = SCHOOL, model: str = TOY) -> tuple[int, str, str]:
    code = main(["compare", "--task", str(task), "--model", model, "--out", str(out), *words])
    said = capsys.readouterr()
    return code, said.out, said.err


def plain(out: Path) -> Any:
    return json.loads((out / "compare.json").read_text())


def points(out: Path) -> dict[str, dict[str, Any]]:
    return {row["setting"]: row for row in plain(out)["points"] if not row["capped"]}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many samples the toy was asked for, call by call."""
    calls, stream = list[int](), Toy.stream

    def counted(self: Toy, prompt: Prompt, n: int, sampling: Sampling) -> Events:
        calls.append(n)
        return stream(self, prompt, n, sampling)

    monkeypatch.setattr(Toy, "stream", counted)
    return calls


class Page(HTMLParser):
    """Every tag is closed by its own end, and nothing is loaded or run."""

    VOID = ("meta", "br", "hr", "img", "input", "link")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.tags, self.text = list[str](), list[str](), ""
        self.refers = list[str]()
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            assert not name.startswith("on")
            self.refers += [value or ""] if name in ("src", "href", "xlink:href", "srcset", "action", "data") else []

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


class TestFiles:
    def test_all_are_written_and_agree(self, capsys: Capsys, tmp_path: Path) -> None:
        code, said, _ = mull(capsys, tmp_path / "o", *THREE, "--primary", "direct,self_consistency")
        assert code == 0
        assert {path.name for path in (tmp_path / "o").iterdir()} == FILES | {"runs"}
        assert all(f"wrote {tmp_path / 'o' / name}" in said for name in FILES)
        told = plain(tmp_path / "o")
        with (tmp_path / "o" / "table.csv").open(newline="") as file:
            table = list(csv.DictReader(file))
        assert [row["setting"] for row in table] == [
            "direct", "chain_of_thought", *(f"self_consistency n={n}" for n in (1, 2, 4)),
        ]  # fmt: skip
        for row, point in zip(table, told["points"], strict=True):
            assert row.keys() == point.keys()
            for name, value in point.items():
                text = f"{value:.6g}" if isinstance(value, float) else str(value)
                assert row[name] == text
            run = load(tmp_path / "o" / row["run"])  # named from the report, which may be moved
            assert (run.right.sum(), run.spent["tokens"].mean()) == (point["right"], point["tokens a problem"])
            assert point["low"] <= point["accuracy"] <= point["high"]
        assert (told["task"], told["unit"], told["problems"]) == ("school.jsonl", "tokens", 8)
        assert (told["counted in"], told["seed"]) == ("tokens", 0)
        assert told["primary comparison"] == "self_consistency against direct"
        (main_one,) = [d for d in told["differences"] if d["adjusted"] is None]
        assert (main_one["first"], main_one["second"]) == ("direct", "self_consistency")
        assert main_one["budget"] == max(told["budgets"])
        last = points(tmp_path / "o")["self_consistency n=4"]["accuracy"]
        assert main_one["mean"] == pytest.approx(last - points(tmp_path / "o")["direct"]["accuracy"])

    def test_json_on_stdout_is_that_of_the_file(self, capsys: Capsys, tmp_path: Path) -> None:
        code, said, _ = mull(capsys, tmp_path, *THREE, "--json")
        told, stored = json.loads(said), plain(tmp_path)
        for row in stored["points"]:
            row["run"] = str(tmp_path / row["run"])
        assert code == 0 and told == {name: stored[name] for name in told} and "differences" in told

    def test_the_page_is_well_formed_and_needs_nothing_else(self, capsys: Capsys, tmp_path: Path) -> None:
        assert mull(capsys, tmp_path, *THREE)[0] == 0
        text = (tmp_path / "report.html").read_text()
        page = Page(text)
        assert page.tags.count("svg") == page.tags.count("h1") == 1 and page.tags.count("table") == 3
        assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & {*page.tags}
        assert all(to.startswith("#") for to in page.refers)
        assert all(to.startswith("#") for to in re.findall(r"url\(['\"]?([^)]*)", text)) and "@import" not in text
        assert "default-src 'none'" in text
        for part in ("self_consistency n=4", "chain_of_thought", "command", "mull compare", "8 problems"):
            assert part in page.text or part in text

    def test_names_of_others_making_are_escaped(self, capsys: Capsys, tmp_path: Path) -> None:
        name = "<script>alert(1)<img src=x onerror=alert(1)>&amp;--> ]]>"
        shutil.copy(SCHOOL, tmp_path / f"{name}.jsonl")
        assert mull(capsys, tmp_path / "o", *THREE, task=tmp_path / f"{name}.jsonl")[0] == 0
        page = Page((tmp_path / "o" / "report.html").read_text())
        assert not {"script", "img"} & {*page.tags}
        assert page.text.count(name) >= 3 and plain(tmp_path / "o")["task"] == f"{name}.jsonl"

    @pytest.mark.parametrize(
        "name", ["50% of $5", "$x^$", "日本"]
    )  # fmt: skip
    def test_no_name_of_a_task_stops_or_litters_the_report(self, name: str, capsys: Capsys, tmp_path: Path) -> None:
        shutil.copy(SCHOOL, tmp_path / f"{name}.jsonl")
        assert mull(capsys, tmp_path / "o", *THREE, task=tmp_path / f"{name}.jsonl")[0] == 0

    def test_a_run_that_can_be_capped_is_a_curve_by_itself(self, capsys: Capsys, tmp_path: Path) -> None:
        assert mull(capsys, tmp_path, "--strategies", "adaptive_consistency,direct")[0] == 0
        rows = plain(tmp_path)["points"]
        spent = [row["tokens a problem"] for row in rows if row["strategy"] == "adaptive_consistency"]
        assert len(spent) == 13 and spent == sorted(spent)
        assert [row["setting"] for row in rows if not row["capped"]] == ["adaptive_consistency", "direct"]

    def test_the_oracle_and_failures_are_told(self, capsys: Capsys, tmp_path: Path) -> None:
        lines = [{"id": "a", "text": "ANSWER: 1"}, {"id": "b", "error": "overloaded"}]
        (tmp_path / "says.jsonl").write_text("\n".join(map(json.dumps, lines)))
        tasks = [{"id": i, "problem": f"{i}?", "target": "1"} for i in "ab"]
        (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, tasks)))
        words = ("--strategies", "chain_of_thought,best_of_n(n=1, scorer=oracle)")
        model = f"replay:{tmp_path / 'says.jsonl'}"
        code, said, _ = mull(capsys, tmp_path / "o", *words, task=tmp_path / "t.jsonl", model=model)
        assert code == 0
        assert "best_of_n(n=1, scorer=oracle): ORACLE" in said and "chain_of_thought: ORACLE" not in said
        assert "chain_of_thought: 1 problem" in said and plain(tmp_path / "o")["notes"]

    def test_one_problem_is_told_with_intervals_that_know_little(self, capsys: Capsys, tmp_path: Path) -> None:
        code, said, _ = mull(capsys, tmp_path, *THREE, "--limit", "1")
        assert code == 0 and "only 1 problem:" in said
        assert all(row["high"] - row["low"] > 0.7 for row in plain(tmp_path)["points"])
        assert all(d["ci95"] == [-1, 1] and d["p"] == 1 for d in plain(tmp_path)["differences"])


class TestAskingAgain:
    def test_fewer_samples_are_those_of_more_and_cost_what_a_fresh_run_costs(
        self, capsys: Capsys, tmp_path: Path, asked: list[int]
    ) -> None:
        words = ("--strategies", "self_consistency,best_of_n(scorer=likelihood)", "--n")
        assert mull(capsys, tmp_path / "all", *words, "1,2,4")[0] == 0
        assert sum(asked) == 8 * 4
        together = points(tmp_path / "all")
        for n in ("1", "2", "4"):
            fresh = ("--strategies", "best_of_n(scorer=likelihood)", "--n", n)
            assert mull(capsys, tmp_path / n, *fresh)[0] == 0
            assert mull(capsys, tmp_path / f"{n}v", "--strategies", "self_consistency", "--n", n)[0] == 0
            for label, alone in (points(tmp_path / n) | points(tmp_path / f"{n}v")).items():
                for name in ("tokens a problem", "right"):
                    assert together[label][name] == alone[name]

    def test_the_same_command_asks_nothing_and_says_the_same(
        self, capsys: Capsys, tmp_path: Path, asked: list[int]
    ) -> None:
        mull(capsys, tmp_path, *THREE)
        first, files = plain(tmp_path), {name: (tmp_path / name).read_bytes() for name in FILES}
        assert asked
        asked.clear()
        assert mull(capsys, tmp_path, *THREE)[0] == 0
        assert not asked and plain(tmp_path) == first
        assert all((tmp_path / name).read_bytes() == held for name, held in files.items())

    def test_after_a_stop_only_what_was_not_finished_is_asked(
        self, capsys: Capsys, tmp_path: Path, asked: list[int]
    ) -> None:
        mull(capsys, tmp_path / "whole", *THREE)
        everything = sum(asked)
        asked.clear()
        mull(capsys, tmp_path / "o", "--strategies", "direct,self_consistency", "--n", "4")
        for folder in (tmp_path / "o" / "runs").iterdir():  # as if it had been killed in the middle of a line
            path = folder / "problems.jsonl"
            held = path.read_bytes().splitlines(keepends=True)
            path.write_bytes(b"".join(held[:5]) + held[5][:20])
        asked.clear()
        assert mull(capsys, tmp_path / "o", *THREE)[0] == 0
        assert everything == 8 + 8 + 8 * 4 and sum(asked) == 3 + 8 + 3 * 4  # chain_of_thought is new
        same = ("right", "tokens a problem")
        for label, row in points(tmp_path / "whole").items():
            assert [points(tmp_path / "o")[label][name] for name in same] == [row[name] for name in same]

    def test_more_strategies_later_draw_nothing_twice(self, capsys: Capsys, tmp_path: Path, asked: list[int]) -> None:
        mull(capsys, tmp_path, "--strategies", "direct,self_consistency", "--n", "4")
        asked.clear()
        words = ("--strategies", "direct,self_consistency,best_of_n(scorer=likelihood)", "--n", "1,2,4")
        assert mull(capsys, tmp_path, *words)[0] == 0
        assert not asked

    def test_more_samples_later_draw_only_the_new_ones(self, capsys: Capsys, tmp_path: Path, asked: list[int]) -> None:
        mull(capsys, tmp_path, "--strategies", "self_consistency", "--n", "1,2")
        asked.clear()
        assert mull(capsys, tmp_path, "--strategies", "self_consistency", "--n", "1,2,4")[0] == 0
        assert sum(asked) == 8 * 2

    def test_seconds_are_never_those_of_reused_samples(self, capsys: Capsys, tmp_path: Path) -> None:
        words = ("--strategies", "self_consistency", "--n", "1,8")
        assert mull(capsys, tmp_path, *words)[0] == 0
        assert mull(capsys, tmp_path, *words, "--x", "seconds")[0] == 0
        (path,) = (tmp_path / "runs-seconds").glob("self_consistency_n=1*/run.json")
        assert "reuse" not in json.loads(path.read_text())["info"]

    def test_a_limit_holds_also_where_more_was_asked_before(self, capsys: Capsys, tmp_path: Path) -> None:
        mull(capsys, tmp_path, "--strategies", "direct")
        assert mull(capsys, tmp_path, "--strategies", "direct,chain_of_thought", "--limit", "3")[0] == 0
        assert plain(tmp_path)["problems"] == 3


class TestWords:
    def test_options_may_have_blanks_and_fix_what_is_swept(self, capsys: Capsys, tmp_path: Path) -> None:
        words = ("--strategies", " direct , self_consistency( n = 2 , temperature = 0.5 ),self_consistency,")
        assert mull(capsys, tmp_path, *words, "--n", "4,1,4")[0] == 0
        assert [*points(tmp_path)] == [
            "direct", "self_consistency(n = 2 , temperature = 0.5)", "self_consistency n=1", "self_consistency n=4",
        ]  # fmt: skip

    def test_a_strategy_may_come_from_a_module(
        self, capsys: Capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "of_mine_7.py").write_text(
            "from mullover.strategies.self_consistency import self_consistency\n"
            "from mullover.types import Answers, Model, Prompt\n\n\n"
            "async def vote(model: Model, prompt: Prompt, *, n: int) -> Answers:\n"
            "    async for answer in self_consistency(model, prompt, n=n):\n        yield answer\n"
        )
        monkeypatch.syspath_prepend(str(tmp_path))
        code, _, err = mull(capsys, tmp_path / "o", "--strategies", "of_mine_7:vote,direct", "--n", "1,3")
        sys.modules.pop("of_mine_7", None)
        assert code == 0, err
        assert [*points(tmp_path / "o")] == ["of_mine_7:vote n=1", "of_mine_7:vote n=3", "direct"]

    def test_budgets_name_where_to_compare(self, capsys: Capsys, tmp_path: Path) -> None:
        assert mull(capsys, tmp_path, *THREE, "--budgets", "50,41.5,50,1e9")[0] == 0
        assert plain(tmp_path)["budgets"] == [41.5, 50, 1e9]
        assert len(plain(tmp_path)["differences"]) == 9

    def test_budgets_may_be_as_large_as_flops_are(self, capsys: Capsys, tmp_path: Path) -> None:
        assert mull(capsys, tmp_path, *THREE, "--budgets", "5e13")[0] == 0

    def test_labels_that_differ_have_folders_that_differ(self, capsys: Capsys, tmp_path: Path) -> None:
        for name in ("a b", "a_b"):
            (tmp_path / name).write_text(f"{name}: {{question}}")
        strategies = ",".join(f"self_consistency(n=1,style={tmp_path / name})" for name in ("a b", "a_b"))
        code, _, err = mull(capsys, tmp_path / "o", "--strategies", strategies)
        assert code == 0, err


BAD: dict[str, tuple[tuple[str, ...], str]] = {
    "unknown strategy": (("--strategies", "nope"), "no strategy 'nope'"),
    "no strategy named": (("--strategies", " "), "cannot be read"),
    "two commas": (("--strategies", "direct,,direct"), "cannot be read at ',direct'"),
    "an open bracket": (("--strategies", "self_consistency(n=2"), "cannot be read"),
    "no comma": (("--strategies", "direct chain_of_thought"), "cannot be read"),
    "twice": (("--strategies", "direct, direct"), "direct twice"),
    "unknown option": (("--strategies", "direct(n=2)"), "direct has no option 'n'"),
    "no value": (("--strategies", "self_consistency(n)"), "no option 'n' to set by option=value"),
    "n=x": (("--strategies", "self_consistency(n=x)"), "'x'"),
    "temperature=hot": (("--strategies", "self_consistency(temperature=hot)"), "it must be a number"),
    "temperature<0": (("--strategies", "self_consistency(temperature=-1.0)"), "temperature is -1.0"),
    "no function of a module": (("--strategies", "os:getcwd"), "is no strategy"),
    "no module": (("--strategies", "no_module_7:f"), "cannot import 'no_module_7'"),
    "no scorer": (("--strategies", "best_of_n"), "needs scorer"),
    **{
        f"--n {n}": (("--strategies", "self_consistency", "--n", n), "--n is")
        for n in ("0", "-1", "x", "1.5", "1,,2", "9" * 20)
    },
    "a huge n": (("--strategies", "self_consistency", "--n", "1000000000"), "--n is"),
    **{
        f"--budgets {b}": (("--strategies", "direct", f"--budgets={b}"), "--budgets is")
        for b in ("inf", "nan", "-1", "0", "x", "1,,2", "40,nan")
    },
    "a budget no strategy meets": (("--strategies", "direct", "--budgets", "2,50"), "can meet a budget of 2 tokens"),
    "unknown unit": (("--strategies", "direct", "--x", "joules"), "tokens, flops, seconds, cost"),
    "nothing in money": (("--strategies", "direct", "--x", "cost"), "nothing was counted in cost"),
    "primary": (("--strategies", "direct,chain_of_thought", "--primary", "direct"), "--primary is 'direct'"),
    "primary of one": (("--strategies", "direct", "--primary", "direct,direct"), "--primary"),
    "limit": (("--strategies", "direct", "--limit", "0"), "--limit"),
    "no strategies": ((), "--strategies"),
    "--strategy": (("--strategies", "direct", "--strategy", "direct"), "--strategy"),
}


def refused(told: tuple[int, str, str], part: str) -> bool:
    code, said, err = told
    lines = [one for one in err.splitlines() if not one.startswith("computing the report")]
    return (code, said) == (2, "") and len(lines) == 1 and lines[0].startswith("mull: ") and part in lines[0]


@pytest.mark.parametrize("words, part", BAD.values(), ids=BAD)
def test_a_mistake_is_one_line_and_exit_code_2(
    words: tuple[str, ...], part: str, capsys: Capsys, tmp_path: Path
) -> None:
    assert refused(mull(capsys, tmp_path / "o", *words), part)


def test_strategies_may_not_be_empty(capsys: Capsys, tmp_path: Path) -> None:
    assert refused(mull(capsys, tmp_path / "o", "--strategies", ""), "--strategies")


def test_a_folder_that_is_a_file_or_of_another_seed_or_model_is_refused_and_kept(
    capsys: Capsys, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    assert refused(mull(capsys, tmp_path / "file", *THREE), "file")
    assert (tmp_path / "file").read_text() == "mine"
    assert mull(capsys, tmp_path / "o", *THREE)[0] == 0
    held = {path: path.read_bytes() for path in (tmp_path / "o").rglob("*.[jh]*")}
    assert refused(mull(capsys, tmp_path / "o", *THREE, "--seed", "1"), "seed is 0 there and 1 here")
    assert refused(mull(capsys, tmp_path / "o", *THREE, model="toy"), "model is")
    assert {path: path.read_bytes() for path in (tmp_path / "o").rglob("*.[jh]*")} == held


def test_a_problem_that_is_lacking_is_asked_and_a_strange_one_left_out(capsys: Capsys, tmp_path: Path) -> None:
    assert mull(capsys, tmp_path, "--strategies", "direct")[0] == 0
    path = tmp_path / "runs" / "direct" / "problems.jsonl"
    path.write_text(path.read_text().replace('"apples"', '"pears"', 1))
    for index in home().glob("index.sqlite*"):
        index.unlink()
    code, out, _ = mull(capsys, tmp_path, "--strategies", "direct,chain_of_thought")
    assert code == 0 and out.startswith("8 problems")


def test_a_model_that_answers_nothing_is_told_with_its_reason(capsys: Capsys, tmp_path: Path) -> None:
    (tmp_path / "says.jsonl").write_text("\n".join(json.dumps({"id": i, "error": "down"}) for i in "ab"))
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps({"id": i, "problem": i, "target": "1"}) for i in "ab"))
    model = f"replay:{tmp_path / 'says.jsonl'}"
    told = mull(capsys, tmp_path / "o", "--strategies", "chain_of_thought", task=tmp_path / "t.jsonl", model=model)
    assert refused(told, "no problem could be asked") and "down" in told[2]
