"""Rules, forced texts and distinct first tokens of the toy, against what they must be exactly."""

import asyncio
import itertools
import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mullover.backends.scripted import Scripted
from mullover.backends.table import END, Table
from mullover.backends.toy import Toy
from mullover.errors import CapabilityError, ModelError, OptionError
from mullover.seeds import fold
from mullover.types import Force, Halt, ModelInfo, Prompt, Rule, Sample, Sampling, Where

PROMPT = Prompt.of("How many apples?")
LETTERS = Toy(Table({"|".join(word): 1.0 for word in itertools.product("aw", repeat=5)}))  # 5 fair coins, then the end
BRANCHY = Toy(Table({"u|A": 0.30, "u|C": 0.24, "v|B": 0.36, "v|A": 0.04, "w": 0.06}))
THINKS = Toy(
    Table(
        {
            f"<think>|{'|'.join(thought)}|</think>|{'|'.join(said)}": 1.0
            for thought in itertools.product("aw", repeat=3)
            for said in itertools.product("aw", repeat=2)
        }
    )
)


def drawn(toy: Toy, n: int = 1, prompt: Prompt = PROMPT, first: int = 0, **fields: Any) -> list[Sample]:
    """Samples `first` to `first + n - 1` of a request."""
    seeds = tuple(fold(0, i) for i in range(first, first + n))
    return asyncio.run(toy.sample(prompt, n, Sampling(seeds=seeds, first=first, **fields)))


def one(toy: Toy, prompt: Prompt = PROMPT, **fields: Any) -> Sample:
    return drawn(toy, 1, prompt, **fields)[0]


def refused(toy: Toy, *rules: Rule | Force) -> str:
    """Why its only sample fails."""

    async def main() -> str:
        events = [event async for event in toy.stream(PROMPT, 1, Sampling(rules=rules))]
        sample = events[-1].sample
        assert sample is not None
        assert sample.finish == "error"
        assert len(sample.ids) == len(sample.logprobs or ()) == sample.usage.completion_tokens
        return sample.error

    return asyncio.run(main())


def chances(sample: Sample) -> list[float]:
    """P of each token in the distribution it was drawn from, of those before the end."""
    return [math.exp(logprob) for logprob in (sample.sampling_logprobs or ())[:5]]


def tilted(letter: str, bias: float) -> float:
    """P of a letter of LETTERS where `bias` is added to the logit of w."""
    odds = math.exp(bias)
    return odds / (1 + odds) if letter == "w" else 1 / (1 + odds)


def plain(sample: Sample) -> tuple[object, ...]:
    return sample.text, sample.finish, sample.ids, sample.logprobs, sample.sampling_logprobs


# Windows and minima


@given(
    st.integers(0, 7),
    st.integers(0, 7),
    st.sampled_from([-math.inf, -3.0, -0.5, 0.0, 2.0]),
    st.integers(0, 1000),
)
@settings(max_examples=150, deadline=None)
def test_a_rule_holds_exactly_within_its_window_and_before_its_bound(
    window: int, before: int, bias: float, seed: int
) -> None:
    sampling = Sampling(rules=(Rule("w", bias, window=window, before=before),), seeds=(seed,))
    (sample,) = asyncio.run(LETTERS.sample(PROMPT, 1, sampling))
    begun = 0
    for at, (letter, chance) in enumerate(zip(sample.text, chances(sample), strict=True)):
        holds = (window == 0 or at < begun + window) and (before == 0 or at < before)
        assert chance == pytest.approx(tilted(letter, bias if holds else 0.0), abs=1e-12)
        if letter == "w":
            begun = at
    assert sample.logprobs == pytest.approx([math.log(0.5)] * 5 + [0.0])


def test_a_thought_switching_penalty_of_nothing_changes_nothing() -> None:
    free = list(map(plain, drawn(LETTERS, 40)))
    assert [s.text for s in drawn(LETTERS, 40, rules=(Rule("w", 0.0, window=2),))] == [text for text, *_ in free]
    assert list(map(plain, drawn(LETTERS, 40, rules=(Rule("zz", -3.0, window=2),)))) == free


def test_a_window_as_long_as_the_sample_is_a_plain_bias() -> None:
    wide = drawn(LETTERS, 40, rules=(Rule("w", -1.5, window=6),))
    assert list(map(plain, wide)) == list(map(plain, drawn(LETTERS, 40, rules=(Rule("w", -1.5),))))
    assert list(map(plain, wide)) == list(map(plain, drawn(LETTERS, 40, rules=(Rule("w", -1.5, before=6),))))


