"""Letters counted in words."""

from collections import Counter
from random import Random

import pytest

from mullover import tasks
from mullover.tasks.school.family import drawn
from mullover.tasks.school.letter_count import LENGTHS, LetterCount
from mullover.tasks.school.words import common

FAMILY = LetterCount()
CARROT = (("carrot",), "r")


def test_places_worked_out_by_hand() -> None:
    assert FAMILY.chain(CARROT, "positions", wording=2).steps[0] == "c a r r o t"
    assert any(
        FAMILY.chain(CARROT, "positions", wording).steps == ("c a r r o t", "r at 3, 4", "that is 2")
        for wording in range(9)
    )


def test_a_tally_worked_out_by_hand() -> None:
    assert FAMILY.chain(CARROT, "tally").steps == ("c 0", "a 0", "r 1", "r 2", "o 2", "t 2")


def test_two_words_are_added() -> None:
    chain = FAMILY.chain((("carrot", "river"), "r"), "positions")
    assert chain.steps[-1] == "2 + 2 = 4" and chain.answer == "4"


@pytest.mark.parametrize("grade", [1, 2, 3, 4, 5])
def test_the_answer_is_the_count_and_the_last_step_shows_it(grade: int) -> None:
    for i in range(60):
        facts = drawn(FAMILY, grade, "train", 0, i).facts
        words, letter = facts
        assert all(LENGTHS[grade][0] <= len(word) <= LENGTHS[grade][1] for word in words)
        right = str(sum(each == letter for word in words for each in word))
        for style in FAMILY.styles:
            chain = FAMILY.chain(facts, style, i)
            assert FAMILY.answer(facts) == chain.answer == right == chain.steps[-1].split()[-1]


def test_a_slip_is_followed() -> None:
    for wording in range(30):
        for slip in range(3):
            chain = FAMILY.chain(CARROT, "positions", wording, slip)
            spelled, places, count = chain.steps
            right = [str(i) for i, each in enumerate(spelled.split(), 1) if each == "r"]
            listed = [word.strip(",") for word in places.split() if word.strip(",").isdigit()]
            assert (spelled != "c a r r o t") == (slip == 0)
            assert (listed != right) == (slip == 1)
            assert (count.split()[-1] != str(len(listed))) == (slip == 2)
            assert chain.answer == count.split()[-1]


def test_every_step_of_a_tally_can_slip() -> None:
    clean = FAMILY.chain(CARROT, "tally").steps
    for wording in range(30):
        for slip in range(6):
            steps = FAMILY.chain(CARROT, "tally", wording, slip).steps
            assert steps[:slip] == clean[:slip] and steps[slip] != clean[slip]


@pytest.mark.parametrize("grade", [1, 2, 3, 4])
def test_each_problem_of_a_task_has_a_word_of_its_own(grade: int) -> None:
    words = [problem.facts["facts"][0] for problem in tasks.load(f"school/letter_count/{grade}").problems]
    assert len(words) == len(set(words)) > 80


def test_counts_are_spread() -> None:
    answers = Counter(FAMILY.answer(FAMILY.draw(Random(i), 4, "train")) for i in range(500))
    assert all(answers[count] > 25 for count in "01234"[:4])


def test_words_of_a_test_are_common_ones_of_that_split() -> None:
    for i in range(50):
        assert set(FAMILY.draw(Random(i), 3, "test")[0]) <= set(common()["test"])


def test_the_wording_that_a_test_holds_out_is_not_asked() -> None:
    facts = (("strawberry",), "r")
    assert all(FAMILY.ask(facts, Random(i)) != "How many r's are in strawberry?" for i in range(100))
