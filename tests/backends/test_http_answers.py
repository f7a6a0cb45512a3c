"""Answers as they should not be, and what each of them cost."""

import json
from typing import Any

import pytest
from tests.backends.http_raw import (
    COST,
    MANY,
    STREAM,
    VLLM,
    WORDS,
    answer,
    counted,
    drawn,
    event,
    http,
    run,
    said,
    saying,
    told,
    until,
    whole,
)
from tests.backends.http_upstreams import rich

from mullover.backends.http.failures import AttemptError
from mullover.backends.http.http import Patience
from mullover.backends.http.profile import Profile
from mullover.backends.http.sse import Events
from mullover.laws.upstream import Fault, Upstream
from mullover.types import Message, Prompt, Sampling

# What an answer says


class TestWhatAnAnswerSays:
    def test_broken_json_is_an_error_that_shows_it_and_is_not_asked_again(self) -> None:
        async def test() -> None:
            async with Upstream(model=rich(), faults=[Fault("broken_json", after=3)], per_token=0.005) as up:
                got = await drawn(http(up))
                assert got.one.finish == "error"
                assert got.one.error.startswith('the server sent what is no JSON: {"id":"chatcmpl-')
                assert len(up.seen) == 1
                assert (got.usage.partial, got.usage.completion_tokens) == (1, 2)
                await until(lambda: not up.live)

        run(test())

    def test_an_error_within_a_stream_is_asked_again(self) -> None:
        async def test() -> None:
            async with Upstream(model=rich(), faults=[Fault("error_event", after=4)], per_token=0.005) as up:
                got = await drawn(http(up))
                assert (got.one.finish, got.voids, len(up.seen)) == ("eos", 1, 2)
                assert (got.usage.retries, got.usage.partial) == (1, 1)
                assert counted(got.usage) == (told(up)[0] + WORDS, told(up)[1] + 3)
            async with Upstream(model=rich(), faults=lambda i: Fault("error_event")) as up:
                got = await drawn(http(up, patience=Patience(attempts=1)))
                assert got.one.error == "the server reports an error: a planned failure"

        run(test())

    def test_a_stream_that_stops_without_an_end_is_asked_again(self) -> None:
        async def test() -> None:
            async with Upstream(model=rich(), faults=[Fault("no_done")]) as up:
                got = await drawn(http(up))
                assert (got.one.finish, got.voids, len(up.seen)) == ("eos", 1, 2)
                assert (got.usage.retries, got.usage.partial) == (1, 0)
                assert counted(got.usage) == told(up)  # both attempts told their usage
            async with Upstream(model=rich(), faults=lambda i: Fault("no_done")) as up:
                got = await drawn(http(up, patience=Patience(attempts=1)))
                assert got.one.error == f"127.0.0.1:{up.port} ended an answer in its middle"
                assert counted(got.usage) == told(up)

        run(test())

    def test_half_a_body_is_asked_again(self) -> None:
        data = answer({**whole("it is 7."), "usage": COST})

        async def test() -> None:
            async with saying([data[:-20]], [data]) as raw:
                got = await drawn(http(raw))
                assert (got.one.text, got.usage.retries, len(raw.seen)) == ("it is 7.", 1, 2)
                assert counted(got.usage) == (7, 3)

        run(test())

    @pytest.mark.parametrize("profile", (VLLM, MANY), ids=("alone", "many"))
    def test_comments_and_crlf_change_nothing(self, profile: Profile) -> None:
        async def test() -> None:
            async with Upstream(model=rich(), faults=lambda i: Fault("keepalive_comments")) as up:
                got = await drawn(http(up, profile=profile), 4)
                assert {sample.finish for sample in got.samples} == {"eos"}
                assert got.usage.retries == got.usage.partial == 0
                assert counted(got.usage) == told(up)

        run(test())

    def test_choices_too_few_are_asked_for_anew(self) -> None:
        async def test() -> None:
            async with Upstream(model=rich(), faults=[Fault("wrong_n", by=-1)]) as up:
                got = await drawn(http(up, profile=MANY), 4)
                assert {sample.finish for sample in got.samples} == {"eos"}
                assert [seen.body.get("n", 1) for seen in up.seen] == [4, 1]
                assert counted(got.usage) == told(up)
                assert got.usage.partial == 0

        run(test())

    def test_choices_too_many_are_passed_over_and_paid_for(self) -> None:
        async def test() -> None:
            async with Upstream(model=rich(), faults=[Fault("wrong_n", by=2)]) as up:
                got = await drawn(http(up, profile=MANY), 4)
                assert {sample.finish for sample in got.samples} == {"eos"}
                assert len(up.seen) == 1
                assert counted(got.usage) == told(up)

        run(test())

    def test_no_choice_at_all_is_an_error(self) -> None:
        async def test() -> None:
            async with Upstream(model=rich(), faults=lambda i: Fault("wrong_n", by=-1)) as up:
                got = await drawn(http(up))
                assert got.one.error == f"127.0.0.1:{up.port} ended an answer in its middle (asked 3 times)"
                assert counted(got.usage) == told(up)
                assert got.usage.retries == 2

        run(test())

    def test_null_content_is_an_empty_sample(self) -> None:
        async def test() -> None:
            async with Upstream(model=rich(), faults=[Fault("null_content")]) as up:
                got = await drawn(http(up, profile=Profile()))
                assert (got.one.text, got.one.finish) == ("", "eos")
                assert counted(got.usage) == told(up)

        run(test())

    def test_usage_that_nobody_tells_is_counted_as_far_as_it_is_seen(self) -> None:
        async def test() -> None:
            async with Upstream(model=rich(), faults=[Fault("no_usage")]) as up:
                got = await drawn(http(up))
                assert got.one.finish == "eos"
                assert (got.usage.partial, got.usage.prompt_tokens) == (1, WORDS)
                assert got.usage.completion_tokens == len(got.one.ids) == up.seen[0].tokens

        run(test())

    def test_log_probabilities_that_are_no_numbers_are_an_error(self) -> None:
        async def test() -> None:
            async with Upstream(model=rich(), faults=[Fault("nan_logprobs")]) as up:
                got = await drawn(http(up), 2, Sampling(max_tokens=64, top_logprobs=2))
                bad, good = got.samples
                assert bad.error == "the server gave a log-probability that is no number, or too few of them"
                assert bad.logprobs is None and bad.alternatives is None
                assert good.logprobs is not None and len(good.logprobs) == len(good.ids)
                assert counted(got.usage) == told(up)

        run(test())

    def test_a_choice_that_ends_twice_is_one_sample(self) -> None:
        async def test() -> None:
            async with Upstream("llamacpp", model=rich(), faults=lambda i: Fault("duplicate_finish")) as up:
                got = await drawn(http(up, profile=Profile()))
                assert got.one.finish == "eos"
                assert counted(got.usage) == told(up)
            async with Upstream(model=rich()) as sound:
                again = await drawn(http(sound, profile=Profile()))
                assert again.one.text == got.one.text

        run(test())

    @pytest.mark.parametrize("index", (99, "x", -1))
    def test_a_choice_of_no_such_index_is_an_error_and_paid_for(self, index: int | str) -> None:
        async def test() -> None:
            async with Upstream(model=rich(), faults=lambda i: Fault("garbage_index", index=index)) as up:
                got = await drawn(http(up))
                assert got.one.finish == "error"
                why = "answered without the choice" if index == 99 else f"a choice of index {index}"
                assert why in got.one.error
                assert len(up.seen) == 1
                if index == 99:
                    assert counted(got.usage) == told(up)

        run(test())

    def test_texts_that_are_numbers_are_an_error(self) -> None:
        async def test() -> None:
            async with Upstream(model=rich(), faults=lambda i: Fault("wrong_types")) as up:
                got = await drawn(http(up))
                assert got.one.error.startswith("the server sent a content that is no text")
                assert len(up.seen) == 1

        run(test())

    def test_a_whole_body_in_answer_to_a_stream_is_read(self) -> None:
        async def test() -> None:
            async with saying([answer({**whole("so 8 it is."), "usage": COST})]) as raw:
                got = await drawn(http(raw), 3)
                assert [sample.text for sample in got.samples] == ["so 8 it is."] * 3
                assert counted(got.usage) == (21, 9)
                assert all(json.loads(seen.partition(b"\r\n\r\n")[2])["stream"] for seen in raw.seen)

        run(test())

    def test_a_whole_body_without_usage_is_a_lower_bound_above_nothing(self) -> None:
        async def test() -> None:
            async with saying([answer(whole("so 8 it is."))]) as raw:
                got = await drawn(http(raw))
                assert got.usage.partial == 1
                assert got.usage.completion_tokens >= 1

        run(test())

    def test_what_came_together_with_an_error_is_counted(self) -> None:
        """One read may bring tokens, and usage, and then an error: none of it may be lost."""
        error = event({"error": {"message": "out of memory", "code": 500}})
        tokens = event(said("it ")) + event(said("is "))
        usage = event({"choices": [], "usage": COST})

        async def test() -> None:
            async with saying([STREAM, tokens + error], [STREAM, tokens + usage + error]) as raw:
                got = await drawn(http(raw, patience=Patience(attempts=1)))
                assert (got.usage.partial, got.usage.completion_tokens) == (1, 2)
                got = await drawn(http(raw, patience=Patience(attempts=1)))
                assert (got.usage.partial, *counted(got.usage)) == (0, 7, 3)

        run(test())

    @pytest.mark.parametrize(
        "fault", (Fault("broken_json", after=0), Fault("garbage_index", index="x"), Fault("wrong_types"))
    )
    @pytest.mark.parametrize("profile", (VLLM, MANY), ids=("alone", "many"))
    def test_an_answer_that_is_nonsense_from_its_first_event_on_is_counted_too(
        self, fault: Fault, profile: Profile
    ) -> None:
        async def test() -> None:
            async with Upstream(model=rich(), faults=[fault]) as up:
                got = await drawn(http(up, profile=profile), 1 if profile is VLLM else 4)
                assert {sample.finish for sample in got.samples} == {"error"}
                assert got.usage.partial == 1 or counted(got.usage) == told(up) > (0, 0)

        run(test())

    def test_an_answer_without_usage_to_a_prompt_without_words_is_counted_too(self) -> None:
        async def test() -> None:
            async with saying([answer(whole("so 8 it is."))]) as raw:
                image: Any = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
                got = await drawn(http(raw), prompt=Prompt((Message("user", (image,)),)))
                assert got.usage.partial == 1

        run(test())

    def test_an_answer_whose_connection_breaks_after_its_end_is_an_answer(self) -> None:
        pieces = [STREAM, event(said("it is 7.", "stop")), event({"choices": [], "usage": COST})]

        async def test() -> None:
            async with saying([*pieces, b": and no [DONE]"]) as raw:
                got = await drawn(http(raw))
                assert (got.one.text, got.usage.retries, len(raw.seen)) == ("it is 7.", 0, 1)
                assert counted(got.usage) == (7, 3)

        run(test())

    @pytest.mark.parametrize("logprobs", (
        5,
        {"content": [1]},
        {"content": [None]},
        {"content": [{"token": "a", "logprob": -1.0, "top_logprobs": 5}]},
        {"content": [{"token": "a", "logprob": -1.0, "top_logprobs": [5]}]},
        {"content": [{"token": "a", "logprob": -1.0, "top_logprobs": [{"token": "a"}]}]},
        {"tokens": ["a"], "token_logprobs": 5},
        {"tokens": ["a"], "token_logprobs": [-1.0], "top_logprobs": 5},
        {"tokens": ["a"], "token_logprobs": [-1.0], "top_logprobs": [[1]]},
    ))  # fmt: skip
    def test_logprobs_of_any_shape_fail_the_sample_and_not_the_program(self, logprobs: Any) -> None:
        async def test() -> None:
            async with saying([STREAM, event(said("7", "stop", logprobs=logprobs)), event(b"[DONE]")]) as raw:
                got = await drawn(http(raw))
                assert got.one.finish == "error"
                assert "the server sent" in got.one.error

        run(test())

    @pytest.mark.parametrize(
        "error",
        (
            b'{"error": {"message": "no", "code": "\\u00b2\\u00b2\\u00b2"}}',
            b'{"error": {"detail": "\\ud800"}}',
            b'{"error": {"code": 123456789012345678901234567890, "score": NaN}}',
            b'{"error": [{"message": NaN}]}',
            b'{"error": 5}',
            b'{"object": "error"}',
        ),
    )
    @pytest.mark.parametrize("status", ("200 OK", "400 Bad Request"))
    def test_errors_of_any_shape_fail_the_sample_and_not_the_program(self, error: bytes, status: str) -> None:
        async def test() -> None:
            async with saying([answer(error, status)]) as raw:
                got = await drawn(http(raw))
                assert got.one.finish == "error"

        run(test())

    def test_an_error_that_comes_in_two_pieces_is_told_whole(self) -> None:
        data = answer({"error": {"message": "the prompt has 9000 tokens, and 8192 fit"}}, "400 Bad Request")

        async def test() -> None:
            async with saying([data[:-30], data[-30:]]) as raw:
                got = await drawn(http(raw))
                assert got.one.error.startswith("status 400: the prompt has 9000 tokens, and 8192 fit; ")

        run(test())

    def test_a_request_of_many_choices_that_failed_once_is_one_retry(self) -> None:
        async def test() -> None:
            async with Upstream(model=rich(), faults=[Fault("status", status=500)]) as up:
                got = await drawn(http(up, profile=MANY), 8)
                assert [seen.body["n"] for seen in up.seen] == [8, 8]
                assert got.usage.retries == 1
                assert counted(got.usage) == told(up)

        run(test())

    def test_a_request_of_many_choices_that_broke_is_one_lower_bound(self) -> None:
        async def test() -> None:
            faults = [Fault("reset_after", after=20)]
            async with Upstream(model=rich(), faults=faults, per_token=0.005) as up:
                got = await drawn(http(up, profile=MANY), 8)
                assert len(up.seen) == 2
                assert got.usage.partial == 1
                assert counted(got.usage) == (told(up)[0] + WORDS, told(up)[1] + 12)  # 8 of 20 events hold no token

        run(test())


