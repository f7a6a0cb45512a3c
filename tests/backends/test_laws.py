"""The laws catch what they forbid: one broken model for each."""

import asyncio
import math
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from mullover.backends.table import Table
from mullover.backends.toy import APPLES, Toy
from mullover.laws.asking import alike
from mullover.laws.every_model import ModelLaws
from mullover.types import NOTHING, Event, Events, Force, Model, Prompt, Rule, Sample, Sampling, Segment, Token, Usage


class Broken(Toy):
    """A toy with something wrong in its requests or its events."""

    async def stream(self, prompt: Prompt, n: int, sampling: Sampling) -> Events:
        prompt, sampling = self.wrong(prompt, sampling)
        async for event in super().stream(prompt, n, sampling):
            if changed := self.other(event):
                yield changed

    def wrong(self, prompt: Prompt, sampling: Sampling) -> tuple[Prompt, Sampling]:
        return prompt, sampling

    def other(self, event: Event) -> Event | None:
        if event.sample is None:
            return event
        return replace(event, sample=self.ended(event.sample))

    def ended(self, sample: Sample) -> Sample:
        return sample


class SeedsByCall(Broken):
    def wrong(self, prompt: Prompt, sampling: Sampling) -> tuple[Prompt, Sampling]:
        return prompt, replace(sampling, seeds=tuple(range(len(sampling.seeds))))


class KnowsWhere(Broken):
    def wrong(self, prompt: Prompt, sampling: Sampling) -> tuple[Prompt, Sampling]:
        shift = len(prompt.origin) + len(sampling.role)
        return prompt, replace(sampling, seeds=tuple(seed + shift for seed in sampling.seeds))


class MixesCalls(Broken):
    asked = 0

    def wrong(self, prompt: Prompt, sampling: Sampling) -> tuple[Prompt, Sampling]:
        self.asked += 1
        return prompt, replace(sampling, seeds=tuple(seed + self.asked for seed in sampling.seeds))


class IgnoresStops(Broken):
    def wrong(self, prompt: Prompt, sampling: Sampling) -> tuple[Prompt, Sampling]:
        return prompt, replace(sampling, stop=())


class IgnoresLength(Broken):
    def wrong(self, prompt: Prompt, sampling: Sampling) -> tuple[Prompt, Sampling]:
        return prompt, replace(sampling, max_tokens=2048)


class IgnoresRules(Broken):
    def wrong(self, prompt: Prompt, sampling: Sampling) -> tuple[Prompt, Sampling]:
        return prompt, replace(sampling, rules=())


class ForcesLate(Broken):
    """Forces a text a token too late."""

    def wrong(self, prompt: Prompt, sampling: Sampling) -> tuple[Prompt, Sampling]:
        late = [replace(rule, at=rule.at + 1) if isinstance(rule, Force) else rule for rule in sampling.rules]
        return prompt, replace(sampling, rules=tuple(late))


class FirstsByChance(Broken):
    def wrong(self, prompt: Prompt, sampling: Sampling) -> tuple[Prompt, Sampling]:
        return prompt, replace(sampling, distinct_first=False)


class FirstsOfTheCall(Broken):
    def wrong(self, prompt: Prompt, sampling: Sampling) -> tuple[Prompt, Sampling]:
        return prompt, replace(sampling, first=0)


class DependsOnItsBatch(Broken):
    """Its log-probabilities are off by `by` for each other sample of the call."""

    by = 1e-6

    async def stream(self, prompt: Prompt, n: int, sampling: Sampling) -> Events:
        async for event in super().stream(prompt, n, sampling):
            sample = event.sample
            if sample is not None:
                sample = replace(sample, logprobs=tuple([x - self.by * n for x in sample.logprobs or ()]))
            yield replace(event, sample=sample)


class DependsOnItsBatchInTheLastBits(DependsOnItsBatch):
    by = 1e-12


class IgnoresHalts(Broken):
    def wrong(self, prompt: Prompt, sampling: Sampling) -> tuple[Prompt, Sampling]:
        return prompt, replace(sampling, halt=None)


class ReadsIdsFromText(Broken):
    def wrong(self, prompt: Prompt, sampling: Sampling) -> tuple[Prompt, Sampling]:
        segments = tuple(Segment(s.text if s.text in APPLES.texts else APPLES.texts[4]) for s in prompt.segments)
        return replace(prompt, segments=segments), sampling


class ForgetsWhatWasSaid(Broken):
    def wrong(self, prompt: Prompt, sampling: Sampling) -> tuple[Prompt, Sampling]:
        return replace(prompt, segments=()), sampling


class LosesTokens(Broken):
    def other(self, event: Event) -> Event | None:
        return None if event.text.startswith("The") else event


class CountsNothing(Broken):
    def ended(self, sample: Sample) -> Sample:
        return replace(sample, usage=NOTHING)


