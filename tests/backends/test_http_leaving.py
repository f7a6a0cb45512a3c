"""The gate of a real endpoint, readers who leave, and scoring."""

import asyncio
import gc
import warnings
from contextlib import aclosing
from typing import Any

from tests.backends.http_raw import PROMPT, VLLM, counted, drawn, http, run, the_gate, until
from tests.backends.http_upstreams import rich

from mullover.backends.http import gate, transport
from mullover.backends.http.http import Http, Patience
from mullover.backends.http.profile import Profile
from mullover.backends.http.spec import Spec
from mullover.backends.http.transport import Timeouts
from mullover.laws.upstream import Fault, Upstream
from mullover.running import run as run_strategy
from mullover.strategies.self_consistency import self_consistency
from mullover.types import Prompt, Sampling

# The gate


class TestTheGate:
    def test_a_broken_server_is_left_alone_and_then_tried_by_one_request(self) -> None:
        down = [Fault("status", status=500)] * 5

        async def test() -> None:
            async with Upstream(model=rich(), faults=[None, *down, None]) as up:
                model = http(up, patience=Patience(attempts=10, base=0.001))
                await drawn(model)
                got = await drawn(model)
                assert (got.one.finish, got.usage.retries) == ("eos", 5)
                at = [seen.at for seen in up.seen]
                assert at[6] - at[5] >= gate.COOL
                assert not (await the_gate(model)).is_broken

        run(test())

    def test_while_the_breaker_is_open_requests_come_one_at_a_time(self) -> None:
        async def test() -> None:
            async with Upstream(model=rich()) as up:
                model = http(up, patience=Patience(attempts=4, base=0.001))
                await drawn(model, 8)
                paid = up.usage
                up._fault, up.latency, before = (lambda i: Fault("status", status=500)), 0.01, len(up.seen)
                task = asyncio.create_task(drawn(model, 64))
                await until(lambda: len(up.seen) > before + 30)
                await asyncio.sleep(0.9)
                later = [seen.at for seen in up.seen[before:]]
                burst = [at for at in later if at - later[0] < 0.3]
                assert len(burst) <= 40
                assert len(later) - len(burst) <= 2
                up._fault = lambda i: None
                got = await task
                assert {sample.finish for sample in got.samples} == {"eos"}
                delivered = (
                    up.usage.prompt_tokens - paid.prompt_tokens,
                    up.usage.completion_tokens - paid.completion_tokens,
                )
                assert counted(got.usage) == delivered

        run(test())

    def test_a_server_that_was_down_and_is_up_again_answers_all(self) -> None:
        async def test() -> None:
            async with Upstream(model=rich()) as up:
                model = http(up, patience=Patience(attempts=20, base=0.01))
                await drawn(model, 8)
                before, paid = len(up.seen), up.usage
                await up.stop()
                task = asyncio.create_task(drawn(model, 20))
                await asyncio.sleep(0.3)
                assert (await the_gate(model)).is_broken
                await up.start()
                got = await task
                assert {sample.finish for sample in got.samples} == {"eos"}
                assert len(up.seen) == before + 20
                assert counted(got.usage)[0] == up.usage.prompt_tokens - paid.prompt_tokens
                assert counted(got.usage)[1] == up.usage.completion_tokens - paid.completion_tokens
                assert got.usage.retries >= gate.BROKEN
                assert not (await the_gate(model)).is_broken

        run(test())

    def test_a_request_that_hangs_does_not_keep_a_server_that_is_back_from_being_tried(self) -> None:
        async def test() -> None:
            faults = [None, Fault("hang"), *[Fault("reset_before")] * gate.BROKEN, None]
            async with Upstream(model=rich(), faults=faults) as up:
                model = http(up, timeouts=Timeouts(first=20), patience=Patience(attempts=10, base=0.001))
                await drawn(model)
                hangs = asyncio.create_task(drawn(model))
                await until(lambda: up.live)
                got = await asyncio.wait_for(drawn(model), 8)
                assert got.one.finish == "eos"
                hangs.cancel()
                await asyncio.gather(hangs, return_exceptions=True)

        run(test())

    def test_the_cap_shrinks_when_the_server_says_it_is_busy_and_grows_with_success(self) -> None:
        async def test() -> None:
            async with Upstream(model=rich(), latency=0.01) as up:
                model = http(up)
                await drawn(model, 200)
                grown = (await the_gate(model)).cap
                assert grown > gate.START
                assert gate.START < up.most <= grown
                up._fault = lambda i: Fault("status", status=429)
                await drawn(model, 64)
                shrunk = (await the_gate(model)).cap
                assert shrunk <= grown / 2
                up._fault, up.most = (lambda i: None), 0
                await drawn(model, 200)
                assert up.most <= max(shrunk + 1, (await the_gate(model)).cap)
                assert (await the_gate(model)).cap > shrunk

        run(test())

    def test_a_busy_answer_halves_the_cap_once_for_all_that_were_sent_before(self) -> None:
        async def test() -> None:
            async with Upstream(model=rich(), latency=0.05, faults=[Fault("status", status=429)] * 32) as up:
                model = http(up, patience=Patience(attempts=5, base=0.2))
                task = asyncio.create_task(drawn(model, 32))
                await until(lambda: sum(seen.finished for seen in up.seen) == 32)
                assert (await the_gate(model)).cap == 16
                assert {sample.finish for sample in (await task).samples} == {"eos"}

        run(test())

    def test_the_cap_shrinks_when_answers_get_slow(self) -> None:
        async def test() -> None:
            async with Upstream(model=rich()) as up:
                model = http(up)
                await drawn(model, 100)
                cap = (await the_gate(model)).cap
                up.latency = 1.5
                await drawn(model, 64)
                assert (await the_gate(model)).cap < cap

        run(test())


