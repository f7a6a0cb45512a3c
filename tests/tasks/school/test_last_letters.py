"""The last letters of words."""

from random import Random

import pytest

from mullover.tasks.school.family import drawn
from mullover.tasks.school.last_letters import ASKED, LastLetters
from mullover.tasks.school.words import common

FAMILY = LastLetters()


def test_a_short_chain_worked_out_by_hand() -> None:
    chain = FAMILY.chain(("river", "stone"), "short", wording=1)
    assert chain.steps[0] == "river: r"
    assert chain.steps[1].startswith("stone: e, ") and chain.steps[1].endswith(" re")
    assert chain.steps[2:] == ("Together: re",)
    assert chain.answer == FAMILY.answer(("river", "stone")) == "re"


def test_a_spelled_chain_shows_every_letter() -> None:
    chain = FAMILY.chain(("river", "stone"), "spelled")
    assert chain.steps[0] == "river is r i v e r, last r"
    assert chain.steps[-1] == "r e together is re"


@pytest.mark.parametrize("grade", [1, 2, 3, 4, 5])
def test_the_answer_is_what_the_words_end_with(grade: int) -> None:
    for i in range(60):
        item = drawn(FAMILY, grade, "train", 0, i)
        words = item.question.split('"')[1].split()
        assert FAMILY.answer(item.facts) == "".join(list(word).pop() for word in words)
        for style in FAMILY.styles:
            chain = FAMILY.chain(item.facts, style, i)
            assert chain.answer == FAMILY.answer(item.facts) == chain.steps[-1].split()[-1]


def test_a_slip_is_a_letter_of_its_word_that_is_not_the_last() -> None:
    for wording in range(30):
        chain = FAMILY.chain(("river", "stone", "lamp"), "short", wording, slip=1)
        assert chain.answer[0] + chain.answer[2] == "rp"
        assert chain.answer[1] in "ston"
        assert chain.steps[-1] == f"Together: {chain.answer}"


def test_the_last_step_can_slip_too() -> None:
    for style in FAMILY.styles:
        for wording in range(30):
            assert FAMILY.chain(("river",), style, wording, slip=1).answer in set("ive")
            assert FAMILY.chain(("river", "stone"), style, wording, slip=2).answer != "re"


def test_words_of_a_test_are_common_ones_of_that_split() -> None:
    assert set(FAMILY.draw(Random(3), 5, "test")) <= set(common()["test"])


def test_the_wordings_that_a_test_holds_out_are_not_asked() -> None:
    for held in ("output when", "last letters of each words", "and put them together"):
        assert not any(held in wording for wording in ASKED)
