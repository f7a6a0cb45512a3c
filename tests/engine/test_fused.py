"""The pass of our own says what the modules of transformers say."""

import copy
from typing import Any

import pytest
import torch
from tests.engine.models import ask, build, close, engine_of, greedy, logprobs, random_ids, run, watch_delays

from mullover.engine import memory, packed
from mullover.engine.families import FAMILIES
from mullover.engine.fused import FUSED, Fused

BIASED: dict[str, dict[str, Any]] = {
    "llama": {"attention_bias": True, "mlp_bias": True},
    "qwen3": {"attention_bias": True},
}


@pytest.fixture(params=["usual", "packed"])
def laid(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights laid out beforehand, however small."""
    if request.param == "packed":
        monkeypatch.setattr(packed, "LARGE", 0)
        monkeypatch.setattr(memory, "available", lambda: 1 << 40)


def both(family: str, dtype: torch.dtype, seed: int = 0, **fields: Any) -> tuple[Fused, Any]:
    model = build(family, seed, dtype, **fields)
    plain = copy.deepcopy(model)
    plain.set_attn_implementation("sdpa")
    assert Fused.fits(model)
    return Fused(model), plain


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rows", [1, 3, 4, 5, 17, 128, 129])
@pytest.mark.usefixtures("laid")
def test_products_are_the_usual_ones_before_and_after_new_weights(rows: int, bias: bool) -> None:
    weight, x, to = torch.randn(24, 16), torch.randn(rows, 16), torch.randn(rows, 24)
    offset = torch.randn(24) if bias else None
    linear = packed.Linear(weight, offset)
    for _ in range(2):
        want = torch.nn.functional.linear(x, weight, offset)
        assert torch.allclose(linear(x), want, atol=1e-5)
        assert torch.allclose(linear.added(to, x), to + want, atol=1e-5)
        weight.normal_()
        linear.repack()


def test_it_knows_its_families() -> None:
    assert {family for family in FAMILIES if Fused.fits(build(family))} == set(FUSED)
    assert not Fused.fits(build("llama", hidden_act="gelu"))


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("family", FUSED)
def test_greedy_tokens_are_those_of_generate(family: str, biased: bool) -> None:
    runner, plain = both(family, torch.float64, **(BIASED.get(family, {}) if biased else {}))
    shared = random_ids(1, 40)
    prompts = [random_ids(2, 1), random_ids(3, 33), shared, shared + random_ids(4, 7), shared[:21] + random_ids(5, 50)]
    want = [greedy(plain, prompt, 24) for prompt in prompts]
    for fields in ({}, {"chunk": 8, "blocks": 9}):
        found = run(engine_of(runner, **fields), [ask(prompt, 2, temperature=0, max_tokens=24) for prompt in prompts])
        assert [[list(sample.ids) for sample in samples] for samples in found] == [[ids, ids] for ids in want]


@pytest.mark.usefixtures("laid")
@pytest.mark.parametrize("family", FUSED)
@pytest.mark.parametrize("tied", [False, True])
def test_logprobs_and_hidden_states_are_those_of_a_full_pass(family: str, tied: bool) -> None:
    runner, plain = both(family, torch.float32, tie_word_embeddings=tied)
    engine = engine_of(runner, blocks=24, chunk=24)
    delays = watch_delays(engine)
    prompts = [random_ids(10 + i, 5 + 13 * i) for i in range(6)]
    requests = [ask(prompt, 3, max_tokens=45) for prompt in prompts]
    scored = ask(prompts[2], texts=[random_ids(20, 30), random_ids(21, 3)], hidden=True)
    found = run(engine, [*requests, scored])
    assert delays
    for prompt, samples in zip([*prompts, prompts[2]], found, strict=True):
        for sample in samples:
            full = logprobs(plain, [*prompt, *sample.ids])[len(prompt) - 1 : -1]
            want = full.gather(1, torch.tensor(sample.ids).unsqueeze(1))[:, 0].tolist()
            assert sample.logprobs is not None
            assert close(sample.logprobs, want, 1e-4)
    for i, text in enumerate(scored.texts):
        states = plain.base_model(torch.tensor([[*scored.ids, *text]]), use_cache=False).last_hidden_state
        assert torch.allclose(scored.states[i], states[0, -1].detach(), atol=1e-4)


@pytest.mark.usefixtures("laid")
@pytest.mark.parametrize("family", FUSED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_other_weights_reach_it(family: str, dtype: torch.dtype) -> None:
    runner, _ = both(family, dtype)
    _, plain = both(family, dtype, seed=3)
    engine = engine_of(runner)
    prompt = random_ids(30, 40)
    run(engine, [ask(prompt, temperature=0, max_tokens=5)])
    engine.swap(plain.state_dict())
    (sample,) = run(engine, [ask(prompt, 1, max_tokens=20)])[0]
    full = logprobs(plain, [*prompt, *sample.ids])[len(prompt) - 1 : -1]
    assert sample.logprobs is not None
    assert close(sample.logprobs, full.gather(1, torch.tensor(sample.ids).unsqueeze(1))[:, 0].tolist(), 1e-4)


def test_positions_turned_by_yarn_are_as_in_generate() -> None:
    rope = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "rope_theta": 10000.0}
    runner, plain = both("llama", torch.float64, rope_parameters=rope)
    prompt = random_ids(31, 60)
    sample = run(engine_of(runner), [ask(prompt, temperature=0, max_tokens=30)])[0][0]
    assert list(sample.ids) == greedy(plain, prompt, 30)


@pytest.mark.usefixtures("laid")
def test_samples_are_the_same_alone_and_among_many() -> None:
    """In float32, where few rows and many may be multiplied in other ways."""
    runner, _ = both("llama", torch.float32)
    prompt = random_ids(32, 30)
    alone = run(engine_of(runner), [ask(prompt, 2, max_tokens=30)])[0]
    crowd = [ask(random_ids(33 + i, 5 + i), 4, seed=i, max_tokens=40) for i in range(12)]
    among = run(engine_of(runner), [*crowd, ask(prompt, 2, max_tokens=30)])[-1]
    for one, other in zip(alone, among, strict=True):
        assert one.ids == other.ids
        assert close(one.logprobs or (), other.logprobs or (), 1e-5)
