"""Countdown: the way leads to the target, and false steps do not."""

from random import Random

import pytest

from mullover.scorers.arithmetic import parse
from mullover.tasks.school.combine import Puzzle
from mullover.tasks.school.countdown import Countdown, reaches

FAMILY = Countdown()
PUZZLE = Puzzle((3, 7, 12), 33, ((7, "*", 3), (21, "+", 12)))


def some(count: int = 300) -> list[Puzzle]:
    rng = Random(5)
    return [FAMILY.draw(rng, 1 + i % 5, "train") for i in range(count)]


def test_a_straight_chain_tells_what_is_left_and_ends_with_the_expression() -> None:
    chain = FAMILY.chain(PUZZLE, "straight")
    assert chain.steps == ("7 * 3 = 21, left 12 21", "21 + 12 = 33, left 33", "33 = 7 * 3 + 12")
    assert chain.answer == FAMILY.answer(PUZZLE) == "7 * 3 + 12"


def test_a_number_that_is_not_needed_stays_left() -> None:
    chain = FAMILY.chain(Puzzle((5, 2, 4), 8, ((4, "*", 2),)), "straight")
    assert chain.steps == ("4 * 2 = 8, left 5 8", "8 = 4 * 2")


@pytest.mark.parametrize("style", FAMILY.styles)
def test_the_expression_uses_given_numbers_and_equals_the_target(style: str) -> None:
    for facts in some():
        chain = FAMILY.chain(facts, style)
        value, used = parse(chain.answer)
        left = list(facts.numbers)
        for number in used:
            left.remove(number)
        assert value == facts.target and facts.target not in facts.numbers
        assert chain.steps[-1] == f"{facts.target} = {chain.answer}"


def test_every_line_of_a_search_is_true_and_follows_from_what_was_left() -> None:
    for facts in some():
        left = list(facts.numbers)
        for line in FAMILY.chain(facts, "search").steps[:-1]:
            equation, _, state = line.partition(", left ")
            (value, used), said = parse(equation), int(equation.partition(" = ")[2])
            for number in used:
                left.remove(number)
            left.append(said)
            state, _, failed = state.partition(", not ")
            assert value == said and sorted(left) == sorted(int(number) for number in state.split())
            if failed:
                assert not reaches(left, facts.target)
                left = list(facts.numbers)
        assert facts.target == left[-1]


def test_where_all_numbers_are_needed_two_of_three_do_not_reach_the_target() -> None:
    rng = Random(6)
    for _ in range(200):
        facts = FAMILY.draw(rng, 3, "train")
        a, b, c = facts.numbers
        for x, y in ((a, b), (a, c), (b, c)):
            assert facts.target not in (x + y, abs(x - y), x * y)


@pytest.mark.parametrize("style", FAMILY.styles)
def test_a_slip_never_leads_to_the_target(style: str) -> None:
    for facts in some(100):
        for slip in FAMILY.slips(facts, style):
            assert parse(FAMILY.chain(facts, style, slip=slip).answer)[0] != facts.target
