"""Circuits: gates give what Python's operators give."""

import re
from operator import and_, or_, xor
from random import Random

import pytest

from mullover.tasks.school.circuits import Circuit, Circuits

FAMILY = Circuits()
CIRCUIT = Circuit((1, 0, 1), (("and", 0, 1), ("not", 3, 3), ("or", 4, 2)))  # d = a and b, e = not d, f = e or c


def some(count: int = 300) -> list[Circuit]:
    rng = Random(9)
    return [FAMILY.draw(rng, 1 + i % 5, "train") for i in range(count)]


def recomputed(question: str) -> str:
    """From the words of the question alone."""
    values = {name: int(bit == "T") for name, bit in re.findall(r"\b([a-z]) = ([FT])\b", question)}
    for name, first, sign, second in re.findall(r"\b([a-z]) = (?:([a-z]) (and|or|xor)|not) ([a-z])\b", question):
        signs = {"and": and_, "or": or_, "xor": xor}
        values[name] = signs[sign](values[first], values[second]) if sign else 1 - values[second]
    return "".join("FT"[bit] for bit in values.values())


def test_a_short_chain_puts_in_the_bits() -> None:
    chain = FAMILY.chain(CIRCUIT, "short")
    assert chain.steps == ("d = T and F = F", "e = not F = T", "f = T or T = T", "d, e, f: F T T")
    assert chain.answer == FAMILY.answer(CIRCUIT) == "FTT"


def test_a_chain_in_words_names_the_inputs_first() -> None:
    assert FAMILY.chain(CIRCUIT, "words").steps[:2] == (
        "d is a and b, that is T and F, so d is F",
        "e is not d, that is not F, so e is T",
    )


def test_the_question_tells_inputs_and_gates() -> None:
    assert "a = T, b = F, c = T" in FAMILY.ask(CIRCUIT, Random(0))
    assert "d = a and b. e = not d. f = e or c" in FAMILY.ask(CIRCUIT, Random(0))


def test_answers_are_those_of_the_question_recomputed() -> None:
    for facts in some():
        count = len(facts.asked)
        assert FAMILY.answer(facts) == recomputed(FAMILY.ask(facts, Random(1)))[-count:]


@pytest.mark.parametrize("style", FAMILY.styles)
def test_the_last_step_shows_the_answer(style: str) -> None:
    for facts in some():
        chain = FAMILY.chain(facts, style)
        assert chain.answer == FAMILY.answer(facts) == chain.steps[-1].partition(": ")[2].replace(" ", "")


def test_a_gate_that_goes_wrong_carries_on() -> None:
    found = {FAMILY.chain(CIRCUIT, "short", wording, slip=0).steps for wording in range(20)}
    assert found == {
        ("d = T and F = T", "e = not T = F", "f = F or T = T", "d, e, f: T F T"),
        ("d = T and T = T", "e = not T = F", "f = F or T = T", "d, e, f: T F T"),
    }


def test_two_orders_of_the_inputs_of_a_gate_are_one_content() -> None:
    assert FAMILY.content(Circuit((1, 0), (("and", 0, 1),))) == FAMILY.content(Circuit((1, 0), (("and", 1, 0),)))


def test_names_of_inputs_are_no_content() -> None:
    one = Circuit((1, 0, 0), (("and", 0, 1), ("xor", 3, 2)))
    for other in (
        Circuit((0, 1, 0), (("and", 1, 0), ("xor", 3, 2))),
        Circuit((1, 0, 0), (("and", 0, 2), ("xor", 3, 1))),
    ):
        assert FAMILY.content(one) == FAMILY.content(other)
    assert FAMILY.content(one) != FAMILY.content(Circuit((1, 0, 0), (("and", 0, 1), ("xor", 3, 1))))
