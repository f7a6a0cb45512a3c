"""Several endpoints as one: where requests go, and what happens when one of them dies, slows down or comes back."""

import asyncio
import time
from collections import Counter
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import pytest
from tests.backends.http_upstreams import rich

from mullover.backends.http import gate
from mullover.backends.http.http import Http, Patience
from mullover.backends.http.profile import Profile
from mullover.backends.http.spec import Spec
from mullover.backends.http.transport import Timeouts
from mullover.errors import OptionError
from mullover.laws.upstream import Fault, Upstream
from mullover.types import Prompt, Sample, Sampling, Usage

T = TypeVar("T")
WISH = Sampling(max_tokens=64)
PATIENT = Patience(attempts=8, base=0.01)


def run(test: Coroutine[Any, Any, T], seconds: float = 60) -> T:
    return asyncio.run(asyncio.wait_for(test, seconds))


async def until(comes: Any) -> None:
    for _ in range(2000):
        if comes():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come")


def pool(ups: Sequence[Upstream], patience: Patience = PATIENT, timeouts: Timeouts = Timeouts()) -> Http:
    specs = [Spec.parse(f"{up.url}#toy") for up in ups]
    return Http(specs, patience=patience, timeouts=timeouts, profiles=[Profile(ids=True)] * len(specs))


async def started(stack: AsyncExitStack, count: int, **kwargs: Any) -> list[Upstream]:
    return [await stack.enter_async_context(Upstream(model=rich(), **kwargs)) for _ in range(count)]


def asked(up: Upstream) -> Counter[str]:
    return Counter(seen.body["messages"][-1]["content"] for seen in up.seen)


def answered(ups: Sequence[Upstream]) -> Counter[str]:
    """Answers that were sent in full, by question."""
    found = Counter[str]()
    for up in ups:
        found.update(seen.body["messages"][-1]["content"] for seen in up.seen if seen.finished and seen.status == 200)
    return found


# Where requests go


def test_one_prompt_stays_with_one_endpoint_and_prompts_are_spread() -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            ups = await started(stack, 4, latency=0.05)
            model = pool(ups)
            for i in range(16):  # all have been asked, and how long they take is known
                await model.sample(Prompt.of(f"Before {i}?"), 1, WISH)
            for _ in range(4):
                for i in range(8):  # one at a time: all are equally loaded
                    await model.sample(Prompt.of(f"Story {i}?"), 1, WISH)
            for i in range(8):
                assert sum(f"Story {i}?" in asked(up) for up in ups) == 1
            assert sum(len(asked(up)) > 0 for up in ups) >= 3

    run(test())


def test_the_samples_of_one_prompt_stay_together_while_there_is_room() -> None:
    """Nothing else is asked, and its home has 32 places: read the prompt once, not four times."""

    async def test() -> None:
        async with AsyncExitStack() as stack:
            ups = await started(stack, 4, latency=0.05)
            model = pool(ups)
            for i in range(20):
                await model.sample(Prompt.of(f"{i}?"), 1, WISH)
            before = [len(up.seen) for up in ups]
            await model.sample(Prompt.of("Once more?"), 4, WISH)
            assert sorted(len(up.seen) - b for up, b in zip(ups, before, strict=True)) == [0, 0, 0, 4]

    run(test())


def test_many_samples_of_one_prompt_use_all_endpoints() -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            ups = await started(stack, 4, latency=0.02, slots=8)
            await pool(ups).sample(Prompt.of("Once more?"), 200, WISH)
            shares = [len(up.seen) for up in ups]
            assert sum(shares) == 200
            assert min(shares) >= 15, shares

    run(test())


def test_an_endpoint_that_goes_moves_no_other_prompt() -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            ups = await started(stack, 4, latency=0.002)
            model = pool(ups)
            for i in range(40):
                await model.sample(Prompt.of(f"{i}?"), 1, WISH)
            homes = {f"{i}?": next(k for k, up in enumerate(ups) if f"{i}?" in asked(up)) for i in range(40)}
            await ups[0].stop()
            before = [len(up.seen) for up in ups]
            for i in range(40):
                await model.sample(Prompt.of(f"{i}?"), 1, WISH)
            for k in (1, 2, 3):
                now = Counter(seen.body["messages"][-1]["content"] for seen in ups[k].seen[before[k] :])
                assert {question for question, home in homes.items() if home == k} <= now.keys()

    run(test())


