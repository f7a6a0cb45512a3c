"""The toy against enumerated truth."""

import asyncio
import itertools
import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mullover.backends.table import END, Table
from mullover.backends.toy import APPLES, Toy, open_toy
from mullover.errors import CapabilityError, ModelError, OptionError
from mullover.seeds import fold
from mullover.types import Halt, Prompt, Rule, Sample, Sampling, Segment

PROMPT = Prompt.of("How many apples?")
BRANCHY = Table({"u|A": 0.30, "u|C": 0.24, "v|B": 0.36, "v|A": 0.04, "w": 0.06})


def drawn(toy: Toy, n: int = 1, prompt: Prompt = PROMPT, **fields: object) -> list[Sample]:
    seeds = tuple(fold(0, i) for i in range(n))
    return asyncio.run(toy.sample(prompt, n, Sampling(seeds=seeds, **fields)))  # type: ignore[arg-type]


def one(toy: Toy, prompt: Prompt = PROMPT, **fields: object) -> Sample:
    return drawn(toy, 1, prompt, **fields)[0]


def truth(table: Mapping[str, float], sampling: Sampling) -> dict[str, float]:
    """P(text) by brute force over all paths, written apart from the toy: filters token by token."""
    total = sum(table.values())
    paths = {(*path.split("|"), "END"): p / total for path, p in table.items()}
    chances: dict[str, float] = {}
    for path in paths:
        chance = 1.0
        for at in range(len(path)):
            mass = dict[str, float]()
            for other, p in paths.items():
                if other[:at] == path[:at]:
                    mass[other[at]] = mass.get(other[at], 0.0) + p
            chance *= filtered(mass, sampling).get(path[at], 0.0)
        chances["".join(path[:-1])] = chance
    return chances


def filtered(mass: Mapping[str, float], sampling: Sampling) -> dict[str, float]:
    total = sum(mass.values())
    if sampling.temperature == 0:
        return {max(mass, key=lambda token: mass[token]): 1.0}
    heat = {token: (p / total) ** (1 / sampling.temperature) for token, p in mass.items()}
    heat = {token: p / sum(heat.values()) for token, p in heat.items()}
    kept = sorted(heat, key=lambda token: -heat[token])[: sampling.top_k or None]
    left = {token: heat[token] / sum(heat[t] for t in kept) for token in kept}
    nucleus = [t for i, t in enumerate(kept) if sum(left[u] for u in kept[:i]) < sampling.top_p - 1e-12]
    best = max(left[t] for t in nucleus)
    final = [t for t in nucleus if left[t] >= sampling.min_p * best - 1e-12]
    return {t: left[t] / sum(left[u] for u in final) for t in final}


# Exactness


def test_the_answer_distribution_is_exact() -> None:
    assert Toy().probabilities(lambda text: text[-1]) == pytest.approx({"5": 0.3, "8": 0.6, "m": 0.1}, abs=1e-15)


def test_samples_follow_the_exact_distribution_and_logprobs_sum_to_the_path() -> None:
    exact = Toy().probabilities(str)
    samples = drawn(Toy(), 4000)
    for text, count in Counter(sample.text for sample in samples).items():
        p = exact[text]
        assert abs(count / 4000 - p) < 4 * math.sqrt(p * (1 - p) / 4000)
    for sample in samples[:50]:
        assert math.exp(sum(sample.logprobs or ())) == pytest.approx(exact[sample.text], rel=1e-12)
        assert sample.logprobs == sample.sampling_logprobs


FILTERS = [
    Sampling(temperature=0.5),
    Sampling(temperature=2.0),
    Sampling(top_p=0.7),
    Sampling(top_p=0.4),
    Sampling(top_k=2),
    Sampling(top_k=1),
    Sampling(min_p=0.5),
    Sampling(min_p=1.0),
    Sampling(temperature=0.7, top_k=2, top_p=0.9, min_p=0.2),
    Sampling(temperature=0.0),
]


