"""Tokens to text: stop strings across tokens, reasoning as `mullover.backends.thinking` tells it, ends."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.models import Letters, Table, ask, engine_of, heard, run

from mullover.backends.thinking import is_open, thought
from mullover.engine.rules import Bias, Forced
from mullover.engine.text import Spoken

THINK = ("<think>", "</think>")


class Parts:
    """A stream whose tokens are numbers of texts."""

    def __init__(self, texts: Sequence[str], rest: str = "") -> None:
        self.texts, self.left = texts, rest

    def push(self, token: int) -> str:
        return self.texts[token]

    def rest(self) -> str:
        left, self.left = self.left, ""
        return left


def spoken(texts: Sequence[str], stops: Sequence[str] = (), opened: bool = False, rest: str = "") -> Spoken:
    one = Spoken(Parts(texts, rest), stops, THINK, opened)
    for token in range(len(texts)):
        one.say(token, False)
    return one


PIECES = st.lists(
    st.sampled_from(["<think>", "</think>", "<", "think", ">", "</", "<thi", "nk>", "a", " ", "\n", "", "so ", "8"]),
    max_size=14,
)


@settings(max_examples=500, deadline=None)
@given(PIECES, st.booleans())
def test_thought_and_inside_are_those_of_the_whole_text(pieces: list[str], opened: bool) -> None:
    one = Spoken(Parts(pieces), (), THINK, opened)
    for token in range(len(pieces)):
        one.say(token, False)
        text = "".join(pieces[: token + 1])
        assert one.text == text
        assert one.thought == thought(text, THINK, opened)
        assert one.inside == (is_open(text, THINK) or (opened and THINK[1] not in text))
    assert one.offsets == [len("".join(pieces[:i])) for i in range(len(pieces))]


@settings(max_examples=300, deadline=None)
@given(PIECES.map(lambda pieces: [piece for piece in pieces if piece]), st.booleans())
def test_reasoning_tokens_are_those_that_begin_within_the_thought(pieces: list[str], opened: bool) -> None:
    one = spoken(pieces, opened=opened)
    assert one.reasoning == sum(offset < one.thought for offset in one.offsets)


@pytest.mark.parametrize(
    ("pieces", "opened", "size", "tokens"),
    [
        (["<think>", "a", "</think>", "8"], False, 16, 3),
        ([" ", "<thi", "nk>", "a", "</", "think>", "8"], False, 17, 6),
        (["a", "</think>", "8"], True, 9, 2),
        (["a", "b"], True, 2, 2),
        (["8", "<think>", "a", "</think>"], False, 0, 0),
        (["<think>", "a", "</think>", "8", "<think>", "b"], False, 16, 3),
        (["<think></think>", "8"], False, 15, 1),
        (["a</think>8", "9"], True, 9, 1),
    ],
)
def test_only_reasoning_that_the_text_begins_with_counts(
    pieces: list[str], opened: bool, size: int, tokens: int
) -> None:
    one = spoken(pieces, opened=opened)
    assert (one.thought, one.reasoning) == (size, tokens)


def test_an_end_token_within_reasoning_is_no_reasoning() -> None:
    one = spoken(["<think>", "a"])
    one.say(0, True)
    assert (one.thought, one.reasoning) == (8, 2)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.text("ab", max_size=3), max_size=12),
    st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3),
)
def test_a_stop_string_is_found_with_the_token_that_completes_it(pieces: list[str], stops: list[str]) -> None:
    one = Spoken(Parts(pieces), stops, None, False)
    for token in range(len(pieces)):
        new = one.say(token, False)
        found = one.stopped(new)
        assert found == any(stop in one.text for stop in stops)
        if found:
            break


def test_the_end_token_brings_what_is_left_and_has_no_text() -> None:
    one = Spoken(Parts(["a", "b"], "?"), (), None, False)
    one.say(0, False)
    assert one.say(7, True) == "?" and one.text == "a?"
    assert one.offsets == [0, 1]


def test_without_an_end_token_what_is_left_comes_at_the_finish() -> None:
    one = spoken(["<think>", "a"], rest="?")
    assert one.finish() == "?"
    assert (one.text, one.thought) == ("<think>a?", 9)


def chain(*texts: str) -> tuple[Table, Letters]:
    """A model that says these texts one after another, token i the i-th."""
    size = len(texts) + 1
    rows = torch.full((size, size), -100.0)
    for token in range(size):
        rows[token, (token + 1) % size] = 0.0
    return Table(rows), Letters(ends=[0], think=THINK, texts=dict(enumerate(texts, 1)))


class TestSamples:
    def test_a_stop_that_spans_tokens_ends_the_sample_and_is_kept(self) -> None:
        table, letters = chain("x", "ST", "O", "P!", "y")
        request = ask([0], temperature=0, stop=("nothing", "STOP"))
        (sample,) = run(engine_of(table, letters), [request])[0]
        assert (sample.text, sample.finish, sample.ids) == ("xSTOP!", "stop", (1, 2, 3, 4))
        assert sample.offsets == (0, 1, 3, 4)

    def test_a_stop_string_of_the_prompt_stops_nothing(self) -> None:
        table, letters = chain("S", "T", "O")
        (sample,) = run(engine_of(table, letters), [ask([1], temperature=0, stop=("ST",))])[0]
        assert (sample.text, sample.finish) == ("TO", "eos")

    def test_the_end_has_its_id_and_logprob_and_no_text(self) -> None:
        table, letters = chain("a", "b")
        (sample,) = run(engine_of(table, letters), [ask([0], temperature=0)])[0]
        assert (sample.text, sample.finish, sample.ids) == ("ab", "eos", (1, 2, 0))
        assert len(sample.logprobs or ()) == 3 and sample.offsets == (0, 1, 2)

    def test_reasoning_is_told_in_characters_and_tokens(self) -> None:
        table, letters = chain("<th", "ink>", "so", "</think>", "8")
        (sample,) = run(engine_of(table, letters), [ask([0], temperature=0)])[0]
        assert (sample.reasoning, sample.answer) == ("<think>so</think>", "8")
        assert sample.usage.reasoning_tokens == 4 and sample.usage.completion_tokens == 6

    def test_reasoning_that_the_prompt_began_is_reasoning(self) -> None:
        table, letters = chain("so", "</think>", "8")
        (sample,) = run(engine_of(table, letters), [ask([0], temperature=0, opened=True)])[0]
        assert (sample.reasoning, sample.answer, sample.usage.reasoning_tokens) == ("so</think>", "8", 2)

    def test_a_forced_end_of_reasoning_is_one(self) -> None:
        table, letters = chain("so", "</think>", "8")
        rules = [Forced((2, 3), 1, "thinking")]
        (sample,) = run(engine_of(table, letters), [ask([0], temperature=0, opened=True, rules=rules)])[0]
        assert (sample.reasoning, sample.answer) == ("so</think>", "8")

    def test_a_rule_for_the_answer_does_not_hold_in_the_thought(self) -> None:
        table, letters = chain("<think>", "so", "</think>", "8", "9")
        rules = [Bias(frozenset([2, 5]), -1000.0, "answer")]
        (sample,) = run(engine_of(table, letters), [ask([0], temperature=0, rules=rules, max_tokens=5)])[0]
        assert sample.ids[:4] == (1, 2, 3, 4) and sample.ids[4] not in (2, 5)

    def test_max_tokens_within_a_character_brings_the_rest(self) -> None:
        class Late(Letters):
            def stream(self, before: Sequence[int]) -> "Late":
                return Late()

            def push(self, token: int) -> str:
                return ""

            def rest(self) -> str:
                return "\ufffd"

        table, _ = chain("a", "b", "c")
        request = ask([0], temperature=0, max_tokens=2)
        (sample,) = run(engine_of(table, Late()), [request])[0]
        assert (sample.text, sample.finish, sample.offsets) == ("\ufffd", "length", (0, 0))
        assert "".join(event.text for event in heard(request).events) == sample.text
