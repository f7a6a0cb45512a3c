"""Laws of the Model port: subclass `ModelLaws` in a test module, and pytest holds your backend to them.

    class TestMine(ModelLaws):
        def make(self) -> Model:
            return Mine("http://localhost:8000")

A law that needs what the model does not claim (`info.can`, `info.deterministic`) is skipped, and the
reason is shown. A law it cannot keep although it claims what the law needs is named in `exempt`, with
the reason, so that a gap is reported and never hidden.
"""

import asyncio
import dataclasses
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any, TypeVar, get_args

import pytest

from mullover.errors import CapabilityError, ModelError, OptionError
from mullover.laws.asking import Asking, bare
from mullover.laws.every_rule import RuleLaws
from mullover.types import LENIENT, NOTHING, UNTOLD, Finish, Halt, Model, Prompt, Rule, Sample, Sampling, Segment

T = TypeVar("T")
BETWEEN = 16  # events that may pass before others get a turn of the event loop
PATIENCE = 1.0  # seconds after which a closed stream must have cleaned up

WISHES: Mapping[str, Any] = {  # a value of each Sampling field that is not its default
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 3,
    "min_p": 0.1,
    "max_tokens": 64,
    "stop": ("\n\n\n",),
    "top_logprobs": 2,
    "thinking": True,
    "rules": (Rule("mullover", -1.0),),
    "signals": ("entropy",),
    "halt": Halt("entropy", -1.0, 1),
    "distinct_first": True,
}


