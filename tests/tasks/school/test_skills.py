"""What holds for every lesson."""

import asyncio
from itertools import product

import pytest

from mullover.tasks.school import FAMILIES, GRADES
from mullover.tasks.school.document import Document, Draw
from mullover.tasks.school.skills import SKILLS, checked
from mullover.train import exam

PAIRS = list(product(SKILLS, FAMILIES))


def lesson(skill: str, family: str, i: int, split: str = "train") -> Document:
    return SKILLS[skill](Draw.of(FAMILIES[family], GRADES[i % 5], split, 11, i))  # type: ignore[arg-type]


@pytest.mark.parametrize("skill, family", PAIRS)
class TestEveryLesson:
    def test_is_a_function_of_its_problem_s_place(self, skill: str, family: str) -> None:
        assert lesson(skill, family, 4) == lesson(skill, family, 4)

    def test_says_what_is_graded_right(self, skill: str, family: str) -> None:
        for i in range(10):
            document = lesson(skill, family, i)
            assert asyncio.run(exam.right(document, document.said)), document

    def test_is_not_right_by_saying_something_else(self, skill: str, family: str) -> None:
        for i in range(5):
            assert not asyncio.run(exam.right(lesson(skill, family, i), "I do not know."))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("skill", ["plain", "direct", "step_by_step", "thinking"])
def test_a_question_is_asked_without_its_solution(skill: str, family: str) -> None:
    for i in range(5):
        document = lesson(skill, family, i)
        assert document.item is not None and not document.given
        ((role, asked),) = document.turns
        assert role == "user" and asked.startswith(document.item.question)
        of = document.item.family
        for style in of.styles:
            assert not any(step in asked for step in of.chain(document.item.facts, style).steps if len(step) > 4)


def test_what_is_shown_beside_a_test_question_is_from_training() -> None:
    for i in range(20):
        other = Draw.of(FAMILIES["sums"], 2, "test", 0, i).again()
        assert FAMILIES["sums"].split(other.item.facts) == "train"


def test_a_check_goes_up_to_the_first_wrong_step() -> None:
    clean = FAMILIES["sums"].chain((10, 5, -3), "equations")
    wrong = ("10 + 5 = 15", "15 - 3 = 13", "13 + 0 = 13")
    assert checked(wrong, clean) == "10 + 5 = 15 - right\n15 - 3 = 12 - wrong"


def test_after_wait_the_slip_is_found_and_the_answer_is_right() -> None:
    seen = set()
    for i in range(40):
        document = lesson("wait", "sums", i)
        assert document.given.endswith("\nWait") and document.said.startswith(", I check.\n")
        seen.add((" - wrong" in document.said, document.thinking))
    assert seen == {(True, True), (True, None), (False, True), (False, None)}


def test_a_third_of_critiques_find_nothing_and_half_of_verdicts_are_yes() -> None:
    none = sum(lesson("critique", "sums", i).wants == "none" for i in range(300))
    yes = sum(lesson("judge", "story", i).wants == "yes" for i in range(300))
    assert 60 < none < 120 and 120 < yes < 180


def test_plain_questions_are_mostly_answered_at_once() -> None:
    direct = sum("\n" not in lesson("plain", "sums", i).said for i in range(300))
    assert 180 < direct < 240


def test_examples_of_few_shots_are_in_the_style_that_is_wanted() -> None:
    for i in range(30):
        document = lesson("few_shot", "letter_count", i)
        lines = [len(part.split("\n")[0]) for part in document.turns[0][1].split("A: ")[1:]]
        assert (max(lines) == 3 and len(document.said.split("\n")[0]) == 3) or min(lines) > 3
