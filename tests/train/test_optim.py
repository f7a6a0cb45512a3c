"""Muon makes its updates orthogonal, takes stacked matrices apart, and learns."""

import math
from dataclasses import replace

import pytest

pytest.importorskip("torch")

import torch
from tests.train.small import TINY, noisy, row_of
from torch import Tensor, nn
from torch.optim import AdamW

from mullover.train.losses import cross_entropy
from mullover.train.ops import Packing
from mullover.train.optim import Muon, optimizers, orthogonal


def some(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def stepped(start: Tensor, grads: list[Tensor], parts: int = 1, **fields: float) -> Tensor:
    weight = nn.Parameter(start.clone())
    muon = Muon([(weight, parts)], **fields)
    for grad in grads:
        weight.grad = grad.clone()
        muon.step()
    return weight.detach()


class TestOrthogonal:
    @pytest.mark.parametrize("shape", [(64, 16), (16, 64), (24, 24), (3, 48, 32), (2, 20, 90)])
    def test_singular_values_are_near_one(self, shape: tuple[int, ...]) -> None:
        values = torch.linalg.svdvals(orthogonal(some(*shape)))
        assert float(values.min()) > 0.6 and float(values.max()) < 1.3

    @pytest.mark.parametrize("shape", [(64, 16), (16, 64), (24, 24)])
    @pytest.mark.parametrize("size", [1e-4, 1.0, 1e4])
    def test_singular_vectors_stay(self, shape: tuple[int, ...], size: float) -> None:
        g = size * some(*shape)
        u, _, v = torch.linalg.svd(g, full_matrices=False)
        found, wanted = orthogonal(g), u @ v
        assert float((found * wanted).sum() / found.norm() / wanted.norm()) > 0.97
        inner = u.mT @ found @ v.mT  # diagonal where the vectors are the same
        assert float((inner - torch.diag(inner.diag())).abs().max()) < 1e-3

    def test_nothing_stays_nothing(self) -> None:
        assert torch.equal(orthogonal(torch.zeros(4, 6)), torch.zeros(4, 6))


class TestMuon:
    def test_matrices_in_one_parameter_are_taken_apart(self) -> None:
        d = 12
        start, grads = some(3 * d, d), [some(3 * d, d, seed=i) for i in (1, 2)]
        grads[1][:d] *= 100  # a large gradient of q leaves k and v alone
        together = stepped(start, grads, 3)
        alone = [stepped(a, list(b)) for a, b in zip(start.chunk(3), zip(*(g.chunk(3) for g in grads)))]  # noqa: B905
        assert torch.allclose(together, torch.cat(alone), atol=1e-6)
        assert not torch.allclose(stepped(start, grads), torch.cat(alone), atol=1e-3)

    @pytest.mark.parametrize(
        ("shape", "parts", "scale"), [((40, 10), 1, 2.0), ((10, 40), 1, 1.0), ((20, 20), 1, 1.0), ((60, 20), 3, 1.0)]
    )
    def test_the_update_is_scaled_by_the_root_of_rows_to_columns(
        self, shape: tuple[int, int], parts: int, scale: float
    ) -> None:
        grad = some(*shape)
        moved = -stepped(torch.zeros(shape), [grad], parts, lr=1.0)
        wanted = scale * orthogonal(grad.view(parts, -1, shape[1])).flatten(0, 1)
        assert torch.allclose(moved, wanted, atol=1e-5)

    def test_momentum_looks_ahead(self) -> None:
        grads = [some(8, 8, seed=i) for i in range(2)]
        m = 0.05 * grads[0]
        first = orthogonal(0.05 * grads[0] + 0.95 * m)
        m = 0.95 * m + 0.05 * grads[1]
        second = orthogonal(0.05 * grads[1] + 0.95 * m)
        assert torch.allclose(stepped(torch.zeros(8, 8), grads, lr=0.1), -0.1 * (first + second), atol=1e-5)

    def test_decay_shrinks_in_proportion_to_the_rate(self) -> None:
        start = some(6, 6)
        moved = stepped(start, [torch.zeros(6, 6)], lr=0.5, decay=0.1)
        assert torch.allclose(moved, 0.95 * start)

    def test_a_parameter_without_gradient_is_left(self) -> None:
        weights = [nn.Parameter(some(4, 4, seed=i)) for i in range(2)]
        before = weights[1].detach().clone()
        weights[0].grad = some(4, 4)
        Muon([(w, 1) for w in weights]).step()
        assert torch.equal(weights[1], before)


class TestRecipes:
    def test_muon_has_the_matrices_of_layers_and_adamw_the_rest(self) -> None:
        model = noisy()
        muon, adamw = optimizers(model, TINY)
        assert isinstance(muon, Muon) and isinstance(adamw, AdamW)
        names = {id(w): n for n, w in model.named_parameters()}
        of_muon = {names[id(w)]: group["parts"] for group in muon.param_groups for w in group["params"]}
        kinds = {"qkv": 3, "out": 1, "gate_up": 2, "down": 1}
        assert of_muon == {f"layers.{i}.{kind}": parts for i in range(2) for kind, parts in kinds.items()}
        of_adamw = {names[id(w)] for group in adamw.param_groups for w in group["params"]}
        assert of_adamw == set(names.values()) - of_muon.keys()

    def test_adamw_has_all_and_only_matrices_within_layers_decay(self) -> None:
        model = noisy()
        (one,) = optimizers(model, replace(TINY, optimizer="adamw", decay=0.1))
        assert isinstance(one, AdamW)
        matrices, others = one.param_groups
        assert {id(w) for w in [*matrices["params"], *others["params"]]} == {id(w) for w in model.parameters()}
        assert {id(w) for w in matrices["params"]} == {id(w) for w in model.layers.parameters() if w.dim() == 2}
        assert (matrices["weight_decay"], others["weight_decay"], others["lr"]) == (0.1, 0.0, TINY.lr)

    @pytest.mark.parametrize("optimizer", ["muon", "adamw"])
    def test_a_few_steps_lower_the_loss(self, optimizer: str) -> None:
        model, packing = noisy(vocab=17), Packing((20, 31))
        ids = row_of(packing.lengths, 17)
        where = torch.arange(len(ids) - 1)
        chosen = optimizers(model, replace(TINY, optimizer=optimizer, lr=0.01))  # type: ignore[arg-type]
        losses = list[float]()
        for _ in range(12):
            loss = cross_entropy(model(ids, packing, where), ids[where + 1])
            torch.autograd.backward(loss)
            for one in chosen:
                one.step()
                one.zero_grad()
            losses.append(float(loss.detach()))
        assert losses[-1] < 0.6 * losses[0]
        assert math.isfinite(losses[-1])
