"""Who takes part in a step: the same samples whatever else runs, nothing computed twice, no one harmed by another."""

import random
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from tests.engine.models import (
    Heard,
    Letters,
    Table,
    ask,
    build,
    close,
    engine_of,
    finish,
    greedy,
    heard,
    pair,
    random_ids,
    run,
    told,
    watch_delays,
)

from mullover.engine.engine import BLOCK, Engine
from mullover.engine.hugging import HuggingFace
from mullover.engine.request import Request
from mullover.errors import OptionError
from mullover.seeds import fold
from mullover.types import Sample

ROWS = torch.randn(26, 26, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 1.5


class Late(BaseException):
    """No `Exception`, which the engine would tell its requests of."""


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """A loop without end fails, and does not hang."""

    def late(*_: object) -> None:
        raise Late(f"still not done after {seconds} s")

    old = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)


@pytest.fixture(autouse=True)
def _ends() -> Iterator[None]:
    with within(60):
        yield


def assert_same(found: Sequence[Sample], want: Sequence[Sample], logprobs: float = 1e-5) -> None:
    assert [sample.ids for sample in found] == [sample.ids for sample in want]
    for one, other in zip(found, want, strict=True):
        assert one.finish == other.finish and one.text == other.text
        assert close(one.logprobs or (), other.logprobs or (), logprobs)
        assert close(one.sampling_logprobs or (), other.sampling_logprobs or (), logprobs)


class TestSameSamples:
    """The same seeds give the same samples, alone or not."""

    prompt = random_ids(1, 40)

    def asked(self) -> Request:
        return ask(self.prompt, 4, seed=7, max_tokens=40, temperature=0.9, top_p=0.95)

    def alone(self) -> list[Sample]:
        return run(engine_of(pair("llama", torch.float32)[0]), [self.asked()])[0]

    def test_one_by_one(self) -> None:
        runner = pair("llama", torch.float32)[0]
        found = []
        for i in range(4):
            request = self.asked()
            request.seeds = (fold(7, i),)
            found += run(engine_of(runner), [request])[0]
        assert_same(found, self.alone())

    def test_among_others_that_share_the_prompt_or_not(self) -> None:
        want = self.alone()
        engine = engine_of(pair("llama", torch.float32)[0], chunk=16)
        for i in range(5):
            engine.add(ask(random_ids(2 + i, 3 + 9 * i), 2, seed=i, max_tokens=11 * i + 5))
            engine.add(ask(self.prompt[: 7 * (i + 1)], 2, seed=i, max_tokens=5 + 9 * i))
            engine.step()
        assert_same(run(engine, [self.asked()])[0], want)

    def test_when_put_off(self) -> None:
        want = self.alone()
        engine = engine_of(pair("llama", torch.float32)[0], blocks=8, chunk=16)
        delays = watch_delays(engine)
        others = [ask(random_ids(20 + i, 9), seed=i, max_tokens=80) for i in range(3)]
        found = run(engine, [*others, self.asked()])[-1]
        assert delays
        assert_same(found, want)

    def test_with_the_prompt_cached_and_with_all_of_it_cached(self) -> None:
        want = self.alone()
        engine = engine_of(pair("llama", torch.float32)[0])
        run(engine, [ask(self.prompt, max_tokens=1)])
        before = engine.computed
        found = run(engine, [self.asked()])[0]
        assert_same(found, want)
        assert engine.computed - before <= 4 * 40
        before = engine.computed
        assert_same(run(engine, [self.asked()])[0], want)
        # all but the places that are looked from again
        assert engine.computed - before <= 4 * 40
        assert all(sample.usage.prompt_tokens <= 1 for sample in found)


