"""Game of 24 and Countdown: parsed, exact, bounded."""

import asyncio
from fractions import Fraction

import pytest

from mullover.scorers.arithmetic import NotArithmetic, countdown, game24, parse
from mullover.types import AnswerSpec, Candidate, Prompt, Sample

ASKED = Prompt.of("Make 24.", AnswerSpec("expression"))


def value(*numbers: int, said: str, target: int = 24) -> float | None:
    return asyncio.run(game24(numbers, target)(ASKED, [Candidate(said)]))[0].value


@pytest.mark.parametrize(
    "said",
    [
        "ANSWER: (10 - 4) * (5 - 1)",
        "Answer: (10 - 4) * (5 - 1) = 24",
        "Steps:\n10 - 4 = 6 (left: 1 5 6)\n5 - 1 = 4\n6 * 4 = 24 (left: 24)\nAnswer: (10 - 4) * (5 - 1) = 24",
        "ANSWER: (10 − 4) × (5 − 1) = 24.",
        "ANSWER: [10 - 4] * (5 - 1)",
        "(10 - 4) * (5 - 1) = 24",
    ],
)
def test_every_usual_way_to_write_a_solution_is_read(said: str) -> None:
    assert value(10, 4, 5, 1, said=said) == 1.0


@pytest.mark.parametrize(
    "said",
    [
        "ANSWER: (10 - 4) * 4",  # not all numbers
        "ANSWER: (10 - 4) * (5 - 1) * (4 / 4)",  # one too often
        "ANSWER: 10 + 4 + 5 + 1",  # 20
        "ANSWER: (10 - 4) * (5 - 1",
        "ANSWER: (10 - 4) ** (5 - 1)",
        "ANSWER: 10 / (5 - 4 - 1)",  # divides by zero
        "ANSWER: 10 - 4 * __import__('os').getpid()",
    ],
)
def test_anything_else_that_is_stated_is_wrong(said: str) -> None:
    assert value(10, 4, 5, 1, said=said) == 0.0


@pytest.mark.parametrize("said", ["", "This is hard.", "ANSWER: not possible", "Answer: None"])
def test_no_expression_is_not_judged(said: str) -> None:
    assert value(10, 4, 5, 1, said=said) is None


@pytest.mark.parametrize(
    "written, right",
    [
        (r"(10-4)\times(5-1)", 1.0),
        (r"$\left(10-4\right)\cdot(5-1)=24$", 1.0),
        ("(10-4)(5-1)", 0.0),
        ("10 4 5 1", 0.0),
        ("24", 0.0),
        ("none", 0.0),
        ("(10 - 4) * (5 - 1) is it", 0.0),
    ],
)
def test_an_answer_already_read_is_parsed_as_it_stands(written: str, right: float) -> None:
    given = Candidate("", value=written)
    assert asyncio.run(game24([10, 4, 5, 1])(ASKED, [given]))[0].value == right


def test_an_expression_cut_by_length_is_not_judged() -> None:
    cut = Candidate.of(Sample("(10 - 4) * (5", "length"))
    assert asyncio.run(game24([10, 4, 5, 1])(ASKED, [cut]))[0].value is None


def test_fractions_are_exact() -> None:
    assert value(3, 3, 8, 8, said="ANSWER: 8 / (3 - 8 / 3)") == 1.0
    assert parse("1/3 + 1/3 + 1/3") == (Fraction(1), [1, 3, 1, 3, 1, 3])


def test_a_number_given_twice_may_be_used_twice() -> None:
    assert value(6, 6, 6, 6, said="ANSWER: 6 + 6 + 6 + 6") == 1.0
    assert value(6, 6, 6, 5, said="ANSWER: 6 + 6 + 6 + 6") == 0.0


def test_a_number_may_be_left_over_only_where_that_is_allowed() -> None:
    said = Candidate("ANSWER: 100 - 77")
    asked = [asyncio.run(countdown([100, 77, 5], 23, all_numbers=a)(ASKED, [said]))[0].value for a in (True, False)]
    assert asked == [0.0, 1.0]


@pytest.mark.parametrize(
    "text",
    [
        "(" * 10_000 + "1",
        "-" * 390 + "1",
        "1+" * 1000 + "1",
        "9" * 300,
        "1.5 + 2",
        "2^3",
        "1e9",
        "",
        "()",
        "= 24",
        "１２",
    ],
)
def test_limits_of_length_depth_and_form_hold(text: str) -> None:
    with pytest.raises(NotArithmetic):
        parse(text)


def test_the_score_says_why() -> None:
    (score,) = asyncio.run(game24([1, 2, 3, 4])(ASKED, [Candidate("ANSWER: 1 + 2 + 3 + 4")]))
    assert score.why == "10 against 24"
