"""The runner of Hugging Face models: their modules untouched, our attention and cache in between."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mullover.engine.attention import NAME, Cache, attention
from mullover.engine.cost import Cost, Look
from mullover.engine.groups import Grouper
from mullover.engine.plan import Plan
from mullover.engine.reads import Reader
from mullover.engine.runner import Output
from mullover.errors import OptionError


class HuggingFace:
    """A causal language model of `families.FAMILIES`.

    Args:
        model: a `transformers` module, with its weights, on its device; it is put to eval mode and its attention
            is made ours.
    """

    def __init__(self, model: Any) -> None:
        self.model = model.eval().requires_grad_(False)
        self._attend_here()
        self.device = model.device
        self.context = int(getattr(model.config, "max_position_embeddings", 1 << 20))
        head = model.get_output_embeddings()
        self.vocabulary = int(head.weight.shape[0])
        embedded = {id(model.get_input_embeddings().weight), id(getattr(model.base_model, "wpe", None))}
        embedded.add(id(head.weight))
        body = sum(p.numel() for p in model.parameters() if id(p) not in embedded)
        self.cache: Cache | None = None
        self._hidden: Tensor | None = None
        head.register_forward_pre_hook(self._catch)
        self._layers = [m for m in model.modules() if hasattr(m, "layer_idx") and _attends(m)]
        self._shapes, looks = self._probe()
        self.cost = Cost(body, head.weight.numel(), looks)
        width = torch.finfo(model.dtype).bits // 8
        self.slot_bytes = sum(2 * heads * size for heads, size in self._shapes) * width

    def allocate(self, blocks: int, size: int) -> Reader | Grouper:
        self.cache = None  # the old one goes before the new one comes
        cache = Cache.of(self._shapes, blocks, size, next(self.model.parameters()))
        self._give(cache)
        return Reader() if cache.kernels is not None else Grouper(size, self.device)

    def forward(self, plan: Plan) -> Output:
        assert self.cache is not None
        self.cache.plan = plan
        try:
            with torch.inference_mode():
                logits = self.model(
                    input_ids=plan.tokens.unsqueeze(0),
                    position_ids=plan.positions.unsqueeze(0),
                    use_cache=False,
                    logits_to_keep=plan.wanted,
                ).logits[0]
                assert self._hidden is not None
                return Output(logits if logits.dtype == torch.float64 else logits.float(), self._hidden[0])
        finally:
            self.cache.plan, self._hidden = None, None

    def wipe(self, places: Sequence[tuple[int, int]]) -> None:
        assert self.cache is not None
        self.cache.wipe(places)

    def swap(self, weights: Mapping[str, Tensor]) -> None:
        state = self.model.state_dict()
        wrong = [name for name, value in weights.items() if name not in state or state[name].shape != value.shape]
        if wrong:
            raise OptionError(f"the new weights do not fit at {', '.join(sorted(wrong)[:3])}; give those of this model")
        with torch.no_grad():
            for name, value in weights.items():
                state[name].copy_(value)

    def _attend_here(self) -> None:
        from transformers import AttentionInterface

        AttentionInterface.register(NAME, attention)
        self.model.set_attn_implementation(NAME)

    def _give(self, cache: Any) -> None:
        self.cache = cache
        for layer in self._layers:
            layer.mullover_cache = cache

    def _catch(self, _: Any, args: tuple[Any, ...]) -> None:
        self._hidden = args[0]

    def _probe(self) -> tuple[list[tuple[int, int]], tuple[Look, ...]]:
        """Heads and width of keys and values, by layer, and what looking costs, from one pass over one token."""
        shapes = dict[int, tuple[int, int]]()
        looks = dict[int | None, int]()

        class Probe:
            def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, *rest: Any) -> Tensor:
                shapes[layer], window = (k.shape[1], k.shape[2]), rest[-1]
                looks[window] = looks.get(window, 0) + 4 * q.shape[1] * q.shape[2]
                return v.repeat_interleave(q.shape[1] // k.shape[1], 1)

        self._give(Probe())
        token = torch.zeros((1, 1), dtype=torch.long, device=self.device)
        with torch.inference_mode():
            self.model(input_ids=token, position_ids=token, use_cache=False)
        told = tuple([Look(operations, window) for window, operations in looks.items()])
        return [shapes[layer] for layer in sorted(shapes)], told


def _attends(module: Any) -> bool:
    return "Attention" in type(module).__name__
