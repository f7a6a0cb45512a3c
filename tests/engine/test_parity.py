"""The engine says what transformers says: tokens, log-probabilities, hidden states, for each family."""

import copy
from typing import Any

import pytest
import torch
from tests.engine.models import (
    ask,
    build,
    close,
    engine_of,
    finish,
    greedy,
    heard,
    logprobs,
    pair,
    random_ids,
    run,
    told,
    watch_delays,
)

from mullover.engine.families import FAMILIES
from mullover.engine.fused import Fused
from mullover.engine.hugging import HuggingFace
from mullover.types import Sample

EXACT = 1e-9
# Norms of all but gpt2 (and softmax of plain gemma2) round to float32 even in a float64 model.
WITHIN = {family: EXACT if family == "gpt2" else 2e-5 for family in FAMILIES}


def ids_of(found: list[list[Sample]]) -> list[list[list[int]]]:
    return [[list(sample.ids) for sample in samples] for samples in found]


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_tokens_are_those_of_generate(family: str) -> None:
    runner, plain = pair(family)
    shared = random_ids(1, 40)
    prompts = [random_ids(2, 1), random_ids(3, 33), shared, shared + random_ids(4, 7), shared[:21] + random_ids(5, 50)]
    want = [greedy(plain, prompt, 24) for prompt in prompts]
    apart = [run(engine_of(runner), [ask(prompt, temperature=0, max_tokens=24)])[0][0] for prompt in prompts]
    together = run(engine_of(runner), [ask(prompt, 2, temperature=0, max_tokens=24) for prompt in prompts])
    assert [list(sample.ids) for sample in apart] == want
    assert ids_of(together) == [[ids, ids] for ids in want]
    for prompt, sample in zip(prompts, apart, strict=True):
        full = logprobs(plain, [*prompt, *sample.ids])[len(prompt) - 1 : -1]
        expected = full.gather(1, torch.tensor(sample.ids).unsqueeze(1))[:, 0].tolist()
        assert sample.logprobs is not None
        assert close(sample.logprobs, expected, WITHIN[family])


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_tokens_are_those_of_generate_when_memory_is_short_and_prompts_are_read_in_pieces(family: str) -> None:
    runner, plain = pair(family)
    engine = engine_of(runner, blocks=7, chunk=8)
    delays = watch_delays(engine)
    prompts = [random_ids(10 + i, 14 + 6 * i) for i in range(4)]
    found = run(engine, [ask(prompt, temperature=0, max_tokens=70) for prompt in prompts])
    assert delays
    assert ids_of(found) == [[greedy(plain, prompt, 70)] for prompt in prompts]
    assert engine.blocks.pinned == 0


def test_a_node_that_readers_reach_by_several_ways_is_seen_whole() -> None:
    """Two prompts, one of which continues the other, with two samples each."""
    runner, plain = pair("llama")
    prompt = random_ids(2, 40)
    prompts = [prompt, [*prompt, 5, 6, 7]]
    found = run(engine_of(runner), [ask(prompt, 2, temperature=0, max_tokens=6) for prompt in prompts])
    assert ids_of(found) == [[greedy(plain, prompt, 6)] * 2 for prompt in prompts]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2", "mistral", "qwen3"])
def test_numbers_of_half_the_size_come_as_near_as_they_can(family: str, dtype: torch.dtype) -> None:
    """Against the same rounded weights in float64. What transformers itself makes of them is as far off."""
    model = build(family, dtype=dtype)
    exact = copy.deepcopy(model).double()
    exact.set_attn_implementation("eager")
    runner = Fused(model) if Fused.fits(model) else HuggingFace(model)
    prompts = [random_ids(20 + i, 5 + 23 * i) for i in range(4)]
    far = list[float]()
    for prompt, samples in zip(
        prompts, run(engine_of(runner), [ask(p, 3, max_tokens=40) for p in prompts]), strict=True
    ):
        for sample in samples:
            assert not sample.error and sample.logprobs is not None
            full = logprobs(exact, [*prompt, *sample.ids])[len(prompt) - 1 : -1]
            wanted = full.gather(1, torch.tensor(sample.ids).unsqueeze(1))[:, 0].tolist()
            far += [abs(a - b) for a, b in zip(sample.logprobs, wanted, strict=True)]
    assert sum(far) / len(far) < (0.1 if dtype == torch.bfloat16 else 0.02)


