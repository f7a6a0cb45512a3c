"""Floating point parts answers; it never joins them, and never parts equal ones."""

import pytest

from mullover.answers import key
from mullover.answers.numeric import apart
from mullover.types import AnswerSpec

MATH = AnswerSpec("math")


@pytest.mark.parametrize(
    "a, b",
    [
        (r"\frac{7\sqrt{3}}{5}", r"\frac{7\sqrt{2}}{5}"),
        ("x^2+3x-5", "x^2+3x+5"),
        (r"a\pi", r"2a\pi"),
        ("2^n", "2^m"),
        (r"\sqrt[3]{5}+1", r"\sqrt[3]{5}"),
        ("3+2i", "3-2i"),
        (r"\frac{1}{1+x}", r"\frac{1}{1-x}"),
    ],
)
def test_different_values_are_apart(a: str, b: str) -> None:
    assert apart(key(a, MATH), key(b, MATH))


@pytest.mark.parametrize(
    "a, b",
    [
        ("(x+1)^2*(x-1)", "(x+1)*(x^2-1)"),
        ("2^(1/2)*3^(1/2)", "6^(1/2)"),
        ("sin(1)", "2"),
        ("(1,2)", "(1,3)"),
        ("(-8)^(1/3)", "-2"),
        ("9^(9^(9^9))", "2"),
        ("1/0", "1"),
        ("x=3", "x=4"),
        ("(" * 150 + "1" + ")" * 150, "2"),
        ("", "1"),
        ("1+", "1"),
    ],
)
def test_what_may_be_equal_or_is_not_known_is_not_parted(a: str, b: str) -> None:
    assert not apart(a, b)
