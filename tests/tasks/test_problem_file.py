"""Problem files: what is accepted, what is inferred, and errors that name the line."""

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from mullover import tasks
from mullover.errors import OptionError
from mullover.tasks import files, kinds
from mullover.types import Candidate, Kind


def written(tmp_path: Path, *lines: str | dict[str, Any] | bytes, name: str = "mine.jsonl") -> str:
    raw = [
        line if isinstance(line, bytes) else (json.dumps(line) if isinstance(line, dict) else line).encode()
        for line in lines
    ]
    file = tmp_path / name
    file.write_bytes(b"\n".join(raw))
    return str(file)


def kind_of(tmp_path: Path, *answers: Any, **more: Any) -> Kind:
    return tasks.load(written(tmp_path, *({"question": "Q?", "answer": a, **more} for a in answers))).kind


def test_a_question_and_an_answer_are_enough(tmp_path: Path) -> None:
    task = tasks.load(written(tmp_path, {"question": "How many?", "answer": 5}))
    (problem,) = task
    assert (problem.id, problem.question, problem.answer) == ("1", "How many?", "5")
    assert problem.expects.kind == "number" and "ANSWER: " in problem.expects.instruction
    assert (task.name, len(task.sha256)) == ("mine.jsonl", 64)


@pytest.mark.parametrize("name", ["question", "problem", "prompt", "input"])
@pytest.mark.parametrize("answer", ["answer", "target"])
def test_fields_go_by_their_usual_names(tmp_path: Path, name: str, answer: str) -> None:
    (problem,) = tasks.load(written(tmp_path, {name: "How many?", answer: "5"}))
    assert (problem.question, problem.answer) == ("How many?", "5")


def test_gzip_a_bom_crlf_and_blank_lines_are_fine(tmp_path: Path) -> None:
    rows = b'\xef\xbb\xbf{"question": "A?", "answer": 1}\r\n\r\n   \r\n{"question": "B?", "answer": 2}\r\n'
    plain, zipped = tmp_path / "a.jsonl", tmp_path / "b.jsonl.gz"
    plain.write_bytes(rows)
    zipped.write_bytes(gzip.compress(rows))
    one, two = tasks.load(str(plain)), tasks.load(str(zipped))
    assert [p.id for p in one] == ["1", "4"] and list(one) == list(two)
    assert one.sha256 == two.sha256


def test_a_line_separator_inside_a_text_ends_no_line(tmp_path: Path) -> None:
    (problem,) = tasks.load(written(tmp_path, '{"question": "A\u2028B?", "answer": "x"}'))
    assert problem.question == "A\u2028B?"


def test_no_digit_of_a_number_is_lost(tmp_path: Path) -> None:
    long = "123456789012345678901234567890"
    golds = [
        p.answer
        for p in tasks.load(written(tmp_path, *(f'{{"question": "Q", "answer": {n}}}' for n in (long, "3.10"))))
    ]
    assert golds == [long, "3.10"]


def test_any_answer_of_a_list_is_right(tmp_path: Path) -> None:
    task = tasks.load(written(tmp_path, {"question": "Capital?", "answer": ["Bern", "Berne"]}))
    (problem,) = task
    candidates = [Candidate(f"ANSWER: {text}") for text in ("Berne", "bern", "Basel")]
    scores = asyncio.run(task.grade(problem)(problem.prompt(), candidates))
    assert [score.value for score in scores] == [1.0, 1.0, 0.0]


def test_what_stands_behind_the_hashes_is_the_answer_of_each_line_that_has_them(tmp_path: Path) -> None:
    rows = [{"question": "Q", "answer": f"Some steps.\n#### {n}"} for n in ("18", "1,000")]
    assert [p.answer for p in tasks.load(written(tmp_path, *rows))] == ["18", "1,000"]
    mixed = tasks.load(written(tmp_path, *rows, {"question": "Q", "answer": "7"}, {"question": "Q", "answer": "#### "}))
    assert [p.answer for p in mixed] == ["18", "1,000", "7", "####"]


def test_choices_are_shown_below_the_question_once(tmp_path: Path) -> None:
    task = tasks.load(
        written(
            tmp_path,
            {"question": "Which?", "choices": ["one", "two"], "answer": "B"},
            {"question": "Which?", "choices": {"A": "one", "B": "two"}, "answer": "two"},
            {"question": "Which?\n(A) one\n(B) two", "choices": ["one", "two"], "answer": "B"},
            {"question": "Which? A) one B) two", "choices": ["one", "two"], "answer": "B"},
        )
    )
    assert [p.question for p in task] == ["Which?\n(A) one\n(B) two"] * 3 + ["Which? A) one B) two"]
    assert {p.answer for p in task} == {"B"} and {p.expects.choices for p in task} == {("A) one", "B) two")}
    assert task.kind == "choice"


def test_an_instruction_of_the_line_replaces_the_usual_one(tmp_path: Path) -> None:
    (problem,) = tasks.load(written(tmp_path, {"question": "Q", "answer": 1, "instruction": "Shout it."}))
    assert problem.expects.instruction == "Shout it."


