from mullover.seeds import canonical, fold, noise
from mullover.types import Prompt, Sampling
from mullover.wrappers import seeds


def test_a_field_left_at_its_default_changes_no_seed() -> None:
    assert canonical(Sampling(temperature=1.0)) == canonical(Sampling(temperature=1, seeds=(5,), first=9)) == "{}"


def test_equal_requests_have_one_text_and_others_another() -> None:
    a, b = Prompt.of("a", origin="1"), Prompt.of("a", origin="2")
    assert canonical([a, Sampling(temperature=0.5)]) == canonical([b, Sampling(temperature=0.5)])
    assert canonical([a]) != canonical([Prompt.of("b")])
    assert canonical(["1"]) != canonical([1])


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
