"""Sizes, redirects and keys: what goes out and what comes in is bounded."""

import gc
import resource
import time
from pathlib import Path

import pytest
from tests.backends.http_raw import (
    COST,
    KEY,
    STREAM,
    answer,
    counted,
    drawn,
    event,
    http,
    run,
    said,
    saying,
    the_gate,
    told,
    until,
    whole,
)
from tests.backends.http_upstreams import rich

from mullover.backends.http.http import Http, Patience
from mullover.backends.http.profile import Profile
from mullover.backends.http.spec import Spec
from mullover.backends.http.sse import LONGEST, MOST
from mullover.errors import OptionError
from mullover.evaluate.evaluate import Plan, evaluate
from mullover.laws.upstream import Fault, Upstream
from mullover.scorers.exact import exact
from mullover.strategies.self_consistency import self_consistency
from mullover.tasks import Problem, Task
from mullover.types import AnswerSpec

# Sizes


def peak() -> float:
    """MB of memory that this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class TestSizes:
    @pytest.mark.parametrize("fault", (Fault("huge"), Fault("huge_error", status=400)), ids=("huge", "huge_error"))
    def test_a_body_of_a_gigabyte_is_cut_off(self, fault: Fault) -> None:
        async def test() -> None:
            async with Upstream(model=rich(), faults=[fault]) as up:
                gc.collect()
                before, started = peak(), time.monotonic()
                got = await drawn(http(up))
                assert got.one.finish == "error"
                if fault.kind == "huge":
                    assert got.one.error == f"the server sent an event of more than {LONGEST >> 20} MB; it was cut off"
                assert len(got.one.error) < 400
                assert peak() - before < 200
                assert time.monotonic() - started < 10
                await until(lambda: not up.live)
                assert up.seen[0].aborted and not up.seen[0].finished and len(up.seen) == 1

        run(test())

    def test_a_whole_body_of_a_gigabyte_is_cut_off(self) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"

        async def test() -> None:
            async with saying([head, *[b" " * (1 << 22)] * 256]) as raw:
                before = peak()
                got = await drawn(http(raw))
                assert got.one.error == f"the server sent more than {LONGEST >> 20} MB; it was cut off"
                assert peak() - before < 200

        run(test())

    def test_many_small_events_without_end_are_cut_off(self) -> None:
        block = event(said("x" * 4000)) * 1000

        async def test() -> None:
            async with saying([STREAM, *[block] * (MOST // len(block) + 2)]) as raw:
                before = peak()
                got = await drawn(http(raw))
                assert "said far more than it was asked for; it was cut off" in got.one.error
                assert peak() - before < 100

        run(test())

    @pytest.mark.slow
    def test_sixty_four_huge_bodies_at_once_do_not_fill_the_memory(self) -> None:
        async def test() -> None:
            async with Upstream(model=rich(), faults=lambda i: Fault("huge", size=1 << 26)) as up:
                model = http(up)
                (await the_gate(model)).cap = 64.0
                before = peak()
                got = await drawn(model, 64)
                assert all(f"{LONGEST >> 20} MB" in sample.error for sample in got.samples)
                assert peak() - before < 1500

        run(test(), 120)


# Redirects and keys


class TestRedirects:
    @pytest.mark.parametrize("status", (301, 302, 303, 307, 308))
    def test_another_host_is_never_asked_and_never_gets_the_key(
        self, status: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MULL_TEST_KEY", KEY)

        async def test() -> None:
            async with Upstream(model=rich()) as other:
                to = f"{other.url}/chat/completions"
                async with Upstream(
                    model=rich(), key=KEY, faults=lambda i: Fault("redirect", status=status, location=to)
                ) as up:
                    got = await drawn(http(up, more=";key=MULL_TEST_KEY"))
                    assert got.one.error == (
                        f"127.0.0.1:{up.port} redirects to another host, http://127.0.0.1; no key goes there: "
                        "name that server if you trust it"
                    )
                    assert other.seen == []
                    assert len(up.seen) == 1
                    assert up.seen[0].headers["Authorization"] == f"Bearer {KEY}"

        run(test())

    def test_the_host_by_another_name_is_another_host(self) -> None:
        async def test() -> None:
            async with Upstream(model=rich()) as up:
                to = [f"http://localhost:{up.port}/v1/chat/completions", f"http://x@127.0.0.1:{up.port}/", "//evil/"]
                up._fault = lambda i: Fault("redirect", location=to[i])
                for _ in to:
                    assert "another host" in (await drawn(http(up))).one.error
                assert len(up.seen) == 3

        run(test())

    @pytest.mark.parametrize("status", (307, 308))
    def test_within_the_host_the_whole_request_is_sent_on(self, status: int) -> None:
        async def test() -> None:
            fault = Fault("redirect", status=status, location="/v1/chat/completions")
            async with Upstream(model=rich(), faults=[fault] if status == 307 else [fault, fault]) as up:
                got = await drawn(http(up))
                assert (got.one.finish, got.usage.retries) == ("eos", 0)
                assert up.seen[0].body == up.seen[-1].body
                assert counted(got.usage) == told(up)

        run(test())

    @pytest.mark.parametrize("status", (301, 302, 303))
    def test_a_redirect_that_would_lose_the_request_is_named(self, status: int) -> None:
        async def test() -> None:
            faults = [Fault("redirect", status=status, location="/api/v1/chat/completions")]
            async with Upstream(model=rich(), faults=faults) as up:
                got = await drawn(http(up))
                assert "redirects to /api/v1/chat/completions; write that path" in got.one.error
                assert len(up.seen) == 1

        run(test())

    def test_a_circle_ends(self) -> None:
        async def test() -> None:
            circle = Fault("redirect", location="/v1/chat/completions")
            async with Upstream(model=rich(), faults=lambda i: circle) as up:
                got = await drawn(http(up))
                assert "redirects in a circle" in got.one.error
                assert len(up.seen) == 3

        run(test())

    def test_a_redirect_to_nowhere_is_an_error(self) -> None:
        async def test() -> None:
            async with Upstream(model=rich(), faults=lambda i: Fault("redirect", location="http://[")) as up:
                assert (await drawn(http(up))).one.finish == "error"

        run(test())


LEAKS: dict[str, list[bytes]] = {
    "a refusal": [answer({"error": {"message": f"Incorrect API key provided: {KEY}."}}, "401 Unauthorized")],
    "a refusal that is no JSON": [answer(f"key {KEY} is wrong".encode(), "403 Forbidden")],
    "a refusal so long that it is cut within the key": [
        answer({"error": {"message": "x" * (300 - len(KEY) + 3) + KEY}}, "401 Unauthorized")
    ],
    "an error with status 200": [answer({"error": {"message": f"Incorrect API key provided: {KEY}."}})],
    "an error within a stream": [STREAM, event(said("so ")), event({"error": {"message": f"{KEY} has no credit"}})],
    "an event that is no JSON": [STREAM, event(f'{{"key": "{KEY}"'.encode())],
    "a content that is no text": [STREAM, event(said([KEY]))],  # type: ignore[arg-type]
    "no choices": [answer({"key": KEY})],
    "a malformed header": [f"HTTP/1.1 200 OK\r\nX-Echo\x01: Bearer {KEY}\r\n\r\n".encode()],
    "a malformed first line": [f"Bearer {KEY} HTTP/1.1\r\n\r\n".encode()],
    "a redirect": [answer(b"", "302 Found", f"Location: /login/{KEY}\r\n")],
    "a redirect to another host": [answer(b"", "307 Found", f"Location: http://{KEY}.evil.test/\r\n")],
}


class TestKeys:
    @pytest.fixture(autouse=True)
    def _key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MULL_TEST_KEY", KEY)

    def test_the_key_comes_from_the_variable_that_is_named(self) -> None:
        async def test() -> None:
            async with Upstream(model=rich(), key=KEY) as up:
                model = http(up, more=";key=MULL_TEST_KEY")
                assert (await drawn(model)).one.finish == "eos"
                assert KEY not in repr([model, vars(model), model.info, model.specs, vars(model.here())])
                endpoint = model.here().endpoints[0]
                assert KEY not in repr([endpoint, {**vars(endpoint), "transport": None}, endpoint.transport])
                assert (await drawn(http(up))).one.error == "status 401: Unauthorized"

        run(test())

    def test_a_variable_that_is_not_set_is_named(self) -> None:
        with pytest.raises(OptionError, match="MULL_NO_SUCH_KEY, which is not set"):
            Http([Spec.parse("http://127.0.0.1:1/v1#toy;key=MULL_NO_SUCH_KEY")], profiles=[Profile()])

    @pytest.mark.parametrize("kind", LEAKS)
    def test_what_a_server_repeats_of_the_key_is_not_told(self, kind: str) -> None:
        async def test() -> None:
            async with saying(LEAKS[kind]) as raw:
                got = await drawn(http(raw, more=";key=MULL_TEST_KEY", patience=Patience(attempts=1)))
                assert f"Bearer {KEY}".encode() in raw.seen[0]
                assert got.one.finish == "error"
                assert KEY not in repr(got.events)
                assert KEY[:12] not in repr(got.events)

        run(test())

    @pytest.mark.parametrize("written", (f"key={KEY}", f"api_key={KEY}", f"template=x;token={KEY}", KEY))
    def test_a_key_written_into_the_address_is_refused_and_not_repeated(self, written: str) -> None:
        with pytest.raises(OptionError) as refused:
            Spec.parse(f"http://127.0.0.1:1/v1#toy;{written}")
        assert KEY not in str(refused.value)

    def test_no_file_of_a_run_holds_the_key(self, tmp_path: Path) -> None:
        problems = [Problem(f"p{i}", f"{i}?", "7", AnswerSpec("number")) for i in range(6)]
        task = Task("six", problems, lambda p: exact(p.answer or "", p.expects), "here", "0")
        body = {"error": {"message": f"Incorrect API key provided: {KEY}."}}
        answers = [[answer(body, "401 Unauthorized")], [answer(body)], [answer({**whole("ANSWER: 7"), "usage": COST})]]

        async def test() -> None:
            async with saying(*answers) as raw:
                spec = f"{raw.url}#toy;key=MULL_TEST_KEY"
                plan = Plan(task, http(raw, more=";key=MULL_TEST_KEY"), self_consistency, spec, {"n": 1})
                result = await evaluate(plan, tmp_path / "run")
                assert (result.problems, result.failed) == (6, 2)
                assert KEY not in repr(result)

        run(test())
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert files
        assert not [path for path in files if KEY.encode() in path.read_bytes()]