def test_short_fields_of_other_names_are_kept_as_facts_and_never_asked(tmp_path: Path) -> None:
    row = {"question": "Q", "answer": 1, "subject": "algebra", "solution": "It is 1.", "notes": "n" * 999}
    (problem,) = tasks.load(written(tmp_path, row))
    assert dict(problem.facts) == {"subject": "algebra"}
    assert "algebra" not in problem.prompt("Be brief.").text


@pytest.mark.parametrize(
    "answers, kind",
    [
        ([1, 2.5, "-1,234", "$5", "75%", "3/4", "1e-5"], "number"),
        (["yes", "No", "TRUE", "false."], "yes_no"),
        ([True, False], "yes_no"),
        (["\\frac{1}{2}", "7"], "math"),
        (["2x + 1", "7"], "math"),
        (["(3, 4)", "7"], "math"),
        (["x^2"], "math"),
        (["Bern", "7"], "text"),
        (["05/01/2021", "2021-05-01"], "text"),
        (["A", "K"], "text"),
        (["A", "Bern"], "text"),
    ],
)
def test_the_kind_is_what_fits_all_answers(tmp_path: Path, answers: list[Any], kind: Kind) -> None:
    assert kind_of(tmp_path, *answers) == kind


def test_letters_are_a_choice_where_there_are_choices(tmp_path: Path) -> None:
    assert kind_of(tmp_path, "A", "B", choices=["one", "two"]) == "choice"


def test_the_kind_is_one_for_the_file_whatever_a_single_answer_looks_like(tmp_path: Path) -> None:
    rows = [{"question": "Q", "answer": a} for a in ("7", "\\pi", "12")]
    assert {p.expects.kind for p in tasks.load(written(tmp_path, *rows))} == {"math"}


def test_a_line_may_name_its_kind_and_the_caller_overrules_all(tmp_path: Path) -> None:
    file = written(tmp_path, {"question": "Q", "answer": "7"}, {"question": "Q", "answer": "8", "kind": "text"})
    assert [p.expects.kind for p in tasks.load(file)] == ["number", "text"]
    assert [p.expects.kind for p in tasks.load(file, kind="math")] == ["math", "math"]


GOOD = {"question": "Q", "answer": 1}


@pytest.mark.parametrize(
    "bad, said",
    [
        ('{"question": "Q", "answer": 1', "broken JSON"),
        ('{"question": "Q", "answer": NaN}', "broken JSON: NaN"),
        ("[" * 100_000, "nested too deeply"),
        ("[1, 2]", "not a JSON object; write one JSON object a line"),
        ('"Q"', "not a JSON object"),
        ({"answer": 1}, "no question"),
        ({"question": " ", "answer": 1}, "its question is empty"),
        ({"question": 7, "answer": 1}, "its question is no text"),
        ({"question": "Q"}, "no answer"),
        ({"question": "Q", "answer": None}, "no answer"),
        ({"question": "Q", "answer": ""}, "its answer is empty"),
        ({"question": "Q", "answer": []}, "empty list"),
        ({"question": "Q", "answer": {"a": 1}}, "holds dict"),
        ({**GOOD, "kind": "poem"}, "unknown kind 'poem'; there are number, math"),
        ({**GOOD, "id": ["x"]}, "give a text or a number"),
        ({**GOOD, "id": "1"}, "its id '1' is that of line 1 too"),
        ({**GOOD, "instruction": 5}, "its instruction is no text"),
        ({**GOOD, "choices": "AB"}, "its choices must be"),
        ({**GOOD, "choices": ["x"] * 27}, "at most 26"),
        ({**GOOD, "choices": {"one": "x"}}, "single letters"),
        ({**GOOD, "choices": ["one", "two"], "kind": "choice"}, "neither a letter nor the text of one choice"),
        ({"question": "Q\0", "answer": 1}, "NUL"),
        (b'{"question": "Q\0", "answer": 1}', "NUL"),
        ('{"question": "Q \\ud800", "answer": 1}', "surrogate"),
        (b'{"question": "\xff", "answer": 1}', "not UTF-8"),
    ],
)
def test_an_error_names_the_file_and_the_line(tmp_path: Path, bad: str | dict[str, Any] | bytes, said: str) -> None:
    file = written(tmp_path, GOOD, "", bad)
    with pytest.raises(OptionError) as caught:
        tasks.load(file)
    assert f"{file}, line 3: " in str(caught.value) and said in str(caught.value)


def test_a_line_without_end_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LONGEST", 1000)
    with pytest.raises(OptionError, match="line 2: longer than"):
        tasks.load(written(tmp_path, GOOD, "x" * 2000))


def test_a_file_without_problems_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="holds no problem"):
        tasks.load(written(tmp_path, "", "  "))


def test_a_damaged_gzip_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "cut.jsonl.gz"
    file.write_bytes(gzip.compress(json.dumps(GOOD).encode() * 100)[:-20])
    with pytest.raises(OptionError, match="cannot be read"):
        tasks.load(str(file))


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_every_kind_has_words_for_how_to_answer(kind: Kind) -> None:
    assert kinds.spec(kind).instruction
    assert kinds.spec(kind, question="Put it in \\boxed{}.").instruction == ""