class TestComputedOnce:
    def test_a_prompt_is_read_once_for_all_samples_and_requests_of_it(self) -> None:
        for chunk in (8, 512):
            runner = Table(ROWS)
            engine = engine_of(runner, chunk=chunk)
            prompt = random_ids(3, 70, 26)
            found = run(engine, [ask(prompt, 3, seed=i, max_tokens=1) for i in range(3)])
            assert engine.computed == len(prompt) == sum(map(len, runner.passes))
            assert sum(sample.usage.prompt_tokens for samples in found for sample in samples) == len(prompt)

    @pytest.mark.parametrize("stops", [(), ("ab", "cde", "zz")], ids=["fixed", "stops"])
    @pytest.mark.parametrize("chunk", [16, 512])
    def test_a_search_tree_computes_each_of_its_tokens_once(self, stops: tuple[str, ...], chunk: int) -> None:
        """8 steps of 4 beams of 4 branches."""
        rows = ROWS.clone()
        for first, then in ("ab", "cd", "de", "zz"):
            rows[ord(first) - 97, ord(then) - 97] += 3
        engine = engine_of(Table(rows), chunk=chunk)
        fed, finishes = set[tuple[int, ...]](), set[str]()
        beams = [tuple(random_ids(4, 45, 26))]
        for step in range(8):
            requests = [ask(beam, 4, seed=100 * step + i, max_tokens=9, stop=stops) for i, beam in enumerate(beams)]
            grown = []
            for beam, samples in zip(beams, run(engine, requests), strict=True):
                for sample in samples:
                    finishes.add(sample.finish)
                    whole = (*beam, *sample.ids)
                    fed |= {whole[:count] for count in range(1, len(whole))}
                    grown.append(whole)
            beams = sorted(grown, key=lambda ids: (sum(ids) % 17, ids))[:4]
        assert engine.computed == len(fed)
        assert finishes == ({"length", "stop"} if stops else {"length"})
        assert engine.blocks.pinned == 0

    def test_equal_samples_are_computed_once_while_they_are_equal(self) -> None:
        engine = engine_of(Table(ROWS))
        samples = run(engine, [ask([1, 2, 3], 20, temperature=0, max_tokens=50)])[0]
        assert len({sample.ids for sample in samples}) == 1
        assert engine.computed == 3 + 49

    def test_usage_tells_what_was_computed(self) -> None:
        engine = engine_of(Table(ROWS))
        prompt = random_ids(5, 50, 26)
        first, second = run(engine, [ask(prompt, 2, max_tokens=4)])[0]
        assert (first.usage.prompt_tokens, first.usage.cached_tokens, first.usage.completion_tokens) == (50, 0, 4)
        assert (second.usage.prompt_tokens, second.usage.cached_tokens, second.usage.completion_tokens) == (0, 50, 4)
        # 50 + 3 tokens, logits after 4 of them; each looks at itself and all before it, in some layers at 10 at most
        looked, near = 53 * 54 / 2, 10 * 11 / 2 + 43 * 10
        assert first.usage.flops == 2 * 7 * 53 + 2 * 3 * 4 + 2 * looked + near
        assert second.usage.flops == 2 * 7 * 3 + 2 * 3 * 3 + 2 * (51 + 52 + 53) + 3 * 10
        longer = run(engine, [ask([*prompt, *first.ids], max_tokens=2)])[0][0]
        assert (longer.usage.prompt_tokens, longer.usage.cached_tokens) == (1, 53)


