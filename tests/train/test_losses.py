"""The loss of targets: what its value is, and that parts of a batch add up."""

import math
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from mullover.train.losses import cross_entropy

VOCAB = 11


@pytest.fixture
def logits() -> Tensor:
    return (3 * torch.randn(9, VOCAB, generator=torch.Generator().manual_seed(0))).requires_grad_()


@pytest.fixture
def targets() -> Tensor:
    return torch.randint(0, VOCAB, (9,), generator=torch.Generator().manual_seed(1))


def gradient(loss: Tensor, of: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(loss, of)
    return found


@pytest.mark.parametrize("vocab", [2, 11, 768])
def test_uniform_logits_give_the_logarithm_of_the_vocabulary(vocab: int) -> None:
    logits = torch.full((5, vocab), 3.0)
    assert math.isclose(float(cross_entropy(logits, torch.tensor([0, 1, 1, 0, 1]))), math.log(vocab), rel_tol=1e-6)


def test_it_is_the_mean_of_what_each_target_costs(logits: Tensor, targets: Tensor) -> None:
    each = -torch.log_softmax(logits, -1)[torch.arange(9), targets]
    assert torch.allclose(cross_entropy(logits, targets), each.mean())


def test_weights_are_those_of_a_mean(logits: Tensor, targets: Tensor) -> None:
    weights = torch.tensor([1.0, 0.1, 0.0, 2.0, 1.0, 0.5, 0.1, 1.0, 3.0])
    each = -torch.log_softmax(logits, -1)[torch.arange(9), targets]
    found = cross_entropy(logits, targets, weights=weights)
    assert torch.allclose(found, (each * weights).sum() / weights.sum())
    assert not gradient(found, logits)[2].any()
    assert gradient(cross_entropy(logits, targets, weights=weights), logits)[1].any()


@pytest.mark.parametrize("weighted", [False, True])
def test_parts_with_shared_tokens_add_up_in_value_and_gradient(logits: Tensor, targets: Tensor, weighted: bool) -> None:
    weights = torch.linspace(0.1, 1.3, 9) if weighted else None
    shared: Any = 9 if weights is None else weights.sum()
    cuts = (slice(0, 2), slice(2, 3), slice(3, 9))
    parts = [
        cross_entropy(logits[cut], targets[cut], shared, None if weights is None else weights[cut]) for cut in cuts
    ]
    whole = cross_entropy(logits, targets, weights=weights)
    total = torch.stack(parts).sum()
    assert torch.allclose(total, whole)
    assert torch.allclose(gradient(total, logits), gradient(whole, logits), atol=1e-7)
    means = torch.stack([cross_entropy(logits[cut], targets[cut]) for cut in cuts]).mean()
    assert not torch.allclose(means, whole)  # what would come of parts that divide by their own


@pytest.mark.parametrize("weighted", [False, True])
def test_without_a_target_loss_and_gradient_are_zero(weighted: bool) -> None:
    logits = torch.zeros(0, VOCAB, requires_grad=True)
    hidden = torch.ones(4, 3, requires_grad=True)
    picked = hidden[torch.tensor([], dtype=torch.int64)] @ torch.ones(3, VOCAB)
    for told, of in ((logits, logits), (picked, hidden)):
        loss = cross_entropy(told, torch.tensor([], dtype=torch.int64), weights=torch.ones(0) if weighted else None)
        assert float(loss.detach()) == 0
        assert torch.equal(gradient(loss, of), torch.zeros_like(of))


def test_weights_that_are_all_zero_give_no_loss(logits: Tensor, targets: Tensor) -> None:
    loss = cross_entropy(logits, targets, weights=torch.zeros(9))
    assert float(loss.detach()) == 0
    assert torch.equal(gradient(loss, logits), torch.zeros_like(logits))


def test_it_is_the_loss_of_transformers_with_masked_labels() -> None:
    torch.manual_seed(0)
    config: Any = LlamaConfig(
        vocab_size=VOCAB, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2
    )
    model: Any = LlamaForCausalLM(config)
    ids = torch.randint(0, VOCAB, (1, 12))
    labels = ids.clone()
    labels[:, :5], labels[:, 8] = -100, -100
    told = model(input_ids=ids, labels=labels)
    where = torch.tensor([i - 1 for i in range(1, 12) if labels[0, i] != -100])
    mine = cross_entropy(told.logits[0, where], ids[0, where + 1])
    assert torch.allclose(mine, told.loss, atol=1e-6)
    weights = list(model.parameters())
    for a, b in zip(torch.autograd.grad(mine, weights, retain_graph=True), torch.autograd.grad(told.loss, weights)):  # noqa: B905
        assert torch.allclose(a, b, atol=1e-6)


def test_half_precision_is_summed_in_float32(targets: Tensor) -> None:
    logits = torch.randn(9, VOCAB, generator=torch.Generator().manual_seed(2)).to(torch.bfloat16)
    found = cross_entropy(logits, targets)
    assert found.dtype == torch.float32
    assert torch.equal(found, cross_entropy(logits.float(), targets))