@pytest.mark.parametrize("sampling", FILTERS, ids=str)
def test_temperature_and_truncations_give_the_enumerated_distribution(sampling: Sampling) -> None:
    table = {"u|A": 0.30, "u|C": 0.24, "v|B": 0.36, "v|A": 0.04, "w": 0.06}
    exact = truth(table, sampling)
    assert sum(exact.values()) == pytest.approx(1)
    seeds = tuple(fold(1, i) for i in range(1500))
    samples = asyncio.run(Toy(Table(table)).sample(PROMPT, 1500, replace(sampling, seeds=seeds)))
    for text, count in Counter(sample.text for sample in samples).items():
        p = exact[text]
        assert abs(count / 1500 - p) <= 4 * math.sqrt(p * (1 - p) / 1500)
    for sample in samples[:50]:
        assert math.exp(sum(sample.sampling_logprobs or ())) == pytest.approx(exact[sample.text])
        assert math.exp(sum(sample.logprobs or ())) == pytest.approx(truth(table, Sampling())[sample.text])


def test_top_p_keeps_the_token_that_reaches_it_exactly() -> None:
    toy = Toy(Table({"a": 0.3, "b": 0.22, "c": 0.2, "d": 0.18, "e": 0.1}))
    assert {sample.text for sample in drawn(toy, 300, top_p=0.52)} == {"a", "b"}


def test_temperature_zero_is_the_greedy_path_and_a_tie_goes_to_the_token_named_first() -> None:
    sample = one(Toy(BRANCHY), temperature=0)
    assert (sample.text, sum(sample.sampling_logprobs or ())) == ("uA", 0)
    assert one(Toy(Table({"b": 1, "a": 1})), temperature=0).text == "b"


@given(
    st.dictionaries(
        st.lists(st.sampled_from("abcd"), min_size=1, max_size=4).map("|".join),
        st.floats(1e-3, 1e3),
        min_size=1,
        max_size=12,
    )
)
@settings(max_examples=60, deadline=None)
def test_every_table_is_a_distribution_and_scores_its_own_paths(paths: dict[str, float]) -> None:
    toy, total = Toy(Table(paths)), sum(paths.values())
    assert sum(toy.probabilities(str).values()) == pytest.approx(1)
    assert toy.table is not None
    for path, weight in paths.items():
        ids = (*toy.table.encode(path.replace("|", "")), END)
        assert sum(toy.table.logprobs((), ids)) == pytest.approx(math.log(weight / total), abs=1e-9)


def test_a_sample_depends_on_its_seed_and_on_nothing_else() -> None:
    toy = Toy()
    many = drawn(toy, 20)
    for i in (0, 7, 19):
        (alone,) = asyncio.run(toy.sample(PROMPT, 1, Sampling(seeds=(fold(0, i),))))
        assert (alone.text, alone.ids, alone.logprobs) == (many[i].text, many[i].ids, many[i].logprobs)


# What a sample carries


def test_alternatives_are_the_likeliest_tokens_of_the_raw_model() -> None:
    sample = one(Toy(BRANCHY), temperature=0, top_logprobs=2)
    assert sample.alternatives is not None
    first, second, end = sample.alternatives
    assert {t.text: math.exp(t.logprob) for t in first} == pytest.approx({"u": 0.54, "v": 0.40})
    assert {t.text: math.exp(t.logprob) for t in second} == pytest.approx({"A": 5 / 9, "C": 4 / 9})
    assert [t.text for t in (*first, *second)] == ["u", "v", "A", "C"]
    assert [(t.id, t.text, t.logprob) for t in end] == [(END, "", 0.0)]


def test_offsets_say_where_each_token_begins() -> None:
    sample = one(Toy(), temperature=0)
    assert sample.text == "3+2=5, 3+5=8. The answer is 8" or sample.text == "5. The answer is 5"
    pieces = [sample.text[a:b] for a, b in itertools.pairwise((*(sample.offsets or ()), len(sample.text)))]
    assert pieces == [APPLES.texts[i] for i in sample.ids]


def test_the_first_sample_pays_for_the_prompt_and_its_segments() -> None:
    first, second = drawn(Toy(BRANCHY), 2, PROMPT.then("v"))
    assert (first.usage.prompt_tokens, first.usage.cached_tokens) == (4, 0)
    assert (second.usage.prompt_tokens, second.usage.cached_tokens) == (0, 4)