class TestManyAtOnce:
    @pytest.mark.parametrize("seed", [0, 1])
    def test_two_hundred_questions_with_room_for_thirty_and_a_tenth_that_leaves(self, seed: int) -> None:
        runner, plain = pair("llama")
        engine = engine_of(runner, blocks=60, chunk=64)
        rng = random.Random(seed)
        shared = random_ids(6, 40)
        requests = []
        for i in range(200):
            own = random_ids(1000 + i, rng.randrange(3, 30))
            prompt = shared[: rng.randrange(40)] + own if i % 2 else own
            requests.append(ask(prompt, temperature=0, max_tokens=rng.randrange(1, 40)))
            engine.add(requests[-1])
        leaving = {rng.randrange(1, 150): request for request in rng.sample(requests, 20)}
        delays = watch_delays(engine)
        step, most = 0, 0
        while engine.busy:
            step += 1
            assert engine.step()
            most = max(most, engine.blocks.used)
            if step in leaving and len(heard(leaving[step]).samples) == 0:
                engine.cancel(leaving[step])
                heard(leaving[step]).events.clear()
                heard(leaving[step]).reads = False
        assert most <= engine.blocks.count == 60
        assert engine.blocks.pinned == 0
        engine.clear()
        assert engine.blocks.used == 0
        gone = [request for request in requests if not heard(request).reads]
        assert gone
        assert all(not heard(request).events and not request.live for request in gone)
        for i, request in enumerate(requests):
            if request not in gone:
                (sample,) = told(request)
                assert sample.finish == "length" and len(sample.ids) == request.sampling.max_tokens
                if i % 9 == 0:
                    assert list(sample.ids) == greedy(plain, request.ids, request.sampling.max_tokens)
        assert len(delays) < 400

    def test_a_request_is_cancelled_in_its_own_delivery(self) -> None:
        engine = engine_of(Table(ROWS))
        request, other = ask([1], 3, max_tokens=20), ask([2], 2, max_tokens=20)

        def leave(one: Request, _: Any) -> None:
            engine.cancel(one)

        request.deliver = leave
        engine.add(request)
        assert all(sample.finish == "length" for sample in run(engine, [other])[0])
        assert engine.blocks.pinned == 0

    def test_whoever_is_put_off_and_cancelled_is_gone(self) -> None:
        engine = engine_of(Table(ROWS), blocks=5)
        delays = watch_delays(engine)
        requests = [ask([i], max_tokens=90) for i in range(2)]
        for request in requests:
            engine.add(request)
        while not delays:
            engine.step()
        assert engine.scheduler.put_off
        engine.cancel(requests[1])
        assert not engine.scheduler.put_off
        finish(engine)
        assert not heard(requests[1]).samples and told(requests[0])[0].finish == "length"
        assert engine.blocks.pinned == 0


class TestFairness:
    def test_one_sample_that_comes_behind_a_thousand_has_the_next_free_place(self) -> None:
        engine = engine_of(Table(ROWS), most=8)
        many = ask([1, 2], 1000, max_tokens=10)
        engine.add(many)
        for _ in range(13):
            engine.step()
        late = ask([3], max_tokens=5)
        engine.add(late)
        while not late.live:  # until a place is free
            before = len(heard(many).samples)
            engine.step()
            assert len(heard(many).samples) <= before + 8
        assert len(heard(many).samples) <= 24
        assert heard(late).events
        finish(engine)
        assert len(told(many)) == 1000

    def test_requests_share_the_places(self) -> None:
        engine = engine_of(Table(ROWS), most=9)
        requests = [ask([i], 30, max_tokens=7) for i in range(3)]
        for request in requests:
            engine.add(request)
        engine.step()
        assert [len(request.live) for request in requests] == [3, 3, 3]
        finish(engine)

    def test_a_long_prompt_does_not_hold_up_who_speaks(self) -> None:
        engine = engine_of(Table(ROWS), chunk=16)
        speaking, long = ask([1], max_tokens=40), ask(random_ids(7, 300, 26), max_tokens=3)
        engine.add(speaking)
        engine.step()
        engine.add(long)
        for i in range(10):
            engine.step()
            assert sum(len(event.ids) for event in heard(speaking).events) == 2 + i
        finish(engine)
        assert told(long)[0].usage.prompt_tokens == 300

    def test_most_is_kept(self) -> None:
        engine = engine_of(Table(ROWS), most=5)
        for i in range(4):
            engine.add(ask([i], 6, max_tokens=3 + i))
        while engine.busy:
            assert engine.step()
            assert len(engine.scheduler.live) <= 5


