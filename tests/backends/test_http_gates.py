"""How many requests an endpoint gets, and which endpoint gets them."""

import asyncio
import socket
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.backends.http_upstreams import rich

from mullover.backends.http import gate
from mullover.backends.http.endpoint import Endpoint
from mullover.backends.http.failures import AttemptError
from mullover.backends.http.gate import Gate
from mullover.backends.http.http import Http, Patience
from mullover.backends.http.profile import Profile
from mullover.backends.http.spec import Spec
from mullover.backends.pool.router import LOYAL, ROOM, Router
from mullover.errors import ModelError
from mullover.laws.upstream import Fault, Upstream
from mullover.types import Prompt, Sampling

SPEC = Spec.parse("http://a:8000/v1#qwen")
PROMPT = Prompt.of("why?")


# Gates


class Clock:
    """Seconds that pass when we say so."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(gate, "time", clock)
    return clock


def full(door: Gate) -> Gate:
    door.live = int(door.cap)
    return door


def test_the_cap_grows_by_one_with_each_success_while_it_is_used(clock: Clock) -> None:
    door = full(Gate("g"))
    for more in range(1, 6):
        door.live = int(door.cap)
        door.well(clock.now, 0.1)
        assert door.cap == gate.START + more
    door.live = 3
    door.well(clock.now, 0.1)
    assert door.cap == gate.START + 5
    door.cap = door.live = gate.MOST
    door.well(clock.now, 0.1)
    assert door.cap == gate.MOST


def test_busy_halves_the_cap_once_for_all_that_were_sent_before(clock: Clock) -> None:
    door = full(Gate("g"))
    for _ in range(10):
        clock.now += 0.01
        door.busy(99.9, None)
    assert door.cap == gate.START / 2
    door.busy(clock.now + 1, None)
    assert door.cap == gate.START / 4
    full(door).well(clock.now, 0.1)
    assert door.cap == gate.START / 4 + 1 / (gate.START / 4)
    for _ in range(9):
        clock.now += 1
        door.busy(clock.now, None)
    assert door.cap == gate.LEAST


def test_a_server_that_gets_slow_is_not_given_more(clock: Clock) -> None:
    door = full(Gate("g"))
    door.well(clock.now, 0.1)
    for _ in range(40):
        clock.now += 1
        door.live = int(door.cap)
        door.well(clock.now, 20.0)
    assert door.cap < gate.START


async def queued(door: Gate, many: int) -> list[asyncio.Task[None]]:
    tasks = [asyncio.create_task(door.enter()) for _ in range(many)]
    await asyncio.sleep(0)
    return tasks


def test_no_more_enter_than_there_is_room_for_and_leaving_wakes_in_order() -> None:
    async def main() -> None:
        door = Gate("g")
        door.cap = 2.0
        tasks = await queued(door, 5)
        assert [task.done() for task in tasks] == [True, True, False, False, False]
        door.leave()
        await asyncio.sleep(0)
        assert [task.done() for task in tasks] == [True, True, True, False, False]
        door.leave()
        door.leave()
        await asyncio.gather(*tasks)
        assert (door.live, door.most) == (2, 2)

    asyncio.run(main())


def test_one_who_gives_up_waiting_loses_nobody_a_place() -> None:
    async def main() -> None:
        door = Gate("g")
        door.cap = 1.0
        first, second, third = await queued(door, 3)
        second.cancel()
        await asyncio.sleep(0)
        door.leave()
        await asyncio.sleep(0)
        assert third.done()
        assert (door.live, len(door.waiting)) == (1, 0)
        last, after = await queued(door, 2)
        door.leave()  # `last` has got its place, and is cancelled before it hears of that
        last.cancel()
        await asyncio.wait_for(after, 1)
        assert door.live == 1
        await asyncio.gather(first, second, third, last, return_exceptions=True)

    asyncio.run(main())


def test_nothing_is_sent_before_the_server_wants_it_and_then_all_who_wait_are_woken() -> None:
    async def main() -> float:
        door, loop = Gate("g"), asyncio.get_running_loop()
        door.busy(0.0, 0.05)
        began = loop.time()
        await asyncio.wait_for(asyncio.gather(*[door.enter() for _ in range(5)]), 1)
        return loop.time() - began

    assert 0.045 < asyncio.run(main()) < 0.5


def test_a_pause_that_ends_between_two_looks_at_the_clock_leaves_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads = iter([9.9995])
    monkeypatch.setattr(gate, "time", SimpleNamespace(monotonic=lambda: next(reads, 10.0005)))

    async def main() -> None:
        door = Gate("g")
        door.until = 10.0
        await asyncio.wait_for(door.enter(), 0.2)

    asyncio.run(main())


def test_five_failures_in_a_row_stop_all_sending_and_send_away_who_waits(clock: Clock) -> None:
    async def main() -> None:
        door = Gate("g")
        door.well(clock.now, 0.1)
        door.cap = 1.0
        await door.enter()
        (waits,) = await queued(door, 1)
        for _ in range(gate.BROKEN - 1):
            door.down("reset")
        assert not door.is_broken
        door.down("reset")
        assert door.is_broken
        assert not door.is_gone
        with pytest.raises(AttemptError, match="g went out of use: reset") as moved:
            await waits
        assert moved.value.again == "moved"

    asyncio.run(main())


def test_then_one_request_tries_and_its_success_opens_the_gate(clock: Clock) -> None:
    async def main() -> None:
        door = Gate("g")
        door.well(clock.now, 0.1)
        for _ in range(gate.BROKEN):
            door.down("reset")
        clock.now += gate.COOL
        tries, *others = await queued(door, 4)
        assert tries.done()
        assert not any(task.done() for task in others)
        door.well(clock.now, 0.1)
        door.leave()
        await asyncio.wait_for(asyncio.gather(*others), 1)
        assert door.live == 3
        assert not door.is_broken

    asyncio.run(main())


def test_each_trial_that_fails_doubles_the_pause(clock: Clock) -> None:
    door = Gate("g")
    door.well(clock.now, 0.1)
    for _ in range(gate.BROKEN):
        door.down("reset")
    pauses = []
    for _ in range(8):
        pauses.append(door.until - clock.now)
        clock.now = door.until
        door.down("reset")
    assert pauses[:4] == pytest.approx([gate.COOL * 2**i for i in range(4)])
    assert pauses[-1] == gate.COLD
    assert door.is_gone == (clock.now - 100 > gate.PATIENCE)


def test_an_endpoint_that_never_answered_is_soon_given_up(clock: Clock) -> None:
    async def main() -> None:
        door = Gate("g")
        for _ in range(gate.NEVER_SERVED):
            door.down("refused")
        assert door.is_broken
        clock.now += gate.NEVER_SERVED + 0.1
        door.down("refused")
        assert door.is_gone
        with pytest.raises(AttemptError, match="out of use: refused"):
            await door.enter()

    asyncio.run(main())


@pytest.mark.parametrize("status", [429, 503, 500, 502])
def test_a_server_that_asks_us_to_wait_is_waited_for_whatever_its_status(status: int) -> None:
    async def main() -> float:
        fault = Fault("status", status=status, retry_after=0.3)
        async with Upstream(model=rich(), faults=[fault]) as up:
            model = Http([Spec.parse(f"{up.url}#toy")], patience=Patience(base=0.001), profiles=[Profile()])
            await model.sample(PROMPT, 1, Sampling())
            return up.seen[1].at - up.seen[0].at

    assert asyncio.run(main()) > 0.29


def test_a_trial_that_meets_a_busy_server_does_not_forget_that_it_was_broken(clock: Clock) -> None:
    door = Gate("g")
    door.well(clock.now, 0.1)
    for _ in range(gate.BROKEN):
        door.down("reset")
    clock.now = door.until
    door.busy(clock.now, None)
    door.down("reset")
    assert door.until > clock.now


def test_a_server_that_was_never_there_is_given_up_in_seconds_however_the_dice_fall(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mullover.backends.http.http.random", SimpleNamespace(uniform=lambda least, most: most))
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        nobody = Spec.parse(f"http://127.0.0.1:{sock.getsockname()[1]}/v1#m")

    async def main() -> None:
        await asyncio.wait_for(Http([nobody]).sample(PROMPT, 1, Sampling()), 5)

    with pytest.raises(ModelError, match="cannot reach"):
        asyncio.run(main())


# Routes


def ends(*names: str) -> list[Any]:
    return [
        SimpleNamespace(spec=SimpleNamespace(url=name), gate=Gate(name), seconds=1.0, load=lambda usual: 1.0, name=name)
        for name in names
    ]


def routed(endpoints: list[Any], keys: Sequence[str]) -> dict[str, Any]:
    router = Router(cast(list[Endpoint], endpoints))
    return {key: router.pick(key, router.endpoints) for key in keys}


KEYS = [f"question {i}" for i in range(400)]


def test_an_endpoint_that_leaves_moves_its_own_prompts_alone() -> None:
    a, b, c, d = ends("a", "b", "c", "d")
    before, after = routed([a, b, c, d], KEYS), routed([d, a, c], KEYS)
    assert all(after[key] is before[key] for key in KEYS if before[key] is not b)
    share = [sum(found is one for found in before.values()) for one in (a, b, c, d)]
    assert min(share) > 60


def test_one_that_is_much_more_loaded_is_passed_over() -> None:
    a, b, c = ends("a", "b", "c")
    bound = LOYAL * 1.0 + ROOM * 1.0
    a.load = lambda usual: bound
    assert any(found is a for found in routed([a, b, c], KEYS).values())
    a.load = lambda usual: bound + 0.1
    assert not any(found is a for found in routed([a, b, c], KEYS).values())
    assert {found.name for found in routed([a, b, c], KEYS).values()} == {"b", "c"}


def test_a_retry_goes_elsewhere_if_there_is_an_elsewhere_and_never_to_a_broken_one() -> None:
    async def main() -> None:
        a, b, c = ends("a", "b", "c")
        router = Router([a, b, c])
        first = cast(Any, await router.enter("q", None))
        second = cast(Any, await router.enter("q", first))
        assert second is not first
        third = next(end for end in (a, b, c) if end is not first and end is not second)
        third.gate.well(0.0, 0.1)
        for _ in range(gate.BROKEN):
            third.gate.down("reset")
        for key in KEYS[:9]:
            assert await router.enter(key, second) is first
        assert await Router([first]).enter("q", first) is first

    asyncio.run(main())


def test_when_all_are_gone_the_failure_says_so() -> None:
    async def main() -> None:
        (a,) = ends("a")
        for _ in range(8):
            a.gate.down("refused")
        a.gate.broken -= 100
        with pytest.raises(AttemptError, match="a is out of use: refused"):
            await Router([a]).enter("q", None)

    asyncio.run(main())


def test_retries_have_a_budget_that_successes_refill() -> None:
    router = Router(ends("a"))
    router.endpoints[0].gate.most = 10
    broke = AttemptError("reset", "down")
    assert sum(not router.is_hopeless(broke) for _ in range(500)) == 120
    for _ in range(40):
        router.succeeded()
    assert sum(not router.is_hopeless(broke) for _ in range(500)) == 10


# Files


def test_no_more_requests_are_in_flight_than_this_process_may_open_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> tuple[int, int]:
        async with Upstream(model=rich(), latency=0.02) as up:
            model = Http([Spec.parse(f"{up.url}#toy")], profiles=[Profile()])
            await model.sample(PROMPT, 64, Sampling())
            return up.most, model.here().endpoints[0].gate.most

    monkeypatch.setattr("mullover.backends.http.http.files", lambda: 12)
    assert asyncio.run(main()) == (6, 6)


def test_a_pool_shares_what_this_process_may_open(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> list[int]:
        specs = [Spec.parse(f"http://127.0.0.1:{port}/v1#m") for port in (1, 2, 3)]
        return [endpoint.gate.room for endpoint in Http(specs, profiles=[Profile()] * 3).here().endpoints]

    monkeypatch.setattr("mullover.backends.http.http.files", lambda: 60)
    assert asyncio.run(main()) == [10, 10, 10]