def test_an_endpoint_that_wants_rest_does_not_hold_up_prompts_while_another_is_free() -> None:
    """One of two says 429 and to come back in half a minute: its prompts go to the other, at once."""

    async def test() -> None:
        async with AsyncExitStack() as stack:
            tired, free = await started(stack, 2)
            model = pool([tired, free])
            for i in range(20):
                await model.sample(Prompt.of(f"{i}?"), 1, WISH)
            tired._fault, before = (lambda i: Fault("status", status=429, retry_after=30)), len(free.seen)
            started_at = time.monotonic()
            async with asyncio.timeout(10):
                for i in range(20):
                    await model.sample(Prompt.of(f"{i}?"), 1, WISH)
            assert time.monotonic() - started_at < 10
            assert len(free.seen) - before == 20

    run(test())


def test_a_failed_request_is_made_again_elsewhere() -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            ups = await started(stack, 2)
            model = pool(ups)
            for i in range(10):
                await model.sample(Prompt.of(f"{i}?"), 1, WISH)
            ups[0]._fault = lambda i: Fault("status", status=500)
            before = len(ups[1].seen)
            for i in range(10):
                (sample,) = await model.sample(Prompt.of(f"{i}?"), 1, WISH)
                assert sample.usage.retries <= 1
            assert len(ups[1].seen) - before == 10

    run(test())


# Dying, slowing, coming back


def test_an_endpoint_that_comes_back_is_used_again() -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            ups = await started(stack, 2, latency=0.005)
            model = pool(ups)
            for i in range(20):
                await model.sample(Prompt.of(f"{i}?"), 1, WISH)
            await ups[0].stop()
            for i in range(20):
                await model.sample(Prompt.of(f"{i}?"), 1, WISH)
            await ups[0].start()
            back, deadline = len(ups[0].seen), time.monotonic() + gate.COLD + 5
            while len(ups[0].seen) < back + 10 and time.monotonic() < deadline:
                for i in range(20):
                    await model.sample(Prompt.of(f"{i}?"), 1, WISH)
                await asyncio.sleep(0.05)
            assert len(ups[0].seen) >= back + 10

    run(test())


def test_an_endpoint_that_dies_with_many_requests_in_flight_and_comes_back_is_used_again() -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            ups = await started(stack, 2, latency=0.05)
            model = pool(ups)
            await asyncio.gather(*(model.sample(Prompt.of(f"{i}?"), 1, WISH) for i in range(40)))
            task = asyncio.gather(*(model.sample(Prompt.of(f"{i}?"), 2, WISH) for i in range(40)))
            await until(lambda: ups[0].live >= 10)
            await ups[0].stop()
            await task
            await ups[0].start()
            back, deadline = len(ups[0].seen), time.monotonic() + gate.COLD + 5
            while len(ups[0].seen) < back + 20 and time.monotonic() < deadline:
                await asyncio.gather(*(model.sample(Prompt.of(f"{i}?"), 1, WISH) for i in range(40)))
            assert len(ups[0].seen) >= back + 20

    run(test())


def test_a_pool_of_dead_endpoints_fails_soon_and_says_why() -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            ups = await started(stack, 3)
            for up in ups:
                await up.stop()
            began = time.monotonic()
            ended = [e.sample async for e in pool(ups).stream(Prompt.of("?"), 8, WISH) if e.sample is not None]
            assert time.monotonic() - began < 10
            assert all("cannot reach 127.0.0.1" in sample.error for sample in ended)

    run(test())


def test_two_endpoints_of_one_address_are_refused() -> None:
    from mullover.backends.pool.file import specs

    with pytest.raises(OptionError, match="names one endpoint twice"):
        specs("http://127.0.0.1:1/v1#toy, http://127.0.0.1:1#toy")


