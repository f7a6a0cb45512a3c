"""What is asked again and what is not: refusals, resets, silence, storms."""

import asyncio
import math
import random
import socket
import time
from contextlib import aclosing
from email.utils import formatdate

import pytest
from tests.backends.http_raw import PROMPT, WORDS, answer, counted, drawn, http, run, saying, told, until
from tests.backends.http_upstreams import rich

from mullover.backends.http.http import Http, Patience
from mullover.backends.http.profile import Profile
from mullover.backends.http.spec import Spec
from mullover.backends.http.transport import Timeouts
from mullover.laws.upstream import Fault, Upstream
from mullover.types import NOTHING, Sampling, Usage

# Asked again, and not


class TestWhatIsAskedAgain:
    @pytest.mark.parametrize("status", (408, 409, 429, 500, 502, 503, 504, 529))
    def test_a_status_that_may_pass_is_asked_again_and_stands_in_the_ledger(self, status: int) -> None:
        async def test() -> None:
            async with Upstream(model=rich(), faults=[Fault("status", status=status)]) as up:
                got = await drawn(http(up))
                assert (got.one.finish, got.voids) == ("eos", 0)
                assert [seen.status for seen in up.seen] == [status, 200]
                assert (got.usage.retries, got.usage.partial) == (1, 0)
                assert counted(got.usage) == told(up)

        run(test())

    @pytest.mark.parametrize("status", (400, 401, 403, 404, 405, 410, 413, 422, 431, 451))
    def test_a_refusal_is_not_asked_again_and_is_told_in_the_servers_words(self, status: int) -> None:
        async def test() -> None:
            async with Upstream(model=rich(), faults=[Fault("status", status=status)]) as up:
                got = await drawn(http(up))
                assert len(up.seen) == 1
                words = "Unauthorized" if status == 401 else f"a planned failure with status {status}"
                hint = f"; `mull doctor --model {up.url}#toy` finds what it takes" if status in (400, 422) else ""
                assert (got.one.finish, got.one.error) == ("error", f"status {status}: {words}{hint}")
                assert got.usage == NOTHING

        run(test())

    def test_a_quota_that_is_used_up_is_not_asked_again(self) -> None:
        body = {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}

        async def test() -> None:
            async with saying([answer(body, "429 Too Many Requests", "Retry-After: 20\r\n")]) as raw:
                got = await drawn(http(raw))
                assert got.one.error == "status 429: You exceeded your current quota"
                assert len(raw.seen) == 1

        run(test())

    def test_after_the_last_attempt_the_sample_says_why_and_how_often(self) -> None:
        async def test() -> None:
            async with Upstream(model=rich(), faults=lambda i: Fault("status", status=429)) as up:
                got = await drawn(http(up, patience=Patience(attempts=4, base=0.001)))
                assert got.one.error == "status 429: a planned failure with status 429 (asked 4 times)"
                assert len(up.seen) == 4
                assert got.usage == Usage(retries=3)

        run(test())

    def test_a_page_of_a_proxy_is_an_error_on_one_line(self) -> None:
        async def test() -> None:
            async with Upstream(faults=lambda i: Fault("status", status=502, body="html")) as up:
                got = await drawn(http(up, patience=Patience(attempts=1)))
                assert got.one.error.startswith("status 502: <html> <head><title>502 Bad Gateway</title>")
                assert "\n" not in got.one.error

        run(test())

    def test_waits_are_uniform_below_twice_the_wait_before_and_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = list[tuple[float, float]]()

        def uniform(low: float, high: float) -> float:
            asked.append((low, high))
            return 0.0

        monkeypatch.setattr(random, "uniform", uniform)

        async def test() -> None:
            async with Upstream(faults=lambda i: Fault("status", status=429)) as up:
                await drawn(http(up, patience=Patience(attempts=6, base=0.5, longest=3.0)))

        run(test())
        assert asked == [(0, 0.5), (0, 1.0), (0, 2.0), (0, 3.0), (0, 3.0)]

    @pytest.mark.parametrize("status", (408, 409, 429, 500, 502, 503))
    def test_retry_after_is_obeyed(self, status: int) -> None:
        async def test() -> None:
            async with Upstream(model=rich(), faults=[None, Fault("status", status=status, retry_after=0.4)]) as up:
                model = http(up)
                await drawn(model)
                assert (await drawn(model)).usage.retries == 1
                assert up.seen[2].at - up.seen[1].at >= 0.4

        run(test())

    def test_a_date_in_retry_after_is_obeyed(self) -> None:
        async def test() -> None:
            until = math.ceil(time.time()) + 1
            offset = time.time() - time.monotonic()
            fault = Fault("status", status=429, retry_after=formatdate(until, usegmt=True))
            async with Upstream(model=rich(), faults=[fault]) as up:
                assert (await drawn(http(up))).one.finish == "eos"
                assert up.seen[1].at + offset >= until - 0.01

        run(test())

    def test_while_the_server_wants_rest_no_other_request_is_sent(self) -> None:
        async def test() -> None:
            async with Upstream(model=rich(), faults=[Fault("status", status=429, retry_after=0.4)]) as up:
                model = http(up)
                first = asyncio.create_task(drawn(model))
                await until(lambda: up.seen and up.seen[0].finished)
                await asyncio.sleep(0.05)
                await drawn(model, 5)
                await first
                assert len(up.seen) == 7
                assert all(seen.at - up.seen[0].at >= 0.4 for seen in up.seen[1:])

        run(test())

    def test_a_storm_ends_when_the_budget_of_retries_is_spent(self) -> None:
        async def test() -> None:
            async with Upstream(faults=lambda i: Fault("status", status=429)) as up:
                model = http(up, patience=Patience(attempts=1000, base=0.0))
                got = await drawn(model, 300)
                router = model.here()
                most = router.endpoints[0].gate.most
                assert router.retries == 100 + 2 * most
                assert len(up.seen) == 300 + router.retries
                assert got.usage == Usage(retries=router.retries)
                assert all("status 429: a planned failure" in sample.error for sample in got.samples)

        run(test())

    def test_successes_earn_retries(self) -> None:
        async def test() -> None:
            async with Upstream(model=rich()) as up:
                model = http(up)
                await drawn(model, 40)
                router = model.here()
                assert router.credit == 10.0
                assert router.retries == 0

        run(test())


