"""One HTTP request: its timeouts, its limits, its errors; and the connections of one event loop."""

import asyncio
import errno
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp
import orjson

from mullover import __version__
from mullover.backends.http.failures import SECRETS, AttemptError, in_words, of_status
from mullover.backends.http.spec import Spec
from mullover.backends.http.sse import DONE, LONGEST, Events

HOPS = 3  # redirects within one host
ERROR = 64 << 10  # bytes of an error's body that are read
IDLE = 4.0  # seconds for which a connection is kept; uvicorn drops them after 5
GRACE = 1.0  # seconds that a server may take to end a response after its last event


SECRET = 6  # characters; a shorter key is no secret, and may be a part of any word
OPEN: set[object] = set()  # what keeps connections open, so that it is not collected before they are closed


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. A server may be busy with other requests before it says its first word."""

    connect: float = 10.0
    first: float = 600.0
    between: float = 120.0
    total: float = 3600.0


class Transport:
    """The connections to one server, of one event loop; they close when nobody asked for a while, or the loop ends."""

    def __init__(self, spec: Spec, timeouts: Timeouts) -> None:
        """
        Raises:
            OptionError: the key's variable is not set.
        """
        self.spec, self.timeouts = spec, timeouts
        self.key = spec.key()
        if len(self.key) >= SECRET:
            SECRETS.add(self.key)
        self.session: aiohttp.ClientSession | None = None
        self.live = 0  # requests
        self._life: AsyncGenerator[aiohttp.ClientSession, None] | None = None
        self._idle: asyncio.TimerHandle | None = None

    async def opened(self) -> aiohttp.ClientSession:
        """For one request; `left` must follow."""
        self.live += 1
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self.session is None:
            # Event loops end the async generators that were begun in them, and so close this one's connections.
            cell: list[object] = []
            life = self._lived(cell)
            self.session = await anext(life)
            self._life = life
            cell.append(life)
            OPEN.add(life)
        return self.session

    def left(self) -> None:
        """A request ended."""
        self.live -= 1
        if not self.live and self.session is not None:
            self._idle = asyncio.get_running_loop().call_later(IDLE, self._ended)

    def _ended(self) -> None:
        self._idle = None
        life, self._life, self.session = self._life, None, None  # at once: the next request opens others
        if life is not None:
            task = asyncio.get_running_loop().create_task(life.aclose())
            OPEN.add(task)
            task.add_done_callback(OPEN.discard)

    async def aclose(self) -> None:
        """Close the connections; the next request opens others."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        life, self._life, self.session = self._life, None, None
        if life is not None:
            await life.aclose()

    async def _lived(self, cell: list[object]) -> AsyncGenerator[aiohttp.ClientSession, None]:
        headers = {"User-Agent": f"mullover/{__version__}", "Accept": "text/event-stream, application/json"}
        headers |= {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        session = aiohttp.ClientSession(
            headers=headers,
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.timeouts.connect),
            auto_decompress=False,
            trust_env=False,  # no key to a proxy or from a .netrc that nobody named
        )
        try:
            yield session
        finally:
            OPEN.discard(cell[0] if cell else None)
            await session.close()
            await asyncio.sleep(0)  # its sockets close at the next turn of the loop

    def stream(self, url: str, payload: Mapping[str, Any]) -> "Stream":
        """The answer to a POST request, to be read as it comes: `async with transport.stream(...) as stream`."""
        return Stream(self, url, orjson.dumps(payload))

    async def json(self, method: str, url: str, payload: Any = None) -> Any:
        """The JSON of a whole answer.

        Raises:
            AttemptError: as `Stream`, or it is no JSON.
        """
        try:
            async with asyncio.timeout(self.timeouts.between):
                session = await self.opened()
                body = None if payload is None else orjson.dumps(payload)
                response = await self.asked(session, method, url, body)
                try:
                    return orjson.loads(await whole(response))
                finally:
                    response.close()
        except orjson.JSONDecodeError:
            raise AttemptError(f"{self.spec.host} answered {urlsplit(url).path} with what is no JSON") from None
        except ERRORS as error:
            raise self.failure(error, "between") from None
        finally:
            self.left()

    async def asked(
        self, session: aiohttp.ClientSession, method: str, url: str, body: bytes | None
    ) -> aiohttp.ClientResponse:
        """The response of status 200, which the caller closes; redirects are followed within the host only."""
        for _ in range(HOPS):
            data = None if body is None else aiohttp.BytesPayload(body, content_type="application/json")
            response = await session.request(method, url, data=data, allow_redirects=False)
            if response.status == 200:
                return response
            try:
                if response.status not in (301, 302, 303, 307, 308):
                    raise of_status(response.status, response.headers, await beginning(response))
                url = self._redirected(url, response)
            finally:
                response.close()
        raise AttemptError(f"{self.spec.host} redirects in a circle; mend the address")

    def _redirected(self, url: str, response: aiohttp.ClientResponse) -> str:
        to = urljoin(url, response.headers.get("location", ""))
        here, there = urlsplit(url), urlsplit(to)
        where = in_words(f"{there.scheme}://{there.hostname}")
        if (here.scheme, here.netloc) != (there.scheme, there.netloc):
            raise AttemptError(
                f"{self.spec.host} redirects to another host, {where}; no key goes there: "
                "name that server if you trust it"
            )
        if response.status not in (307, 308):
            raise AttemptError(
                f"{self.spec.host} redirects to {in_words(there.path)}; write that path in the model's address"
            )
        return to

    def failure(self, error: Exception, phase: str) -> AttemptError:
        """Any of ERRORS in our words."""
        if isinstance(error, AttemptError):
            return error
        return self._late(error, phase) if isinstance(error, TimeoutError) else self._broken(error)

    def _late(self, error: TimeoutError, phase: str) -> AttemptError:
        host, limits = self.spec.host, self.timeouts
        if isinstance(error, aiohttp.ServerTimeoutError):
            why = f"{host} did not accept a connection within {limits.connect:g} s; is the server running?"
            return AttemptError(why, "down")
        if phase == "total":
            return AttemptError(f"{host} took longer than {limits.total:g} s for one answer")
        if phase == "first":
            return AttemptError(f"{host} said nothing for {limits.first:g} s", "down")
        return AttemptError(f"{host} fell silent for {limits.between:g} s within an answer", "down")

    def _broken(self, error: Exception) -> AttemptError:
        host = self.spec.host
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            return AttemptError("this process has too many open files; raise `ulimit -n`", "busy")
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return AttemptError(f"the certificate of {host} is not valid: {in_words(error.certificate_error)}")
        if isinstance(error, aiohttp.ClientConnectorError):
            return AttemptError(
                f"cannot reach {host}: {in_words(error.strerror or error)}; is the server running?", "down"
            )
        if isinstance(error, (aiohttp.InvalidURL, ValueError)):
            return AttemptError(f"{host} cannot be asked: {in_words(error)}")
        if isinstance(error, aiohttp.ClientResponseError):
            return AttemptError(f"{host} speaks no proper HTTP: {in_words(error.message)}", "down")
        return AttemptError(f"the connection to {host} broke: {in_words(error) or type(error).__name__}", "down")