SLOTS, TOKEN, LATENCY = 4, 0.01, 0.02  # of each endpoint: answers at once, seconds a token, seconds before the first


async def disturbed(problems: int, at_once: int, kill: bool, slow: bool) -> tuple[float, float, int]:
    """A pool of four asked `problems` questions: (seconds it took, ideal seconds, retries).

    The ideal: an endpoint has SLOTS places, and an answer holds one for `each` seconds, measured below on an
    endpoint that is asked nothing else; so it gives SLOTS / each answers a second, a tenth of that once it is
    slowed tenfold, and none once it is dead. Until the moment T of the disturbance the pool gives 4 shares;
    then 1 (dead) and 0.9 (slowed) less. The ideal is the time at which the sum of what they could have given
    by then is the number of questions: what the dead one had begun, and must be begun again, is not in it.
    """
    async with AsyncExitStack() as stack:
        ups = await started(stack, 4, slots=SLOTS, per_token=TOKEN, latency=LATENCY)
        probe = await stack.enter_async_context(Upstream(model=rich(), slots=SLOTS, per_token=TOKEN, latency=LATENCY))
        alone = pool([probe])
        began = time.monotonic()
        await _all(alone, [f"{i}?" for i in range(40)], SLOTS)
        rate = 40 / (time.monotonic() - began)  # answers a second of one endpoint whose places are always taken

        model, questions = pool(ups), [f"Story {i}?" for i in range(problems)]
        began = time.monotonic()
        task = asyncio.create_task(_all(model, questions, at_once))
        await until(lambda: sum(answered(ups).values()) >= problems // 3)
        moment = time.monotonic() - began
        left = 4.0
        if slow:
            ups[1].per_token, ups[1].latency, left = 10 * TOKEN, 10 * LATENCY, left - 0.9
        if kill:
            await ups[0].stop()
            left -= 1
        found = await task
        took = time.monotonic() - began
        assert [sample.finish for sample in found.values()] == ["eos"] * problems  # all, and each once
        sent = answered(ups)
        assert sent.keys() == set(questions)
        total = sum((sample.usage for sample in found.values()), Usage())
        delivered = sum((up.usage for up in ups), Usage())
        # No answer was paid for and lost, or counted twice; one that was cut costs the prompt's 2 words at least.
        assert total.prompt_tokens == delivered.prompt_tokens + 2 * total.partial
        if not total.partial:
            assert total.completion_tokens == delivered.completion_tokens
        assert sum(sent.values()) == problems
        ideal = moment + max(0.0, problems - 4 * rate * moment) / (left * rate)
        return took, ideal, total.retries


async def _all(model: Http, questions: Sequence[str], at_once: int) -> dict[str, Sample]:
    """Each question once, `at_once` at a time, as `evaluate` asks them."""
    todo, found = iter(questions), dict[str, Sample]()

    async def worker() -> None:
        for question in todo:
            (sample,) = await model.sample(Prompt.of(question), 1, WISH)
            assert question not in found
            found[question] = sample

    await asyncio.gather(*(worker() for _ in range(at_once)))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("at_once", (16, 32))
@pytest.mark.parametrize(
    ("kill", "slow"), ((True, True), (True, False), (False, True)), ids=("both", "killed", "slowed")
)
def test_a_pool_with_one_endpoint_killed_and_one_slowed_tenfold_takes_at_most_1_6_times_the_ideal(
    kill: bool, slow: bool, at_once: int
) -> None:
    ratios = []
    for _ in range(3):  # the machine may be busy with something else: the best of three
        took, ideal, retries = run(disturbed(800, at_once, kill, slow), 120)
        ratios.append(took / ideal)
        print(f"took {took:.2f} s, ideal {ideal:.2f} s, ratio {took / ideal:.2f}, {retries} retries")
        if ratios[-1] <= 1.6:
            break
    assert min(ratios) <= 1.6, ratios


def test_a_pool_with_one_endpoint_killed_and_one_slowed_finishes_all_and_counts_none_twice() -> None:
    run(disturbed(150, 32, True, True), 60)
