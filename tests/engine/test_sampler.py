"""From logits to tokens: frequencies, truncations, ties, ranks, and rules where they meet the model."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.models import Letters, Table, ask, close, engine_of, random_ids, run
from torch import Tensor

from mullover.backends.draw import distribution
from mullover.backends.signals import signal
from mullover.engine.rules import Bias, Compiled, Forced
from mullover.engine.sampler import measured, quantile, truncated
from mullover.types import Halt, Sample, Sampling

INF = math.inf


def rows_of(size: int, count: int = 1, seed: int = 0, scale: float = 2.0) -> Tensor:
    """(count, size) logits."""
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


def exact(logits: Tensor, sampling: Sampling, bias: Mapping[int, float] | None = None) -> dict[int, float]:
    """P of each token that can be drawn; of ties the lower id comes first."""
    chances = torch.softmax(logits.double(), -1).tolist()
    row = dict(sorted(enumerate(chances), key=lambda pair: (-pair[1], pair[0])))
    return distribution({i: p for i, p in row.items() if p > 0}, sampling, bias or {})


def firsts(logits: Tensor, n: int, rules: Sequence[Any] = (), **fields: Any) -> list[Sample]:
    """n samples of one token, with one set of logits."""
    return run(engine_of(Table(logits.unsqueeze(0)), most=n), [ask([0], n, rules=rules, max_tokens=1, **fields)])[0]


def assert_drawn_from(counts: Counter[int], chances: Mapping[int, float]) -> None:
    """Chi-square, tokens that are rarer than 5 expected ones counted together; 1 in 100000 fails by chance."""
    n = sum(counts.values())
    assert set(counts) <= set(chances)
    often = {i: p for i, p in chances.items() if n * p >= 5}
    seen = [counts[i] for i in often] + [sum(count for i, count in counts.items() if i not in often)]
    wanted = [n * p for p in often.values()] + [n * max(1 - math.fsum(often.values()), 0.0)]
    pairs = [(a, b) for a, b in zip(seen, wanted, strict=True) if b >= 1]
    stat, freedom = math.fsum((a - b) ** 2 / b for a, b in pairs), len(pairs) - 1
    if freedom < 1:
        return
    spread = math.sqrt(2 / (9 * freedom))  # Wilson and Hilferty
    assert ((stat / freedom) ** (1 / 3) - (1 - 2 / (9 * freedom))) / spread < 4.27


FIELDS: list[dict[str, Any]] = [
    {},
    {"temperature": 0.7},
    {"top_k": 7},
    {"top_p": 0.8},
    {"min_p": 0.1},
    {"temperature": 1.6, "top_k": 40, "top_p": 0.9, "min_p": 0.02},
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("cold", [1e-3, 1e-30, 1e-300])
def test_however_cold_the_likeliest_token_is_drawn(cold: float, dtype: torch.dtype) -> None:
    logits = rows_of(300, seed=3)[0].to(dtype)
    samples = firsts(logits, 20, temperature=cold)
    assert {sample.ids for sample in samples} == {(int(logits.argmax()),)}


class TestFrequencies:
    @pytest.mark.parametrize("fields", FIELDS, ids=str)
    @pytest.mark.parametrize("size", [5, 300, 2100])
    def test_tokens_come_as_often_as_they_should(self, size: int, fields: dict[str, Any]) -> None:
        logits = rows_of(size, seed=size)[0]
        samples = firsts(logits, 4000, seed=size, **fields)
        chances = exact(logits, Sampling(**fields))
        assert_drawn_from(Counter(sample.ids[0] for sample in samples), chances)
        for sample in samples[:200]:
            assert sample.sampling_logprobs is not None and sample.logprobs is not None
            assert sample.sampling_logprobs[0] == pytest.approx(math.log(chances[sample.ids[0]]), abs=1e-9)
            assert sample.logprobs[0] == pytest.approx(float(torch.log_softmax(logits, -1)[sample.ids[0]]), abs=1e-9)

    def test_later_tokens_are_drawn_anew(self) -> None:
        """The pairs of two tokens come as often as independent draws do."""
        logits = torch.tensor([0.0, 0.5, 1.0, -1.0], dtype=torch.float64)
        samples = run(engine_of(Table(logits.expand(4, 4)), most=4000), [ask([0], 4000, max_tokens=2)])[0]
        one = torch.softmax(logits, -1).tolist()
        pairs = {4 * a + b: one[a] * one[b] for a in range(4) for b in range(4)}
        assert_drawn_from(Counter(4 * sample.ids[0] + sample.ids[1] for sample in samples), pairs)

    def test_settings_of_one_batch_do_not_touch_each_other(self) -> None:
        logits = rows_of(300, seed=3)[0]
        asked = [*FIELDS, {"temperature": 0}, {"top_k": 1}]
        alone = [firsts(logits, 5, seed=i, **fields) for i, fields in enumerate(asked)]
        engine = engine_of(Table(logits.unsqueeze(0)))
        together = run(engine, [ask([0], 5, seed=i, max_tokens=1, **fields) for i, fields in enumerate(asked)])
        for apart, joint in zip(alone, together, strict=True):
            assert [sample.ids for sample in apart] == [sample.ids for sample in joint]
            for a, b in zip(apart, joint, strict=True):
                assert close(a.sampling_logprobs or (), b.sampling_logprobs or (), 1e-12)


class TestQuantile:
    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.integers(0, 4), min_size=1, max_size=40).filter(any), st.integers(0, 10**6), st.integers(1, 60))
    def test_it_inverts_the_sum_in_the_order_of_ids(self, weights: list[int], place: int, times: int) -> None:
        chances = torch.tensor(weights * times, dtype=torch.float64)
        chances /= chances.sum()
        u = (place + 0.5) / (10**6 + 1)
        below, want = 0.0, -1
        for i, p in enumerate(chances.tolist()):
            below += p
            if want < 0 and u < below:
                want = i
        got = int(quantile(chances.unsqueeze(0), [u]))
        assert chances[got] > 0
        assert got == want or abs(float(chances[: max(got, want)].sum()) - u) < 1e-9

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("size", [3, 256, 257, 300, 512, 2100])
    def test_it_never_draws_what_is_impossible(self, size: int, dtype: torch.dtype) -> None:
        last = 1 - 2**-53
        for first in (0, size // 3, size - 1):
            for mass in (1.0, 1 + 2**-20, 1 - 2**-20, 1 + 2**-52):
                chances = torch.zeros(1, size, dtype=dtype)
                chances[0, first] = mass
                for u in (0.0, 0.5, last):
                    assert int(quantile(chances, [u])) == first

    def test_small_chances_are_not_lost(self) -> None:
        """Half of the mass is in 200000 tokens of the same chance."""
        chances = torch.full((1, 200_001), 0.5 / 200_000, dtype=torch.float32)
        chances[0, 0] = 0.5
        for u in (0.5, 0.6, 0.75, 0.9, 0.99):
            want = 1 + (u - 0.5) / 0.5 * 200_000
            assert abs(int(quantile(chances, [u])) - want) < 3


LOGITS = st.lists(st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0]), min_size=1, max_size=12)
SAMPLINGS = st.builds(
    Sampling,
    top_k=st.integers(0, 13),
    top_p=st.sampled_from([1.0, 0.95, 0.7, 0.5, 0.2, 0.01]),
    min_p=st.sampled_from([0.0, 0.05, 0.2, 0.5, 1.0]),
)


def left(logits: Tensor, sampling: Sampling) -> dict[int, float]:
    """What `truncated` leaves, as chances."""
    chances = torch.softmax(truncated(logits.unsqueeze(0), [sampling]), -1)[0].tolist()
    return {i: p for i, p in enumerate(chances) if p > 0}


def assert_left(logits: Tensor, sampling: Sampling, within: float = 1e-9) -> None:
    got, want = left(logits, sampling), exact(logits, sampling)
    assert set(got) == set(want)
    assert all(abs(got[i] - p) < within for i, p in want.items())


class TestTruncated:
    @settings(max_examples=300, deadline=None)
    @given(LOGITS, SAMPLINGS)
    def test_it_leaves_what_the_toy_leaves_ties_included(self, logits: list[float], sampling: Sampling) -> None:
        assert_left(torch.tensor(logits, dtype=torch.float64), sampling)

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(LOGITS, SAMPLINGS), min_size=2, max_size=5))
    def test_each_row_has_its_own_bounds(self, asked: list[tuple[list[float], Sampling]]) -> None:
        size = max(len(logits) for logits, _ in asked)
        rows = torch.tensor([logits + [-3.0] * (size - len(logits)) for logits, _ in asked], dtype=torch.float64)
        found = torch.softmax(truncated(rows, [sampling for _, sampling in asked]), -1)
        for row, chances, (_, sampling) in zip(rows, found.tolist(), asked, strict=True):
            want = exact(row, sampling)
            assert {i for i, p in enumerate(chances) if p > 0} == set(want)
            assert all(abs(chances[i] - p) < 1e-9 for i, p in want.items())

    @pytest.mark.parametrize("top_k", [0, 1, 5, 1000, 1023, 1024, 1025, 1500, 3000])
    @pytest.mark.parametrize("top_p", [1.0, 0.9, 0.3])
    @pytest.mark.parametrize("min_p", [0.0, 0.01])
    def test_a_large_vocabulary_is_cut_as_a_small_one(self, top_k: int, top_p: float, min_p: float) -> None:
        assert_left(rows_of(2500, seed=4)[0], Sampling(top_k=top_k, top_p=top_p, min_p=min_p))

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("top_k", [1, 3, 600, 1023, 1024, 1025])
    def test_of_many_equal_tokens_top_k_keeps_the_lower_ids(self, top_k: int, dtype: torch.dtype) -> None:
        equal = torch.zeros(2500, dtype=dtype)
        assert set(left(equal, Sampling(top_k=top_k))) == set(range(top_k))
        rounded = (rows_of(2500, seed=5)[0] * 2).round().to(dtype)
        assert_left(rounded, Sampling(top_k=top_k), 1e-6)

    def test_of_two_equal_tokens_at_the_edge_of_the_few_the_lower_id_is_kept(self) -> None:
        """top_k is as many as are tried first, and the last of them is as likely as the next."""
        for high, low in ((2400, 3), (3, 2400), (1100, 1000)):
            ranks = torch.arange(2500, 0, -1, dtype=torch.float64) / 1000
            ranks[1023] = ranks[1024]
            order = [i for i in range(2500) if i not in (high, low)]
            order = [*order[:1023], high, low, *order[1023:]]
            logits = torch.empty(2500, dtype=torch.float64)
            logits[torch.tensor(order)] = ranks
            assert_left(logits, Sampling(top_k=1024))

    @pytest.mark.parametrize("top_p", [0.9, 0.5, 0.3, 0.1])
    def test_of_many_equal_tokens_top_p_keeps_the_lower_ids(self, top_p: float) -> None:
        equal = torch.zeros(2500, dtype=torch.float64)
        assert_left(equal, Sampling(top_p=top_p))
        assert_left((rows_of(2500, seed=6, scale=1.0)[0]).round(), Sampling(top_p=top_p))

    def test_rows_with_and_without_a_bound_may_be_mixed_in_a_large_vocabulary(self) -> None:
        rows = rows_of(2500, 4, seed=7)
        asked = [Sampling(top_k=5), Sampling(top_p=0.5), Sampling(min_p=0.1), Sampling(top_k=2000, top_p=0.9)]
        for some in ([0, 1], [1, 3], [0, 3], [0, 1, 2, 3], [2, 0]):
            found = torch.softmax(truncated(rows[some], [asked[i] for i in some]), -1)
            for i, chances in zip(some, found.tolist(), strict=True):
                want = exact(rows[i], asked[i])
                assert {k for k, p in enumerate(chances) if p > 0} == set(want)
                assert all(abs(chances[k] - p) < 1e-9 for k, p in want.items())


class TestGreedy:
    def test_of_equal_tokens_the_lowest_id_is_drawn(self) -> None:
        (sample,) = firsts(torch.tensor([0.0, 2.0, 1.0, 2.0]), 1, temperature=0)
        assert (sample.ids, sample.sampling_logprobs) == ((1,), (0.0,))

    def test_alternatives_are_the_likeliest_and_ties_go_by_id(self) -> None:
        (sample,) = firsts(torch.tensor([0.0, 2.0, 1.0, 2.0]), 1, temperature=0, top_logprobs=3)
        assert sample.alternatives is not None
        assert [token.id for token in sample.alternatives[0]] == [1, 3, 2]
        assert [token.text for token in sample.alternatives[0]] == ["b", "d", "c"]

    @pytest.mark.parametrize("size", [10, 300, 5000])
    def test_of_equal_alternatives_the_lower_ids_are_told(self, size: int) -> None:
        (sample,) = firsts(torch.zeros(size), 1, top_logprobs=3)
        assert sample.alternatives is not None
        assert [token.id for token in sample.alternatives[0]] == [0, 1, 2]

    def test_more_alternatives_than_tokens_are_all_tokens(self) -> None:
        (sample,) = firsts(torch.zeros(4), 1, top_logprobs=9)
        assert sample.alternatives is not None and len(sample.alternatives[0]) == 4


class TestDistinctFirst:
    logits = torch.tensor([0.0, 2.0, 1.0, 2.0, -1.0], dtype=torch.float64)

    def test_sample_k_begins_with_the_kth_likeliest(self) -> None:
        samples = firsts(self.logits, 5, distinct_first=True)
        assert [sample.ids[0] for sample in samples] == [1, 3, 2, 0, 4]
        assert all(sample.sampling_logprobs == (0.0,) for sample in samples)
        raw = torch.log_softmax(self.logits, -1).tolist()
        assert [(s.logprobs or ())[0] for s in samples] == pytest.approx([raw[s.ids[0]] for s in samples])

    def test_a_request_may_begin_further_down_and_temperature_and_bounds_change_nothing(self) -> None:
        for fields in ({}, {"temperature": 0}, {"temperature": 3.0, "top_k": 1}):
            samples = firsts(self.logits, 2, distinct_first=True, first=2, **fields)
            assert [sample.ids[0] for sample in samples] == [2, 0]

    def test_beyond_the_vocabulary_a_sample_fails(self) -> None:
        samples = firsts(self.logits, 7, distinct_first=True)
        assert [sample.finish for sample in samples] == ["length"] * 5 + ["error"] * 2

    def test_beyond_the_tokens_that_rules_leave_a_sample_fails(self) -> None:
        rules = [Bias(frozenset([1, 2, 4]), -INF)]
        samples = firsts(self.logits, 4, rules, distinct_first=True)
        assert [sample.ids for sample in samples] == [(3,), (0,), (), ()]
        assert [sample.finish for sample in samples] == ["length", "length", "error", "error"]

    def test_rules_change_the_ranks(self) -> None:
        samples = firsts(self.logits, 2, [Bias(frozenset([4]), 9.0)], distinct_first=True)
        assert [sample.ids[0] for sample in samples] == [4, 1]

    def test_a_forced_first_token_comes_before_it(self) -> None:
        samples = firsts(self.logits, 7, [Forced((2,), 0)], distinct_first=True)
        assert [sample.ids for sample in samples] == [(2,)] * 7


class TestRules:
    @pytest.mark.parametrize("size", [20, 300, 1500])
    def test_a_bias_changes_the_chances_and_not_the_raw_logprobs(self, size: int) -> None:
        logits = rows_of(size, seed=8)[0]
        favoured = frozenset(random_ids(1, 5, size))
        rules = [Bias(favoured, 2.5), Bias(frozenset([0, 1]), -INF), Bias(frozenset([2, *favoured]), -0.5)]
        bias: dict[int, float] = Counter()  # type: ignore[assignment]
        for rule in rules:
            for i in rule.ids:
                bias[i] += rule.bias
        chances = exact(logits, Sampling(temperature=0.9, top_p=0.9), bias)
        samples = firsts(logits, 4000, rules, temperature=0.9, top_p=0.9)
        assert_drawn_from(Counter(sample.ids[0] for sample in samples), chances)
        raw = torch.log_softmax(logits, -1).tolist()
        for sample in samples[:100]:
            assert (sample.logprobs or ())[0] == pytest.approx(raw[sample.ids[0]])
            assert (sample.sampling_logprobs or ())[0] == pytest.approx(math.log(chances[sample.ids[0]]), abs=1e-9)

    @pytest.mark.parametrize("size", [26, 300, 1500])
    @pytest.mark.parametrize("fields", [{}, {"temperature": 0}, {"top_k": 3}, {"top_p": 0.9}], ids=str)
    def test_a_sample_whose_tokens_are_all_forbidden_fails_alone(self, size: int, fields: dict[str, Any]) -> None:
        engine = engine_of(Table(rows_of(size, size, seed=9)))
        rules = [Bias(frozenset(range(size)), -INF, before=0, window=0)]
        want = run(engine_of(Table(rows_of(size, size, seed=9))), [ask([1], 2, max_tokens=4, **fields)])[0]
        bad, fine = run(engine, [ask([1], rules=rules, **fields), ask([1], 2, max_tokens=4, **fields)])
        assert bad[0].finish == "error" and "the rules forbid every token" in bad[0].error
        assert [sample.ids for sample in fine] == [sample.ids for sample in want]

    def test_it_says_what_was_said_before_it_failed(self) -> None:
        rules: list[Compiled] = [Bias(frozenset(range(5)), -INF, "answer"), Forced((1, 2), 0)]
        (sample,) = run(engine_of(Table(rows_of(5, 5))), [ask([0], rules=rules, max_tokens=9)])[0]
        assert (sample.ids, sample.text, sample.finish) == ((1, 2), "bc", "error")
        assert "'bc'" in sample.error

    def test_forced_tokens_have_the_models_own_logprob_and_a_sampling_logprob_of_zero(self) -> None:
        rows = rows_of(300, 300, seed=10)
        some: list[dict[str, Any]] = [{}, {"temperature": 0}, {"top_k": 1}]
        for fields in some:
            rules: list[Compiled] = [Forced((17, 260, 3), 2), Bias(frozenset([260]), -INF)]
            (sample,) = run(engine_of(Table(rows)), [ask([0], rules=rules, max_tokens=7, **fields)])[0]
            assert sample.ids[2:5] == (17, 260, 3)
            before = [0, *sample.ids[:-1]]
            want = [float(torch.log_softmax(rows[a], -1)[b]) for a, b in zip(before, sample.ids, strict=True)]
            assert sample.logprobs == pytest.approx(want)
            assert (sample.sampling_logprobs or ())[2:5] == (0.0, 0.0, 0.0)

    def test_rules_of_one_do_not_touch_another(self) -> None:
        rows = rows_of(30, 30, seed=11)
        plain = run(engine_of(Table(rows)), [ask([0], 3, max_tokens=9)])[0]
        ruled, beside = run(
            engine_of(Table(rows)),
            [ask([0], 3, max_tokens=9, rules=[Bias(frozenset(range(15)), -INF)]), ask([0], 3, max_tokens=9)],
        )
        assert [sample.ids for sample in beside] == [sample.ids for sample in plain]
        assert all(token >= 15 for sample in ruled for token in sample.ids)

    def test_a_rule_about_no_token_does_nothing(self) -> None:
        rows = rows_of(30, 30, seed=11)
        plain = run(engine_of(Table(rows)), [ask([0], 3, max_tokens=9)])[0]
        ruled = run(engine_of(Table(rows)), [ask([0], 3, max_tokens=9, rules=[Bias(frozenset(), 1.0)])])[0]
        assert [sample.ids for sample in ruled] == [sample.ids for sample in plain]

    def test_a_window_a_beginning_and_the_end_token(self) -> None:
        """No sample ends before 4 tokens; a token may not come again within 2 of itself."""
        rows = torch.zeros(4, 4, dtype=torch.float64)
        rules = [Bias(frozenset([0]), -INF, before=4)]
        samples = run(engine_of(Table(rows), Letters(ends=[0])), [ask([1], 300, rules=rules, max_tokens=12)])[0]
        assert min(len(sample.ids) for sample in samples) == 5
        assert {sample.finish for sample in samples} == {"eos", "length"}
        assert all(len(sample.text) == len(sample.ids) - 1 for sample in samples if sample.finish == "eos")
        windowed = [Bias(frozenset([2]), -INF, window=3)]
        for sample in run(engine_of(Table(rows)), [ask([1], 300, rules=windowed, max_tokens=12)])[0]:
            places = [i for i, token in enumerate(sample.ids) if token == 2]
            assert all(place >= 3 for place in places)
            assert all(b - a >= 3 for a, b in pairwise(places))


@cache
def certain() -> Tensor:
    """Each token is followed by the next for sure."""
    return torch.full((26, 26), -1000.0, dtype=torch.float64).fill_diagonal_(0.0).roll(1, 1)


class TestSignals:
    @pytest.mark.parametrize("name", ["entropy", "certainty", "confidence@1", "confidence@5", "confidence@999"])
    def test_they_are_those_of_the_toy(self, name: str) -> None:
        rows = rows_of(30, 30, seed=12)
        (sample,) = run(engine_of(Table(rows)), [ask([0], max_tokens=9, signals=(name, "entropy"), temperature=0.5)])[0]
        for i, token in enumerate([0, *sample.ids[:-1]]):
            ranked = sorted(torch.log_softmax(rows[token], -1).tolist(), reverse=True)
            assert sample.signals is not None
            assert sample.signals[name][i] == pytest.approx(signal(name)(ranked, 30))
        assert sample.signals is not None and [*sample.signals] == list(dict.fromkeys([name, "entropy"]))

    def test_impossible_tokens_add_nothing_to_the_entropy(self) -> None:
        logits = torch.tensor([[0.0, 0.0, -INF]], dtype=torch.float64)
        assert measured("entropy", torch.log_softmax(logits, -1)) == pytest.approx([math.log(2)])

    @pytest.mark.parametrize("name", ["certainty", "confidence@3"])
    def test_an_impossible_token_counts_as_the_floor(self, name: str) -> None:
        logits = torch.log_softmax(torch.tensor([[0.0, 0.0, -INF]], dtype=torch.float64), -1)
        assert measured(name, logits) == pytest.approx([signal(name)([math.log(0.5)] * 2, 3)])

    @pytest.mark.parametrize("seed", range(5))
    @pytest.mark.parametrize("window", [1, 3, 6])
    def test_a_halt_comes_with_the_first_full_window_below_its_bound(self, seed: int, window: int) -> None:
        rows = rows_of(30, 30, seed=seed)
        free = run(engine_of(Table(rows)), [ask([0], 4, max_tokens=40, signals=("entropy",))])[0]
        for below in (1.0, 1.6, 2.2):
            halted = run(engine_of(Table(rows)), [ask([0], 4, max_tokens=40, halt=Halt("entropy", below, window))])[0]
            for whole, sample in zip(free, halted, strict=True):
                values = (whole.signals or {})["entropy"]
                means = [math.fsum(values[i - window : i]) / window for i in range(window, len(values) + 1)]
                at = next((window + i for i, mean in enumerate(means) if mean < below), None)
                assert sample.finish == ("length" if at is None else "halted")
                assert sample.ids == whole.ids[: at or 40]
                assert sample.signals is None

    def test_a_mean_that_equals_the_bound_does_not_halt(self) -> None:
        """One value again and again: its mean is that value, however it is added up."""
        rows = rows_of(26, 1, seed=13).expand(26, 26)
        value = measured("entropy", torch.log_softmax(rows[:1], -1))[0]
        for window in (1, 3, 7, 10):
            (sample,) = run(engine_of(Table(rows)), [ask([0], max_tokens=200, halt=Halt("entropy", value, window))])[0]
            assert (sample.finish, len(sample.ids)) == ("length", 200), window

    def test_a_certain_model_has_no_entropy_and_halts_at_once(self) -> None:
        (sample,) = run(engine_of(Table(certain())), [ask([0], max_tokens=9, halt=Halt("entropy", 0.1, 4))])[0]
        assert (sample.finish, sample.text) == ("halted", "bcde")