# Leaving


class TestLeaving:
    def test_closing_a_stream_closes_its_requests(self) -> None:
        async def test() -> None:
            async with Upstream(model=rich(), per_token=0.05) as up:
                model = http(up)
                async with aclosing(model.stream(PROMPT, 8, Sampling(max_tokens=64))) as events:
                    await anext(events)
                    await until(lambda: up.live == 8)
                await until(lambda: not up.live)
                assert [seen.aborted for seen in up.seen] == [True] * 8
                own = await the_gate(model)
                assert (own.live, len(own.waiting)) == (0, 0)
                assert (await drawn(model)).one.finish == "eos"

        run(test())

    def test_cancelling_a_task_closes_its_requests_and_the_places_of_those_that_wait(self) -> None:
        async def test() -> None:
            async with Upstream(model=rich(), latency=5) as up:
                model = http(up)
                own = await the_gate(model)
                own.cap = 4.0
                tasks = [asyncio.create_task(model.sample(PROMPT, 5, Sampling(max_tokens=64))) for _ in range(3)]
                await until(lambda: up.live == 4 and len(own.waiting) == 11)
                for task in tasks:
                    task.cancel()
                ends = await asyncio.gather(*tasks, return_exceptions=True)
                assert {type(end) for end in ends} == {asyncio.CancelledError}
                await until(lambda: not up.live)
                assert [seen.aborted for seen in up.seen] == [True] * 4
                assert (own.live, len(own.waiting)) == (0, 0)
                up.latency = 0
                assert (await drawn(model, 8)).usage.retries == 0

        run(test())

    def test_leaving_while_waiting_to_ask_again_asks_no_more(self) -> None:
        async def test() -> None:
            async with Upstream(faults=lambda i: Fault("status", status=429, retry_after=0.2)) as up:
                model = http(up)
                task = asyncio.create_task(drawn(model, 4))
                await until(lambda: sum(seen.finished for seen in up.seen) == 4)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await asyncio.sleep(0.4)
                assert len(up.seen) == 4
                assert (await the_gate(model)).live == 0

        run(test())

    def test_a_run_whose_time_is_over_counts_what_was_cut(self) -> None:
        async def strategy(model: Any, prompt: Prompt, *, sampling: Sampling = Sampling()) -> Any:
            async for answered in self_consistency(model, prompt, n=4, sampling=sampling):
                yield answered

        from mullover.running import Budget

        async def test() -> None:
            async with Upstream(model=rich(), per_token=0.1) as up:
                done = await run_strategy(strategy, http(up), PROMPT, budget=Budget(seconds=0.35))
                assert not done.answer.complete
                await until(lambda: not up.live)
                assert [seen.aborted for seen in up.seen] == [True] * 4
                assert done.total.partial == 4
                assert 4 <= done.total.completion_tokens <= sum(seen.tokens for seen in up.seen)

        run(test())

    def test_a_model_that_nobody_holds_closes_its_connections_and_warns_of_nothing(self) -> None:
        async def test() -> None:
            async with Upstream(model=rich()) as up:
                await drawn(Http([Spec.parse(f"{up.url}#toy")], profiles=[VLLM]), 8)
                assert up.connections
                with warnings.catch_warnings(record=True) as warned:
                    warnings.simplefilter("always")
                    gc.collect()
                    await until(lambda: not up.connections)
                assert [str(warning.message) for warning in warned] == []

        run(test())

    def test_nothing_is_kept_of_connections_that_are_closed(self) -> None:
        async def test() -> None:
            async with Upstream(model=rich()) as up:
                model = http(up)
                for _ in range(5):
                    await drawn(model)
                    await model.here().endpoints[0].transport.aclose()

        before = len(transport.OPEN)
        run(test())
        assert len(transport.OPEN) == before

    def test_the_connections_close_with_the_event_loop(self) -> None:
        async def asked(model: Http) -> None:
            await drawn(model, 16)

        async def test() -> None:
            async with Upstream(model=rich()) as up:
                model = http(up)
                await asyncio.to_thread(asyncio.run, asked(model))
                assert len(up.seen) == 16
                await until(lambda: not up.connections)

        run(test())


class TestScoring:
    def test_a_server_that_scored_well_is_no_longer_broken(self) -> None:
        profile = Profile(continues="tokens", scores="prompt_logprobs", ids=True)

        async def test() -> None:
            async with Upstream(model=rich()) as up:
                model = http(up, profile=profile, patience=Patience(attempts=20, base=0.001))
                (sample,) = await model.sample(PROMPT, 1, Sampling(max_tokens=64))
                up._posts, up._fault = 0, lambda i: Fault("status", status=500) if i < gate.BROKEN else None
                assert await model.score(PROMPT, [sample.text])
                own = await the_gate(model)
                assert (own.is_broken, own.failures) == (False, 0)

        run(test())
