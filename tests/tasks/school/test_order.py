import re
from itertools import permutations
from random import Random

import pytest

from mullover.tasks.school.order import RANKS, SCALES, Line, Order

FAMILY = Order()
THREE = Line(0, 0, 1, ("Cal", "Ann", "Bob"), ((1, False), (0, True)))


def searched(question: str) -> list[str]:
    """Who can be meant: all orders are tried against the clues."""
    clues = re.findall(r"([A-Z][a-z]+) is (\w+) than ([A-Z][a-z]+)", question)
    who = re.search(r"is the (\w+ )?(\w+)[?]", question)
    assert who
    end = {most: than for scale in SCALES for than, most in scale}[who[2]]
    before = [(a, b) if than == end else (b, a) for a, than, b in clues]
    names = sorted({name for pair in before for name in pair})
    right = [p for p in permutations(names) if all(p.index(a) < p.index(b) for a, b in before)]
    return [order[RANKS.index(who[1] or "")] for order in right]


def test_the_list_goes_down_from_the_end_that_is_asked_for() -> None:
    assert FAMILY.answer(THREE) == "Ann"
    assert FAMILY.chain(THREE, "list").steps == (
        "Ann > Bob, Cal > Ann",
        "1 Cal > 2 Ann",
        "2 Ann > 3 Bob",
        "Second oldest: Ann",
    )
    youngest = Line(0, 1, 0, ("Bob", "Ann", "Cal"), ((0, True), (1, True)))
    assert FAMILY.chain(youngest, "list").steps == (
        "Bob < Ann, Ann < Cal",
        "1 Bob < 2 Ann",
        "2 Ann < 3 Cal",
        "Youngest: Bob",
    )
    assert FAMILY.chain(THREE, "sentences").steps[0] == "Ann > Bob, Cal > Ann"
    assert FAMILY.chain(THREE, "sentences").steps[-1] == "The second oldest is Ann."


def test_the_same_order_from_the_other_end_is_the_same_content() -> None:
    turned = Line(0, 1, 1, ("Bob", "Ann", "Cal"), ((0, True), (1, True)))
    assert FAMILY.content(turned) == FAMILY.content(THREE)


@pytest.mark.parametrize("grade", (1, 2, 3, 4))
def test_only_one_person_fits_the_clues(grade: int) -> None:
    rng = Random(grade)
    for _ in range(75 if grade < 4 else 20):
        facts = FAMILY.draw(rng, grade, "train")
        question = FAMILY.ask(facts, rng)
        assert searched(question) == [FAMILY.answer(facts)], question
        for style in FAMILY.styles:
            assert FAMILY.answer(facts) in FAMILY.chain(facts, style).steps[-1]


def test_a_slip_names_someone_who_is_not_of_that_number() -> None:
    rng = Random(5)
    for _ in range(100):
        facts = FAMILY.draw(rng, 5, "train")
        for slip in FAMILY.slips(facts, "list")[:-1]:
            line = FAMILY.chain(facts, "list", slip, slip).steps[slip]
            numbered = re.findall(r"(\d) ([A-Z][a-z]+)", line)
            assert any(facts.people[int(number) - 1] != name for number, name in numbered)