# Connections


class TestConnections:
    def test_a_reset_before_any_byte_is_asked_again(self) -> None:
        async def test() -> None:
            async with Upstream(model=rich(), faults=[Fault("reset_before")]) as up:
                got = await drawn(http(up))
                assert got.one.finish == "eos"
                assert len(up.seen) == 2
                assert (got.usage.retries, got.voids) == (1, 0)
                assert counted(got.usage) == told(up)

        run(test())

    def test_a_reset_over_a_kept_connection_stands_in_the_ledger_too(self) -> None:
        """The server had the whole request: it may have worked on it, and asks for money."""

        async def test() -> None:
            async with Upstream(model=rich(), faults=[None, Fault("reset_before")]) as up:
                model = http(up)
                await drawn(model)
                got = await drawn(model)
                assert got.one.finish == "eos"
                assert len(up.seen) == 3
                assert got.usage.retries == 1

        run(test())

    def test_a_reset_in_the_middle_takes_back_what_was_said(self) -> None:
        async def test() -> None:
            async with Upstream(model=rich(), faults=[Fault("reset_after", after=4)], per_token=0.005) as up:
                got = await drawn(http(up))
                assert got.one.finish == "eos"
                assert got.voids == 1
                assert len(up.seen) == 2
                lost = sum(len(e.ids) for e in got.events[: [e.void for e in got.events].index(True)])
                assert lost == 3  # the first of 4 events holds no token
                assert counted(got.usage) == (told(up)[0] + WORDS, told(up)[1] + lost)
                assert (got.usage.retries, got.usage.partial) == (1, 1)

        run(test())

    def test_a_connection_that_was_closed_while_idle_costs_no_attempt(self) -> None:
        async def test() -> None:
            async with Upstream(model=rich()) as up:
                model = http(up)
                await drawn(model, 4)
                await up.stop()
                await up.start()
                got = await drawn(model, 4)
                assert got.usage.retries == 0
                assert len(up.seen) == 8

        run(test())

    def test_bytes_that_are_no_http_are_asked_again_and_named(self) -> None:
        async def test() -> None:
            async with Upstream(model=rich(), faults=[Fault("not_http")]) as up:
                got = await drawn(http(up))
                assert (got.one.finish, got.usage.retries) == ("eos", 1)
            async with Upstream(model=rich(), faults=lambda i: Fault("not_http")) as up:
                got = await drawn(http(up, patience=Patience(attempts=1)))
                assert got.one.error.startswith(f"127.0.0.1:{up.port} speaks no proper HTTP")

        run(test())

    def test_a_dead_address_fails_soon_and_says_what_to_do(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]

            async def test() -> None:
                started = time.monotonic()
                model = Http([Spec.parse(f"http://127.0.0.1:{port}/v1#toy")], profiles=[Profile()])
                got = await drawn(model, 8)
                assert time.monotonic() - started < 10
                for sample in got.samples:
                    assert f"cannot reach 127.0.0.1:{port}" in sample.error
                    assert "is the server running?" in sample.error
                assert got.usage.tokens == got.usage.partial == 0

            run(test())

    def test_a_server_that_does_not_accept_is_left_after_the_connect_timeout(self) -> None:
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            port = full.getsockname()[1]
            waiting = [socket.socket() for _ in range(4)]
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", port))

            async def test() -> None:
                model = Http(
                    [Spec.parse(f"http://127.0.0.1:{port}/v1#toy")],
                    patience=Patience(attempts=1),
                    timeouts=Timeouts(connect=0.2, first=20.0),
                    profiles=[Profile()],
                )
                got = await drawn(model)
                assert got.one.error == (
                    f"127.0.0.1:{port} did not accept a connection within 0.2 s; is the server running?"
                )

            try:
                run(test())
            finally:
                for one in waiting:
                    one.close()


