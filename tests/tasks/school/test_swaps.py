import re
from dataclasses import replace
from random import Random

import pytest

from mullover.tasks.school.swaps import Swapping, Swaps

FAMILY = Swaps()
PEOPLE = ("Amy", "Ben", "Cal", "Dan", "Eve")
TWO = Swapping(PEOPLE, ("red", "blue", "green", "pink", "gold"), ((0, 1), (2, 1)), 2)


def acted_out(question: str) -> str:
    start, rest = question.split(". ", 1)
    held: dict[str, str] = dict(re.findall(r"([A-Z][a-z]+) (?:has )?(?:a )?(\w+)", start))
    for a, b in re.findall(r"([A-Z][a-z]+) and ([A-Z][a-z]+)", rest):
        held[a], held[b] = held[b], held[a]
    who = re.search(r"does ([A-Z][a-z]+)", rest)
    assert who
    return held[who[1]]


def test_two_swaps() -> None:
    assert FAMILY.answer(TWO) == "red"
    first, second, end = FAMILY.chain(TWO, "follow").steps
    assert (first, second) == ("Amy and Ben swap: Amy blue, Ben red", "Cal and Ben swap: Cal red, Ben green")
    assert end.endswith(": Cal red")
    assert FAMILY.chain(TWO, "state").steps[1] == "Cal and Ben: Amy blue, Ben green, Cal red, Dan pink, Eve gold"


def test_what_follows_a_slip_follows_from_it() -> None:
    found = {FAMILY.chain(TWO, "follow", wording, 0).steps[:2] for wording in range(50)}
    assert ("Amy and Ben swap: Amy red, Ben blue", "Cal and Ben swap: Cal blue, Ben green") in found
    for first, second in found:
        assert first != "Amy and Ben swap: Amy blue, Ben red"
        assert second == f"Cal and Ben swap: Cal {first.split()[-1]}, Ben green"


@pytest.mark.parametrize("grade", (1, 2, 3, 4, 5))
def test_acting_it_out_gives_the_answer_and_the_last_step_shows_it(grade: int) -> None:
    rng = Random(grade)
    for _ in range(60):
        facts = FAMILY.draw(rng, grade, "train")
        question = FAMILY.ask(facts, rng)
        assert acted_out(question) == FAMILY.answer(facts), question
        for style in FAMILY.styles:
            assert FAMILY.chain(facts, style).steps[-1].endswith(" " + FAMILY.answer(facts))


def test_the_order_in_which_people_are_listed_is_no_content() -> None:
    one = Swapping(("Ann", "Ben", "Cal", "Dan", "Eve"), ("book", "kite", "doll", "drum", "bike"), ((0, 1), (3, 2)), 1)
    other = Swapping(("Ben", "Ann", "Cal", "Dan", "Eve"), ("kite", "book", "doll", "drum", "bike"), ((1, 0), (2, 3)), 0)
    assert FAMILY.content(one) == FAMILY.content(other)
    assert FAMILY.content(one) != FAMILY.content(replace(one, asked=0))
