"""Each fault, as a client that trusts nothing sees it on the wire."""

import asyncio
import itertools
import json
import math
import time
from collections.abc import Coroutine
from typing import Any

import aiohttp
import pytest

from mullover.laws.upstream import Fault, Upstream

PLAIN = {"model": "toy", "messages": [{"role": "user", "content": "How many apples?"}], "seed": 1}
STREAM = {**PLAIN, "stream": True, "stream_options": {"include_usage": True}}
BOTH = pytest.mark.parametrize("stream", (False, True), ids=("body", "stream"))


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 20))


async def bytes_of(up: Upstream, body: dict[str, Any]) -> bytes:
    """The whole connection, headers too, until the server closes it or is silent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", up.port)
    data = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n"
    writer.write(head.encode() + data)
    got = b""
    try:
        while more := await asyncio.wait_for(reader.read(1 << 16), 0.8):
            got += more
    except (ConnectionResetError, TimeoutError) as error:
        got += type(error).__name__.encode()
    writer.close()
    return got


def events(raw: bytes) -> list[str]:
    return [line[6:].decode() for line in raw.splitlines() if line.startswith(b"data: ")]


async def read(up: Upstream, stream: bool, **fields: Any) -> bytes:
    body = {**(STREAM if stream else PLAIN), **fields}
    async with aiohttp.ClientSession() as session, session.post(up.url + "/chat/completions", json=body) as got:
        return await got.read()


def parsed(raw: bytes) -> list[Any]:
    """Of a body or a stream: its choices, in order."""
    if b"data: " in raw:
        found = [json.loads(event) for event in events(raw) if event != "[DONE]"]
        return [choice for one in found for choice in one["choices"]]
    return list(json.loads(raw)["choices"])


class TestInsteadOfAnAnswer:
    def test_a_status(self, serving: Any) -> None:
        date = "Wed, 21 Oct 2026 07:28:00 GMT"
        faults = [
            Fault("status", status=429, retry_after=0.2),
            Fault("status", status=503, retry_after=date, body="html"),
            Fault("status", status=500),
        ]

        async def test() -> None:
            async with serving("vllm", faults=faults) as client:
                asked = client.up.url + "/chat/completions"
                async with client.session.post(asked, json=PLAIN) as got:
                    assert (got.status, got.headers["Retry-After"]) == (429, "0.2")
                    assert (await got.json())["error"]["type"] == "RateLimitError"
                async with client.session.post(asked, json=PLAIN) as got:
                    assert (got.status, got.headers["Retry-After"]) == (503, date)
                    assert got.content_type == "text/html"
                    assert (await got.text()).startswith("<html>")
                assert (await client.chat())[0] == 500
                assert (await client.chat())[0] == 200
                assert [s.fault for s in client.up.seen] == ["status", "status", "status", None]
                assert all(s.finished for s in client.up.seen)

        run(test())

    def test_faults_may_come_from_a_function_or_an_iterator(self, serving: Any) -> None:
        async def test() -> None:
            async with serving("vllm", faults=lambda i: Fault("status") if i % 2 else None) as client:
                await client.get("/v1/models")  # no POST
                assert [(await client.chat())[0] for _ in range(4)] == [200, 500, 200, 500]
            async with serving("vllm", faults=itertools.cycle([Fault("status"), None])) as client:
                assert [(await client.chat())[0] for _ in range(4)] == [500, 200, 500, 200]

        run(test())

    def test_a_redirect(self, serving: Any) -> None:
        faults = [Fault("redirect", location="http://elsewhere/"), Fault("redirect", status=302)]

        async def test() -> None:
            async with serving("vllm", faults=faults) as client:
                assert [(await client.chat())[0] for _ in range(2)] == [307, 302]

        run(test())

    @BOTH
    def test_a_reset_before_any_byte(self, stream: bool, serving: Any) -> None:
        async def test() -> None:
            async with serving("vllm", faults=[Fault("reset_before")] * 2) as client:
                assert await bytes_of(client.up, STREAM if stream else PLAIN) == b"ConnectionResetError"
                with pytest.raises(aiohttp.ClientConnectionError):
                    await read(client.up, stream)
                assert not any(s.aborted or s.finished or s.status for s in client.up.seen)
                assert (await client.chat())[0] == 200

        run(test())

    def test_bytes_that_are_no_http(self, serving: Any) -> None:
        async def test() -> None:
            async with serving("vllm", faults=[Fault("not_http")] * 2) as client:
                assert (await bytes_of(client.up, PLAIN)).startswith(b"\x16\x03\x01")
                with pytest.raises(aiohttp.ClientError):
                    await read(client.up, False)
                assert not any(s.aborted or s.finished for s in client.up.seen)

        run(test())

    @BOTH
    def test_silence_until_the_client_leaves(self, stream: bool, serving: Any, until: Any) -> None:
        async def test() -> None:
            async with serving("vllm", faults=[Fault("hang")]) as client:
                assert await bytes_of(client.up, STREAM if stream else PLAIN) == b"TimeoutError"
                await until(lambda: not client.up.live)
                assert client.up.seen[0].aborted

        run(test())

    @pytest.mark.parametrize("kind", ("huge", "huge_error"))
    @BOTH
    def test_a_body_without_end(self, stream: bool, kind: Any, serving: Any, until: Any) -> None:
        async def test() -> None:
            async with serving("vllm", faults=[Fault(kind), Fault(kind, size=1 << 17)]) as client:
                body = STREAM if stream else PLAIN
                async with client.session.post(client.up.url + "/chat/completions", json=body) as got:
                    assert got.status == (200 if kind == "huge" else 500)
                    assert len(await got.content.readexactly(1 << 24)) == 1 << 24
                await until(lambda: not client.up.live)
                assert client.up.seen[0].aborted
                raw = await read(client.up, stream)
                assert (1 << 17) < len(raw) < (1 << 17) + 100
                assert raw.startswith(b"data: {") == (stream and kind == "huge") and b"\n" not in raw

        run(test())


class TestOnItsWay:
    @BOTH
    def test_a_reset_in_the_middle(self, stream: bool, serving: Any) -> None:
        async def test() -> None:
            async with serving("vllm", faults=[Fault("reset_after", after=2)]) as client:
                raw = await bytes_of(client.up, STREAM if stream else PLAIN)
                assert raw.endswith(b"ConnectionResetError") and raw.startswith(b"HTTP/1.1 200")
                assert len(events(raw)) == (2 if stream else 0)
                seen = client.up.seen[0]
                assert not seen.finished and not seen.aborted and client.up.usage.tokens == 0
                assert (await client.chat())[0] == 200

        run(test())

    @BOTH
    def test_silence_in_the_middle(self, stream: bool, serving: Any, until: Any) -> None:
        async def test() -> None:
            async with serving("vllm", faults=[Fault("hang_after", after=3)]) as client:
                raw = await bytes_of(client.up, STREAM if stream else PLAIN)
                assert raw.endswith(b"TimeoutError") and raw.startswith(b"HTTP/1.1 200")
                assert len(events(raw)) == (3 if stream else 0)
                await until(lambda: not client.up.live)
                assert client.up.seen[0].aborted and client.up.usage.tokens == 0

        run(test())

    @BOTH
    def test_single_bytes(self, stream: bool, serving: Any) -> None:
        async def test() -> None:
            async with serving("vllm", faults=[Fault("slow", seconds=0.0001)]) as client:
                started = time.monotonic()
                slow = await read(client.up, stream)
                assert time.monotonic() - started > 0.0001 * len(slow)
                usual = await read(client.up, stream)
                for one, two in zip(parsed(slow), parsed(usual), strict=True):
                    assert one == two
                assert client.up.seen[0].finished

        run(test())

    @BOTH
    def test_an_event_that_is_cut(self, stream: bool, serving: Any) -> None:
        async def test() -> None:
            async with serving("vllm", faults=[Fault("broken_json", after=1)]) as client:
                raw = await read(client.up, stream)
                lines = events(raw) if stream else [raw.decode()]
                with pytest.raises(ValueError):
                    json.loads(lines[1 if stream else 0])
                assert not stream or lines[-1] == "[DONE]"

        run(test())

    @pytest.mark.parametrize("kind", ("broken_json", "error_event", "reset_after", "hang_after"))
    def test_a_fault_after_the_last_event_comes_before_the_end(self, kind: Any, serving: Any) -> None:
        async def test() -> None:
            async with serving("sglang", faults=[Fault(kind, after=99)]) as client:
                raw = await bytes_of(client.up, STREAM)
                assert b'"usage"' in raw and (kind == "broken_json") == (b"[DONE]" in raw)

        run(test())

    @BOTH
    def test_an_error_event(self, stream: bool, serving: Any) -> None:
        async def test() -> None:
            for kind in ("vllm", "sglang", "llamacpp", "ollama", "openai"):
                async with serving(kind, faults=[Fault("error_event", after=2)]) as client:
                    raw = await read(client.up, stream)
                    lines = events(raw) if stream else [raw.decode()]
                    assert "message" in json.loads(lines[2 if stream else 0])["error"]
                    assert ("[DONE]" in lines) == (stream and kind == "vllm")
                    assert client.up.usage.tokens == 0

        run(test())

    @BOTH
    def test_no_end(self, stream: bool, serving: Any) -> None:
        async def test() -> None:
            async with serving("vllm", faults=[Fault("no_done")]) as client:
                raw = await read(client.up, stream)
                assert b"[DONE]" not in raw
                assert not any(choice.get("finish_reason") for choice in parsed(raw))
                assert client.up.seen[0].choices == 0

        run(test())

    def test_comments_and_other_line_ends(self, serving: Any) -> None:
        async def test() -> None:
            async with serving("vllm", faults=[Fault("keepalive_comments")] * 2) as client:
                odd = await read(client.up, True)
                assert b": keep-alive\r\n\r\ndata: {" in odd and odd.endswith(b"data: [DONE]\r\n\r\n")
                body = await read(client.up, False)
                assert body.startswith(b"\r\n")
                usual = parsed(await read(client.up, True))
                assert parsed(odd) == usual

        run(test())


class TestInIt:
    @BOTH
    def test_a_wrong_number_of_choices(self, stream: bool, serving: Any) -> None:
        faults = [Fault("wrong_n"), Fault("wrong_n", by=1), Fault("wrong_n"), None]

        async def test() -> None:
            async with serving("vllm", faults=faults) as client:
                found = [{c["index"] for c in parsed(await read(client.up, stream, n=n))} for n in (3, 3, 1, 3)]
                assert found == [{0, 1}, {0, 1, 2, 3}, set(), {0, 1, 2}]
                assert [s.choices for s in client.up.seen] == [2, 4, 0, 3]

        run(test())

    @BOTH
    def test_no_content(self, stream: bool, serving: Any) -> None:
        async def test() -> None:
            async with serving("openai", faults=[Fault("null_content")]) as client:
                choices = parsed(await read(client.up, stream, max_tokens=1))
                assert all(choice["delta" if stream else "message"]["content"] is None for choice in choices)
                assert choices[-1]["finish_reason"] == "stop"

        run(test())

    @BOTH
    def test_no_usage(self, stream: bool, serving: Any) -> None:
        async def test() -> None:
            async with serving("llamacpp", faults=[Fault("no_usage")]) as client:
                assert b"usage" not in await read(client.up, stream)
                assert client.up.usage.tokens == 0

        run(test())

    @BOTH
    def test_numbers_that_are_none(self, stream: bool, serving: Any) -> None:
        async def test() -> None:
            async with serving("vllm", faults=[Fault("nan_logprobs")]) as client:
                raw = await read(client.up, stream, logprobs=True, top_logprobs=1)
                assert b'"logprob":NaN' in raw
                entries = [e for c in parsed(raw) if c.get("logprobs") for e in c["logprobs"]["content"]]
                assert entries and all(math.isnan(entry["logprob"]) for entry in entries)

        run(test())

    @BOTH
    def test_two_ends(self, stream: bool, serving: Any) -> None:
        async def test() -> None:
            async with serving("vllm", faults=[Fault("duplicate_finish")]) as client:
                choices = parsed(await read(client.up, stream))
                assert len([choice for choice in choices if choice.get("finish_reason")]) == 2

        run(test())

    @pytest.mark.parametrize("index", (99, "first"))
    @BOTH
    def test_an_index_of_no_choice(self, stream: bool, index: int | str, serving: Any) -> None:
        async def test() -> None:
            async with serving("vllm", faults=[Fault("garbage_index", index=index)]) as client:
                assert {choice["index"] for choice in parsed(await read(client.up, stream))} == {index}

        run(test())

    @BOTH
    def test_types_of_no_sense(self, stream: bool, serving: Any) -> None:
        async def test() -> None:
            async with serving("vllm", faults=[Fault("wrong_types")]) as client:
                raw = await read(client.up, stream)
                contents = [choice["delta" if stream else "message"]["content"] for choice in parsed(raw)]
                assert all(content == (["so"] if stream else 5) for content in contents)
                assert b'"completion_tokens":"' in raw
                assert client.up.usage.tokens == 0

        run(test())
