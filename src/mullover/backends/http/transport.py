"""One HTTP request: its timeouts, its limits, its errors; and the connections of one event loop."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp
import orjson

from mullover import __version__
from mullover.backends.http.failures import AttemptError, of_status
from mullover.backends.http.spec import Spec
from mullover.backends.http.sse import DONE, MOST, Events

HOPS = 3  # redirects within one host
ERROR = 64 << 10  # bytes of an error's body that are read
KEPT = 8  # dead connections in a row that are passed over
IDLE = 4.0  # seconds for which a connection is kept; uvicorn drops them after 5
GRACE = 1.0  # seconds that a server may take to end a response after its last event


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. A server may be busy with other requests before it says its first word."""

    connect: float = 10.0
    first: float = 600.0
    between: float = 120.0
    total: float = 3600.0


def _reuse_told() -> aiohttp.TraceConfig:
    """Tells a request's context that it went over a connection that was kept."""

    async def reused(session: Any, context: Any, params: Any) -> None:
        if context.trace_request_ctx is not None:
            context.trace_request_ctx.reused = True

    told = aiohttp.TraceConfig()
    told.on_connection_reuseconn.append(reused)
    return told


class Transport:
    """The connections to one server, of one event loop. They close when the loop does."""

    def __init__(self, spec: Spec, timeouts: Timeouts) -> None:
        self.spec, self.timeouts = spec, timeouts
        self.key = spec.key()
        headers = {"User-Agent": f"mullover/{__version__}", "Accept": "text/event-stream, application/json"}
        headers |= {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        self.session = aiohttp.ClientSession(  # closed by who made this
            headers=headers,
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE),
            trace_configs=[_reuse_told()],
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=timeouts.connect),
            auto_decompress=False,
            trust_env=False,  # no key to a proxy or from a .netrc that nobody named
        )

    async def events(self, url: str, payload: Mapping[str, Any]) -> AsyncGenerator[list[bytes], None]:
        """The data of the events of a stream, as many as came at once; a whole JSON body is one event.

        Raises:
            AttemptError: connecting or reading failed, a timeout passed, the status is an error, or it is too long.
        """
        loop, limits = asyncio.get_running_loop(), self.timeouts
        end = loop.time() + limits.total
        phase = "first"
        try:
            async with asyncio.timeout_at(min(end, loop.time() + limits.first)) as clock:
                async with self._posted(url, orjson.dumps(payload)) as response:
                    if response.content_type != "text/event-stream":
                        yield [await self._body(response)]
                        return
                    stream, read = Events(), response.content.readany
                    while received := await read():
                        if found := stream.feed(received):
                            phase = "after" if found[-1] == DONE else "between"
                            yield found
                        clock.reschedule(min(end, loop.time() + (GRACE if phase == "after" else limits.between)))
                    if found := stream.end():
                        yield found
        except TimeoutError as error:
            if phase != "after":
                raise self._late(error, phase, loop.time() >= end) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self._broken(error) from None
        except AttemptError as error:
            raise self._scrubbed(error) from None

    async def json(self, method: str, url: str, payload: Any = None) -> Any:
        """The JSON of a whole answer.

        Raises:
            AttemptError: as `events`, or it is no JSON.
        """
        try:
            async with asyncio.timeout(self.timeouts.between):
                body = None if payload is None else orjson.dumps(payload)
                async with self._asked(method, url, body) as response:
                    return orjson.loads(await self._body(response))
        except TimeoutError as error:
            raise self._late(error, "first", False) from None
        except orjson.JSONDecodeError:
            raise AttemptError(f"{self.spec.host} answered {urlsplit(url).path} with what is no JSON") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self._broken(error) from None
        except AttemptError as error:
            raise self._scrubbed(error) from None

    def _posted(self, url: str, body: bytes) -> Any:
        return self._asked("POST", url, body)

    @asynccontextmanager
    async def _asked(self, method: str, url: str, body: bytes | None) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        """The response of status 200; redirects are followed within the host only."""
        for _ in range(HOPS):
            response = await self._sent(method, url, body)
            try:
                if response.status == 200:
                    yield response
                    return
                if response.status not in (301, 302, 303, 307, 308):
                    raise of_status(response.status, response.headers, await response.content.read(ERROR))
                url = self._redirected(url, response)
            finally:
                response.close()
        raise AttemptError(f"{self.spec.host} redirects in a circle; mend the address")

    async def _sent(self, method: str, url: str, body: bytes | None) -> aiohttp.ClientResponse:
        """Once more over a new connection if a kept one turns out to be dead: then nobody has been asked."""
        for _ in range(KEPT):
            how = SimpleNamespace(reused=False)
            try:
                return await self.session.request(method, url, data=body, allow_redirects=False, trace_request_ctx=how)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                if not how.reused:
                    raise
        return await self.session.request(method, url, data=body, allow_redirects=False)

    def _redirected(self, url: str, response: aiohttp.ClientResponse) -> str:
        to = urljoin(url, response.headers.get("location", ""))
        here, there = urlsplit(url), urlsplit(to)
        if (here.scheme, here.netloc) != (there.scheme, there.netloc):
            raise AttemptError(
                f"{self.spec.host} redirects to another host, {there.scheme}://{there.hostname}; no key goes there: "
                "name that server if you trust it"
            )
        if response.status not in (307, 308):
            raise AttemptError(f"{self.spec.host} redirects to {there.path}; write that path in the model's address")
        return to

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        parts, size = list[bytes](), 0
        while received := await response.content.readany():
            parts.append(received)
            size += len(received)
            if size > MOST:
                raise AttemptError(f"the server sent more than {MOST >> 20} MB; it was cut off")
        return b"".join(parts)

    def _late(self, error: TimeoutError, phase: str, over: bool) -> AttemptError:
        host, limits = self.spec.host, self.timeouts
        if isinstance(error, aiohttp.ServerTimeoutError):
            return AttemptError(
                f"{host} did not accept a connection within {limits.connect:g} s; is it running?", "down"
            )
        if over:
            return AttemptError(f"{host} took longer than {limits.total:g} s for one answer")
        if phase == "first":
            return AttemptError(f"{host} said nothing for {limits.first:g} s", "down")
        return AttemptError(f"{host} fell silent for {limits.between:g} s within an answer", "down")

    def _broken(self, error: Exception) -> AttemptError:
        host = self.spec.host
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return AttemptError(f"the certificate of {host} is not valid: {error.certificate_error}")
        if isinstance(error, aiohttp.ClientConnectorError):
            return AttemptError(f"cannot reach {host}: {error.strerror or error}; is the server running?", "down")
        if isinstance(error, (aiohttp.InvalidURL, ValueError)):
            return AttemptError(f"{host} cannot be asked: {error}")
        if isinstance(error, aiohttp.ClientResponseError):
            return AttemptError(f"{host} speaks no proper HTTP: {error.message}", "down")
        return AttemptError(f"the connection to {host} broke: {error or type(error).__name__}", "down")

    def _scrubbed(self, error: AttemptError) -> AttemptError:
        """Some servers repeat the key in their refusal."""
        if not self.key or self.key not in str(error):
            return error
        return AttemptError(str(error).replace(self.key, "[key]"), error.again, error.after, error.status)