# Timeouts


class TestTimeouts:
    def test_silence_before_the_first_byte_is_asked_again_and_the_request_closed(self) -> None:
        async def test() -> None:
            async with Upstream(model=rich(), faults=[Fault("hang")]) as up:
                got = await drawn(http(up, timeouts=Timeouts(first=0.2)))
                assert (got.one.finish, got.usage.retries) == ("eos", 1)
                await until(lambda: not up.live)
                assert [seen.aborted for seen in up.seen] == [True, False]
            async with Upstream(model=rich(), faults=[Fault("hang")]) as up:
                got = await drawn(http(up, timeouts=Timeouts(first=0.1), patience=Patience(attempts=1)))
                assert got.one.error == f"127.0.0.1:{up.port} said nothing for 0.1 s"

        run(test())

    def test_silence_between_tokens_is_asked_again_and_the_request_closed(self) -> None:
        async def test() -> None:
            async with Upstream(model=rich(), faults=[Fault("hang_after", after=3)], per_token=0.005) as up:
                got = await drawn(http(up, timeouts=Timeouts(first=5, between=0.6)))
                assert (got.one.finish, got.voids) == ("eos", 1)
                assert (got.usage.retries, got.usage.partial) == (1, 1)
                assert counted(got.usage) == (told(up)[0] + WORDS, told(up)[1] + 2)
                await until(lambda: not up.live)
                assert [seen.aborted for seen in up.seen] == [True, False]
            async with Upstream(model=rich(), faults=[Fault("hang_after", after=3)]) as up:
                got = await drawn(http(up, timeouts=Timeouts(between=0.1), patience=Patience(attempts=1)))
                assert got.one.error == f"127.0.0.1:{up.port} fell silent for 0.1 s within an answer"

        run(test())

    def test_an_answer_that_never_ends_is_left_when_its_total_is_over(self) -> None:
        async def test() -> None:
            async with Upstream(model=rich(), per_token=0.25) as up:
                got = await drawn(http(up, timeouts=Timeouts(total=0.65)))
                assert got.one.error == f"127.0.0.1:{up.port} took longer than 0.65 s for one answer"
                assert got.usage.partial == 1
                assert 1 <= got.usage.completion_tokens <= 3
                await until(lambda: not up.live)
                assert up.seen[0].aborted and len(up.seen) == 1

        run(test())

    def test_slow_bytes_are_waited_for(self) -> None:
        async def test() -> None:
            async with Upstream(model=rich(), faults=[Fault("slow", seconds=0.0001)]) as up:
                got = await drawn(http(up, timeouts=Timeouts(first=5.0, between=5.0)), sampling=Sampling(max_tokens=2))
                assert (got.one.finish, got.usage.retries) == ("length", 0)
                assert counted(got.usage) == told(up)

        run(test())

    def test_slow_bytes_without_end_are_bounded_by_the_total(self) -> None:
        async def test() -> None:
            async with Upstream(model=rich(), faults=[Fault("slow", seconds=0.02)]) as up:
                got = await drawn(http(up, timeouts=Timeouts(total=0.3)))
                assert got.one.error == f"127.0.0.1:{up.port} took longer than 0.3 s for one answer"
                await until(lambda: not up.live)
                assert up.seen[0].aborted

        run(test())

    @pytest.mark.parametrize("limits", (Timeouts(between=1.5), Timeouts(total=3.0), Timeouts(first=1.5)))
    def test_a_reader_who_takes_his_time_loses_nothing(self, limits: Timeouts) -> None:
        """The clocks are the server's: while nobody reads, it is not late. There are more events than may wait."""

        async def test() -> None:
            async with Upstream(model=rich()) as up:
                ended = 0
                async with aclosing(http(up, timeouts=limits).stream(PROMPT, 400, Sampling(max_tokens=64))) as events:
                    async for one in events:
                        if one.sample is not None:
                            ended += 1
                            assert one.sample.finish == "eos", one.sample.error
                            if ended == 1:
                                await asyncio.sleep(3.2)
                assert ended == 400

        run(test(), 15)