@pytest.mark.parametrize("family", FAMILIES)
def test_float32_tokens_are_those_of_generate_where_two_are_not_too_close(family: str) -> None:
    runner, plain = pair(family, torch.float32)
    prompts = [random_ids(20 + i, 5 + 13 * i) for i in range(5)]
    found = run(engine_of(runner, chunk=16), [ask(prompt, temperature=0, max_tokens=30) for prompt in prompts])
    compared = 0
    for prompt, (sample,) in zip(prompts, found, strict=True):
        full = logprobs(plain, [*prompt, *sample.ids])[len(prompt) - 1 : -1]
        best = full.topk(2, -1)
        for token, row, top in zip(sample.ids, best.indices.tolist(), best.values.tolist(), strict=True):
            if top[0] - top[1] > 1e-4:
                assert token == row[0]
                compared += 1
        assert sample.logprobs is not None
        assert close(sample.logprobs, full.gather(1, torch.tensor(sample.ids).unsqueeze(1))[:, 0].tolist(), 1e-4)
    assert compared > 100


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2"])
def test_requests_join_and_leave_while_others_run(family: str) -> None:
    runner, plain = pair(family)
    engine = engine_of(runner, chunk=16)
    shared = random_ids(30, 35)
    requests = []
    for i in range(12):
        prompt = shared[: 35 - 3 * i] + random_ids(31 + i, 1 + i) if i % 2 else random_ids(50 + i, 3 + 5 * i)
        requests.append(ask(prompt, 1 + i % 3, temperature=0, max_tokens=3 + 5 * (i % 5)))
        engine.add(requests[-1])
        for _ in range(i % 4):
            engine.step()
    finish(engine)
    for request in requests:
        want = greedy(plain, request.ids, request.sampling.max_tokens)
        assert [list(sample.ids) for sample in told(request)] == [want] * request.size
    assert engine.blocks.pinned == 0


@pytest.mark.parametrize("family", ["llama", "gemma3_text", "gpt2"])
def test_samples_and_their_continuations_have_the_logprobs_of_a_full_pass(family: str) -> None:
    """Forks: several samples of a prompt, then prompts that continue these, together with others still running."""
    runner, plain = pair(family)
    engine = engine_of(runner, chunk=24)
    prompt = random_ids(60, 37)
    first = ask(prompt, 6, temperature=1.0, max_tokens=21, top_logprobs=4)
    slow = ask(prompt[:20], 2, seed=1, max_tokens=60)
    engine.add(slow)
    roots = run(engine, [first])[0]
    second = [
        ask([*prompt, *root.ids[: 3 + 4 * i]], 3, seed=2 + i, temperature=0.8, max_tokens=15, top_logprobs=4)
        for i, root in enumerate(roots)
    ]
    run(engine, second)
    for request in (first, slow, *second):
        for sample in told(request):
            full = logprobs(plain, [*request.ids, *sample.ids])[len(request.ids) - 1 : -1]
            expected = full.gather(1, torch.tensor(sample.ids).unsqueeze(1))[:, 0].tolist()
            assert sample.logprobs is not None
            assert close(sample.logprobs, expected, WITHIN[family])
            for row, alternatives in zip(full, sample.alternatives or (), strict=bool(sample.alternatives)):
                top = row.topk(4)
                assert [token.id for token in alternatives] == top.indices.tolist()
                assert close([token.logprob for token in alternatives], top.values.tolist(), WITHIN[family])
    assert engine.blocks.pinned == 0


def expected_sampling(row: torch.Tensor, temperature: float, top_k: int, top_p: float, min_p: float) -> torch.Tensor:
    """Log-probabilities of what is sampled from, by the textbook."""
    chances = torch.softmax(row.double() / temperature, -1)
    ranked, order = torch.sort(chances, descending=True, stable=True)
    if top_k:
        ranked[top_k:] = 0
    ranked /= ranked.sum()
    ranked[(ranked.cumsum(-1) - ranked) >= top_p] = 0
    ranked[ranked < min_p * ranked[0]] = 0
    return torch.zeros_like(chances).scatter_(0, order, ranked / ranked.sum()).log()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"temperature": 0.6},
        {"temperature": 1.7, "top_k": 5},
        {"top_p": 0.7},
        {"min_p": 0.2},
        {"temperature": 0.8, "top_k": 20, "top_p": 0.9, "min_p": 0.05},
    ],
    ids=str,
)
def test_sampling_logprobs_are_those_of_the_truncated_distribution(fields: dict[str, Any]) -> None:
    runner, plain = pair("qwen3")
    prompt = random_ids(70, 9)
    for sample in run(engine_of(runner), [ask(prompt, 8, max_tokens=12, **fields)])[0]:
        full = logprobs(plain, [*prompt, *sample.ids])[len(prompt) - 1 : -1]
        asked = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, **fields}
        want = [float(expected_sampling(row, **asked)[i]) for row, i in zip(full, sample.ids, strict=True)]
        assert sample.sampling_logprobs is not None
        assert close(sample.sampling_logprobs, want, 1e-4)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("chunk", [8, 512])
