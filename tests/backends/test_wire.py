"""What servers say on the wire, from the fixtures that follow their documented formats."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from mullover.backends.http.failures import AttemptError, of_status
from mullover.backends.http.sse import DONE, Events
from mullover.backends.http.wire import Chunk, Piece, chunk, usage
from mullover.types import Usage

FOLDER = Path(__file__).parent / "wire"
EXPECTED: dict[str, Any] = json.loads((FOLDER / "expected.json").read_text())
SPEAKS = [name for name, told in EXPECTED.items() if "error" not in told]
FAILS = [name for name, told in EXPECTED.items() if "error" in told]


def read(name: str, step: int = 1 << 20) -> list[Chunk]:
    """All chunks of a fixture, fed `step` bytes at a time."""
    body = (FOLDER / name).read_bytes()
    if name.endswith(".json"):
        return [chunk(body)]
    events, found = Events(), list[bytes]()
    for at in range(0, len(body), step):
        found += events.feed(body[at : at + step])
    return [chunk(data) for data in [*found, *events.end()] if data != DONE]


def joined(chunks: list[Chunk], index: int) -> Piece:
    whole = Piece(index)
    for piece in (piece for one in chunks for piece in one.pieces if piece.index == index):
        whole.text += piece.text
        whole.reasoning += piece.reasoning
        whole.ids += piece.ids
        whole.logprobs += piece.logprobs
        whole.alternatives += piece.alternatives
        whole.finish = whole.finish or piece.finish
        whole.stop = whole.stop or piece.stop
    return whole


def test_there_are_fixtures_of_every_kind() -> None:
    kinds = {name.partition("_")[0] for name in SPEAKS}
    assert {"vllm", "sglang", "llamacpp", "ollama", "openai"} <= kinds
    assert sorted(path.name for path in FOLDER.iterdir() if path.suffix in (".sse", ".json")) == sorted(
        [*EXPECTED, "expected.json"]
    )


@pytest.mark.parametrize("name", SPEAKS)
class TestWhatIsSaid:
    def test_each_choice_is_read(self, name: str) -> None:
        for told in EXPECTED[name]["choices"]:
            got = joined(read(name), told["index"])
            assert got.text == (told.get("text") or told.get("refusal", ""))
            assert got.reasoning == told.get("reasoning", "")
            assert got.finish == told.get("finish", "")
            assert got.stop == told.get("stop")
            assert list(got.ids) == told.get("ids", [])
            expected = [math.nan if p is None else p for p in told.get("logprobs", [])]
            assert list(got.logprobs) == pytest.approx(expected, nan_ok=True)

    def test_alternatives_are_ranked(self, name: str) -> None:
        for told in EXPECTED[name]["choices"]:
            got = [
                [[token.text, token.logprob] for token in at] for at in joined(read(name), told["index"]).alternatives
            ]
            expected = [sorted(at or [], key=lambda top: -top[1]) for at in told.get("alternatives", [])]
            assert got == expected or (not any(got) and not expected)

    def test_usage_is_the_last_that_was_told(self, name: str) -> None:
        told = EXPECTED[name].get("usage")
        last = next((one.usage for one in reversed(read(name)) if one.usage), None)
        assert (last is None) == (told is None)
        if last is not None:
            assert last.prompt_tokens + last.cached_tokens == told["prompt_tokens"]
            assert last.cached_tokens == told.get("cached_tokens", 0)
            assert last.completion_tokens == told["completion_tokens"]
            assert last.reasoning_tokens == told.get("reasoning_tokens", 0)

    @pytest.mark.parametrize("step", [1, 7, 100])
    def test_it_matters_not_where_the_bytes_are_parted(self, name: str, step: int) -> None:
        assert read(name, step) == read(name) or "logprobs" in name or "echo" in name  # NaN differs from itself


@pytest.mark.parametrize("name", FAILS)
def test_errors_are_told_in_the_servers_words(name: str) -> None:
    told = EXPECTED[name]
    if told["status"] != 200:
        error = of_status(told["status"], {}, (FOLDER / name).read_bytes())
        assert told["error"] in str(error)
        assert error.status == told["status"]
        return
    if told["error"]:
        with pytest.raises(AttemptError) as failed:
            read(name)
        assert told["error"] in str(failed.value)
    else:  # the stream just ends: nobody said why
        assert not any(piece.finish for one in read(name) for piece in one.pieces)


def test_a_spent_quota_is_not_asked_again_and_a_rate_limit_is() -> None:
    quota, rate = (FOLDER / f"openai_error_{name}.json" for name in ("quota", "rate"))
    assert of_status(429, {}, quota.read_bytes()).again == "no"
    assert of_status(429, {"retry-after": "3"}, rate.read_bytes()).again == "busy"
    assert of_status(429, {"retry-after": "3"}, rate.read_bytes()).after == 3


@pytest.mark.parametrize(
    ("status", "again"),
    [(400, "no"), (401, "no"), (404, "no"), (408, "down"), (409, "down"), (413, "no"), (422, "no"), (429, "busy")]
    + [(500, "down"), (502, "down"), (503, "busy"), (529, "busy")],
)
def test_only_some_statuses_are_asked_again(status: int, again: str) -> None:
    assert of_status(status, {}, b"{}").again == again


@pytest.mark.parametrize(
    ("headers", "after"),
    [
        ({"retry-after": "0.2"}, 0.2),
        ({"retry-after-ms": "150", "retry-after": "9"}, 0.15),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(headers: dict[str, str], after: float | None) -> None:
    assert of_status(429, headers, b"").after == after


@pytest.mark.parametrize(
    "value", [None, [], {"prompt_tokens": "7", "completion_tokens": 1}, {"prompt_tokens": -1}, {"prompt_tokens": True}]
)
def test_usage_in_numbers_that_are_none_was_not_told(value: Any) -> None:
    assert usage(value) is None


def test_more_cached_or_reasoning_tokens_than_there_are_tokens_are_cut() -> None:
    told = {"prompt_tokens": 5, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 9}}
    assert usage({**told, "completion_tokens_details": {"reasoning_tokens": 9}}) == Usage(0, 0, 5, 3, 3)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"8", b'{"choices": 3}', b'{"choices": [3]}', b'{"choices": [{"index": "a"}]}', b"\xff\xfe"]
    + [b'{"choices": [{"index": 0, "delta": {"content": 5}}]}', b'{"choices": [{"index": -1}]}', b"[" * 100_000]
    + [b'{"choices": [{"index": 0, "token_ids": ["a"]}]}', b'{"choices": [{"index": 0, "logprobs": 7}]}'],
)
def test_what_is_no_answer_is_one_clear_error(data: bytes) -> None:
    with pytest.raises(AttemptError, match="the server sent"):
        chunk(data)


def test_nan_is_read_for_the_caller_to_refuse() -> None:
    logprobs = b'{"content": [{"token": "a", "logprob": NaN}]}'
    told = b'{"choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": ' + logprobs + b"}]}"
    assert math.isnan(chunk(told).pieces[0].logprobs[0])


def test_an_endless_event_is_cut_off() -> None:
    events = Events()
    events.feed(b"data: " + b"x" * (6 << 20))
    with pytest.raises(AttemptError, match="cut off"):
        events.feed(b"x" * (6 << 20))