def test_reasoning_is_told_apart_and_counted() -> None:
    toy = Toy(Table({"<think>|so |3+5|</think>|8": 1.0}))
    sample = one(toy)
    assert (sample.reasoning, sample.answer, sample.usage.reasoning_tokens) == ("<think>so 3+5</think>", "8", 4)
    assert toy.info.think == ("<think>", "</think>")
    begun = one(toy, PROMPT.then("<think>so "))
    assert (begun.reasoning, begun.answer, begun.usage.reasoning_tokens) == ("3+5</think>", "8", 2)
    assert Toy().info.think is None


# Ends


def test_length_and_stop_strings_cut_a_path() -> None:
    toy = Toy(Table({"3+5=8. |The answer |is 8": 1.0}))
    cut = one(toy, max_tokens=2)
    assert (cut.text, cut.finish, len(cut.ids)) == ("3+5=8. The answer ", "length", 2)
    assert (one(toy, max_tokens=3).finish, one(toy, max_tokens=4).finish) == ("length", "eos")
    stopped = one(toy, stop=("zz", "ans"))
    assert (stopped.text, stopped.finish) == ("3+5=8. The answer ", "stop")
    assert one(toy, stop=("8. The",), max_tokens=2).finish == "stop"  # it spans two tokens


def test_a_path_that_nothing_continues_fails_its_samples() -> None:
    with pytest.raises(ModelError, match="no path that goes on after 'vC'"):
        one(Toy(BRANCHY), PROMPT.then("v").then("C"))
    with pytest.raises(ModelError, match="cannot spell 'zzz'"):
        one(Toy(BRANCHY), PROMPT.then("zzz"))


# Continuing and scoring


def test_ids_that_were_sampled_are_never_read_again_from_their_text() -> None:
    toy = Toy(Table({"a|b|c": 0.5, "ab|d": 0.5}))  # the text "ab" is read as one token
    step = next(s for s in drawn(toy, 16, max_tokens=2) if s.text == "ab" and len(s.ids) == 2)
    assert {s.text for s in drawn(toy, 8, PROMPT.then(step))} == {"c"}
    assert {s.text for s in drawn(toy, 8, PROMPT.then("ab"))} == {"d"}
    assert {s.text for s in drawn(toy, 8, PROMPT.then(Segment("a", None)).then("b"))} == {"c"}


def test_given_texts_are_scored_exactly_also_as_continuations() -> None:
    toy = Toy(BRANCHY)
    scores = asyncio.run(toy.score(PROMPT.then("v"), ["B", "A", "u", "Bu", "zzz", ""]))
    assert [math.exp(sum(score)) for score in scores] == pytest.approx([0.9, 0.1, 0.0, 0.0, 0.0, 1.0])
    assert [len(score) for score in scores] == [1, 1, 1, 2, 1, 0]


# Rules


def test_a_bias_shifts_the_odds_by_its_exponential() -> None:
    sample = one(Toy(BRANCHY), temperature=1e-9, rules=(Rule("w", 5.0),))
    assert sample.text == "w"
    sample = one(Toy(BRANCHY), rules=(Rule("u", -math.inf), Rule("v", 1.0), Rule("v", 1.0)), temperature=1.0)
    odds = 0.40 * math.e**2 / 0.06
    chance = odds / (1 + odds) if sample.text[0] == "v" else 1 / (1 + odds)
    assert math.exp((sample.sampling_logprobs or ())[0]) == pytest.approx(chance)
    assert math.exp((sample.logprobs or ())[0]) == pytest.approx(0.40 if sample.text[0] == "v" else 0.06)


def test_minus_infinity_forbids_and_a_sample_without_any_token_left_fails() -> None:
    assert {s.text for s in drawn(Toy(BRANCHY), 50, rules=(Rule("u", -math.inf), Rule("w", -math.inf)))} == {"vA", "vB"}
    good = drawn(Toy(BRANCHY), 50, rules=(Rule("A", -math.inf), Rule("C", -math.inf)))
    assert {sample.text for sample in good} == {"vB", "w"}
    assert len(good) < 50  # those that began with u could say nothing more
    with pytest.raises(ModelError, match="the rules forbid every token that can follow ''"):
        one(Toy(Table({"a": 1.0})), rules=(Rule("a", -math.inf),))