def test_a_window_opens_again_where_a_token_of_its_rule_comes() -> None:
    rules = (Rule("w", -math.inf, window=2),)
    samples = drawn(LETTERS, 200, rules=rules)
    assert {s.text for s in samples} == {"aaaaa", "aaaaw", "aaawa", "aawaw", "aawaa"}
    assert min(s.text.find("w") for s in samples if "w" in s.text) == 2
    assert {s.text[3] for s in samples if s.text[2] == "w"} == {"a"}  # positions 2 and 3 are those of the new window


def test_the_window_of_one_rule_is_no_business_of_another() -> None:
    toy = Toy(Table({"|".join(word): 1.0 for word in itertools.product("awx", repeat=4)}))
    rules = (Rule("w", -math.inf, window=2), Rule("x", -math.inf, window=3))
    said = {sample.text for sample in drawn(toy, 400, rules=rules)}
    assert "aawx" in said  # at 3 the window of w is open again, that of x is over
    assert not any(text[3] == "w" for text in said if text[2] == "w")
    assert not any("x" in text[:3] for text in said)


def test_positions_count_the_sample_and_not_the_prompt() -> None:
    begun = drawn(LETTERS, 60, PROMPT.then("aa"), rules=(Rule("w", -math.inf, before=2),))
    assert {s.text for s in begun} == {"aaa", "aaw"}
    begun = drawn(LETTERS, 60, PROMPT.then("aw"), rules=(Rule("w", -math.inf, window=2),))
    assert {s.text for s in begun} == {"aaa", "aaw"}


def test_rules_that_hold_together_add_up_and_those_that_ended_do_not() -> None:
    sample = one(LETTERS, rules=(Rule("w", 1.0, before=1), Rule("w", 1.0), Rule("w", 2.0, before=3)))
    expected = [tilted(letter, bias) for letter, bias in zip(sample.text, (4.0, 3.0, 3.0, 1.0, 1.0), strict=True)]
    assert chances(sample) == pytest.approx(expected)


@pytest.mark.parametrize(
    "where, held", [("thinking", [1, 2]), ("answer", []), ("always", [1, 2])]
)  # <think> a a a </think> a a: of the first three positions the first is before the reasoning
def test_a_bound_holds_within_reasoning_or_outside_of_it_only(where: Where, held: list[int]) -> None:
    for sample in drawn(THINKS, 30, rules=(Rule("w", -math.inf, where, before=3),)):
        letters = sample.text.replace("<think>", "T").replace("</think>", "t")
        assert [letters[at] for at in held] == ["a"] * len(held)
    free = {s.text for s in drawn(THINKS, 300, rules=(Rule("w", -math.inf, where, before=3),))}
    assert len(free) == (32 if not held else 8)


def test_a_window_within_reasoning_ends_with_it() -> None:
    texts = {s.text for s in drawn(THINKS, 300, rules=(Rule("w", -math.inf, "thinking", window=99),))}
    assert texts == {f"<think>aaa</think>{a}{b}" for a in "aw" for b in "aw"}


def test_no_end_comes_before_its_minimum() -> None:
    toy = Toy(Table({"a": 0.6, "a|b": 0.3, "a|b|c": 0.1}))
    for least, texts in ((0, {"a", "ab", "abc"}), (1, {"a", "ab", "abc"}), (2, {"ab", "abc"}), (3, {"abc"})):
        assert {s.text for s in drawn(toy, 200, rules=(Rule("", -math.inf, before=least),) if least else ())} == texts
    with pytest.raises(ModelError, match="the rules forbid every token that can follow 'abc'"):
        one(toy, rules=(Rule("", -math.inf, before=4),))


def test_greedy_goes_by_the_rules_that_hold() -> None:
    toy = Toy(Table({"|".join(word): 2.0 ** word.count("w") for word in itertools.product("aw", repeat=4)}))
    assert one(toy, temperature=0).text == "wwww"
    assert one(toy, temperature=0, rules=(Rule("w", -1.0, window=2),)).text == "aawa"
    assert one(toy, temperature=0, rules=(Rule("w", -1.0, before=3),)).text == "aaaw"
    assert one(toy, temperature=0, rules=(Rule("w", -0.5, before=3),)).text == "wwww"


# Forced texts


def test_a_forced_text_comes_at_its_place_and_what_follows_is_drawn_as_ever() -> None:
    free, forced = drawn(LETTERS, 30), drawn(LETTERS, 30, rules=(Force("ww", 2),))
    for before, after in zip(free, forced, strict=True):
        assert after.text == before.text[:2] + "ww" + before.text[4:]  # noise goes by position
        assert chances(after) == pytest.approx([0.5, 0.5, 1.0, 1.0, 0.5])
        assert (after.sampling_logprobs or ())[2:4] == (0.0, 0.0)
        assert after.logprobs == pytest.approx([math.log(0.5)] * 5 + [0.0])
        assert (after.usage.completion_tokens, after.finish, len(after.ids)) == (6, "eos", 6)