class CountsTwice(Broken):
    def other(self, event: Event) -> Event | None:
        twice = Usage(completion_tokens=1)
        usage = event.usage + twice
        total = event.sample and replace(event.sample, usage=event.sample.usage + twice)
        return replace(event, usage=usage, sample=total)


class EndsAlways(Broken):
    def ended(self, sample: Sample) -> Sample:
        return replace(sample, finish="eos")


class WrongLogprobs(Broken):
    def ended(self, sample: Sample) -> Sample:
        return replace(sample, logprobs=tuple(x - 1 for x in sample.logprobs or ()))


class TooFewLogprobs(Broken):
    def ended(self, sample: Sample) -> Sample:
        return replace(sample, logprobs=(sample.logprobs or ())[:-1])


class WrongThought(Broken):
    def ended(self, sample: Sample) -> Sample:
        return replace(sample, thought=999)


class Unsorted(Broken):
    def ended(self, sample: Sample) -> Sample:
        return replace(sample, alternatives=tuple(here[::-1] for here in sample.alternatives or ()))


class Claims(Broken):
    def __init__(self) -> None:
        super().__init__()
        self.info = replace(self.info, can=self.info.can | {"thinking", "telepathy"})

    def ended(self, sample: Sample) -> Sample:
        raise NotImplementedError


class ObeysInPart(Broken):
    def __init__(self) -> None:
        super().__init__()
        self.info = replace(self.info, can=self.info.can - {"rules"})

    async def stream(self, prompt: Prompt, n: int, sampling: Sampling) -> Events:
        async for event in Toy().stream(prompt, n, replace(sampling, rules=())):
            yield event


class NeverYields(Broken):
    async def stream(self, prompt: Prompt, n: int, sampling: Sampling) -> Events:
        for event in [event async for event in super().stream(prompt, n, sampling)]:
            yield event


class LeavesATask(Broken):
    async def stream(self, prompt: Prompt, n: int, sampling: Sampling) -> Events:
        asyncio.get_running_loop().create_task(asyncio.sleep(60))
        async for event in super().stream(prompt, n, sampling):
            yield event


class TakesAnything(Broken):
    async def stream(self, prompt: Prompt, n: int, sampling: Sampling) -> Events:
        async for event in super().stream(prompt, max(n, 1), replace(sampling, seeds=())):
            yield event


class NeverFails(Broken):
    async def growing(self, prompt: Prompt, n: int, sampling: Sampling) -> AsyncGenerator[tuple[int, Sample], None]:
        async for event in self.stream(prompt, n, sampling):
            if event.sample:
                yield event.index, event.sample


class FailsTogether(Broken):
    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Sample]:
        samples = [event.sample async for event in self.stream(prompt, n, sampling) if event.sample]
        failed = any(sample.finish == "error" for sample in samples)
        return [] if failed else samples


class ScoresWrongly(Broken):
    async def score(self, prompt: Prompt, texts: Sequence[str]) -> list[tuple[float, ...]]:
        return [tuple(x - 0.1 for x in score) for score in await super().score(prompt, texts)]


CASES: list[tuple[type[Model], str]] = [
    (SeedsByCall, "test_one_by_one_equals_batched"),
    (KnowsWhere, "test_where_a_problem_comes_from_and_the_role_change_nothing"),
    (MixesCalls, "test_one_by_one_equals_batched"),
    (IgnoresStops, "test_a_stop_string_ends_with_the_token_that_completes_it"),
    (IgnoresLength, "test_a_cut_by_length_is_told_apart_from_an_end"),
    (IgnoresLength, "test_a_cut_by_length_keeps_the_tokens_before_it"),
    (IgnoresRules, "test_a_forbidden_beginning_is_never_said"),
    (IgnoresRules, "test_no_sample_ends_before_its_minimum"),
    (IgnoresRules, "test_a_forced_text_is_said_at_its_place"),
    (ForcesLate, "test_a_forced_text_is_said_at_its_place"),
    (FirstsByChance, "test_distinct_first_tokens_are_the_likeliest_in_order"),
    (FirstsByChance, "test_distinct_first_tokens_are_those_of_the_alternatives"),
    (FirstsOfTheCall, "test_distinct_first_tokens_go_on_from_call_to_call"),
    (DependsOnItsBatch, "test_eight_samples_are_a_prefix_of_sixteen"),
    (DependsOnItsBatch, "test_one_by_one_equals_batched"),
    (IgnoresHalts, "test_a_halt_ends_a_sample_once_its_window_is_full"),
    (ReadsIdsFromText, "test_a_given_segment_with_ids_is_not_read_from_its_text"),
    (ForgetsWhatWasSaid, "test_a_text_goes_on_from_the_ids_that_were_sampled"),
    (LosesTokens, "test_events_add_up_to_their_samples"),
    (CountsNothing, "test_events_add_up_to_their_samples"),
    (CountsNothing, "test_what_is_counted_is_what_was_generated"),
    (CountsTwice, "test_what_is_counted_is_what_was_generated"),
    (EndsAlways, "test_a_cut_by_length_is_told_apart_from_an_end"),
    (EndsAlways, "test_a_stop_string_ends_with_the_token_that_completes_it"),
    (WrongLogprobs, "test_scores_of_its_own_texts_are_its_logprobs"),
    (WrongLogprobs, "test_alternatives_are_the_likeliest_tokens_in_order"),
    (TooFewLogprobs, "test_logprobs_and_offsets_are_one_per_id"),
    (WrongThought, "test_reasoning_and_answer_make_up_the_text"),
    (Unsorted, "test_alternatives_are_the_likeliest_tokens_in_order"),
    (Claims, "test_what_it_claims_is_what_there_is"),
    (Claims, "test_what_it_claims_is_accepted"),
    (ObeysInPart, "test_what_it_cannot_do_is_refused_by_name_before_anything_is_asked"),
    (NeverYields, "test_others_get_turns_between_its_events"),
    (LeavesATask, "test_closing_a_stream_cancels_and_leaves_nothing_behind"),
    (TakesAnything, "test_no_sample_and_seeds_for_another_number_are_refused"),
    (NeverFails, "test_only_a_call_without_any_success_raises"),
    (FailsTogether, "test_one_failed_sample_harms_no_other"),
    (ScoresWrongly, "test_scores_of_its_own_texts_are_its_logprobs"),
]