def test_a_rule_holds_for_every_token_that_begins_its_text() -> None:
    toy = Toy(Table({"Wait": 1, "Wait, no": 1, "Wa|it": 1, "yes": 1}))
    assert {s.text for s in drawn(toy, 60, rules=(Rule("Wait", -math.inf),))} == {"Wait", "yes"}
    assert {len(s.ids) for s in drawn(toy, 60, rules=(Rule("Wait", -math.inf),)) if s.text == "Wait"} == {3}
    assert {s.text for s in drawn(toy, 60, rules=(Rule("Walk", -math.inf), Rule("yes!", -math.inf)))} == {
        "Wait",
        "Wait, no",
    }


def test_a_rule_for_the_empty_text_is_one_for_the_end() -> None:
    toy = Toy(Table({"so": 0.9, "so| 8": 0.1}))
    assert {s.text for s in drawn(toy, 20, max_tokens=2, rules=(Rule("", -math.inf),))} == {"so 8"}


def test_rules_can_hold_within_reasoning_or_outside_of_it() -> None:
    toy = Toy(Table({"<think>|wait|</think>|wait": 1, "<think>|so|</think>|so": 1, "<think>|so|</think>|wait": 1}))

    def said(where: str) -> set[str]:
        rules = (Rule("wait", -math.inf, where),)  # type: ignore[arg-type]
        samples = asyncio.run(toy.sample(PROMPT, 60, Sampling(rules=rules)))
        return {sample.text.replace("<think>", "").replace("</think>", ",") for sample in samples}

    assert said("thinking") == {"so,so", "so,wait"}
    assert said("answer") == {"so,so"}
    assert said("always") == {"so,so"}


def test_a_bias_that_is_no_number_is_refused() -> None:
    for bias in (math.nan, math.inf):
        with pytest.raises(OptionError, match="bias"):
            one(Toy(), rules=(Rule("8", bias),))


# Signals

EVEN = Toy(Table({"a": 1, "a|a": 1, "a|b": 1}))  # after "a" each of the three tokens is as likely


def test_signals_of_a_uniform_and_of_a_certain_distribution() -> None:
    sample = one(EVEN, signals=("entropy", "certainty", "confidence@1", "confidence@2", "confidence@20"))
    assert sample.signals is not None
    at = {name: values[1] for name, values in sample.signals.items()}
    log3 = math.log(3)
    assert at == pytest.approx(
        {"entropy": log3, "certainty": 0, "confidence@1": log3, "confidence@2": log3, "confidence@20": log3}, abs=1e-12
    )
    first = {name: values[0] for name, values in sample.signals.items()}  # "a" is certain, two others count as -20 nats
    assert first == pytest.approx(
        {
            "entropy": 0,
            "certainty": 40 / 3 - log3,
            "confidence@1": 0,
            "confidence@2": 10,
            "confidence@20": 40 / 3,
        },
        abs=1e-12,
    )


def test_signals_are_of_the_raw_model_whatever_is_sampled_from() -> None:
    plain = one(Toy(BRANCHY), temperature=0, signals=("entropy",))
    biased = one(Toy(BRANCHY), temperature=0, signals=("entropy",), rules=(Rule("w", -math.inf),), top_k=1)
    assert plain.signals == biased.signals
    entropy = -sum(p * math.log(p) for p in (0.54, 0.40, 0.06))
    assert (plain.signals or {})["entropy"][0] == pytest.approx(entropy)


def test_an_unknown_signal_is_refused_by_name() -> None:
    for name in ("confidence@0", "confidence", "surprise"):
        with pytest.raises(CapabilityError, match=f"no signal '{name}'"):
            one(Toy(), signals=(name,))
    with pytest.raises(CapabilityError, match="no signal 'surprise'"):
        one(Toy(), halt=Halt("surprise", 1.0, 1))


def test_a_halt_waits_for_a_full_window_and_then_compares_its_mean() -> None:
    toy = Toy(Table({"a|b|c|d|e": 3, "a|b|x": 1}))  # entropies: 0, 0, H(3/4), 0, 0, 0
    high = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))

    def halted(below: float, window: int) -> str:
        sample = one(toy, temperature=0, halt=Halt("entropy", below, window))
        assert sample.finish == ("halted" if sample.text != "abcde" else "eos")
        assert sample.signals is None  # it was not asked for
        return sample.text

    assert halted(0.1, 1) == "a"
    assert halted(0.1, 2) == "ab"
    assert halted(high / 3 + 1e-9, 3) == "abc"
    assert halted(high / 3 - 1e-9, 3) == "abcde"  # the end comes before the next full window without the high one
    assert halted(-1, 1) == "abcde"
    with pytest.raises(OptionError, match="window is 0"):
        halted(1.0, 0)


