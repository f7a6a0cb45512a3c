"""A server as strangers run it, over a toy: `async with Upstream("ollama") as up: ... up.url ...`."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import zip_longest
from typing import Any

from aiohttp import web

from mullover.backends.toy import Toy
from mullover.errors import CapabilityError
from mullover.laws.upstream.asked import Asked, Rules, read, spot_of
from mullover.laws.upstream.fault import Faults, taker
from mullover.laws.upstream.kinds import TRAITS, Kind, Refused, unknown_model
from mullover.laws.upstream.pages import not_found, page
from mullover.laws.upstream.shapes import Choice, Json, Shape
from mullover.laws.upstream.speak import speak
from mullover.laws.upstream.spoil import dumped
from mullover.laws.upstream.voice import Voice
from mullover.laws.upstream.wire import Cut, Seen, Wire
from mullover.types import Sample, Usage

BODY = 1 << 28  # bytes a request may have


class Upstream:
    """An OpenAI-compatible server of one kind, with the gaps of that kind.

    Args:
        model: what it says.
        quiet: what it says where thinking is turned off; None: thinking cannot be turned off.
        name: of the model; requests for another get 404.
        key: what "Authorization: Bearer" must carry; "": anything goes.
        latency: seconds before the first byte of an answer to a POST request.
        per_token: seconds between tokens.
        slots: POST requests served at once, the others wait; None: any number.
        faults: what befalls the i-th POST request: a sequence, an iterator, or a function of i.
        port: 0 takes a free one.
        context: tokens that fit into it; what more means depends on the kind.
        strict_reasoning: refuses what OpenAI's reasoning models refuse.

    Attributes:
        seen: every request, in order of arrival.
        live: POST requests being served now.
        most: the largest that `live` has been.
        usage: the sum of all usage blocks that were sent in full.
    """

    def __init__(
        self,
        kind: Kind = "vllm",
        *,
        model: Toy | None = None,
        quiet: Toy | None = None,
        name: str = "toy",
        key: str = "",
        latency: float = 0,
        per_token: float = 0,
        slots: int | None = None,
        faults: Faults = (),
        port: int = 0,
        context: int = 32768,
        strict_reasoning: bool = False,
    ) -> None:
        self.kind, self.traits, self.name, self.key = kind, TRAITS[kind], name, key
        self.rules = Rules(kind, self.traits, Voice(model or Toy(), quiet), context, strict_reasoning)
        self.latency, self.per_token, self.port = latency, per_token, port
        self.seen: list[Seen] = []
        self.live = self.most = 0
        self.usage = Usage()
        self._slots = None if slots is None else asyncio.Semaphore(slots)
        self._fault = taker(faults)
        self._posts = 0
        self._runner: web.AppRunner | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopping = False

    # Life

    async def __aenter__(self) -> "Upstream":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        app = web.Application(client_max_size=BODY)
        app.router.add_route("*", "/{rest:.*}", self._serve)
        self._stopping = False
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Requests still being served are broken off; they do not count as aborted."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        if self._runner is not None:
            await self._runner.cleanup()
        self._runner = None

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.root}/v1"

    @property
    def connections(self) -> int:
        """How many clients are connected now."""
        server = self._runner.server if self._runner else None
        return len(server.connections) if server else 0

    # One request

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        seen = Seen(request.path, None, dict(request.headers), time.monotonic(), request.method)
        self.seen.append(seen)
        fault = None
        if request.method == "POST":
            fault, self._posts = self._fault(self._posts), self._posts + 1
            seen.fault = fault.kind if fault else None
        wire = Wire(request, seen, fault, self.kind, self._paid)
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
        try:
            await self._handle(request, seen, wire)
        except Cut:
            pass
        except ConnectionError:  # the client left while something was written to it
            seen.aborted = not (wire.cut or self._stopping or seen.finished)
        except asyncio.CancelledError:
            seen.aborted = not (wire.cut or self._stopping or seen.finished)
            raise
        finally:
            self._tasks.discard(task) if task is not None else None
        return wire.response

    async def _handle(self, request: web.Request, seen: Seen, wire: Wire) -> None:
        raw = await request.read()
        try:
            body = seen.body = _parsed(raw) if raw else None
            if request.method != "POST":
                self._admit(request)
                status, data, type = page(self.rules, self.name, request.path) or not_found(self.kind, request.path)
                await wire.send(status, data, type)
                return
            async with self._slot():
                await asyncio.sleep(self.latency)
                if not await wire.spoil():
                    self._admit(request)
                    await self._answer(request.path, body, seen, wire)
        except Refused as refused:
            await wire.refuse(refused)
        except CapabilityError as error:  # the toy has no table for the question
            await wire.refuse(Refused(400, str(error)))

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        if self._slots is not None:
            await self._slots.acquire()
        self.live += 1
        self.most = max(self.most, self.live)
        try:
            yield
        finally:
            self.live -= 1
            if self._slots is not None:
                self._slots.release()

    def _admit(self, request: web.Request) -> None:
        """Raises Refused if a key is needed and it is another, or none."""
        path = request.path
        given = request.headers.get("Authorization", "")
        free = path in self.traits.open_paths or (self.traits.open_root and not path.startswith("/v1/"))
        if self.key and not free and given != f"Bearer {self.key}":
            said = "Invalid API Key" if self.kind == "llamacpp" else "Incorrect API key provided."
            raise Refused(401, said, code="invalid_api_key")

    async def _answer(self, path: str, body: Any, seen: Seen, wire: Wire) -> None:
        chat = path == "/v1/chat/completions"
        known = chat or (path == "/v1/completions" and self.traits.completions)
        if not known and not (self.traits.tokens and path in ("/tokenize", "/detokenize")):
            status, data, type = not_found(self.kind, path, "POST")
            await wire.send(status, data, type)
            return
        if not isinstance(body, dict):
            raise Refused(400, "the body must be a JSON object")
        model = body.get("model")
        if model is not None and model != self.name:
            raise unknown_model(self.kind, str(model))
        if model is None and self.kind in ("ollama", "openai"):
            raise Refused(400, "you must provide a model parameter", param="model")
        if path == "/tokenize":
            await wire.send(200, dumped(self._tokenized(body)))
        elif path == "/detokenize":
            await wire.send(200, dumped({"prompt": self.rules.voice.decode(body.get("tokens") or ())}))
        else:
            await self._generate(read(self.rules, chat, body), seen, wire)

    def _tokenized(self, body: Mapping[str, Any]) -> Json:
        voice = self.rules.voice
        if "messages" in body:
            ids = spot_of(self.rules, body, True).ids
        elif isinstance(text := body.get("prompt"), str):
            ids = voice.tokenized(text)
        else:
            raise Refused(400, "give messages or a prompt", param="prompt")
        return {"count": len(ids), "max_model_len": self.rules.context, "tokens": list(ids), "token_strs": None}

    async def _generate(self, asked: Asked, seen: Seen, wire: Wire) -> None:
        choices = [Choice(self.rules, asked, i, await self._sample(asked, i)) for i in range(asked.n)]
        shape = Shape(self.rules, asked, self.name)
        if asked.stream:
            await self._stream(shape, choices, seen, wire)
            return
        for _ in range(max(len(choice.sample.ids) for choice in choices)):
            await asyncio.sleep(self.per_token)
        seen.tokens = sum(len(choice.sample.ids) for choice in choices)
        await wire.body(shape.body(choices), asked.n)

    async def _sample(self, asked: Asked, index: int) -> Sample:
        if asked.mute:
            return Sample("", "length", (), (), alternatives=(), offsets=())
        must = asked.echo or asked.prompt_logprobs is not None
        sampling = asked.sampling.seeded((asked.seeds[index],), 0)
        return await speak(self.rules.voice, asked.spot, sampling, asked.budget, must)

    async def _stream(self, shape: Shape, choices: list[Choice], seen: Seen, wire: Wire) -> None:
        """All choices grow together, a token each in turn."""
        await wire.start()
        for choice in choices:
            for chunk in shape.head(choice.index):
                await wire.event(chunk, len(choices))
        for together in zip_longest(*[choice.pieces() for choice in choices]):
            await asyncio.sleep(self.per_token)
            for choice, piece in zip(choices, together, strict=True):
                if piece is None:
                    continue
                seen.tokens += 1
                for chunk in shape.piece(choice, piece):
                    await wire.event(chunk, len(choices))
        for chunk in shape.tail(choices):
            await wire.event(chunk, len(choices))
        await wire.done()

    def _paid(self, usage: Json) -> None:
        self.usage += Usage(prompt_tokens=usage["prompt_tokens"], completion_tokens=usage["completion_tokens"])


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None