class TestStalled:
    def test_who_does_not_read_is_left_out_and_goes_on_later(self) -> None:
        engine = engine_of(Table(ROWS))
        slow, quick = ask([1, 2], 2, max_tokens=30, reads=False), ask([3, 4], 2, max_tokens=30)
        want = run(engine_of(Table(ROWS)), [ask([1, 2], 2, max_tokens=30)])[0]
        engine.add(slow)
        engine.add(quick)
        for _ in range(10):
            assert engine.step()
        assert sum(len(event.ids) for event in heard(slow).events) == 4
        assert sum(len(event.ids) for event in heard(quick).events) == 20
        while engine.step():
            pass
        assert told(quick)[0].finish == "length"
        assert engine.busy and not engine.step()
        heard(slow).reads = True
        slow.read()
        finish(engine)
        assert_same(told(slow), want)

    def test_who_was_put_off_and_does_not_read_is_left_out_too(self) -> None:
        engine = engine_of(Table(ROWS), blocks=5)
        delays = watch_delays(engine)
        quick, slow = ask([3], max_tokens=90), ask([1], max_tokens=90)
        engine.add(quick)
        engine.add(slow)
        while not delays:
            engine.step()
        assert engine.scheduler.put_off[0].request is slow
        heard(slow).reads = False
        slow.told = slow.taken + 2
        before = len(heard(slow).events)
        while len(heard(quick).samples) < 1:
            engine.step()
        for _ in range(5):
            engine.step()
        assert len(heard(slow).events) == before

    def test_nobody_waits_for_one_who_does_not_read_and_has_begun_to_read_the_same_prompt(self) -> None:
        """`slow` reads several texts, and is left out in the midst of the last of them."""
        engine = engine_of(Table(ROWS), chunk=8)
        prompt, text = random_ids(8, 5, 26), random_ids(9, 60, 26)
        slow = ask(prompt, texts=[[1], [2], text], reads=False)
        engine.add(slow)
        for _ in range(4):
            engine.step()
        slow.told = slow.taken + 2
        assert len(heard(slow).samples) == 2 and len(slow.live) == 1
        quick = ask([*prompt, *text], max_tokens=3)
        engine.add(quick)
        for _ in range(30):
            engine.step()
        assert told(quick)[0].finish == "length"

    def test_memory_held_by_one_who_does_not_read_goes_to_others(self) -> None:
        engine = engine_of(Table(ROWS), blocks=6)
        slow = ask(random_ids(10, 120, 26), max_tokens=60, reads=False)
        engine.add(slow)
        while engine.step():
            pass
        quick = ask(random_ids(11, 70, 26), max_tokens=3)
        engine.add(quick)
        for _ in range(30):
            engine.step()
        assert told(quick)[0].finish == "length"