# Tables by question


def test_a_question_can_have_a_table_of_its_own() -> None:
    pears, short = Table({"7": 1.0}), Table({"1": 1.0})
    toy = Toy(APPLES, {"How many pears?": pears, "pears?": short})
    assert one(toy, Prompt.of("How many pears?")).text == "7"
    assert one(toy, Prompt.of("Q: pears?\nA: 1\n\nQ: How many pears?\nA: Let's think.")).text == "7"
    assert one(toy, Prompt.of("Q: How many pears?\nA: 7\n\nQ: Any pears?\nA:")).text == "1"
    assert toy.table_of(Prompt.of("How many plums?")) is APPLES
    assert toy.probabilities(str, Prompt.of("How many pears?")) == {"7": 1.0}
    with pytest.raises(CapabilityError, match="toy has no table for 'plums\\?'"):
        one(Toy(None, {"pears?": short}), Prompt.of("plums?"))


def test_a_token_with_a_bar_is_given_in_a_tuple() -> None:
    assert one(Toy(Table({("|x|", " = 8"): 1.0}))).text == "|x| = 8"


def test_a_path_of_weight_zero_can_be_spelled_but_not_said() -> None:
    toy = Toy(Table({"a": 1, "b": 0}))
    assert toy.probabilities(str) == {"a": 1.0}
    assert asyncio.run(toy.score(PROMPT, ["b"])) == [(-math.inf,)]


# Files


def test_a_toy_opens_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "toy.json"
    path.write_text(json.dumps({"paths": {"a|b": 3, "c": 1}, "questions": {"pears?": {"7": 1}}}))
    toy = open_toy(path)
    assert toy.probabilities(str) == {"ab": 0.75, "c": 0.25}
    assert one(toy, Prompt.of("pears?")).text == "7"
    assert open_toy().table is APPLES


@pytest.mark.parametrize(
    "content, why",
    [
        ("[1]", "has no paths"),
        ("{}", "has no paths"),
        ('{"questions": {}}', "has no paths"),
        ('{"paths": {}}', "at least one path"),
        ('{"paths": {"a": -1}}', "'a' has weight -1"),
        ('{"paths": {"a": true}}', "'a' has weight True"),
        ('{"paths": {"a": "1"}}', "'a' has weight '1'"),
        ('{"paths": {"a": 0}}', "at least one must be above"),
        ('{"paths": {"a": NaN}}', "is no JSON"),
        ('{"paths": {"a||b": 1}}', "'a\\|\\|b' has an empty token"),
        ('{"paths": {"": 1}}', "has an empty token"),
        ('{"paths": ["a"]}', "paths must be an object"),
        ('{"questions": ["a"]}', "must be an object of questions"),
        ('{"questions": {"pears?": {"": 1}}}', "question 'pears\\?': the path '' has an empty token"),
        ('{"path": {"a": 1}, "paths": {"a": 1}}', "has path; a toy has"),
        ('{"paths": {"a": 1}', "is no JSON"),
        ("", "is blank"),
    ],
)
def test_a_broken_toy_names_its_file_and_what_is_wrong(tmp_path: Path, content: str, why: str) -> None:
    path = tmp_path / "toy.json"
    path.write_text(content)
    with pytest.raises(OptionError, match=why) as error:
        open_toy(path)
    assert str(path) in str(error.value)


def test_a_weight_that_is_not_finite_is_refused() -> None:
    for weight in (math.nan, math.inf, 10**400):
        with pytest.raises(OptionError, match="weight"):
            Table({"a": weight})
    assert Toy(Table({"a": 1e300, "b": 1e300, "c": 5e-324})).probabilities(str) == {"a": 0.5, "b": 0.5}


def test_a_toy_without_any_table_is_refused() -> None:
    with pytest.raises(OptionError, match="at least one table"):
        Toy(None)