ERRORS = (AttemptError, TimeoutError, aiohttp.ClientError, OSError, ValueError)


class Stream:
    """The events of one answer. A whole JSON body, which some servers send instead, is one event.

    Raises:
        AttemptError: connecting or reading failed, a timeout passed, the status is an error, or it is too long.
    """

    def __init__(self, transport: Transport, url: str, body: bytes) -> None:
        self.transport, self.url, self.body = transport, url, body
        self.response: aiohttp.ClientResponse | None = None
        self.events: Events | None = None
        self.phase = "first"
        self.early = b""  # read to learn what it is

    async def __aenter__(self) -> "Stream":
        self.session = await self.transport.opened()
        self.loop = asyncio.get_running_loop()
        self.paused = self.loop.time()
        self.end = self.paused + self.transport.timeouts.total
        self.clock = asyncio.timeout_at(None)
        await self.clock.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, at: Any) -> None:
        if self.response is not None:
            self.response.close()
        self.transport.left()
        try:
            await self.clock.__aexit__(kind, error, at)
        except TimeoutError as late:
            raise self.transport.failure(late, self._phase()) from None

    async def read(self) -> list[bytes]:
        """The data of the events that came next, as many as came at once; empty at the end."""
        self.end += self.loop.time() - self.paused  # the reader's own time does not count
        self._wait()
        try:
            if self.response is None:
                self.response = await self.transport.asked(self.session, "POST", self.url, self.body)
                if self.response.content_type != "text/event-stream":
                    first = await self.response.content.readany()
                    if not first.startswith((b"data:", b"event:", b":")):  # else it is a stream under another name
                        return [await whole(self.response, first)]
                    self.early = first
                self.events = Events()
            return await self._next() if self.events is not None else []
        except TimeoutError as error:
            raise self.transport.failure(error, self._phase()) from None
        except ERRORS as error:
            raise self.transport.failure(error, self.phase) from None
        finally:
            if not self.clock.expired():
                self.clock.reschedule(None)
            self.paused = self.loop.time()

    def _wait(self) -> None:
        """Set the clock for what comes next."""
        limits = self.transport.timeouts
        most = limits.first if self.phase == "first" else limits.between
        self.clock.reschedule(min(self.end, self.loop.time() + most))

    async def _next(self) -> list[bytes]:
        assert self.response is not None
        assert self.events is not None
        if self.phase == "after":  # [DONE] was said: wait for the end, so that the connection can be kept, but not long
            if not self.response.content.at_eof():
                with suppress(TimeoutError):
                    async with asyncio.timeout(GRACE):
                        await self.response.content.readany()
            return []
        while received := self.early or await self.response.content.readany():
            self.early = b""
            found = self.events.feed(received)
            if found and found[-1] == DONE:
                self.phase = "after"
                return found
            self.phase = "between"
            if found:
                return found
            self._wait()
        found, self.events = self.events.end(), None
        return found

    def _phase(self) -> str:
        return "total" if self.loop.time() >= self.end else self.phase


async def beginning(response: aiohttp.ClientResponse) -> bytes:
    """The first `ERROR` bytes of a body, or as much of them as came."""
    body = b""
    with suppress(aiohttp.ClientError, OSError):
        while len(body) < ERROR and (received := await response.content.read(ERROR)):
            body += received
    return body


async def whole(response: aiohttp.ClientResponse, first: bytes = b"") -> bytes:
    """All of a body, up to a limit; its first bytes may have been read."""
    parts, size = [first], len(first)
    while received := await response.content.readany():
        parts.append(received)
        size += len(received)
        if size > LONGEST:
            raise AttemptError(f"the server sent more than {LONGEST >> 20} MB; it was cut off")
    return b"".join(parts)