class TestShortMemory:
    def test_a_memory_without_two_blocks_is_refused(self) -> None:
        with pytest.raises(OptionError, match="give at least 64"):
            Engine(Table(ROWS), Letters(), memory=63)

    def test_one_that_never_fits_fails_with_one_error_and_others_go_on(self) -> None:
        engine = engine_of(Table(ROWS), blocks=4)
        requests = [ask([1, 2], max_tokens=20), ask(random_ids(12, 200, 26), max_tokens=9), ask([3], max_tokens=50)]
        want = [run(engine_of(Table(ROWS)), [ask(r.ids, max_tokens=r.sampling.max_tokens)])[0] for r in requests]
        found = run(engine, requests)
        assert "the KV memory holds 128 tokens" in found[1][0].error
        assert found[1][0].finish == "error" and len(heard(requests[1]).events) == 1
        assert_same(found[0] + found[2], want[0] + want[2])
        assert engine.blocks.pinned == 0

    def test_one_that_outgrows_the_memory_keeps_what_it_said(self) -> None:
        engine = engine_of(Table(ROWS), blocks=4)
        want = run(engine_of(Table(ROWS)), [ask([1, 2], max_tokens=400)])[0][0]
        (sample,), (other,) = run(engine, [ask([1, 2], max_tokens=400), ask([3], max_tokens=40)])
        assert sample.finish == "error" and "the KV memory holds 128 tokens" in sample.error
        assert 120 <= len(sample.ids) <= 128
        assert sample.ids == want.ids[: len(sample.ids)]
        assert other.finish == "length"

    def test_one_that_just_fits_is_answered(self) -> None:
        for size in (126, 127, 128):
            engine = engine_of(Table(ROWS), blocks=4)
            samples = run(engine, [ask([1, 2], max_tokens=size - 1), ask([1, 2, 3], max_tokens=size - 2)])
            assert [s.finish for (s,) in samples] == ["length", "length"], size  # the last token is never read

    def test_a_cached_prefix_that_is_counted_as_room_does_not_hang_the_scheduler(self) -> None:
        """Its prompt's cached blocks may be evicted until it joins, but it needs them when it does."""
        engine = engine_of(Table(ROWS), blocks=20, chunk=4096)
        prompt = random_ids(13, 8 * BLOCK, 26)
        run(engine, [ask(prompt, max_tokens=1)])
        long = ask(random_ids(14, 10 * BLOCK - 8, 26), max_tokens=30)
        engine.add(long)
        engine.step()
        late = ask([*prompt, *random_ids(15, 3 * BLOCK, 26)], max_tokens=5)
        engine.add(late)
        finish(engine)
        assert told(late)[0].finish == told(long)[0].finish == "length"

    @pytest.mark.parametrize("seed", range(6))
    def test_any_mix_is_answered_right_with_little_memory(self, seed: int) -> None:
        rng = random.Random(seed)
        engine = engine_of(Table(ROWS), blocks=rng.randrange(8, 14), chunk=rng.choice([1, 5, 40, 500]))
        requests, want = [], []
        shared = random_ids(16, 100, 26)
        for i in range(30):
            prompt = shared[: rng.randrange(1, 100)] + random_ids(100 * seed + i, rng.randrange(20), 26)
            fields: dict[str, Any] = {"max_tokens": rng.randrange(1, 60), "seed": i}
            if i % 5 == 4:
                fields = {"texts": [random_ids(50 + i + k, rng.randrange(1, 40), 26) for k in range(3)]}
            n = 1 if i % 5 == 4 else rng.randrange(1, 4)
            requests.append(ask(prompt, n, **fields))
            want += run(engine_of(Table(ROWS)), [ask(prompt, n, **fields)])[0]
            engine.add(requests[-1])
            for _ in range(rng.randrange(4)):
                engine.step()
        finish(engine)
        assert_same([sample for request in requests for sample in told(request)], want)
        assert engine.blocks.pinned == 0
        engine.clear()
        assert engine.blocks.used == 0


class BrokenError(Exception):
    pass


