"""What holds for every family of school problems."""

import asyncio
import re
from collections import Counter
from itertools import pairwise, product
from typing import Any

import pytest

from mullover import tasks
from mullover.errors import OptionError
from mullover.tasks.school import FAMILIES, GRADES, SPLITS, Family, drawn
from mullover.tasks.school.words import common, split_of_word
from mullover.types import Candidate, Prompt, Sample

MANY = 40
STRAIGHT = [f for f in FAMILIES.values() if f.kind != "expression" and f.name != "open"]  # one right answer


@pytest.fixture(params=list(FAMILIES.values()), ids=list(FAMILIES))
def family(request: pytest.FixtureRequest) -> Family[Any]:
    return request.param  # type: ignore[no-any-return]


def some(family: Family[Any], many: int = MANY, split: Any = "train") -> list[Any]:
    return [drawn(family, grade, split, 3, i) for grade in GRADES for i in range(many)]


def graded(family: Family[Any], facts: Any, answer: str) -> float | None:
    said = f"ANSWER: {answer}"
    (score,) = asyncio.run(family.scorer(facts)(Prompt.of(""), [Candidate.of(Sample(said, "eos"))]))
    return score.value


def test_a_problem_depends_on_its_place_alone(family: Family[Any]) -> None:
    assert some(family, 5) == some(family, 5)
    assert len({item.question for item in some(family, 20)}) > 60


def test_no_content_is_in_two_splits(family: Family[Any]) -> None:
    contents = {split: {family.content(item.facts) for item in some(family, 100, split)} for split in SPLITS}
    assert all(contents.values())
    assert not any(contents[a] & contents[b] for a, b in product(SPLITS, SPLITS) if a != b)


def test_its_right_answer_is_graded_right_and_others_wrong(family: Family[Any]) -> None:
    items = some(family, 6)
    assert all(graded(family, item.facts, family.answer(item.facts)) == 1.0 for item in items)
    for item, other in pairwise(items):
        if family.answer(item.facts) != family.answer(other.facts) and family in STRAIGHT:
            assert graded(family, item.facts, family.answer(other.facts)) == 0.0


def test_a_chain_in_any_style_leads_to_a_right_answer(family: Family[Any]) -> None:
    for item, style in product(some(family, 8), family.styles):
        chain = family.chain(item.facts, style, wording=item.grade)
        assert chain.slip is None and graded(family, item.facts, chain.answer) == 1.0
        assert all(step and "\n" not in step and len(step) <= 200 for step in chain.steps)
        assert chain == family.chain(item.facts, style, wording=item.grade)


def test_a_slip_leaves_what_is_before_it_and_makes_its_own_step_another(family: Family[Any]) -> None:
    for item, style in product(some(family, 8), family.styles):
        clean = family.chain(item.facts, style, 7)
        for slip in family.slips(item.facts, style):
            wrong = family.chain(item.facts, style, 7, slip)
            assert wrong.slip == slip and wrong.steps[:slip] == clean.steps[:slip]
            assert wrong.steps[slip] != clean.steps[slip]


@pytest.mark.parametrize("family", STRAIGHT, ids=lambda f: f.name)
def test_most_slips_make_the_answer_wrong(family: Family[Any]) -> None:
    wrong = [
        family.chain(item.facts, style, 1, slip).answer != family.answer(item.facts)
        for item, style in product(some(family, 8), family.styles)
        for slip in family.slips(item.facts, style)
    ]
    assert sum(wrong) > 0.55 * len(wrong)


def test_grades_get_longer(family: Family[Any]) -> None:
    means = []
    for grade in GRADES:
        chains = [family.chain(drawn(family, grade, "train", 5, i).facts, family.styles[-1]) for i in range(MANY)]
        means.append(sum(len(" ".join(chain.steps)) for chain in chains))
    assert means[0] < means[2] < means[4]


def test_a_guess_is_a_chance_and_rare_at_the_higher_grades(family: Family[Any]) -> None:
    middle_of_three = 1.0 if family.name == "order" else 0.5  # the only one who is named twice
    assert all(0 <= family.guess(item.facts) <= middle_of_three for item in some(family, 10))
    hardest = [family.guess(drawn(family, 5, "test", 0, i).facts) for i in range(20)]
    assert sum(hardest) / len(hardest) <= 0.25


@pytest.mark.parametrize("grade", GRADES)
@pytest.mark.parametrize("name", [family.name for family in STRAIGHT])
def test_always_saying_the_commonest_answer_is_no_better_than_a_guess(name: str, grade: int) -> None:
    problems = tasks.load(f"school/{name}/{grade}").problems
    commonest = max(Counter(problem.answer for problem in problems).values()) / len(problems)
    guess = sum(problem.facts["guess"] for problem in problems) / len(problems)
    assert commonest <= guess + 0.06  # the smallest task, sums 1, has 33 problems


def test_the_lecture_s_questions_are_for_testing() -> None:
    assert FAMILIES["story"].held == {"('total', ('has', 3, False, (('more', 2, False, ()),)))"}
    contents = (FAMILIES["story"].content(drawn(FAMILIES["story"], 1, "train", 0, i).facts) for i in range(5000))
    assert not FAMILIES["story"].held & set(contents)
    assert {split_of_word(word) for word in ("artificial", "intelligence", "strawberry")} == {"test"}
    assert all({"artificial", "intelligence", "strawberry"}.isdisjoint(common()[s]) for s in ("train", "dev"))


