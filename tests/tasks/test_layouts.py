"""Problem files as others lay them out: multiple choice, lists, solutions as answers, and what is no file."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from mullover import tasks
from mullover.errors import OptionError
from mullover.prompts import trigger
from mullover.tasks import problem_file
from mullover.tasks.problem import Problem, Task
from mullover.types import Candidate

COLOURS = ["red", "blue", "green"]


def loaded(tmp_path: Path, *rows: dict[str, Any], **more: Any) -> Task:
    file = tmp_path / "mine.jsonl"
    file.write_text("\n".join(json.dumps({"question": "Q?", **row}) for row in rows), "utf-8")
    return tasks.load(str(file), **more)


def only(tmp_path: Path, **row: Any) -> Problem:
    (problem,) = loaded(tmp_path, row)
    return problem


def scores(task: Task, *texts: str) -> list[float | None]:
    """Of answers to the first problem."""
    problem = task.problems[0]
    found = asyncio.run(task.grade(problem)(problem.prompt(), [Candidate(text) for text in texts]))
    return [score.value for score in found]


@pytest.mark.parametrize("golds", [("B", "D"), ("(B)", "(D)"), ("b", "d"), ("B.", "D)")])
def test_golds_that_are_letters_are_a_choice_even_where_no_options_are_shown(
    tmp_path: Path, golds: tuple[str, ...]
) -> None:
    task = loaded(tmp_path, *({"answer": gold} for gold in golds))
    assert [p.answer for p in task] == ["B", "D"]
    assert {(p.expects.kind, p.expects.choices) for p in task} == {("choice", ("A", "B", "C", "D"))}
    assert scores(task, "The answer is (B).", "The answer is B", "ANSWER: D") == [1.0, 1.0, 0.0]


def test_options_that_a_question_shows_are_among_the_letters(tmp_path: Path) -> None:
    task = loaded(tmp_path, {"question": "Which?\nA. x\nB. y\nC. z\nD. w\nE. v", "answer": "B"}, {"answer": "a"})
    assert {p.expects.choices for p in task} == {tuple("ABCDE")}


def test_letters_beyond_j_are_a_choice_only_where_options_are_shown(tmp_path: Path) -> None:
    assert only(tmp_path, answer="K").expects.kind == "text"
    question = " ".join(f"({letter}) {letter}{letter}" for letter in "ABCDEFGHIJK")
    problem = only(tmp_path, answer="K", question=question)
    assert (problem.expects.kind, problem.expects.choices) == ("choice", tuple("ABCDEFGHIJK"))


def test_a_named_kind_choice_has_its_letters_too(tmp_path: Path) -> None:
    task = loaded(tmp_path, {"answer": "(c)", "kind": "choice"}, {"answer": "7"})
    assert [(p.answer, p.expects.choices) for p in task] == [("C", ("A", "B", "C")), ("7", ())]
    assert only(tmp_path, answer="valid", kind="choice").expects.choices == ()


@pytest.mark.parametrize("name", ["choices", "options"])
@pytest.mark.parametrize(
    "value",
    [COLOURS, ["A)red", "B)blue", "C)green"], ["(A) red", "(B) blue", "(C) green"], dict(zip("ABC", COLOURS))],  # noqa: B905
)
@pytest.mark.parametrize("gold", ["B", "(B)", "b", "blue", "Blue", "B) blue"])
def test_options_are_read_in_every_layout_and_the_gold_is_a_letter(
    tmp_path: Path, name: str, value: Any, gold: str
) -> None:
    problem = only(tmp_path, answer=gold, **{name: value})
    assert problem.question == "Q?\n(A) red\n(B) blue\n(C) green"
    assert (problem.answer, problem.expects.kind) == ("B", "choice")
    assert problem.expects.choices == ("A) red", "B) blue", "C) green") and name not in problem.facts


def test_texts_that_only_look_labelled_keep_their_words(tmp_path: Path) -> None:
    assert only(tmp_path, options=["A. Smith", "C. Jones"], answer="B").question == "Q?\n(A) A. Smith\n(B) C. Jones"


@pytest.mark.parametrize("value", [COLOURS, dict(zip("ABC", COLOURS, strict=True)), ["A)red", "B)blue", "C)green"]])
def test_an_answer_may_be_the_text_of_the_option(tmp_path: Path, value: Any) -> None:
    task = loaded(tmp_path, {"choices": value, "answer": "B"})
    told = ["The answer is blue.", "The answer is B.", "ANSWER: (B) blue", "The answer is red.", "ANSWER: C"]
    assert scores(task, *told) == [1.0, 1.0, 1.0, 0.0, 0.0]


def test_letters_in_another_order_name_the_same_texts(tmp_path: Path) -> None:
    task = loaded(tmp_path, {"choices": {"B": "blue", "A": "red"}, "answer": "B"})
    assert scores(task, "The answer is blue.", "The answer is red.") == [1.0, 0.0]


@pytest.mark.parametrize("value", [{"A": "red", "C": "blue"}, {"A": "B", "B": "A"}])
def test_options_whose_texts_have_no_letter_by_place_are_letters_alone(tmp_path: Path, value: dict[str, str]) -> None:
    task = loaded(tmp_path, {"choices": value, "answer": "A"})
    assert task.problems[0].expects.choices == tuple(value) and scores(task, "ANSWER: A") == [1.0]


def test_numbers_among_choices_are_a_choice(tmp_path: Path) -> None:
    task = loaded(tmp_path, {"options": [20, 21], "answer": 21}, {"options": ["A)3", "B)4"], "answer": "3"})
    assert [(p.expects.kind, p.answer) for p in task] == [("choice", "B"), ("choice", "A")]


@pytest.mark.parametrize("name", ["choices", "options"])
def test_a_number_that_is_no_text_of_the_choices_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(OptionError, match=r"line 2: its answer '1' is neither .* say the letter or the text"):
        loaded(tmp_path, {"answer": "A", name: COLOURS}, {"answer": 1, name: COLOURS})


def test_a_named_kind_goes_before_the_choices(tmp_path: Path) -> None:
    assert only(tmp_path, answer=7, choices=["6", "8"], kind="number").expects.kind == "number"


def test_lines_with_choices_say_nothing_about_the_others(tmp_path: Path) -> None:
    task = loaded(tmp_path, {"answer": "blue", "choices": COLOURS}, {"answer": 7})
    assert [p.expects.kind for p in task] == ["choice", "number"]


def test_the_trigger_names_the_letters_of_labelled_choices(tmp_path: Path) -> None:
    problem = only(tmp_path, answer="B", choices=COLOURS)
    assert trigger(problem.expects) == "among A through C, the answer is"


@pytest.mark.parametrize("kind", ["list", "set"])
def test_a_flat_list_is_one_gold_where_a_list_is_asked_for(tmp_path: Path, kind: str) -> None:
    task = loaded(tmp_path, {"answer": [1, 2, "x"], "kind": kind})
    assert (task.problems[0].answer, task.problems[0].accepted) == ("1, 2, x", ())
    in_turn, turned = scores(task, "ANSWER: [1, 2, x]", "ANSWER: x, 2, 1")
    assert in_turn == 1.0 and turned == (1.0 if kind == "set" else 0.0)
    assert scores(task, "ANSWER: 1") == [0.0]


def test_a_list_of_lists_holds_other_right_lists(tmp_path: Path) -> None:
    problem = only(tmp_path, answer=[[1, 2], [3]], kind="list")
    assert (problem.answer, problem.accepted) == ("1, 2", ("3",))
    (problem,) = loaded(tmp_path, {"answer": [[1, [2, 3]]]}, kind="list")
    assert problem.answer == "1, [2, 3]"


def test_an_element_with_a_comma_is_one_element(tmp_path: Path) -> None:
    task = loaded(tmp_path, {"answer": ["Bern, BE", "Basel"], "kind": "set"})
    assert scores(task, 'ANSWER: ["Basel", "Bern, BE"]', "ANSWER: Bern, BE, Basel") == [1.0, 0.0]


def test_an_empty_list_inside_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="line 1: its answer holds an empty list"):
        loaded(tmp_path, {"answer": [[]], "kind": "list"})


def test_a_unique_id_is_an_id(tmp_path: Path) -> None:
    task = loaded(tmp_path, {"answer": 1, "unique_id": "test/1"}, {"answer": 2, "id": "mine", "unique_id": "test/1"})
    assert [(p.id, dict(p.facts)) for p in task] == [("test/1", {}), ("mine", {})]
    with pytest.raises(OptionError, match="its unique_id is"):
        only(tmp_path, answer=1, unique_id=" ")


@pytest.mark.parametrize("kind, is_it", [("Number", "number"), ("YES_NO", "yes_no"), (" Text ", "text")])
def test_a_kind_may_have_capitals(tmp_path: Path, kind: str, is_it: str) -> None:
    assert only(tmp_path, answer="7", kind=kind).expects.kind == is_it


@pytest.mark.parametrize(
    "gold, stated",
    [
        ("So it is $\\boxed{7}$ apples.", "7"),
        ("First \\boxed{1}, then \\boxed{\\frac{1}{2}}.", "\\frac{1}{2}"),
        ("So \\boxed{7 is never closed", "So \\boxed{7 is never closed"),
    ],
)
def test_of_a_solution_with_a_box_the_box_is_the_gold(tmp_path: Path, gold: str, stated: str) -> None:
    assert only(tmp_path, answer=gold).answer == stated


def test_boxed_numbers_are_numbers_and_boxed_letters_a_choice(tmp_path: Path) -> None:
    assert only(tmp_path, answer="It is \\boxed{7}.").expects.kind == "number"
    assert only(tmp_path, answer="It is \\boxed{B}.").expects.kind == "choice"


@pytest.mark.parametrize("kind", ["text", "code"])
def test_a_text_that_is_asked_for_keeps_its_box(tmp_path: Path, kind: str) -> None:
    assert only(tmp_path, answer="write \\boxed{7}", kind=kind).answer == "write \\boxed{7}"


def test_hashes_are_read_answer_by_answer(tmp_path: Path) -> None:
    task = loaded(tmp_path, {"answer": "2 + 5 = 7\n#### 7"}, {"answer": "8"}, {"answer": "So nine. #### 9"})
    assert [p.answer for p in task] == ["7", "8", "9"] and task.kind == "number"
    assert only(tmp_path, answer="x = 1\n#### end", kind="code").answer == "x = 1\n#### end"


@pytest.mark.parametrize("load", [lambda path: tasks.load(str(path)), problem_file.read])
def test_what_is_no_regular_file_is_refused(tmp_path: Path, load: Any) -> None:
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    for path, said in ((pipe, "is a pipe"), (Path("/dev/null"), "is a device"), (tmp_path, "is a folder")):
        with pytest.raises(OptionError, match=said):
            load(path)
