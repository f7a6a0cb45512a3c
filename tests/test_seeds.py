import pytest

from mullover.seeds import canonical, fold, noise
from mullover.types import AnswerSpec, Force, Message, Prompt, Rule, Sampling
from mullover.wrappers import request, seeds


def test_a_field_left_at_its_default_changes_no_seed() -> None:
    assert canonical(Sampling(temperature=1.0)) == canonical(Sampling(temperature=1, seeds=(5,), first=9)) == "{}"


def test_new_fields_of_a_rule_change_no_seed_and_no_two_rules_share_one() -> None:
    plain = Rule("a", -1.0)
    assert canonical(Sampling(rules=(plain,), distinct_first=False)) == '{"rules":[{"bias":-1,"text":"a"}]}'
    others: list[Rule | Force] = [plain]
    others += [Rule("a", -1.0, window=3), Rule("a", -1.0, before=3), Force("a", 3), Force("a", 3, "thinking")]
    assert len({canonical(Sampling(rules=(rule,))) for rule in others}) == len(others)
    assert canonical(Sampling(distinct_first=True)) == '{"distinct_first":true}'


def test_equal_requests_have_one_text_and_others_another() -> None:
    a, b = Prompt.of("a", origin="1"), Prompt.of("a", origin="2")
    assert canonical([a, Sampling(temperature=0.5)]) == canonical([b, Sampling(temperature=0.5)])
    assert canonical([a]) != canonical([Prompt.of("b")])
    assert canonical(["1"]) != canonical([1])


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=0.5, stop=("x",)), Sampling(role="judge")])
def test_the_fast_text_of_a_request_is_the_canonical_one(sampling: Sampling) -> None:
    number = AnswerSpec("number", ("1", "2"), 'say "it"')
    picture = Message("user", ({"type": "image", "url": "x", "scale": 1.0}, {"type": "text", "text": "?"}))
    prompts = [
        Prompt.of('a "b"\n\\ \u00e9 \ud800'),
        Prompt.of("q", number, "origin", "system"),
        Prompt.of("q").then("so"),
        Prompt.of("q").replied("a", "b"),
        Prompt((picture,)),
    ]
    for prompt in prompts:
        assert request(prompt, sampling) == canonical((prompt, sampling))


def test_thinking_on_and_thinking_for_one_token_are_two_requests() -> None:
    asked = [request(Prompt.of("q"), Sampling(thinking=thinking)) for thinking in (True, 1, False, 0)]
    assert len(set(asked)) == 4


def test_seeds_are_folded_not_added() -> None:
    assert fold(0, "r", 1) != fold(1, "r", 0)
    assert len({fold(seed, "r", k) for seed in range(30) for k in range(30)}) == 900
    assert all(0 <= fold(seed, "x") < 2**63 for seed in range(100))


def test_the_seeds_of_eight_samples_are_a_prefix_of_those_of_sixteen() -> None:
    assert seeds(3, "r", 0, 16)[:8] == seeds(3, "r", 0, 8)
    assert seeds(3, "r", 8, 8) == seeds(3, "r", 0, 16)[8:]
    assert seeds(3, "r", 0, 4) != seeds(4, "r", 0, 4)


def test_noise_is_uniform_enough_and_counter_based() -> None:
    drawn = [noise(7, position) for position in range(4000)]
    assert drawn[17] == noise(7, 17)
    assert all(0 <= u < 1 for u in drawn)
    assert abs(sum(drawn) / 4000 - 0.5) < 4 / (12 * 4000) ** 0.5


def test_a_lone_surrogate_in_a_prompt_has_a_seed_too() -> None:
    assert fold(0, "\ud800") != fold(0, "?")