def test_letters_of_a_test_are_of_words_that_no_training_problem_has() -> None:
    for name in ("last_letters", "letter_count"):
        family = FAMILIES[name]
        words = {}
        for split in SPLITS:
            facts = [item.facts for item in some(family, 60, split)]
            words[split] = {w for f in facts for w in (f if name == "last_letters" else f[0])}
        assert not words["train"] & words["test"] and not words["dev"] & words["test"]


def test_words_whose_letters_are_for_testing_stand_in_no_other_problem_and_no_principle() -> None:
    others = [family for name, family in FAMILIES.items() if name not in ("last_letters", "letter_count")]
    texts = [family.principle for family in FAMILIES.values()]
    for family in others:
        for item in some(family, 60):
            texts += [item.question, *family.chain(item.facts, family.styles[-1]).steps]
    seen = {word for text in texts for word in re.findall("[a-z]+", text.lower())}
    held = {*common()["dev"], *common()["test"]}
    assert not {form for word in held for form in (word, f"{word}s")} & seen


def test_the_same_sum_in_another_order_is_the_same_problem() -> None:
    sums = FAMILIES["sums"]
    assert sums.split((7, 12, -3)) == sums.split((12, 7, -3)) and sums.content((7, 12)) == sums.content((12, 7))


def test_numbers_are_in_the_same_split_in_both_families_that_combine_them() -> None:
    make, countdown = FAMILIES["make"], FAMILIES["countdown"]
    assert all(countdown.split(item.facts) == "test" for item in some(make, 20, "test"))


def test_a_family_and_grade_is_a_task() -> None:
    task = tasks.load("school/sums/3")
    assert len(task) == 400 and len({one.question for one in task}) == 400 and task.kind == "number"
    assert task == tasks.load("school/sums/3") and task.sha256 != tasks.load("school/sums/3/dev").sha256
    one = task.problems[0]
    (score,) = asyncio.run(task.grade(one)(one.prompt(), [Candidate(f"ANSWER: {one.answer}")]))
    assert score.value == 1.0 and 0 < one.facts["guess"] < 0.1


def test_easy_grades_may_have_fewer_problems() -> None:
    assert 20 < len(tasks.load("school/sums/1")) < 400


@pytest.mark.parametrize(
    "name", ["school", "school/sums", "school/sums/6", "school/sum/1", "school/sums/1/all", "school/sums/1/dev/2"]
)
def test_what_is_no_task_of_school_is_told_with_what_there_is(name: str) -> None:
    with pytest.raises(OptionError, match="families are sums, story"):
        tasks.load(name)


def test_no_grade_or_split_but_those_there_are() -> None:
    with pytest.raises(OptionError, match="grades are 1 to 5"):
        drawn(FAMILIES["sums"], 6, "test", 0, 0)


@pytest.mark.parametrize(
    "name, form", [("swaps", "the {}"), ("swaps", "a {}"), ("circuits", "spaced"), ("last_letters", "spaced")]
)
def test_an_answer_may_be_written_in_other_ways(name: str, form: str) -> None:
    family = FAMILIES[name]
    for item in some(family, 10):
        answer = family.answer(item.facts)
        if family.accepted(item.facts):
            assert graded(family, item.facts, " ".join(answer) if form == "spaced" else form.format(answer)) == 1.0


@pytest.mark.parametrize("name", ["sums", "story", "letter_count"])
def test_a_number_must_be_worked_out(name: str) -> None:
    family = FAMILIES[name]
    for item in some(family, 3):
        right = family.answer(item.facts)
        for written in (right, f"{right}.", f"**{right}**", f"{right} of them", f"{right}.0", f"${right}$"):
            assert graded(family, item.facts, written) == 1.0
        for wrong in (
            f"{right} + 0",
            f"{right}-0",
            f"1 * {right}",
            f"2*{right}/2",
            f"({right} + 1) - 1",
        ):
            assert graded(family, item.facts, wrong) in (0.0, None)


def test_the_question_of_a_sum_is_not_its_answer() -> None:
    for item in some(FAMILIES["sums"], 20):
        signs = "".join(re.findall(r"[\d+ -]", item.question)).strip(" -")
        assert graded(FAMILIES["sums"], item.facts, signs) == 0.0


def test_shortcuts_of_swaps_and_open_are_what_they_say() -> None:
    swaps, wishes = FAMILIES["swaps"], FAMILIES["open"]
    hits = [[swaps.shortcut(drawn(swaps, grade, "test", 0, i).facts) for i in range(100)] for grade in GRADES]
    assert all(hits[0]) and 35 < sum(hits[1]) < 65 and sum(hits[4]) < 35
    for item in some(wishes):
        wish = item.facts
        words = [wish.first, *(word for word in wish.words if word not in (wish.first, wish.last))]
        words = [word for word in words if word] + ["so"] * ((wish.length or 0) - len(words) - 2)
        words += ["so"] * max(0, (wish.length or 0) - len([w for w in words if w]) - (wish.last is not None))
        words += [wish.last] if wish.last else []
        text = " ".join(words)
        assert wishes.shortcut(wish) and wishes.fits(wish, text[0].upper() + text[1:] + "."), (wish, text)
    assert not any(
        family.shortcut(item.facts) for family in (FAMILIES["sums"], FAMILIES["order"]) for item in some(family, 3)
    )
