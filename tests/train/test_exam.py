"""Examinations: who knows all gets all, who knows nothing nothing; intervals, prompts and the table."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from mullover.evaluate.metrics import wilson
from mullover.tasks.school import FAMILIES, GRADES
from mullover.tasks.school.combine import Puzzle
from mullover.tasks.school.document import Document
from mullover.tasks.school.skills import SKILLS
from mullover.train import exam
from mullover.train.exam import Cell, Mark
from mullover.types import Event, Events, Model, ModelInfo, Prompt, Sample, Sampling

ALL = [Cell(skill, family, 2) for family in FAMILIES for skill in SKILLS]


class Pupil(Model):
    """Says what it has been told to say to a prompt."""

    def __init__(self, says: Callable[[Prompt, Sampling], str]) -> None:
        self.info = ModelInfo("pupil", can=frozenset({"thinking", "segments", "turns"}))
        self.says = says
        self.asked: list[tuple[Prompt, Sampling]] = []

    async def stream(self, prompt: Prompt, n: int, sampling: Sampling) -> Events:
        self.asked.append((prompt, sampling))
        for i in range(n):
            yield Event(i, sample=Sample(self.says(prompt, sampling), "eos"))


def key(prompt: Prompt, thinking: object) -> tuple[object, ...]:
    return (*((message.role, message.text) for message in prompt.messages), prompt.said, thinking)


def knows(cells: list[Cell], many: int, seed: int = 0) -> Pupil:
    """All that will be asked of them."""
    known = {
        key(exam.prompt_of(document), document.thinking): document.said
        for cell in cells
        for document in exam.questions(cell, "dev", many, seed)
    }
    return Pupil(lambda prompt, sampling: known[key(prompt, sampling.thinking)])


def marks_of(model: Model, cells: list[Cell], many: int = 3, seed: int = 0) -> list[Mark]:
    return asyncio.run(exam.examine(model, cells, "dev", many, seed))


def judged(document: Document, text: str) -> bool:
    return asyncio.run(exam.right(document, text))


class TestWilson:
    @pytest.mark.parametrize(
        ("right", "asked", "low", "high"),
        [(8, 10, 0.4902, 0.9433), (0, 0, 0, 1), (0, 10, 0, 0.2775), (10, 10, 0.7225, 1), (50, 100, 0.4038, 0.5962)],
    )
    def test_it_is_what_the_formula_gives(self, right: int, asked: int, low: float, high: float) -> None:
        assert wilson(right, asked) == pytest.approx((low, high), abs=1e-4)

    def test_it_holds_the_share_and_stays_between_0_and_1(self) -> None:
        for asked in (1, 2, 7, 1000):
            for right in {0, 1, asked // 2, asked}:
                low, high = wilson(right, asked)
                assert 0 <= low <= right / asked <= high <= 1 and low < high


class TestExamine:
    def test_who_says_what_is_to_be_said_has_everything_right(self) -> None:
        marks = marks_of(knows(ALL, 3), ALL)
        assert [mark.cell for mark in marks] == ALL
        assert [mark.cell for mark in marks if mark.right != 3 or mark.asked != 3 or mark.share != 1.0] == []

    @pytest.mark.parametrize("text", ["", "nonsense", "The answer is purple.", "ANSWER: ", "</think>"])
    def test_who_says_nonsense_has_nothing_right(self, text: str) -> None:
        model = Pupil(lambda prompt, sampling: text)
        assert [mark for mark in marks_of(model, ALL, 2) if mark.right] == []
        assert len(model.asked) == 2 * len(ALL)

    def test_who_knows_half_has_half(self) -> None:
        cell = Cell("step_by_step", "sums", 3)
        turn = iter([True, False] * 5)
        known = knows([cell], 10)
        model = Pupil(lambda prompt, sampling: known.says(prompt, sampling) if next(turn) else "so 0.5")
        assert marks_of(model, [cell], 10) == [Mark(cell, 5, 10)]

    def test_problems_depend_on_the_seed_and_are_of_the_split(self) -> None:
        cell = Cell("plain", "swaps", 3)
        one, other = (list(exam.questions(cell, "dev", 5, seed)) for seed in (0, 1))
        assert one == list(exam.questions(cell, "dev", 5)) != other
        for document in (*one, *other):
            assert document.item is not None
            assert document.item.family.split(document.item.facts) == "dev"

    def test_it_asks_greedily_with_thinking_as_the_lesson_has_it(self) -> None:
        cells = [Cell(skill, "sums", 1) for skill in ("plain", "thinking", "direct")]
        model = knows(cells, 8)
        marks_of(model, cells, 8)
        assert {sampling.temperature for _, sampling in model.asked} == {0.0}
        assert {sampling.thinking for _, sampling in model.asked} == {None, True, False}

    def test_cells_are_all_grades_of_two_skills_and_one_of_the_others(self) -> None:
        found = exam.cells(["sums"], ["direct", "step_by_step", "judge", "wait"])
        whole = [Cell(skill, "sums", grade) for skill in ("direct", "step_by_step") for grade in GRADES]
        assert found == [*whole, Cell("judge", "sums", 2), Cell("wait", "sums", 2)]


class TestRight:
    def expression(self) -> Document:
        (document,) = exam.questions(Cell("step_by_step", "make", 2), "dev", 1)
        return document

    def test_another_right_expression_counts(self) -> None:
        document = self.expression()
        assert document.item is not None
        puzzle = document.item.facts
        assert isinstance(puzzle, Puzzle)
        other = f"(({document.wants}))"
        assert judged(document, document.said)
        assert judged(document, f"The answer is {other}.")
        family = document.item.family
        simple = replace(document.item, facts=Puzzle((3, 5), 8, ((5, "+", 3),)))
        document = replace(document, item=simple, wants=family.answer(simple.facts))
        assert document.wants == "5 + 3"
        assert judged(document, "3 + 5 = 8\nThe answer is 3 + 5.")
        assert not judged(document, "The answer is 3 + 4 + 1.")
        assert not judged(document, "The answer is 8.")

    def test_what_is_thought_is_not_the_answer(self) -> None:
        (document,) = exam.questions(Cell("plain", "sums", 2), "dev", 1)
        assert judged(document, f"The answer is 12345.\n</think>\n\nThe answer is {document.wants}.")
        assert not judged(document, f"The answer is {document.wants}.\n</think>\n\nThe answer is 12345.")

    def test_a_first_line_is_held_against_the_first_line(self) -> None:
        (document,) = exam.questions(Cell("propose", "sums", 2), "dev", 1)
        assert judged(document, f"{document.wants}\nand so on")
        assert not judged(document, f"so\n{document.wants}")

    def test_a_verdict_is_no_answer_of_the_problem(self) -> None:
        for document in exam.questions(Cell("judge", "sums", 2), "dev", 4):
            other = {"yes": "no", "no": "yes"}[document.wants]
            assert judged(document, f"The answer is {document.wants}.")
            assert not judged(document, f"The answer is {other}.")


class TestPromptOf:
    def test_it_keeps_what_is_given(self) -> None:
        document = Document((("user", "What is 3 + 4?"),), "", "7", "number", given="3 + 4 = 8\nWait")
        assert exam.prompt_of(document).said == "3 + 4 = 8\nWait"
        assert exam.prompt_of(replace(document, given="")).segments == ()

    def test_it_keeps_every_turn(self) -> None:
        turns = (("user", "a"), ("assistant", "b"), ("user", "c"))
        prompt = exam.prompt_of(Document(turns, "", ""))
        assert tuple((message.role, message.text) for message in prompt.messages) == turns


class TestTold:
    MARKS = (
        *(Mark(Cell("direct", "sums", grade), grade, 10) for grade in GRADES),
        *(Mark(Cell("step_by_step", "sums", grade), 10, 10) for grade in (1, 2)),
        Mark(Cell("judge", "sums", 2), 5, 10),
        Mark(Cell("wait", "sums", 2), 10, 10),
        Mark(Cell("direct", "swaps", 1), 0, 0),
    )

    def test_the_table_has_a_row_a_family(self) -> None:
        head, *rows = exam.table(self.MARKS).split("\n")
        assert [" ".join(row.split()) for row in rows] == [
            "sums 10 20 30 40 50 100 100 - - - 75",
            "swaps 0 - - - - - - - - - -",
        ]
        assert {len(row) for row in rows} == {len(head)}

    def test_marks_are_lines_behind_those_of_before(self, tmp_path: Path) -> None:
        path = tmp_path / exam.FILE
        for step in (5, 10):
            exam.write(path, step, self.MARKS[:2])
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert [line["step"] for line in lines] == [5, 5, 10, 10]
        assert lines[3] == {"step": 10, "skill": "direct", "family": "sums", "grade": 2, "right": 2, "asked": 10}