def test_a_text_can_be_forced_at_the_start_and_only_once() -> None:
    assert {s.text for s in drawn(BRANCHY, 40, rules=(Force("w", 0),))} == {"w"}
    assert {s.text for s in drawn(BRANCHY, 40, rules=(Force("v", 0),))} == {"vB", "vA"}
    assert {s.text for s in drawn(LETTERS, 200, rules=(Force("w", 0),))} == {
        "w" + "".join(rest) for rest in itertools.product("aw", repeat=4)
    }


def test_forced_tokens_come_against_the_rules_and_reopen_their_windows() -> None:
    rules = (Rule("w", -math.inf, window=2), Force("w", 1))
    texts = {s.text for s in drawn(LETTERS, 200, rules=rules)}
    assert texts == {"awaaa", "awawa", "awaaw"}  # 2 is in the window that began at 1


def test_of_forced_texts_that_are_due_the_first_comes_first() -> None:
    for sample in drawn(LETTERS, 10, rules=(Force("w", 3), Force("a", 1), Force("ww", 1))):
        assert sample.text[1:] == "awww"  # the one at 3 waits until the others were said
    assert {s.text[1:] for s in drawn(LETTERS, 10, rules=(Force("aa", 1), Force("w", 3)))} == {"aawa", "aaww"}


def test_a_forced_text_waits_for_its_kind_of_token() -> None:
    def said(*rules: Force) -> set[str]:
        texts = [s.text for s in drawn(THINKS, 200, rules=rules)]
        return {text.replace("<think>", "").replace("</think>", ",") for text in texts}

    letters = ["".join(word) for word in itertools.product("aw", repeat=3)]
    answers = [a + b for a in "aw" for b in "aw"]
    assert said(Force("w", 1, "thinking")) == {f"{t},{a}" for t in letters for a in answers if t[1] == "w"}
    assert said(Force("w", 99, "thinking")) == {f"{t},{a}" for t in letters for a in answers}
    assert said(Force("w", 1, "answer")) == {f"{t},w{a}" for t in letters for a in "aw"}
    assert said(Force("w", 2, "answer")) == {f"{t},{a}w" for t in letters for a in "aw"}


def test_a_forced_text_that_leaves_its_region_is_said_to_its_end() -> None:
    for sample in drawn(THINKS, 10, rules=(Force("w</think>ww", 2, "thinking"),)):
        assert sample.text.endswith("w</think>ww")
        assert sample.usage.reasoning_tokens == 5


def test_reasoning_that_the_prompt_began_counts_only_what_is_sampled() -> None:
    for sample in drawn(THINKS, 10, PROMPT.then("<think>a"), rules=(Force("w", 1, "thinking"),)):
        assert sample.text[1] == "w"


def test_max_tokens_stop_and_halt_cut_a_forced_text() -> None:
    rules = (Force("waw", 1),)
    cut = one(LETTERS, rules=rules, max_tokens=3)
    assert (cut.text[1:], cut.finish) == ("wa", "length")
    stopped = one(LETTERS, rules=rules, stop=("wa",))
    assert (stopped.text[-2:], stopped.finish) == ("wa", "stop")
    halted = one(LETTERS, rules=rules, halt=Halt("entropy", 9.0, 2))
    assert (halted.text[1:], halted.finish) == ("w", "halted")


def test_a_sample_that_ends_before_its_forced_text_is_as_it_is() -> None:
    assert list(map(plain, drawn(BRANCHY, 20, rules=(Force("u", 3),)))) == list(map(plain, drawn(BRANCHY, 20)))


def test_a_forced_text_that_is_impossible_there_fails_its_sample_alone() -> None:
    assert refused(BRANCHY, Force("A", 0)) == "the toy language cannot go on with the forced 'A' after ''"
    assert refused(BRANCHY, Force("vC", 0)) == "the toy language cannot go on with the forced 'C' after 'v'"
    good = drawn(BRANCHY, 60, rules=(Force("C", 1),))
    assert {s.text for s in good} == {"uC"}
    assert len(good) < 60
    with pytest.raises(ModelError, match="cannot spell 'zzz'"):
        one(BRANCHY, rules=(Force("zzz", 5),))


# Distinct first tokens


