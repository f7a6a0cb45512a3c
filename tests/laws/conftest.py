"""A client that is no part of the library: what the fake server says is read raw."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from mullover.laws.upstream import Upstream

Json = dict[str, Any]


class Client:
    """`chat` and `complete` give the status and the JSON; `events` the JSON of each event, [DONE] as None."""

    def __init__(self, up: Upstream, session: aiohttp.ClientSession) -> None:
        self.up, self.session = up, session

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
        async with self.session.get(self.up.root + path, headers=headers) as got:
            raw = await got.text()
            return got.status, json.loads(raw) if raw[:1] in ("{", "[") else raw

    async def post(self, path: str, body: object, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
        async with self.session.post(self.up.root + path, json=body, headers=headers, allow_redirects=False) as got:
            raw = await got.text()
            return got.status, json.loads(raw) if raw.strip()[:1] in ("{", "[") else raw

    async def chat(self, **fields: Any) -> tuple[int, Any]:
        return await self.post("/v1/chat/completions", chat_body(fields))

    async def complete(self, prompt: object, **fields: Any) -> tuple[int, Any]:
        return await self.post("/v1/completions", {"model": "toy", "prompt": prompt, **fields})

    async def events(self, **fields: Any) -> list[Any]:
        raw = await self.raw(**fields)
        found = [line[6:] for line in raw.decode().splitlines() if line.startswith("data: ")]
        return [None if line == "[DONE]" else json.loads(line) for line in found]

    async def raw(self, **fields: Any) -> bytes:
        body = {"stream": True, "stream_options": {"include_usage": True}, **chat_body(fields)}
        async with self.session.post(self.up.url + "/chat/completions", json=body) as got:
            return await got.read()


def chat_body(fields: Mapping[str, Any]) -> Json:
    asked = [{"role": "user", "content": "How many apples?"}]
    return {"model": "toy", "messages": asked, "seed": 1, **fields}


@pytest.fixture(scope="session")
def until() -> Any:
    """Waits for what must come soon, however busy the machine is: `await until(lambda: not up.live)`."""

    async def wait(comes: Callable[[], object]) -> None:
        for _ in range(1000):
            if comes():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("it did not come")

    return wait


@pytest.fixture(scope="session")
def serving() -> Any:
    """`async with serving("vllm", faults=[...]) as client: ...`"""

    @asynccontextmanager
    async def serve(*args: Any, **kwargs: Any) -> AsyncIterator[Client]:
        async with Upstream(*args, **kwargs) as up, aiohttp.ClientSession() as session:
            yield Client(up, session)

    return serve