class TestOddServers:
    """What compatible servers do beside the documents."""

    def test_a_byte_order_mark_takes_nothing_away(self) -> None:
        self.says(
            [STREAM, b"\xef\xbb\xbf" + event(said("The answer")) + event(said(" is 8", "stop"))], "The answer is 8"
        )

    def test_a_ping_is_no_part_of_an_answer(self) -> None:
        self.says([STREAM, event({"type": "ping"}) + event(said("so 8")) + event({}) + event(said("", "stop"))], "so 8")

    def test_done_after_text_is_an_end_where_nobody_says_why(self) -> None:
        self.says([STREAM, event(said("so 8")) + b"data: [DONE]\n\n"], "so 8")

    def test_a_stream_under_another_name_is_read_as_a_stream(self) -> None:
        plain = STREAM.replace(b"text/event-stream", b"text/plain")
        self.says([plain, event(said("so 8", "stop"))], "so 8")

    def test_what_is_thought_after_the_first_visible_word_is_no_part_of_the_text(self) -> None:
        late = {"choices": [{"index": 0, "delta": {"reasoning": "hm, later"}}]}
        self.says([STREAM, event(said("so 8")) + event(late) + event(said("", "stop"))], "so 8")

    def says(self, pieces: list[bytes], text: str) -> None:
        async def test() -> None:
            async with saying(pieces) as raw:
                got = await drawn(http(raw))
                assert (got.one.text, got.one.finish, got.one.thought, got.usage.retries) == (text, "eos", 0, 0)

        run(test())

    def test_usage_that_runs_along_does_not_keep_a_stopped_stream_open(self) -> None:
        spent = {"prompt_tokens": 3, "completion_tokens": 1}
        parts = [event({**said(word), "usage": spent}) for word in ("a ", "b ", "c ")]

        async def test() -> None:
            async with saying([STREAM, *parts, *parts * 50]) as raw:
                got = await drawn(http(raw, profile=Profile()), sampling=Sampling(stop=("b ",)))
                assert (got.one.text, got.one.finish) == ("a b ", "stop")

        run(test())

    def test_an_event_of_many_lines_without_end_is_cut_off(self) -> None:
        events = Events()
        for _ in range(8):
            events.feed(b"data: 1\n" * (1 << 17))
        with pytest.raises(AttemptError, match="cut off"):
            events.feed(b"data: 1\n" * (1 << 18))
