"""Text falls into pieces that add up to it, whatever it is."""

from hypothesis import given, settings
from hypothesis import strategies as st

from mullover.backends.thinking import THINK, is_open, thought
from mullover.backends.words import pieces, shares, word_id, words

TEXTS = st.text(st.sampled_from("ab \n\t\u2028é<>/") | st.characters(), max_size=200)


@given(TEXTS, st.sampled_from([None, THINK]))
@settings(max_examples=100, deadline=None)
def test_words_and_pieces_add_up_to_the_text(text: str, think: tuple[str, str] | None) -> None:
    assert "".join(words(text, think)) == text
    assert "".join(pieces(text * 9)) == text * 9
    assert all(len(piece.split()) <= 16 for piece in pieces(text * 9))


def test_delimiters_of_reasoning_are_words_of_their_own() -> None:
    assert words("<think>a b</think> 8", THINK) == ["<think>", "a ", "b", "</think> ", "8"]
    assert words("a<b </think>8", THINK) == ["a<b ", "</think>", "8"]


def test_a_long_text_without_spaces_falls_into_pieces_too() -> None:
    assert [len(piece) for piece in pieces("x" * 3000)] == [1024, 1024, 952]
    assert pieces("") == [""]


def test_no_word_has_the_id_of_the_end() -> None:
    assert word_id("") == 1
    assert word_id("\ud800") != 0  # half a character, as some models say
    assert word_id("apples ") == word_id("apples ")


@given(st.integers(0, 1000), st.integers(1, 50))
def test_shares_are_even_and_add_up(total: int, parts: int) -> None:
    given = shares(total, parts)
    assert sum(given) == total
    assert max(given) - min(given) <= 1


def test_reasoning_ends_where_its_delimiter_does() -> None:
    assert thought("<think>a</think>b", THINK) == 16
    assert thought("\n<think>a", THINK) == 9
    assert thought("b<think>a</think>", THINK) == 0
    assert thought("a</think>b", THINK, opened=True) == 9
    assert is_open("<think>a", THINK)
    assert not is_open("<think>a</think>b", THINK)
    assert not is_open("", THINK)
