"""The model for training says what transformers' Llama says, and the kernels compute what torch does."""

from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from tests.train.small import noisy, row_of, shaped
from torch import Tensor
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from mullover.train import fast, ops
from mullover.train.llama import Llama
from mullover.train.ops import Packing, packed

RAGGED = (1, 3, 4, 5, 33, 200)
SHAPES: dict[str, dict[str, Any]] = {
    "one head": {"width": 16, "heads": 1, "layers": 1},
    "narrow heads": {"width": 64, "heads": 4, "inner": 40},
    "heads of 24": {"width": 48, "heads": 2, "layers": 3, "theta": 500.0},
    "wide heads": {"width": 64, "heads": 1, "eps": 1e-3},
}


@pytest.fixture
def kernels() -> Any:
    found = fast.library()
    if found is None:
        pytest.skip("no C compiler, or no Linux: there are no kernels")
    return found


def hugging(model: Llama) -> Any:
    config: Any = LlamaConfig(**model.shape.config(model.vocab, 0) | {"torch_dtype": "float32", "pad_token_id": None})
    theirs: Any = LlamaForCausalLM(config)
    theirs.load_state_dict(model.exported(), strict=True)
    return theirs.eval().float()


def some(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def close(found: Tensor, wanted: Tensor, within: float) -> bool:
    """In units of the largest number that is wanted."""
    return float((found.double() - wanted.double()).abs().max()) <= within * max(1e-3, float(wanted.abs().max()))


class TestAgainstTransformers:
    @pytest.mark.parametrize("name", SHAPES)
    def test_exported_weights_give_the_same_logits(self, name: str) -> None:
        model = noisy(shaped(**SHAPES[name]))
        ids = row_of((50,))
        with torch.no_grad():
            wanted = hugging(model)(input_ids=ids[None]).logits[0]
            assert torch.allclose(model(ids, Packing((50,))), wanted, atol=1e-4)

    def test_gradients_are_the_same(self) -> None:
        model = noisy()
        theirs, ids = hugging(model), row_of((40,))
        weights = some(40, 61)
        (model(ids, Packing((40,))) * weights).sum().backward()
        (theirs(input_ids=ids[None]).logits[0] * weights).sum().backward()
        wanted = dict(theirs.named_parameters())
        mine = Llama(model.shape, model.vocab)
        with torch.no_grad():
            for to, weight in zip(mine.parameters(), model.parameters(), strict=True):
                assert weight.grad is not None
                to.copy_(weight.grad)
        for key, grad in mine.exported().items():
            assert close(grad, wanted[key].grad, 1e-4), key

    def test_taking_is_the_inverse_of_exporting(self) -> None:
        model, other = noisy(seed=1), noisy(seed=2)
        ids = row_of((20,))
        assert not torch.allclose(model(ids, Packing((20,))), other(ids, Packing((20,))), atol=0.1)
        other.take({name: weight.clone() for name, weight in model.exported().items()})
        for (name, mine), theirs in zip(model.named_parameters(), other.parameters(), strict=True):
            assert torch.equal(mine, theirs), name

    def test_parameters_are_those_of_transformers(self) -> None:
        model = noisy()
        width, inner, vocab = 32, 48, 61
        counted = 2 * (4 * width * width + 3 * width * inner + 2 * width) + 2 * vocab * width + width
        assert sum(w.numel() for w in model.parameters()) == counted
        assert sum(w.numel() for w in hugging(model).parameters()) == counted


class TestPacking:
    @pytest.mark.parametrize("plain", [False, True])
    @pytest.mark.parametrize("name", ["one head", "heads of 24"])
    def test_documents_in_one_row_equal_each_alone(
        self, plain: bool, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if plain:
            monkeypatch.setattr(fast, "fits", lambda x: False)
        model = noisy(shaped(**SHAPES[name]))
        documents = [one.tolist() for one in torch.split(row_of(RAGGED), list(RAGGED))]
        ids, packing = packed(documents, ops.CPU)
        with torch.no_grad():
            together = torch.split(model(ids, packing), list(RAGGED))
            for document, found in zip(documents, together, strict=True):
                alone = model(torch.tensor(document), Packing((len(document),)))
                assert torch.allclose(found, alone, atol=1e-4)

    def test_logits_of_some_places_are_those_of_all(self) -> None:
        model, where = noisy(), torch.tensor([0, 7, 7, 29])
        ids, packing = row_of((12, 18)), Packing((12, 18))
        assert torch.allclose(model(ids, packing, where), model(ids, packing)[where], atol=1e-5)

    @pytest.mark.parametrize("lengths", [(5, 300), (5, 9), (200, 106)])
    @pytest.mark.parametrize("plain", [False, True])
    def test_documents_beyond_the_context_or_the_row_are_refused(
        self, lengths: tuple[int, ...], plain: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if plain:
            monkeypatch.setattr(fast, "fits", lambda x: False)
        with pytest.raises(ValueError, match="documents must be at most 256 tokens long"):
            noisy()(row_of((305,)), Packing(lengths))

    def test_equal_seeds_begin_equally_and_others_do_not(self) -> None:
        one, same, other = (dict(Llama(shaped(), 61, seed).named_parameters())["layers.0.qkv"] for seed in (3, 3, 4))
        assert torch.equal(one, same) and not torch.equal(one, other)


class TestKernels:
    @pytest.mark.parametrize("size", [16, 32, 64, 24])
    @pytest.mark.parametrize("lengths", [RAGGED, (1,), (4, 4), (33,)])
    def test_the_whole_model_forward_and_back_equals_plain_torch(
        self, kernels: Any, monkeypatch: pytest.MonkeyPatch, size: int, lengths: tuple[int, ...]
    ) -> None:
        model = noisy(shaped(width=2 * size))
        ids, packing = row_of(lengths), Packing(lengths)
        weights = some(len(ids), 61)
        told, grads = list[Tensor](), list[list[Tensor]]()
        calls = list[str]()
        real = fast.call

        def called(name: str, *args: Any) -> None:
            calls.append(name)
            real(name, *args)

        monkeypatch.setattr(fast, "call", called)
        for plain in (False, True):
            if plain:
                assert set(calls) == set(fast.SIGNATURES) - (set() if fast.fits_heads(size) else {"attend_packed"})
                calls.clear()
                monkeypatch.setattr(fast, "fits", lambda x: False)
            logits = model(ids, packing)
            told.append(logits.detach())
            grads.append(list(torch.autograd.grad((logits * weights).sum(), list(model.parameters()))))
        assert not calls
        assert close(told[0], told[1], 1e-4)
        for (name, _), found, wanted in zip(model.named_parameters(), *grads, strict=True):
            assert close(found, wanted, 2e-4), name

    @pytest.mark.parametrize("threads", [1, 3])
    @pytest.mark.parametrize(("rows", "width"), [(1, 8), (5, 50), (70, 128)])
    def test_norm_equals_autograd_in_float64(self, kernels: Any, threads: int, rows: int, width: int) -> None:
        x, weight, dy = 3 * some(rows, width), some(width, seed=1), some(rows, width, seed=2)

        def plain(x: Tensor, weight: Tensor) -> Tensor:
            return x * (x.square().mean(-1, keepdim=True) + 1e-5).rsqrt() * weight

        self.hold(lambda *of: fast.Norm.apply(*of, 1e-5), plain, (x, weight), dy, threads)  # type: ignore[no-untyped-call]

    @pytest.mark.parametrize("threads", [1, 3])
    @pytest.mark.parametrize(("rows", "width", "size"), [(1, 5, 1.0), (9, 48, 3.0), (33, 88, 40.0)])
    def test_swiglu_equals_autograd_in_float64(
        self, kernels: Any, threads: int, rows: int, width: int, size: float
    ) -> None:
        x, dy = size * some(rows, 2 * width), some(rows, width, seed=2)

        def plain(x: Tensor) -> Tensor:
            gate, up = x.chunk(2, -1)
            return gate * torch.sigmoid(gate) * up

        self.hold(fast.Swiglu.apply, plain, (x,), dy, threads)

    @pytest.mark.parametrize("threads", [1, 3])
    @pytest.mark.parametrize("vectors", fast.WIDTHS)
    def test_attention_equals_autograd_in_float64(self, kernels: Any, threads: int, vectors: int) -> None:
        heads, size = 3, vectors * int(kernels.lanes())
        packing, turns = Packing((1, 3, 4, 5, 33, 70)), ops.rotary(80, size, 100.0)
        qkv, dy = 1.5 * some(116, 3 * heads * size), some(116, heads * size, seed=2)

        def plain(qkv: Tensor) -> Tensor:
            found = list[Tensor]()
            for one in torch.split(qkv, list(packing.lengths)):
                n = len(one)
                q, k, v = one.view(n, 3, heads, size).unbind(1)
                cos, sin = (torch.cat((t[:n], t[:n]), -1).double()[:, None] for t in turns)
                q, k = (t * cos + torch.cat((-t[..., size // 2 :], t[..., : size // 2]), -1) * sin for t in (q, k))
                scores = torch.einsum("ihd,jhd->hij", q, k) / size**0.5
                scores = scores.masked_fill(torch.ones(n, n, dtype=torch.bool).triu(1), -torch.inf)
                found.append(torch.einsum("hij,jhd->ihd", scores.softmax(-1), v).reshape(n, -1))
            return torch.cat(found)

        def mine(qkv: Tensor) -> Tensor:
            return fast.Attend.apply(qkv, *turns, packing.starts, heads)  # type: ignore[no-any-return,no-untyped-call]

        self.hold(mine, plain, (qkv,), dy, threads)

    def hold(self, mine: Any, plain: Any, of: tuple[Tensor, ...], dy: Tensor, threads: int) -> None:
        """Value and gradients of all arguments, against the same in float64."""
        single = [one.clone().requires_grad_() for one in of]
        double = [one.double().requires_grad_() for one in of]
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            found = mine(*single)
            grads = torch.autograd.grad(found, single, dy)
        finally:
            torch.set_num_threads(before)
        wanted = plain(*double)
        assert close(found.detach(), wanted.detach(), 3e-6)
        for a, b in zip(grads, torch.autograd.grad(wanted, double, dy.double()), strict=True):
            assert close(a, b, 1e-5)

    def test_gates_far_out_are_shut_or_open(self, kernels: Any) -> None:
        x = torch.tensor([[-1e4, -200.0, -90.0, 88.0, 200.0, 1e4, 0.0, -0.0, *([2.0] * 8)]], requires_grad=True)
        found = ops.swiglu(x)
        (grad,) = torch.autograd.grad(found.sum(), x)
        wanted = functional.silu(x[:, :8]) * x[:, 8:]
        assert torch.allclose(found, wanted)
        assert torch.allclose(grad, torch.autograd.grad(wanted.sum(), x)[0])

    @pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16])
    def test_other_kinds_of_numbers_are_left_to_torch(self, kind: torch.dtype) -> None:
        model = noisy()
        ids = row_of((9, 20))
        wanted = model(ids, Packing((9, 20)))
        found = model.to(kind)(ids, Packing((9, 20)))
        assert found.dtype == kind
        assert close(found.detach(), wanted.detach(), 1e-4 if kind == torch.float64 else 0.1)
