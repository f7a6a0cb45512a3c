"""One answer on its way to the client, with what goes wrong there."""

import asyncio
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from mullover.laws.upstream.fault import Fault
from mullover.laws.upstream.kinds import TRAITS, Kind, Refused, error_body
from mullover.laws.upstream.spoil import Json, dumped, spoiled

FLUSH = 0.02  # seconds for what was written to arrive, before a reset
BLOCK = 1 << 16  # bytes of an endless body that are written at once
HTML = (
    b"<html>\n<head><title>502 Bad Gateway</title></head>\n<body><center><h1>Bad Gateway</h1></center></body>\n</html>"
)
GARBAGE = b"\x16\x03\x01\x00\x00SSH-2.0-garbage\r\n\x00\xff\xfe no HTTP at all\r\n\r\n"


@dataclass(slots=True)
class Seen:
    """One request, and what became of it."""

    path: str
    body: Any  # dict | None: the JSON it came with
    headers: dict[str, str]
    at: float  # seconds, by time.monotonic
    method: str = "POST"
    status: int | None = None  # None: no answer was begun
    choices: int = 0  # whose finish_reason was sent
    tokens: int = 0  # generated, until the client left
    finished: bool = False  # the whole answer was sent
    aborted: bool = False  # the client left first
    fault: str | None = None


class Cut(Exception):  # noqa: N818 (what was planned)
    """The server itself has broken the connection off."""


