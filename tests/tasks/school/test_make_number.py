"""Make a number: every number is used once, and false steps miss the goal."""

from random import Random

import pytest

from mullover.scorers.arithmetic import parse
from mullover.tasks.school.combine import Puzzle, Table, luck, ways_on
from mullover.tasks.school.make_number import MakeNumber

FAMILY = MakeNumber()
PUZZLE = Puzzle((2, 3, 4), 18, ((4, "+", 2), (6, "*", 3)))


def some(count: int = 300) -> list[Puzzle]:
    rng = Random(7)
    return [FAMILY.draw(rng, 1 + i % 5, "train") for i in range(count)]


def test_a_short_chain_proposes_steps_and_ends_with_the_expression() -> None:
    chain = FAMILY.chain(PUZZLE, "short")
    assert chain.steps == ("4 + 2 = 6 (left: 3 6)", "6 * 3 = 18 (left: 18)", "(4 + 2) * 3 = 18")
    assert chain.answer == FAMILY.answer(PUZZLE) == "(4 + 2) * 3"


def test_a_chain_from_the_goal_first_names_its_last_step() -> None:
    assert FAMILY.chain(PUZZLE, "goal").steps == ("Goal 18: 18 = 6 * 3", *FAMILY.chain(PUZZLE, "short").steps)
    assert list(FAMILY.slips(PUZZLE, "goal")) == [1, 2, 3]


def test_parentheses_stand_only_where_they_are_needed() -> None:
    table = Table((9, 5, 2, 7, 3))
    table.join((7, "-", 3), 4)
    table.join((5, "*", 2), 10)
    table.join((10, "-", 4), 6)
    table.join((9, "+", 6), 15)
    assert table.newest == "9 + 5 * 2 - (7 - 3)"


@pytest.mark.parametrize("style", FAMILY.styles)
def test_the_expression_uses_every_number_once_and_equals_the_target(style: str) -> None:
    for facts in some():
        chain = FAMILY.chain(facts, style)
        value, used = parse(chain.answer)
        assert value == facts.target and sorted(used) == sorted(facts.numbers)
        assert chain.steps[-1] == f"{chain.answer} = {facts.target}"


@pytest.mark.parametrize("style", FAMILY.styles)
def test_a_slip_is_one_false_equation_and_misses_the_target(style: str) -> None:
    for facts in some(100):
        for slip in FAMILY.slips(facts, style):
            chain = FAMILY.chain(facts, style, slip=slip)
            equations = [line.partition(" (left")[0].removeprefix(f"Goal {facts.target}: ") for line in chain.steps]
            false = [i for i, text in enumerate(equations[:-1]) if parse(text)[0] != parse(text.partition("=")[2])[0]]
            assert false == ([slip] if slip < len(equations) - 1 else [])
            value, used = parse(chain.answer)
            assert value != facts.target and sorted(used) == sorted(facts.numbers)


def test_ways_lead_from_each_value_to_the_target() -> None:
    assert ways_on((3,), 18, whole=True) == {
        15: ((15, "+", 3),),
        21: ((21, "-", 3),),
        6: ((6, "*", 3),),
    }
    assert set(ways_on((3,), 18, whole=False)) == {18, 15, 21, 6}


def test_luck_is_the_share_of_all_blind_ways_to_the_end() -> None:
    """2, 3, 4 to 24: only by products, in three orders of 27 ways; 12 is 3 * 4, one pair and sign of nine."""
    assert luck((2, 3, 4), 24, whole=True) == pytest.approx(3 / 27)
    assert luck((3, 5), 8, whole=True) == pytest.approx(1 / 3)
    assert luck((2, 3, 4), 12, whole=True) == 0
    assert luck((2, 3, 4), 12, whole=False) == pytest.approx(1 / 9)
    assert luck((2, 2), 4, whole=True) == pytest.approx(2 / 3)


def test_one_content_is_one_puzzle_in_any_order() -> None:
    other = Puzzle((4, 3, 2), 18, ((3, "*", 2), (6, "*", 3)))
    assert FAMILY.content(PUZZLE) == FAMILY.content(other) == "[2, 3, 4] to 18"