@pytest.mark.parametrize("kind, law", CASES, ids=[f"{kind.__name__}-{law[5:40]}" for kind, law in CASES])
def test_a_model_that_breaks_a_law_is_caught(kind: type[Model], law: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mullover.laws.every_model.PATIENCE", 0.02)

    class Laws(ModelLaws):
        def make(self) -> Model:
            return kind()

        def failing(self) -> tuple[Model, Sampling]:
            return kind(Table({"a|b": 0.5, "c": 0.5})), Sampling(rules=(Rule("b", -math.inf),))  # type: ignore[call-arg]

        def dead(self) -> Model:
            toy = kind(Table({"a": 1.0}))  # type: ignore[call-arg]
            toy.table.root.next.clear()  # type: ignore[attr-defined]
            return toy

    with pytest.raises((AssertionError, pytest.fail.Exception, NotImplementedError)):
        getattr(Laws(), law)()


def test_the_last_bits_of_floats_may_depend_on_the_batch() -> None:
    class Laws(ModelLaws):
        def make(self) -> Model:
            return DependsOnItsBatchInTheLastBits()

    Laws().test_eight_samples_are_a_prefix_of_sixteen()
    Laws().test_one_by_one_equals_batched()
    assert Laws().asked(1) != [replace(Laws().asked(2)[0], usage=Laws().asked(1)[0].usage)]


A_SAMPLE = Sample(
    "ab", "eos", (1, 0), (-1.0, -math.inf), (-1.0, 0.0), ((Token(1, "ab", -1.0),), ()), {"entropy": (0.5,)}
)


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"text": "ac"}, r"\[1\]\.text: 'ab' and 'ac'"),
        ({"ids": (1, 2)}, r"\[1\]\.ids\[1\]: 0 and 2"),
        ({"logprobs": (-1.1, -math.inf)}, r"\.logprobs\[0\]: -1\.0 and -1\.1"),
        ({"logprobs": (-1.0, -9.0)}, r"\.logprobs\[1\]: -inf and -9\.0"),
        ({"logprobs": (-1.0,)}, r"\.logprobs: 2 and 1 of them"),
        ({"logprobs": None}, r"\.logprobs: \(-1\.0, -inf\) and None"),
        ({"alternatives": ((Token(1, "ab", -1.1),), ())}, r"\.alternatives\[0\]\[0\]\.logprob: -1\.0 and -1\.1"),
        ({"alternatives": ((Token(2, "ab", -1.0),), ())}, r"\.alternatives\[0\]\[0\]\.id: 1 and 2"),
        ({"signals": {"entropy": (0.6,)}}, r"\.signals\['entropy'\]\[0\]: 0\.5 and 0\.6"),
        ({"signals": {"certainty": (0.5,)}}, r"\.signals: "),
    ],
)
def test_a_difference_between_samples_is_told_with_its_place(fields: dict[str, Any], said: str) -> None:
    near = replace(A_SAMPLE, logprobs=(-1.0 - 1e-9, -math.inf), signals={"entropy": [0.5 + 1e-9]})
    alike([A_SAMPLE, A_SAMPLE], [A_SAMPLE, near], 1e-6)
    with pytest.raises(AssertionError, match=said):
        alike([A_SAMPLE, A_SAMPLE], [A_SAMPLE, replace(A_SAMPLE, **fields)], 1e-6)
    with pytest.raises(AssertionError, match="2 and 1 of them"):
        alike([A_SAMPLE, A_SAMPLE], [A_SAMPLE], 1e-6)
