"""Tiny calls of one server, counted: what the doctor examines with."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from mullover.backends.http.draft import Draft
from mullover.backends.http.endpoint import Endpoint
from mullover.backends.http.failures import AttemptError
from mullover.backends.http.profile import Profile
from mullover.backends.http.spec import Spec
from mullover.backends.http.sse import DONE
from mullover.backends.http.transport import Timeouts, Transport
from mullover.backends.http.wire import Piece, chunk
from mullover.types import Sample, Token, Usage

CALLS = 12
TOKENS = 24  # of each answer, at most
QUESTION = "Make up a short story about an animal."  # hot answers to it differ from the first words on
MOMENT, LONGEST = 0.5, 5.0  # seconds to wait for a server that is busy
TIMEOUTS = Timeouts(connect=5.0, first=120.0, between=60.0, total=180.0)
EXTRAS = ("return_token_ids", "top_logprobs", "logprobs", "stream_options", "seed", "temperature")


class SpentError(Exception):
    """All calls are used up."""


@dataclass(slots=True)
class Reply:
    """What one call brought."""

    drafts: list[Draft]
    pieces: list[Piece] = field(default_factory=list)  # of the first choice
    reasoning: str = ""  # the field in which its reasoning came
    usage: Usage | None = None
    body: Mapping[str, Any] = field(default_factory=dict)  # what was asked in the end

    @property
    def samples(self) -> list[Sample]:
        """Of the choices that came."""
        return [draft.sample() for draft in self.drafts if draft.finish or draft.parts]

    @property
    def sample(self) -> Sample:
        return self.drafts[0].sample()

    @property
    def said(self) -> str:
        """The visible text alone."""
        return "".join([piece.text for piece in self.pieces])

    @property
    def tokens(self) -> list[str]:
        return [token for piece in self.pieces for token in piece.tokens]

    @property
    def first(self) -> tuple[Token, ...]:
        """The alternatives of the first token."""
        return next((piece.alternatives[0] for piece in self.pieces if piece.alternatives), ())


class Counted(Transport):
    """No more than `CALLS` requests in all."""

    calls = 0

    async def asked(
        self, session: aiohttp.ClientSession, method: str, url: str, body: bytes | None
    ) -> aiohttp.ClientResponse:
        for again in (True, False):
            if self.calls >= CALLS:
                raise SpentError
            self.calls += 1
            try:
                return await super().asked(session, method, url, body)
            except aiohttp.ClientError as error:  # a kept connection that the server has closed, perhaps
                if not again or isinstance(error, aiohttp.ClientConnectorError):
                    raise
            except AttemptError as error:
                if not again or error.again == "no":
                    raise
                await asyncio.sleep(min(error.after or MOMENT, LONGEST))
        raise SpentError


class Probe:
    """One server, to be asked at most `CALLS` times. Made inside the event loop in which it asks."""

    def __init__(self, spec: Spec, timeouts: Timeouts = TIMEOUTS) -> None:
        self.spec = spec
        self.transport = Counted(spec, timeouts)
        self.endpoint = Endpoint(spec, Profile(), timeouts, self.transport)
        self.limit = "max_tokens"
        self.refused: set[str] = set()  # fields that the server will not take
        self.wishes: dict[str, Any] = {"logprobs": True, "top_logprobs": 20, "return_token_ids": True}

    @property
    def left(self) -> int:
        """Calls that may still be made."""
        return CALLS - self.transport.calls

    async def get(self, url: str) -> Any:
        """The JSON of a page; None if there is none."""
        try:
            return await self.transport.json("GET", url)
        except AttemptError as error:
            if error.again == "down" and not error.status:
                raise
            return None

    async def post(self, url: str, body: Mapping[str, Any]) -> Any:
        """The JSON of an answer.

        Raises:
            AttemptError: it refused.
        """
        return await self.transport.json("POST", url, {"model": self.spec.name, **body})

    async def chat(self, n: int = 1, /, **fields: Any) -> Reply:
        """A streamed chat about the one question.

        Raises:
            AttemptError: it refused.
        """
        messages = fields.pop("messages", [{"role": "user", "content": QUESTION}])
        body = {"messages": messages, "n": n, **fields} if n > 1 else {"messages": messages, **fields}
        return await self.stream(f"{self.spec.url}/chat/completions", body, n)

    async def stream(self, url: str, fields: Mapping[str, Any], n: int = 1) -> Reply:
        body: dict[str, Any] = {"model": self.spec.name, "stream": True, self.limit: TOKENS, "seed": 7}
        body |= {"temperature": 0, "stream_options": {"include_usage": True}, **fields}
        for name in self.refused:
            body.pop(name, None)
        reply = Reply([Draft(i, False) for i in range(n)], body=body)
        async with self.transport.stream(url, body) as events:
            while found := await events.read():
                for data in found:
                    if data != DONE:
                        self._read(reply, data)
        if not reply.samples:
            raise AttemptError(f"{self.spec.host} answered without a word")
        return reply

    def _read(self, reply: Reply, data: bytes) -> None:
        read = chunk(data)
        reply.usage = read.usage or reply.usage
        for piece in read.pieces:
            if piece.index < len(reply.drafts):
                reply.drafts[piece.index].add(piece)
            if piece.index == 0:
                reply.pieces.append(piece)
                if piece.reasoning and not reply.reasoning:
                    names = ("reasoning_content", "reasoning_details", "reasoning", "thinking")
                    reply.reasoning = next((name for name in names if f'"{name}"'.encode() in data), "reasoning")

    async def plain(self) -> Reply:
        """The greedy answer to the question, with all that can be told of it; what is refused is left out.

        Raises:
            AttemptError: the server does not answer even when asked for nothing but text.
        """
        for _ in range(4):
            try:
                return await self.chat(**self.wishes)
            except AttemptError as error:
                if error.status not in (400, 403, 404, 422) or not self._without(str(error)):
                    raise
        return await self.chat()

    def _without(self, message: str) -> bool:
        """Leave out what the refusal names, or else every extra at once. False if nothing is left to leave out."""
        if "max_completion_tokens" in message and self.limit == "max_tokens":
            self.limit = "max_completion_tokens"
            return True
        if "top_logprobs" in message and self.wishes["top_logprobs"] > 5:
            self.wishes["top_logprobs"] = 5
            return True
        named = {name for name in EXTRAS if name in message} - self.refused
        if "top_logprobs" in named or "logprobs" in named:
            named |= {"logprobs", "top_logprobs"}
        named = named or {"return_token_ids", "logprobs", "top_logprobs"} - self.refused
        named = named or {"stream_options", "seed", "temperature"} - self.refused
        self.refused |= named
        return bool(named)

    async def aclose(self) -> None:
        await self.transport.aclose()