def test_scored_texts_have_the_logprobs_and_hidden_states_of_a_full_pass(family: str, chunk: int) -> None:
    runner, plain = pair(family)
    engine = engine_of(runner, chunk=chunk)
    prompt = random_ids(80, 19)
    texts = [random_ids(81, 1), random_ids(82, 30), random_ids(82, 31), random_ids(83, 8), random_ids(84, 9)]
    for hidden in (False, True):
        request = ask(prompt, texts=texts, hidden=hidden)
        other = ask(random_ids(85, 20), temperature=0, max_tokens=12)
        samples, _ = run(engine, [request, other])
        for i, (text, sample) in enumerate(zip(texts, samples, strict=True)):
            full = logprobs(plain, [*prompt, *text])[len(prompt) - 1 : -1]
            want = full.gather(1, torch.tensor(text).unsqueeze(1))[:, 0].tolist()
            assert sample.ids == tuple(text) and sample.logprobs is not None
            assert close(sample.logprobs, want, WITHIN[family])
            assert (i in request.states) == hidden
            if hidden:
                states = plain.base_model(torch.tensor([[*prompt, *text]]), use_cache=False).last_hidden_state
                assert torch.allclose(request.states[i].double(), states[0, -1].detach(), atol=1e-4)
    assert engine.blocks.pinned == 0


@pytest.mark.parametrize("prompt", [1, 2, 31, 32, 33])
def test_texts_of_any_length_are_scored_after_prompts_of_any_length(prompt: int) -> None:
    runner, plain = pair("llama")
    engine = engine_of(runner, chunk=16)
    asked = random_ids(86, prompt)
    texts = [random_ids(87, count) for count in (1, 2, 15, 16, 17, 32)]
    for hidden in (False, True):
        for text, sample in zip(texts, run(engine, [ask(asked, texts=texts, hidden=hidden)])[0], strict=True):
            full = logprobs(plain, [*asked, *text])[len(asked) - 1 : -1]
            assert sample.logprobs is not None
            assert close(sample.logprobs, full.gather(1, torch.tensor(text).unsqueeze(1))[:, 0].tolist(), 2e-5)


def test_a_text_that_a_sample_said_is_scored_as_it_was_said() -> None:
    runner, _ = pair("olmo2")
    engine = engine_of(runner)
    prompt = random_ids(88, 45)
    samples = run(engine, [ask(prompt, 5, max_tokens=40)])[0]
    again = run(engine, [ask(prompt, texts=[sample.ids for sample in samples])])[0]
    for sample, scored in zip(samples, again, strict=True):
        assert sample.logprobs is not None and scored.logprobs is not None
        assert close(sample.logprobs, scored.logprobs, 2e-5)


@pytest.mark.parametrize("fields", [{"scale_attn_by_inverse_layer_idx": True}, {"scale_attn_weights": False}], ids=str)
def test_gpt2_keeps_its_ways_to_scale(fields: dict[str, Any]) -> None:
    runner, plain = pair("gpt2", **fields)
    prompt = random_ids(90, 30)
    sample = run(engine_of(runner), [ask(prompt, temperature=0, max_tokens=20)])[0][0]
    assert list(sample.ids) == greedy(plain, prompt, 20)


def test_positions_turned_by_yarn_are_as_in_generate() -> None:
    rope = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "rope_theta": 10000.0}
    model = build("llama", rope_parameters=rope)
    plain = copy.deepcopy(model)
    plain.set_attn_implementation("sdpa")
    prompt = random_ids(91, 60)
    sample = run(engine_of(HuggingFace(model)), [ask(prompt, temperature=0, max_tokens=30)])[0][0]
    assert list(sample.ids) == greedy(plain, prompt, 30)


def test_other_weights_give_other_answers_and_the_old_cache_is_not_found() -> None:
    model = build("llama")
    other = build("llama", seed=5)
    engine = engine_of(HuggingFace(model))
    prompt = random_ids(92, 50)
    before = run(engine, [ask(prompt, temperature=0, max_tokens=20)])[0][0]
    plain = copy.deepcopy(other)
    plain.set_attn_implementation("sdpa")
    assert engine.swap(other.state_dict()) == 1
    after = run(engine, [ask(prompt, temperature=0, max_tokens=20)])[0][0]
    assert list(after.ids) == greedy(plain, prompt, 20) != list(before.ids)
    assert after.usage.prompt_tokens == len(prompt)


def test_all_events_of_a_sample_add_up_to_it() -> None:
    runner, _ = pair("llama")
    request = ask(random_ids(93, 20), 3, max_tokens=17)
    for i, sample in enumerate(run(engine_of(runner), [request])[0]):
        events = [event for event in heard(request).events if event.index == i]
        assert "".join(event.text for event in events) == sample.text
        assert sum((event.ids for event in events), ()) == sample.ids
        assert sum(event.usage.tokens for event in events) == sample.usage.tokens
        assert sample.finish == "length"
