"""Samples while they are said, and what each of them cost."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.backends.http_upstreams import rich

from mullover.backends.http.draft import Draft
from mullover.backends.http.http import Http, Patience, parts, shares
from mullover.backends.http.profile import Profile
from mullover.backends.http.spec import Spec
from mullover.backends.http.wire import Piece
from mullover.laws.upstream import Fault, Upstream
from mullover.types import Event, Prompt, Sampling, Token, Usage

SPEC = Spec.parse("http://a:8000/v1#qwen")
PROMPT = Prompt.of("why?")


# Drafts


def drafted(*pieces: Piece, stops: Sequence[str] = (), opened: bool = False) -> Any:
    draft = Draft(0, opened)
    for piece in pieces:
        draft.add(piece, stops)
    return draft.sample()


def test_reasoning_of_a_field_stands_in_tags() -> None:
    sample = drafted(Piece(reasoning="a"), Piece(reasoning="b"), Piece(text="c"), Piece(text="d", finish="stop"))
    assert (sample.text, sample.reasoning, sample.answer) == ("<think>ab</think>cd", "<think>ab</think>", "cd")
    assert (sample.finish, sample.logprobs, sample.offsets) == ("eos", None, None)
    cut = drafted(Piece(reasoning="a"), Piece(finish="length"))
    assert (cut.text, cut.answer, cut.finish) == ("<think>a", "", "length")


def test_one_piece_may_hold_the_end_of_the_thought_and_the_answer() -> None:
    assert drafted(Piece(reasoning="a", text="b", finish="stop")).answer == "b"


@pytest.mark.parametrize(
    ("said", "opened", "answer"),
    [
        ("<think>a</think>b", False, "b"),
        ("a</think>b", False, "b"),
        ("a</think>b", True, "b"),
        ("ab", True, ""),
        ("ab", False, "ab"),
        ("<think>ab", False, ""),
    ],
)
def test_thoughts_within_the_text_are_told_apart(said: str, opened: bool, answer: str) -> None:
    sample = drafted(*[Piece(text=c) for c in said], Piece(finish="stop"), opened=opened)
    assert (sample.text, sample.answer) == (said, answer)


def test_what_was_said_between_two_thoughts_is_not_lost_from_the_answer() -> None:
    sample = drafted(Piece(reasoning="a"), Piece(text="b"), Piece(reasoning="c"), Piece(finish="stop"))
    assert "b" in sample.answer or sample.finish != "eos"


@given(st.lists(st.integers(1, 5), max_size=12))
def test_a_stop_string_is_found_wherever_the_pieces_are_parted(cuts: list[int]) -> None:
    said, pieces, at = "so it STOPs here and goes on", list[str](), 0
    for cut in cuts:
        pieces.append(said[at : at + cut])
        at += cut
    sample = drafted(*[Piece(text=p) for p in (*pieces, *said[at:]) if p], Piece(finish="length"), stops=("XX", "STOP"))
    assert sample.finish == "stop"
    assert sample.text.startswith("so it STOP")
    assert len(sample.text) < len("so it STOP") + 5
    assert said.startswith(sample.text)


def test_no_stop_string_ends_what_does_not_hold_it_and_a_named_one_is_an_end_by_stop() -> None:
    assert drafted(Piece(text="ST"), Piece(text="0P", finish="stop"), stops=("STOP",)).finish == "eos"
    assert drafted(Piece(text="a STOP", finish="stop", stop="STOP")).finish == "stop"


def test_a_stop_string_that_the_servers_parser_swallowed_is_kept_in_the_text() -> None:
    sample = drafted(Piece(reasoning="a"), Piece(finish="stop", stop="</think>"))
    assert (sample.text, sample.finish, sample.answer) == ("<think>a</think>", "stop", "")


@pytest.mark.parametrize(("word", "finish"), [("stop", "eos"), ("length", "length"), ("content_filter", "error")])
def test_a_servers_word_for_the_end_is_read(word: str, finish: str) -> None:
    sample = drafted(Piece(text="a", finish=word))
    assert sample.finish == finish
    assert bool(sample.error) == (finish == "error")


def piece(text: str, ids: tuple[int, ...], *numbers: float, finish: str = "") -> Piece:
    tops = tuple((Token(i, text, p),) for i, p in zip(ids, numbers, strict=False))
    return Piece(0, text, "", ids, (text,) * len(numbers), numbers, tops, finish)


def test_tokens_have_offsets_where_their_texts_are_the_text() -> None:
    sample = drafted(piece("ab", (1,), -0.5), piece("c", (2,), -1.0), piece("", (0,), -0.1, finish="stop"))
    assert (sample.ids, sample.logprobs, sample.offsets) == ((1, 2, 0), (-0.5, -1.0, -0.1), (0, 2, 3))
    assert sample.alternatives is not None
    assert len(sample.alternatives) == 3
    odd = Piece(0, "ab", "", (1,), ("\ufffd",), (-0.5,), (), "stop")
    assert drafted(odd).offsets is None
    assert drafted(odd).logprobs == (-0.5,)


def test_a_logprob_that_is_no_number_or_is_missing_fails_the_sample() -> None:
    for bad in (piece("a", (1,), math.nan, finish="stop"), piece("a", (1, 2), -1.0, finish="stop")):
        sample = drafted(bad)
        assert (sample.finish, sample.logprobs, sample.alternatives) == ("error", None, None)
        assert "log-probability" in sample.error
        assert sample.text == "a"


def test_as_many_alternatives_as_logprobs_or_none_are_told() -> None:
    told = Piece(0, "ab", "", (1, 2), ("a", "b"), (-1.0, -1.0), ((Token(1, "a", -1.0),),), "stop")
    sample = drafted(told)
    assert sample.finish == "error" or sample.alternatives is None or len(sample.alternatives) == 2


def test_what_comes_after_the_end_is_no_part_of_it() -> None:
    assert drafted(Piece(text="a", finish="stop"), Piece(text="b", finish="length")).text == "a"


def test_another_attempt_takes_back_what_was_told_and_nothing_else() -> None:
    draft = Draft(4, False)
    draft.add(Piece(text="a"))
    assert draft.again(Usage(retries=1)) == Event(4, usage=Usage(retries=1))  # nobody has heard of it
    draft.add(Piece(text="a"))
    assert draft.grown() == Event(4, "a", (), Usage(completion_tokens=1))
    assert draft.grown() is None
    assert draft.again(Usage(retries=1)) == Event(4, usage=Usage(retries=1), void=True)
    draft.add(Piece(text="b", finish="stop"))
    assert draft.grown() is None
    last = draft.paid(Usage(completion_tokens=1))
    assert (last.text, last.void, last.sample and last.sample.text) == ("b", False, "b")
    assert last.sample is not None
    assert last.sample.usage == Usage(completion_tokens=2, retries=2)


PIECES = st.builds(
    Piece,
    text=st.sampled_from(["", "a", "STOP", "ST", "OP", "</think>", "<think>", " so"]),
    reasoning=st.sampled_from(["", "", "", "hm", "STO"]),
    ids=st.sampled_from([(), (), (1,), (2, 3)]),
    logprobs=st.sampled_from([(), (), (-1.0,), (math.nan,)]),
    finish=st.sampled_from(["", "", "", "", "", "", "stop", "length"]),
)
STEPS = st.lists(st.one_of(PIECES, st.sampled_from(["grown", "again", "paid"])), max_size=25)


@settings(max_examples=300)
@given(STEPS, st.sampled_from([(), ("STOP",), ("</think>", "so")]), st.booleans(), st.booleans())
def test_events_add_up_to_their_sample_whatever_the_pieces(
    steps: list[Any], stops: tuple[str, ...], opened: bool, dies: bool
) -> None:
    draft, events = Draft(0, opened), list[Event]()
    for step in steps:
        if isinstance(step, Piece):
            draft.add(step, stops)
        elif draft.finish:
            break
        elif step == "again":
            events.append(draft.again(Usage(retries=1)))
        elif step == "paid":  # an attempt that failed, and told what it cost
            events.append(draft.paid(Usage(7, 3, completion_tokens=2 - draft.counted)))
        elif (grown := draft.grown()) is not None:
            events.append(grown)
    if dies and not draft.finish:
        events.append(draft.paid(Usage(partial=1)))
        events.append(draft.failed("gone"))
    else:
        draft.add(Piece(text="!", finish="stop"), stops)
        events.append(draft.paid(Usage(prompt_tokens=5, completion_tokens=9 - draft.counted)))
    last = events[-1].sample
    assert last is not None
    assert not any(event.sample for event in events[:-1])
    kept = events[max([i for i, event in enumerate(events) if event.void], default=-1) + 1 :]
    assert "".join([event.text for event in kept]) == last.text
    if last.finish != "error" or last.ids:
        assert tuple([i for event in kept for i in event.ids]) == last.ids
    assert sum([event.usage for event in events], Usage()) == last.usage
    assert 0 <= last.thought <= len(last.text)


# Shares


@given(st.integers(0, 10**12), st.lists(st.integers(0, 10**6), min_size=1, max_size=20))
def test_parts_add_up_and_none_exceeds_its_weight(total: int, weights: list[int]) -> None:
    found = parts(total, weights)
    assert len(found) == len(weights)
    assert all(part >= 0 for part in found)
    if any(weights):
        assert sum(found) == total
        if total <= sum(weights):
            assert all(part <= weight for part, weight in zip(found, weights, strict=True))


@given(st.data(), st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), min_size=1, max_size=16))
def test_what_samples_of_one_request_cost_is_what_the_server_said(data: Any, seen: list[tuple[int, int]]) -> None:
    drafts = [Draft(i, False) for i in range(len(seen))]
    for draft, (counted, more) in zip(drafts, seen, strict=True):
        draft.counted, draft.seen = counted, counted + more
    completion = data.draw(st.integers(0, 5000))
    told = Usage(0, data.draw(st.integers(0, 99)), data.draw(st.integers(0, 99)), completion)
    told = replace(told, reasoning_tokens=data.draw(st.integers(0, completion)))
    events = [Usage(completion_tokens=draft.counted) for draft in drafts]
    cost = shares(drafts, told, 7)
    assert sum([*events, *cost], Usage()) == told
    whole = [before + after for before, after in zip(events, cost, strict=True)]
    assert all(0 <= one.reasoning_tokens <= one.completion_tokens for one in whole)


def test_where_nobody_told_the_cost_one_attempt_is_partial() -> None:
    drafts = [Draft(0, False), Draft(1, False)]
    assert shares(drafts, None, 7) == [Usage(prompt_tokens=7, partial=1), Usage()]
    assert shares(drafts, None, None) == [Usage(), Usage()]


def test_tokens_that_were_seen_count_where_nobody_told_the_cost() -> None:
    draft = Draft(0, False)
    draft.seen, draft.counted = 5, 2
    assert shares([draft], None, 7) == [Usage(prompt_tokens=7, completion_tokens=3, partial=1)]


def cut(many: bool) -> Usage:
    """Of 8 samples of three tokens each, whose streams we close at a stop string that the server was not told."""

    async def main() -> Usage:
        async with Upstream("openai", model=rich()) as up:
            model = Http([Spec.parse(f"{up.url}#toy")], profiles=[Profile(many=many)])
            samples = await model.sample(PROMPT, 8, Sampling(max_tokens=12, stop=("fox", "owl", "hare", "bear")))
            assert all(len(sample.text.split()) == 3 and sample.finish == "stop" for sample in samples)
            return sum([sample.usage for sample in samples], Usage())

    return asyncio.run(main())


@pytest.mark.parametrize("many", [False, True])
def test_all_tokens_of_a_sample_that_we_stopped_are_counted(many: bool) -> None:
    usage = cut(many)
    assert usage.partial > 0
    assert usage.completion_tokens >= 24


@pytest.mark.parametrize("many", [False, True])
def test_the_prompt_of_a_sample_that_we_stopped_is_not_free(many: bool) -> None:
    usage = cut(many)
    assert usage.prompt_tokens + usage.cached_tokens > 0


def test_a_group_that_is_asked_again_is_one_retry() -> None:
    async def main() -> int:
        async with Upstream(model=rich(), faults=[Fault("status", status=500)]) as up:
            model = Http([Spec.parse(f"{up.url}#toy")], patience=Patience(base=0.01), profiles=[Profile(many=True)])
            samples = await model.sample(PROMPT, 4, Sampling())
            assert len(up.seen) == 2
            return sum(sample.usage.retries for sample in samples)

    assert asyncio.run(main()) == 1