class ModelLaws(RuleLaws):
    """Override `make`, and of `ModelCase` what its defaults do not fit."""

    # Seeds

    def test_eight_samples_are_a_prefix_of_sixteen(self) -> None:
        self.needs_determinism()
        self.alike(bare(self.asked(8)), bare(self.asked(16))[:8])

    def test_one_by_one_equals_batched(self) -> None:
        self.needs_determinism()
        sixteen = bare(self.asked(16))
        self.alike(bare(self.asked(*[1] * 16)), sixteen)
        self.alike(bare(self.asked(5, 11)), sixteen)

    def test_where_a_problem_comes_from_and_the_role_change_nothing(self) -> None:
        self.needs_determinism()
        elsewhere = replace(self.prompt, origin="another problem")
        self.alike(bare(self.asked(8)), bare(self.asked(8, prompt=elsewhere, role="judge")))

    def test_greedy_samples_are_all_the_same(self) -> None:
        self.needs("temperature")
        self.needs_determinism()
        assert len({sample.text for sample in self.drawn(4, temperature=0.0)}) == 1

    # Events

    def test_each_sample_ends_once_and_nothing_comes_after_it(self) -> None:
        ended = set[int]()
        for event in self.events(4):
            assert 0 <= event.index < 4
            assert event.index not in ended
            if event.sample is not None:
                ended.add(event.index)
        assert ended == {0, 1, 2, 3}

    def test_events_add_up_to_their_samples(self) -> None:
        events = self.events(4)
        for index, sample in {e.index: e.sample for e in events if e.sample}.items():
            own = [event for event in events if event.index == index]
            taken_back = max((at for at, event in enumerate(own) if event.void), default=0)
            assert "".join(event.text for event in own[taken_back:]) == sample.text
            assert tuple(i for event in own[taken_back:] for i in event.ids) == sample.ids
            assert sum((event.usage for event in own), NOTHING) == sample.usage

    def test_what_is_counted_is_what_was_generated(self) -> None:
        samples = self.drawn(4)
        for sample in samples:
            assert 0 <= sample.usage.reasoning_tokens <= sample.usage.completion_tokens
            assert sample.usage.completion_tokens > 0
            assert not sample.ids or sample.usage.completion_tokens == len(sample.ids)
        assert any(sample.usage.prompt_tokens for sample in samples)

    def test_samples_grow_one_by_one_as_they_end(self) -> None:
        async def main() -> list[tuple[int, Sample]]:
            async with aclosing(self.make().growing(self.prompt, 4, self.sampling)) as ended:
                return [pair async for pair in ended]

        samples = asyncio.run(main())
        assert sorted(index for index, _ in samples) == [0, 1, 2, 3]
        assert {sample.finish for _, sample in samples} <= {"eos", "stop", "length", "halted"}

    def test_reasoning_and_answer_make_up_the_text(self) -> None:
        for sample in self.drawn(4):
            assert 0 <= sample.thought <= len(sample.text)
            assert sample.reasoning + sample.answer == sample.text

    # Ends

    def test_a_cut_by_length_is_told_apart_from_an_end(self) -> None:
        self.needs("max_tokens")
        whole, cut = self.drawn(8), self.drawn(8, max_tokens=1)
        for sample in cut:
            assert sample.finish in ("length", "eos")
            assert sample.usage.completion_tokens <= 1
        if any(sample.usage.completion_tokens > 1 for sample in whole):
            assert "length" in {sample.finish for sample in cut}

    def test_a_cut_by_length_keeps_the_tokens_before_it(self) -> None:
        self.needs("max_tokens")
        self.needs_determinism()
        for whole, cut in zip(self.drawn(8), self.drawn(8, max_tokens=2), strict=True):
            assert whole.text.startswith(cut.text)
            assert whole.ids[: len(cut.ids)] == cut.ids
            assert len(cut.ids) <= 2
            assert (cut.finish == "length") == (len(whole.ids) > 2) or not whole.ids

    def test_a_stop_string_ends_with_the_token_that_completes_it(self) -> None:
        self.needs("stop")
        self.needs_determinism()
        free = self.drawn(8)
        longest = max(free, key=lambda sample: len(sample.text)).text
        assert longest, "the laws need a sample that says something"
        stop = longest[len(longest) // 2 :][:2]
        for whole, cut in zip(free, self.drawn(8, stop=(stop,)), strict=True):
            if stop not in whole.text:
                self.alike([cut], [replace(whole, usage=cut.usage)])
                continue
            assert cut.finish == "stop"
            assert stop in cut.text
            assert whole.text.startswith(cut.text)
            assert whole.ids[: len(cut.ids)] == cut.ids
            if cut.offsets is not None:
                assert stop not in cut.text[: cut.offsets[-1]]

    # Others

    def test_closing_a_stream_cancels_and_leaves_nothing_behind(self) -> None:
        async def main() -> None:
            model, before = self.make(), asyncio.all_tasks()
            async with aclosing(model.stream(self.prompt, 8, self.sampling)) as events:
                await anext(events)
            for _ in range(100):
                if asyncio.all_tasks() != before or self.left(model):
                    await asyncio.sleep(PATIENCE / 100)
            assert asyncio.all_tasks() == before
            assert not self.left(model)

        asyncio.run(main())

    def test_others_get_turns_between_its_events(self) -> None:
        async def main() -> int:
            turns = 0

            async def beat() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0)

            beating = asyncio.create_task(beat())
            since, seen, longest = 0, 0, 0
            try:
                async with aclosing(self.make().stream(self.prompt, 16, self.sampling)) as events:
                    async for _ in events:
                        since, seen = (since + 1, seen) if turns == seen else (1, turns)
                        longest = max(longest, since)
            finally:
                beating.cancel()
            return longest

        assert asyncio.run(main()) <= BETWEEN

    def test_a_clock_fires_within_a_long_call(self) -> None:
        async def main() -> None:
            async with (
                asyncio.timeout(0.05),
                aclosing(self.make().stream(self.prompt, self.huge, self.sampling)) as events,
            ):
                async for _ in events:
                    pass

        started = time.monotonic()
        with pytest.raises(TimeoutError):
            asyncio.run(main())
        assert time.monotonic() - started < 20  # at once, but for a machine that is busy

    def test_calls_at_the_same_time_do_not_mix(self) -> None:
        self.needs_determinism()

        async def main(at_once: bool) -> list[list[Sample]]:
            model = Asking(self.make())
            calls = [model.sample(prompt, 8, self.sampling) for prompt in (self.prompt, self.other)]
            found = await asyncio.gather(*calls) if at_once else [await call for call in calls]
            return [bare(samples) for samples in found]

        for at_once, in_turn in zip(asyncio.run(main(True)), asyncio.run(main(False)), strict=True):
            self.alike(at_once, in_turn)

    # Refusals

    def test_what_it_claims_is_what_there_is(self) -> None:
        info = self.make().info
        fields = {field.name for field in dataclasses.fields(Sampling) if field.compare}
        assert info.name
        assert info.can <= fields | {"segments", "turns", "score"}

    def test_what_it_cannot_do_is_refused_by_name_before_anything_is_asked(self) -> None:
        model = self.make()
        requests = {name: (self.prompt, Sampling(**{name: value})) for name, value in WISHES.items()}
        requests["segments"] = (self.prompt.then("so"), Sampling())
        requests["turns"] = (self.prompt.replied("8", "Are you sure?"), Sampling())

        async def main(prompt: Prompt, sampling: Sampling) -> None:
            async with aclosing(model.stream(prompt, 1, sampling)) as events:
                await anext(events)

        for name in requests.keys() - model.info.can - LENIENT:
            with pytest.raises(CapabilityError, match=name):
                asyncio.run(main(*requests[name]))

    def test_what_it_claims_is_accepted(self) -> None:
        model = self.make()
        for name in WISHES.keys() & model.info.can:
            assert asyncio.run(model.sample(self.prompt, 1, self.wish(**{name: WISHES[name]})))

    def test_no_sample_and_seeds_for_another_number_are_refused(self) -> None:
        model = self.make()
        for n, seeds in ((0, ()), (-1, ()), (2, (1,)), (1, (1, 2))):
            with pytest.raises(OptionError):
                asyncio.run(model.sample(self.prompt, n, self.wish(seeds=seeds)))

    def test_given_texts_are_scored_or_refused(self) -> None:
        said = self.drawn(1)[0].text

        async def main() -> list[tuple[float, ...]]:
            return await self.make().score(self.prompt, [said])

        if "score" in self.make().info.can:
            assert len(asyncio.run(main())) == 1
        else:
            with pytest.raises(CapabilityError, match="score"):
                asyncio.run(main())

    # Failures

    def test_one_failed_sample_harms_no_other(self) -> None:
        if (case := self.failing()) is None:
            pytest.skip("no failing model was given")
        model, sampling = case
        good = asyncio.run(model.sample(self.prompt, 16, sampling))
        assert 0 < len(good) < 16
        assert {sample.finish for sample in good}.isdisjoint({"error", "cancelled"})

    def test_only_a_call_without_any_success_raises(self) -> None:
        async def grow(model: Model) -> None:
            async for _ in model.growing(self.prompt, 2, self.sampling):
                pass

        for ask in (lambda model: model.sample(self.prompt, 2, self.sampling), grow):
            if (model := self.dead()) is None:
                pytest.skip("no model that always fails was given")
            with pytest.raises(ModelError):
                asyncio.run(_awaited(ask, model))

    # Tokens

    def test_a_text_goes_on_from_the_ids_that_were_sampled(self) -> None:
        self.needs("segments", "temperature", "max_tokens")
        self.needs_determinism()
        (whole,) = self.drawn(1, temperature=0.0)
        (step,) = self.drawn(1, temperature=0.0, max_tokens=1)
        if not step.ids or step.finish == "eos":
            pytest.skip("no ids are known, or it says one token only")
        (rest,) = self.drawn(1, prompt=self.prompt.then(step), temperature=0.0)
        assert step.ids + rest.ids == whole.ids
        assert step.text + rest.text == whole.text

    def test_logprobs_and_offsets_are_one_per_id(self) -> None:
        for sample in self.drawn(4):
            for per_id in (sample.logprobs, sample.sampling_logprobs, sample.offsets):
                assert per_id is None or not sample.ids or len(per_id) == len(sample.ids)
            assert all(logprob <= 0 for logprob in (*(sample.logprobs or ()), *(sample.sampling_logprobs or ())))
            if sample.offsets:
                assert sample.offsets[0] == 0
                assert list(sample.offsets) == sorted(sample.offsets)
                assert sample.offsets[-1] <= len(sample.text)

    def test_alternatives_are_the_likeliest_tokens_in_order(self) -> None:
        self.needs("top_logprobs")
        for sample in self.drawn(4, top_logprobs=3):
            assert sample.alternatives is not None
            assert sample.logprobs is not None
            ids = sample.ids or (UNTOLD,) * len(sample.logprobs)
            for here, i, logprob in zip(sample.alternatives, ids, sample.logprobs, strict=True):
                assert 1 <= len(here) <= 3
                assert [t.logprob for t in here] == sorted((t.logprob for t in here), reverse=True)
                known = {token.id: token.logprob for token in here if token.id != UNTOLD}
                assert known.get(i, logprob) == pytest.approx(logprob, abs=self.tolerance)

    def test_signals_are_one_number_per_id(self) -> None:
        self.needs("signals")
        for sample in self.drawn(4, signals=("entropy",)):
            assert sample.signals is not None
            assert set(sample.signals) == {"entropy"}
            assert len(sample.signals["entropy"]) == len(sample.ids)
            assert all(value >= 0 for value in sample.signals["entropy"])

    def test_a_halt_ends_a_sample_once_its_window_is_full(self) -> None:
        self.needs("halt")
        for sample in self.drawn(4, halt=Halt("entropy", math.inf, 2)):
            assert sample.finish == "halted" or len(sample.ids) <= 2
            assert len(sample.ids) <= 2

    def test_scores_of_its_own_texts_are_its_logprobs(self) -> None:
        self.needs("score")
        samples = [sample for sample in self.drawn(8) if sample.finish == "eos" and sample.logprobs]
        scores = asyncio.run(self.make().score(self.prompt, [sample.text for sample in samples]))
        alike = 0
        for sample, score in zip(samples, scores, strict=True):
            if sample.logprobs and len(score) == len(sample.logprobs) - 1:  # spelled as it was sampled, without its end
                assert score == pytest.approx(sample.logprobs[:-1], abs=self.tolerance)
                alike += 1
        assert alike or not samples

    def test_a_given_segment_with_ids_is_not_read_from_its_text(self) -> None:
        self.needs("segments", "max_tokens")
        (step,) = self.drawn(1, max_tokens=1)
        if not step.ids or step.finish == "eos":
            pytest.skip("no ids are known, or it says one token only")
        known = self.prompt.then(Segment(step.text, step.ids))
        mangled = self.prompt.then(Segment("no text that was ever said", step.ids))
        assert [s.ids for s in self.drawn(4, prompt=known)] == [s.ids for s in self.drawn(4, prompt=mangled)]

    # The laws themselves

    def test_exemptions_name_laws_and_finishes_are_known(self) -> None:
        assert all(hasattr(type(self), law) for law in self.exempt)
        assert {sample.finish for sample in self.drawn(4)} <= set(get_args(Finish))


async def _awaited(ask: Callable[[Model], Awaitable[T]], model: Model) -> T:
    return await ask(model)
