"""The laws of the Model port about what is forbidden, forced and distinct. `ModelLaws` has them; needs pytest."""

import itertools
import math

import pytest

from mullover.errors import ModelError
from mullover.laws.asking import ModelCase, bare
from mullover.types import Force, Rule, Sample


class RuleLaws(ModelCase):
    def test_a_forbidden_beginning_is_never_said(self) -> None:
        self.needs("rules", "temperature", "max_tokens")
        (first,) = self.drawn(1, temperature=0.0, max_tokens=1)
        try:
            samples = self.drawn(8, rules=(Rule(first.text, -math.inf),))
        except ModelError:
            return  # it can begin with nothing else
        assert not any(sample.text.startswith(first.text) for sample in samples)

    def test_no_sample_ends_before_its_minimum(self) -> None:
        self.needs("rules")
        ended = [len(sample.ids) for sample in self.drawn(8) if sample.finish == "eos" and sample.ids]
        least = min(ended, default=2)
        try:
            samples = self.drawn(8, rules=(Rule("", -math.inf, before=least),))
        except ModelError:
            return  # nothing but the end is possible there
        assert all(len(sample.ids) > least for sample in samples if sample.finish == "eos")

    def test_a_forced_text_is_said_at_its_place(self) -> None:
        self.needs("rules")
        self.needs_determinism()
        whole = next((sample for sample in self.drawn(8) if len(sample.ids) > 2 and _second(sample)), None)
        if whole is None:
            pytest.skip("no sample says a second token that is a text")
        said = _second(whole)
        reached = [sample for sample in self.drawn(8, rules=(Force(said, 1),)) if len(sample.ids) > 1]
        assert any(sample.ids[0] == whole.ids[0] for sample in reached)
        for sample in reached:
            assert sample.offsets is not None
            assert sample.text[sample.offsets[1] :].startswith(said)
            assert sample.sampling_logprobs is None or sample.sampling_logprobs[1] == 0
            if sample.ids[:2] == whole.ids[:2] and sample.logprobs and whole.logprobs:
                assert sample.logprobs[1] == pytest.approx(whole.logprobs[1], abs=self.tolerance)

    def test_distinct_first_tokens_are_the_likeliest_in_order(self) -> None:
        self.needs("distinct_first", "temperature", "max_tokens")
        (greedy,) = self.drawn(1, temperature=0.0, max_tokens=1)
        samples = self.drawn(4, distinct_first=True)  # fewer where fewer tokens are possible
        assert samples[0].ids[0] == greedy.ids[0]
        assert len({sample.ids[0] for sample in samples}) == len(samples)
        assert all(sample.sampling_logprobs is None or sample.sampling_logprobs[0] == 0 for sample in samples)
        likelihoods = [sample.logprobs[0] for sample in samples if sample.logprobs]
        assert all(one >= next - self.tolerance for one, next in itertools.pairwise(likelihoods))

    def test_distinct_first_tokens_are_those_of_the_alternatives(self) -> None:
        self.needs("distinct_first", "top_logprobs", "max_tokens")
        for k, sample in enumerate(self.drawn(4, distinct_first=True, top_logprobs=4, max_tokens=1)):
            assert sample.alternatives is not None
            assert sample.logprobs is not None
            here = {token.id: token.logprob for token in sample.alternatives[0]}
            assert here.get(sample.ids[0]) == pytest.approx(sample.logprobs[0], abs=self.tolerance)
            assert [*here.values()][k] == pytest.approx(sample.logprobs[0], abs=self.tolerance)  # a tie has any order

    def test_distinct_first_tokens_go_on_from_call_to_call(self) -> None:
        self.needs("distinct_first")
        self.needs_determinism()
        four = bare(self.asked(4, distinct_first=True))
        self.alike(bare(self.asked(*[1] * len(four), distinct_first=True)), four)
        if len(four) > 1:
            self.alike(bare(self.asked(1, len(four) - 1, distinct_first=True)), four)


def _second(sample: Sample) -> str:
    """The text of the second token; empty where it is not told, or is a part of a character."""
    if sample.offsets is None or len(sample.offsets) < 2:
        return ""
    said = sample.text[sample.offsets[1] : [*sample.offsets, len(sample.text)][2]]
    return "" if "\ufffd" in said else said