class TestFailures:
    def test_a_pass_that_fails_fails_its_sequences_alone(self) -> None:
        once = [4]

        def breaks(_: Any) -> None:
            once[0] -= 1
            if not once[0]:
                raise BrokenError("the device is gone")

        engine = engine_of(Table(ROWS, breaks), most=3)
        requests = [ask([i], max_tokens=10) for i in range(8)]
        want = run(engine_of(Table(ROWS)), [ask([i], max_tokens=10) for i in range(8)])
        found = run(engine, requests)
        assert [samples[0].finish for samples in found] == ["error"] * 3 + ["length"] * 5
        assert all("BrokenError: the device is gone" in samples[0].error for samples in found[:3])
        assert all(
            len(samples[0].ids) == 3 and samples[0].ids == w[0].ids[:3]
            for samples, w in zip(found[:3], want[:3], strict=True)
        )
        for samples, expected in zip(found[3:], want[3:], strict=True):
            assert_same(samples, expected)
        assert engine.blocks.pinned == 0

    def test_what_a_failed_pass_left_in_the_cache_is_not_used(self) -> None:
        """Whoever is stalled was not in the pass, and goes on right."""
        runner, plain = pair("llama")
        engine = engine_of(runner)
        slow, prompt = ask(random_ids(17, 40), temperature=0, max_tokens=30, reads=False), random_ids(18, 40)
        engine.add(slow)
        engine.step()
        engine.step()
        forward = runner.forward

        def breaks(plan: Any) -> Any:
            forward(plan)
            for layer in runner.cache.layers:
                layer.fill_(3.0)
            raise BrokenError

        runner.forward = breaks
        try:
            failed = ask(prompt, temperature=0, max_tokens=30)
            engine.add(failed)
            engine.step()
        finally:
            del runner.forward
        assert told(failed)[0].finish == "error"
        heard(slow).reads = True
        slow.read()
        (again,) = run(engine, [ask(prompt, temperature=0, max_tokens=30)])[0]
        assert list(again.ids) == greedy(plain, prompt, 30)
        assert not told(slow)[0].error
        assert list(told(slow)[0].ids) == greedy(plain, slow.ids, 30)

    @pytest.mark.parametrize("size", [26, 300, 1500])
    @pytest.mark.parametrize(
        "fields", [{}, {"temperature": 0}, {"top_k": 3}, {"top_p": 0.9}, {"min_p": 0.1}, {"top_logprobs": 2}], ids=str
    )
    def test_logits_that_are_no_numbers_fail_their_sample_alone(self, size: int, fields: dict[str, Any]) -> None:
        rows = torch.randn(size, size, generator=torch.Generator().manual_seed(1))
        bad = rows.clone()
        bad[7] = float("nan")
        wanted = run(engine_of(Table(rows)), [ask([1], 2, max_tokens=1, **fields)])[0]
        engine = engine_of(Table(bad))
        found = run(engine, [ask([1], 2, max_tokens=1, **fields), ask([7], 2, max_tokens=5, **fields)])
        assert_same(found[0], wanted)
        assert [sample.error for sample in found[1]] == ["the model's logits are no finite numbers"] * 2
        assert all(sample.ids == () and sample.finish == "error" for sample in found[1])

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_a_sample_that_ends_in_no_numbers_harms_nobody_who_shares_its_block(self, dtype: torch.dtype) -> None:
        """Two prompts part within a block; the first goes on to a token whose embedding is NaN."""
        prompt = random_ids(3, 12)
        said = run(engine_of(HuggingFace(build("llama", 0, dtype))), [ask([*prompt, 5], temperature=0, max_tokens=12)])
        ids = said[0][0].ids
        compared = 0
        for at in range(3, 12):
            if ids[at] in (*ids[:at], *prompt, 5, 11):
                continue
            model = build("llama", 0, dtype)
            model.model.embed_tokens.weight.data[ids[at]] = float("nan")
            runner = HuggingFace(model)
            (wanted,) = run(engine_of(runner), [ask([*prompt, 11], temperature=0, max_tokens=16)])[0]
            if wanted.error:
                continue
            engine = engine_of(runner)
            bad = ask([*prompt, 5], temperature=0, max_tokens=12)
            good = ask([*prompt, 11], temperature=0, max_tokens=16)
            engine.add(bad)
            engine.step()
            engine.step()
            engine.add(good)
            finish(engine)
            assert told(bad)[0].error and not told(good)[0].error
            assert told(good)[0].ids == wanted.ids
            compared += 1
        assert compared

    def test_what_was_cached_under_another_adapter_is_not_found(self) -> None:
        engine = engine_of(Table(ROWS))
        prompt = random_ids(3, 20, 26)
        paid = list[tuple[int, int]]()
        for adapter in ("", "", "other", "other", ""):
            request = ask(prompt, 1, max_tokens=1)
            request.adapter = adapter
            (sample,) = run(engine, [request])[0]
            paid.append((sample.usage.prompt_tokens, sample.usage.cached_tokens))
        assert paid == [(20, 0), (1, 19), (20, 0), (1, 19), (1, 19)]

    def test_memory_that_nobody_wrote_to_is_never_seen(self) -> None:
        runner, plain = pair("llama")
        engine = engine_of(runner)
        for layer in runner.cache.layers:
            assert torch.isfinite(layer).all()  # times 0 it must be 0
            layer.fill_(1e4)
        prompt = random_ids(19, 40)
        found = run(engine, [ask(p, 2, temperature=0, max_tokens=20) for p in (prompt, [*prompt[:20], 1, 2])])
        assert [list(samples[0].ids) for samples in found] == [
            greedy(plain, p, 20) for p in (prompt, [*prompt[:20], 1, 2])
        ]

    def test_what_goes_on_from_a_prompt_without_numbers_has_none_either(self) -> None:
        model = build("llama")
        with torch.no_grad():
            model.get_input_embeddings().weight[7] = float("nan")
        engine = engine_of(HuggingFace(model))
        for prompt in ([7] * 40, [7] * 40, [*[7] * 40, 3, 4], [1, 2, 7], [1, 2, 7, 5], [1, 2, 8]):
            first, second = run(engine, [ask(prompt, 2, temperature=0, max_tokens=1)])[0]
            assert first.finish == second.finish == ("error" if 7 in prompt else "length"), prompt

    def test_a_text_without_numbers_has_no_score(self) -> None:
        model = build("llama")
        with torch.no_grad():
            model.get_input_embeddings().weight[7] = float("nan")
        engine = engine_of(HuggingFace(model), blocks=4)
        (bad,), (fine,) = run(engine, [ask([1, 2], texts=[[3, 7, 4, 5]]), ask([8, 2], texts=[[3, 4, 5]])])
        assert (fine.finish, len(fine.logprobs or ())) == ("length", 3)
        assert bad.finish == "error"
        again = run(engine, [ask([4, 5], texts=[[3, 1, 4, 5]])])[0][0]  # where there were no numbers
        assert again.finish == "length" and all(logprob <= 0 for logprob in again.logprobs or ())

    def test_numbers_of_a_failed_sample_are_never_seen_where_its_memory_is_used_again(self) -> None:
        model = build("llama")
        with torch.no_grad():
            model.get_input_embeddings().weight[7] = float("nan")
        _, plain = pair("llama")
        engine = engine_of(HuggingFace(model), blocks=3)
        prompts = [[token if token != 7 else 8 for token in random_ids(20 + i, 3)] for i in range(3)]
        assert run(engine, [ask([7] * 60, max_tokens=5)])[0][0].finish == "error"
        for prompt in prompts:
            (sample,) = run(engine, [ask(prompt, temperature=0, max_tokens=10)])[0]
            want = greedy(plain, prompt, 10)
            until = want.index(7) if 7 in want else 10
            assert list(sample.ids)[:until] == want[:until]

    def test_a_sample_that_ended_is_told_though_another_breaks_while_it_is_drawn(self) -> None:
        class Odd(Letters):
            def push(self, token: int) -> str:
                if token == 25:
                    raise BrokenError("no text")
                return super().push(token)

        rows = torch.full((26, 26), -50.0)
        rows[1, 2] = rows[3, 25] = 0.0
        engine = engine_of(Table(rows), Odd())
        fine, bad = ask([1], temperature=0, max_tokens=1), ask([3], temperature=0, max_tokens=3)
        for request in (fine, bad):
            engine.add(request)
        finish(engine)
        assert told(bad)[0].finish == "error"
        assert told(fine)[0].finish in ("length", "error")

    def test_a_request_for_nothing_is_no_harm(self) -> None:
        engine = engine_of(Table(ROWS))
        engine.add(ask([1], 0))
        assert run(engine, [ask([2], max_tokens=3)])[0][0].finish == "length"

    def test_an_empty_text_has_a_score(self) -> None:
        for prompt in ([1], [1, 2], random_ids(21, 40, 26)):
            engine = engine_of(pair("llama")[0], chunk=16)
            for texts in ([()], [(), (3,)]):
                empty = run(engine, [ask(prompt, texts=texts)])[0][0]
                assert (empty.logprobs, empty.finish, empty.error) == ((), "length", "")

    def test_a_text_ends_where_the_context_does(self) -> None:
        engine = engine_of(Table(ROWS))
        (sample,) = run(engine, [ask([1, 2, 3], max_tokens=90, context=20)])[0]
        assert (len(sample.ids), sample.finish) == (17, "length")


def test_a_reader_may_be_any_callable() -> None:
    """`Heard` is one; what it hears is what came, in order."""
    reader = Heard()
    request = ask([1], max_tokens=4)
    request.deliver = reader
    engine = engine_of(Table(ROWS))
    engine.add(request)
    finish(engine)
    assert [len(event.ids) for event in reader.events] == [1, 1, 1, 1]