class Wire:
    """Writes one answer. `paid` is told of every usage block that was sent in full."""

    def __init__(self, request: web.Request, seen: Seen, fault: Fault | None, kind: Kind, paid: Callable[[Json], None]):
        self.request, self.seen, self.fault, self.kind, self.paid = request, seen, fault, kind, paid
        self.cut = False  # the server has left first
        self.events = 0
        self._struck = False
        self._response = web.StreamResponse()
        self._ended: set[str] = set()

    @property
    def response(self) -> web.StreamResponse:
        return self._response

    # Whole answers

    async def send(
        self, status: int, data: bytes, type: str = "application/json", headers: Mapping[str, str] | None = None
    ) -> None:
        await self._open(status, type, len(data), headers)
        await self._write(data)
        await self._close()

    async def refuse(self, refused: Refused) -> None:
        await self.send(refused.status, dumped(error_body(self.kind, refused)))

    async def body(self, body: Json, n: int) -> None:
        """An answer that is not streamed."""
        fault = self.fault.kind if self.fault else ""
        sent = (spoiled(self.fault, body, n) or [body])[0]
        data = dumped(self._error() if fault == "error_event" else sent)
        if fault == "keepalive_comments":
            data = b"\r\n\r\n" + data
        if fault == "broken_json":
            data = data[: len(data) // 2]
        if fault in ("reset_after", "hang_after"):
            await self._open(200, "application/json", len(data))
            await self._write(data[: len(data) // 2])
            await self._strike()
        await self.send(200, data)
        if fault not in ("broken_json", "error_event"):
            self._note(sent)

    # Streams

    async def start(self) -> None:
        await self._open(200, "text/event-stream", None, {"Cache-Control": "no-cache"})

    async def event(self, chunk: Json, n: int) -> None:
        """Raises Cut where the fault ends the answer."""
        for one in spoiled(self.fault, chunk, n):
            data = dumped(one)
            if self.fault is not None and not self._struck and self.events >= self.fault.after:
                if self.fault.kind == "broken_json":
                    data, self._struck = data[: len(data) // 2], True
                await self._strike()
            await self._data(data)
            self._note(one)

    async def done(self) -> None:
        """The end of a stream."""
        kind = self.fault.kind if self.fault else ""
        if not self._struck:
            await self._strike()
            if kind == "broken_json":
                await self._data(b'{"id":"cut')
        if kind != "no_done":
            await self._data(b"[DONE]")
        self.seen.finished = True  # a client may leave at this very word
        await self._close()

    async def _data(self, data: bytes) -> None:
        self.events += 1
        if self.fault is not None and self.fault.kind == "keepalive_comments":
            await self._write(b": keep-alive\r\n\r\ndata: " + data + b"\r\n\r\n")
        else:
            await self._write(b"data: " + data + b"\n\n")

    # Faults

    async def spoil(self) -> bool:
        """Faults that stand in the place of an answer: was there one?"""
        fault = self.fault
        if fault is None:
            return False
        if fault.kind == "status":
            await self._status(fault)
        elif fault.kind == "redirect":
            status = fault.status if 300 <= fault.status < 400 else 307
            await self.send(status, b"", "text/plain", {"Location": fault.location})
        elif fault.kind == "reset_before":
            self._reset()
        elif fault.kind == "not_http":
            self._garbage()
        elif fault.kind == "hang":
            await asyncio.Event().wait()
        elif fault.kind in ("huge", "huge_error"):
            await self._huge(fault)
        else:
            return False
        return True

    async def _status(self, fault: Fault) -> None:
        headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
        if fault.body == "html":
            await self.send(fault.status, HTML, "text/html", headers)
        else:
            body = error_body(self.kind, Refused(fault.status, f"a planned failure with status {fault.status}"))
            await self.send(fault.status, dumped(body), headers=headers)

    async def _huge(self, fault: Fault) -> None:
        """It goes on as long as the client takes it, up to `size` bytes."""
        stream = fault.kind == "huge" and bool((self.seen.body or {}).get("stream"))
        status = fault.status if fault.kind == "huge_error" else 200
        await self._open(status, "text/event-stream" if stream else "application/json")
        await self._write(b'data: {"id":"' if stream else b'{"error":{"message":"' if status >= 400 else b'{"id":"')
        for _ in range(0, fault.size, BLOCK):
            await self._write(b"x" * BLOCK)
        await self._close()

    async def _strike(self) -> None:
        """What happens once, in the middle of an answer."""
        kind = self.fault.kind if self.fault else ""
        if kind == "reset_after":
            await asyncio.sleep(FLUSH)
            self._reset()
        elif kind == "hang_after":
            await asyncio.Event().wait()
        elif kind == "error_event":
            self._struck = True
            await self._data(dumped(self._error()))
            await self._end_after_error()

    async def _end_after_error(self) -> None:
        if TRAITS[self.kind].done_after_error:
            await self._data(b"[DONE]")
        await self._close()
        raise Cut

    def _error(self) -> Json:
        """In the middle of a stream all kinds nest it."""
        return dict(error_body("vllm" if self.kind == "sglang" else self.kind, Refused(500, "a planned failure")))

    def _reset(self) -> None:
        """Raises Cut. Without lingering, the kernel sends RST and not FIN."""
        self.cut = True
        if (transport := self.request.transport) is not None:
            sock = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        raise Cut

    def _garbage(self) -> None:
        self.cut = True
        if (transport := self.request.transport) is not None:
            transport.write(GARBAGE)
            transport.close()
        raise Cut

    # Bytes

    async def _open(
        self, status: int, type: str, length: int | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        self._response = web.StreamResponse(status=status, headers=headers)
        self._response.content_type = type
        self._response.content_length = length
        self.seen.status = status
        await self._response.prepare(self.request)

    async def _write(self, data: bytes) -> None:
        if self.fault is None or self.fault.kind != "slow":
            await self._response.write(data)
            return
        for byte in data:
            await self._response.write(bytes((byte,)))
            await asyncio.sleep(self.fault.seconds)

    async def _close(self) -> None:
        await self._response.write_eof()
        self.seen.finished = True

    def _note(self, sent: Json) -> None:
        for choice in sent.get("choices") or ():
            if choice.get("finish_reason"):
                self._ended.add(repr(choice.get("index")))
        self.seen.choices = len(self._ended)
        if isinstance(usage := sent.get("usage"), dict) and type(usage.get("completion_tokens")) is int:
            self.paid(usage)
