"""Sentences with wishes."""

import asyncio

import pytest

from mullover.tasks.school.family import drawn
from mullover.tasks.school.open_ended import OpenEnded
from mullover.tasks.school.sentences import Wish, rubric
from mullover.types import Candidate, Prompt, Score

FAMILY = OpenEnded()
WISH = Wish(("river", "lamp"), length=8, first="Today", last="slowly")
RIGHT = "Today the lamp sees a cold river slowly."


def scored(text: str, wish: Wish = WISH) -> Score:
    prompt = Prompt.of("Write.")
    return asyncio.run(FAMILY.scorer(wish)(prompt, [Candidate(text)]))[0]


def test_each_point_is_judged_alone() -> None:
    assert [holds for _, holds in rubric(WISH, RIGHT)] == [True] * 6
    assert [holds for _, holds in rubric(WISH, "today the lamp sees a cold hill again")] == [
        *(False, False, True, True, True, False)
    ]
    assert not dict(rubric(Wish(("lamp",), without="the"), RIGHT))["without the"]
    assert not rubric(WISH, "Today the lamp sees. A cold river slowly.")[0][1]


def test_the_score_is_the_share_of_points() -> None:
    assert scored(f"ANSWER: {RIGHT}").value == 1.0
    wrong = scored("ANSWER: Today the lamp sees a cold hill slowly.")
    assert wrong.value == pytest.approx(5 / 6)
    assert "river: no" in wrong.why and "lamp: yes" in wrong.why


def test_the_full_stop_counts_though_reading_an_answer_drops_it() -> None:
    assert scored(f"ANSWER: {RIGHT[:-1]}").value == pytest.approx(5 / 6)
    assert scored(f"The answer is \\boxed{{{RIGHT}}}").value == 1.0
    assert scored(f"<answer>{RIGHT}</answer>").value == 1.0
    assert scored(f"ANSWER: {RIGHT} It is big.").value == pytest.approx(3 / 6)


def test_nothing_stated_is_not_judged() -> None:
    assert scored("").value is None


@pytest.mark.parametrize("grade", [1, 2, 3, 4, 5])
def test_the_answer_of_every_problem_has_all_that_is_wished(grade: int) -> None:
    for i in range(60):
        facts = drawn(FAMILY, grade, "train", 0, i).facts
        answer = FAMILY.answer(facts)
        assert scored(f"ANSWER: {answer}", facts).value == 1.0
        for style in FAMILY.styles:
            chain = FAMILY.chain(facts, style, i)
            assert chain.answer == answer == chain.steps[-2]
            parts = chain.steps[-1].split()
            assert " ".join(parts[::2]) + "." == answer
            assert parts[1::2] == [str(n) for n in range(1, len(parts) // 2 + 1)]


def test_a_plan_names_the_wishes() -> None:
    steps = FAMILY.chain(WISH, "plan").steps
    assert steps[:4] == ("Words: river, lamp", "Length: 8", "First: Today", "Last: slowly")
    assert steps[4].startswith("Plan: Today ") and steps[4].endswith(" slowly") and len(steps[4].split()) == 9


@pytest.mark.parametrize("style", ["draft", "plan"])
def test_a_slip_before_the_count_spoils_the_sentence(style: str) -> None:
    last = len(FAMILY.chain(WISH, style).steps) - 1
    for wording in range(30):
        for slip in range(last):
            answer = FAMILY.chain(WISH, style, wording, slip).answer
            assert sum(not holds for _, holds in rubric(WISH, answer)) == 1


def test_a_slip_of_the_count_leaves_the_sentence() -> None:
    for wording in range(30):
        chain = FAMILY.chain(WISH, "draft", wording, slip=1)
        assert chain.answer == FAMILY.answer(WISH)
        assert int(chain.steps[1].split()[-1]) == 9


def test_the_order_of_the_words_is_no_content() -> None:
    assert FAMILY.content(Wish(("long", "bike"), 7)) == FAMILY.content(Wish(("bike", "long"), 7))
    assert FAMILY.content(Wish(("long", "bike"), 7)) != FAMILY.content(Wish(("bike", "long"), 8))