def test_distinct_first_tokens_come_in_the_order_of_their_likelihood() -> None:
    samples = drawn(BRANCHY, 3, distinct_first=True)
    assert [s.text[0] for s in samples] == ["u", "v", "w"]
    assert [(s.sampling_logprobs or ())[0] for s in samples] == [0.0, 0.0, 0.0]
    assert [math.exp((s.logprobs or ())[0]) for s in samples] == pytest.approx([0.54, 0.40, 0.06])
    assert [s.text for s in drawn(BRANCHY, 3, distinct_first=True, temperature=0)] == ["uA", "vB", "w"]


def test_after_its_first_token_a_sample_is_drawn_as_asked() -> None:
    exact = {"uA": 5 / 9, "uC": 4 / 9}
    texts = Counter(
        asyncio.run(BRANCHY.sample(PROMPT, 1, Sampling(seeds=(fold(7, i),), distinct_first=True)))[0].text
        for i in range(2000)
    )
    assert set(texts) == set(exact)
    for text, p in exact.items():
        assert abs(texts[text] / 2000 - p) < 4 * math.sqrt(p * (1 - p) / 2000)


def test_eight_distinct_samples_are_a_prefix_of_sixteen() -> None:
    toy = Toy(Table({f"{chr(97 + i)}|{tail}": 20.0 - i for i in range(16) for tail in "xyz"}))
    sixteen = list(map(plain, drawn(toy, 16, distinct_first=True)))
    assert list(map(plain, drawn(toy, 8, distinct_first=True))) == sixteen[:8]
    assert list(map(plain, drawn(toy, 8, first=8, distinct_first=True))) == sixteen[8:]
    assert [text[0] for text, *_ in sixteen] == list("abcdefghijklmnop")  # type: ignore[index]


def test_first_tokens_are_ranked_after_the_rules_and_before_temperature_and_truncations() -> None:
    rules = (Rule("w", 9.0), Rule("u", -math.inf, before=1))
    assert [s.text[0] for s in drawn(BRANCHY, 2, distinct_first=True, rules=rules)] == ["w", "v"]
    narrow = drawn(BRANCHY, 3, distinct_first=True, top_k=1, top_p=0.1, min_p=1.0, temperature=3.0)
    assert [s.text for s in narrow] == ["uA", "vB", "w"]
    tied = Toy(Table({"b": 1, "a": 1, "c": 1}))
    assert [s.text for s in drawn(tied, 3, distinct_first=True)] == ["b", "a", "c"]


def test_a_sample_beyond_the_possible_first_tokens_fails() -> None:
    assert len(drawn(BRANCHY, 5, distinct_first=True)) == 3
    assert len(drawn(BRANCHY, 5, distinct_first=True, rules=(Rule("v", -math.inf),))) == 2
    with pytest.raises(ModelError, match="sample 3 has no first token of its own: only 3 are possible"):
        drawn(BRANCHY, 1, first=3, distinct_first=True)
    with pytest.raises(ModelError, match="the rules forbid every token that can follow ''"):
        one(BRANCHY, distinct_first=True, rules=tuple(Rule(text, -math.inf) for text in "uvw"))


def test_the_end_can_be_a_first_token_and_a_forced_one_comes_before_all() -> None:
    assert [s.ids[0] for s in drawn(BRANCHY, 1, PROMPT.then("w"), distinct_first=True)] == [END]
    assert {s.text[0] for s in drawn(BRANCHY, 5, distinct_first=True, rules=(Force("v", 0),))} == {"v"}


# Refusals


@pytest.mark.parametrize(
    "rule, why",
    [
        (Rule("8", math.nan), "the rule for '8' has bias nan"),
        (Rule("8", math.inf), "the rule for '8' has bias inf"),
        (Rule("8", -1.0, window=-1), "the rule for '8' has window -1"),
        (Rule("8", -1.0, before=-2), "the rule for '8' has before -2"),
        (Force("", 0), "a forced text is empty"),
        (Force("8", -1), "the forced text '8' is at -1"),
    ],
)
def test_rules_that_mean_nothing_are_refused(rule: Rule | Force, why: str) -> None:
    with pytest.raises(OptionError, match=why):
        one(BRANCHY, rules=(rule,))


def test_a_model_without_them_refuses_each_by_name() -> None:
    wishes: list[dict[str, Any]] = [
        {"rules": (Rule("a", -1.0, window=3),)},
        {"rules": (Rule("", -math.inf, before=3),)},
        {"rules": (Force("a", 3),)},
        {"distinct_first": True},
    ]
    for fields in wishes:
        (name,) = fields
        with pytest.raises(CapabilityError, match=f"cannot do {name}"):
            asyncio.run(Scripted(["a"]).sample(PROMPT, 1, Sampling(**fields)))
        with pytest.raises(CapabilityError, match=f"cannot do {name}"):
            ModelInfo("x").check(PROMPT, Sampling(**fields))
