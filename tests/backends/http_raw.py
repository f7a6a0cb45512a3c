"""A server that says exactly given bytes, and what is drawn from it: for the tests of faults."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from mullover.backends.http import gate
from mullover.backends.http.http import Http, Patience
from mullover.backends.http.profile import Profile
from mullover.backends.http.spec import Spec
from mullover.backends.http.transport import Timeouts
from mullover.laws.upstream import Upstream
from mullover.types import NOTHING, Event, Prompt, Sample, Sampling, Usage

T = TypeVar("T")
QUICK = Patience(attempts=3, base=0.01)
SHORT = Timeouts(connect=5.0, first=5.0, between=5.0, total=30.0)
VLLM = Profile(ids=True, logprobs=20, stops=True)
MANY = Profile(ids=True, logprobs=20, stops=True, many=True)
PROMPT = Prompt.of("Tell me a story.")
WORDS = 4  # of it: the least that it costs where nobody tells
KEY = "sk-live-0123456789abcdef"


def run(test: Coroutine[Any, Any, T], seconds: float = 30) -> T:
    try:
        return asyncio.run(asyncio.wait_for(test, seconds))
    finally:
        HELD.clear()


HELD = list[Http]()  # models of the test that runs: what happens to one that nobody holds is a test of its own


async def until(comes: Callable[[], object]) -> None:
    for _ in range(1000):
        if comes():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come")


def http(
    *ups: Any, profile: Profile = VLLM, patience: Patience = QUICK, timeouts: Timeouts = SHORT, more: str = ""
) -> Http:
    specs = [Spec.parse(f"{up.url}#toy{more}") for up in ups]
    HELD.append(Http(specs, patience=patience, timeouts=timeouts, profiles=[profile] * len(specs)))
    return HELD[-1]


@dataclass
class Drawn:
    events: list[Event] = field(default_factory=list)

    @property
    def samples(self) -> list[Sample]:
        ended = {event.index: event.sample for event in self.events if event.sample is not None}
        return [ended[i] for i in sorted(ended)]

    @property
    def usage(self) -> Usage:
        return sum((event.usage for event in self.events), NOTHING)

    @property
    def voids(self) -> int:
        return sum(event.void for event in self.events)

    @property
    def one(self) -> Sample:
        (sample,) = self.samples
        return sample


async def drawn(model: Http, n: int = 1, sampling: Sampling | None = None, prompt: Prompt = PROMPT) -> Drawn:
    """All that a call tells; that events add up to their samples holds whatever fails."""
    got = Drawn()
    async with aclosing(model.stream(prompt, n, sampling or Sampling(max_tokens=64))) as events:
        async for event in events:
            got.events.append(event)
    assert len(got.samples) == n
    for index, sample in enumerate(got.samples):
        own = [event for event in got.events if event.index == index]
        from_ = max((at for at, event in enumerate(own) if event.void), default=0)
        if sample.finish != "error":
            assert "".join(event.text for event in own[from_:]) == sample.text
        assert sum((event.usage for event in own), NOTHING) == sample.usage
        assert bool(sample.error) == (sample.finish == "error")
    return got


async def the_gate(model: Http) -> gate.Gate:
    return model.here().endpoints[0].gate


def told(up: Upstream) -> tuple[int, int]:
    """Prompt and completion tokens of all usage blocks that the server sent in full."""
    return up.usage.prompt_tokens, up.usage.completion_tokens


def counted(usage: Usage) -> tuple[int, int]:
    return usage.prompt_tokens + usage.cached_tokens, usage.completion_tokens


# A server that says exactly these bytes


class Raw:
    """Answers the i-th request with the i-th list of pieces, each sent by itself, and closes; the last one repeats."""

    def __init__(self, *answers: Sequence[bytes]) -> None:
        self.answers, self.seen, self.port = answers, list[bytes](), 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-l"))
            self.seen.append(head + await reader.readexactly(int(length)))
            for piece in self.answers[min(len(self.seen), len(self.answers)) - 1]:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.02)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def saying(*answers: Sequence[bytes]) -> AsyncIterator[Raw]:
    raw = Raw(*answers)
    server = await asyncio.start_server(raw.answer, "127.0.0.1", 0)
    raw.port = server.sockets[0].getsockname()[1]
    try:
        yield raw
    finally:
        server.close()


def answer(body: object, status: str = "200 OK", more: str = "") -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n{more}\r\n"
    return head.encode() + data


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def event(body: object) -> bytes:
    return b"data: " + (body if isinstance(body, bytes) else json.dumps(body).encode()) + b"\n\n"


def said(text: str, finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish, **more}]}


def whole(text: str, **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop", **more}]}


COST = {"prompt_tokens": 7, "completion_tokens": 3}
