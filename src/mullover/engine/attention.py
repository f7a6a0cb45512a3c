"""Attention over the block cache, registered with transformers so that its modules stay as they are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from mmap import mmap
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor

from mullover.engine.compiling import kernels
from mullover.engine.groups import Group
from mullover.engine.kernels import BLOCK, WIDEST, Kernels
from mullover.engine.plan import Mask, Plan, Span
from mullover.engine.reads import Reads

NAME = "mullover"
# One pass over keys and values where torch's own attention on a CPU also tells the norm; else several operations.
FLASH: Any = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
KEPT = 1 << 20  # numbers a layer that may be kept from step to step, so as not to gather them again


@dataclass
class Cache:
    """Keys and values of all layers, each (blocks, heads, 2, size, width): 0 is keys, 1 is values.

    On a CPU, memory that nobody wrote to costs nothing.
    """

    layers: list[Tensor]
    kernels: Kernels | None = None  # that read it; None: operations of torch do
    plan: Plan | None = None  # of the pass that runs now

    @classmethod
    def of(cls, shapes: Sequence[tuple[int, int]], count: int, size: int, like: Tensor) -> "Cache":
        """`shapes`: heads and width by layer. All zeros: what is hidden is multiplied by 0, which mends no NaN."""
        usual = like.device.type == "cpu" and like.dtype == torch.float32 and size == BLOCK
        usual = usual and all(width <= WIDEST for _, width in shapes)
        layers = [zeros((count, heads, 2, size, width), like) for heads, width in shapes]
        return cls(layers, kernels() if usual else None)

    def wipe(self, places: Sequence[tuple[int, int]]) -> None:
        """Zero each of these blocks from its slot on."""
        for layer in self.layers:
            for block, slot in places:
                layer[block, :, :, slot:] = 0

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float, softcap: float | None, window: int | None
    ) -> Tensor:
        """Store the new keys and values, then let each query see what is its own.

        Args:
            q: (T, query heads, width).
            k, v: (T, key heads, width), any strides.

        Returns:
            Tensor: (T, query heads, width).
        """
        plan, cache = self.plan, self.layers[layer]
        assert plan is not None
        both = torch.stack((k, v), 2)
        if plan.writes is not None:
            both = both[plan.writes]
        if len(both):
            cache[plan.blocks, :, :, plan.slots] = both
        return self.seen(layer, q, k, v, scale, softcap, window)

    def seen(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float, softcap: float | None, window: int | None
    ) -> Tensor:
        """`attend`, once the new keys and values are stored."""
        plan, cache = self.plan, self.layers[layer]
        assert plan is not None
        parts = []
        if plan.rows:
            one = q[: plan.rows] if scale == 1 else q[: plan.rows] * scale
            parts.append(self.decode(layer, one, softcap, window))
        for span in plan.spans:
            parts.append(read(span, q, k, v, cache, scale, softcap, window))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def decode(self, layer: int, q: Tensor, softcap: float | None, window: int | None) -> Tensor:
        """What the plan's single queries see: (rows, query heads, width), as `q`, which is scaled."""
        plan, cache = self.plan, self.layers[layer]
        assert plan is not None
        if isinstance(plan.reads, Reads):
            assert self.kernels is not None
            close = q if q.stride()[1:] == (q.shape[2], 1) else q.contiguous()
            return self.kernels.attend(close, cache, plan.reads, window, softcap)
        q = q.reshape(plan.rows, cache.shape[1], -1, q.shape[2])
        masks = [plan.mask(i, window, q.shape[2], q.dtype) for i in range(len(plan.reads))]
        return decode(q, cache, layer, plan.reads, masks, softcap).flatten(1, 2)


def zeros(shape: Sequence[int], like: Tensor) -> Tensor:
    """On a CPU straight from the system, whose fresh pages are zeros and cost nothing until they are used."""
    if like.device.type != "cpu":
        return like.new_zeros(shape)
    size = math.prod(shape)
    return torch.frombuffer(mmap(-1, size * like.element_size()), dtype=like.dtype, count=size).view(shape)


def decode(
    q: Tensor,
    cache: Tensor,
    layer: int,
    groups: Sequence[Group],
    masks: Sequence[Mask],
    softcap: float | None,
) -> Tensor:
    """One query a sequence. What several may see is read once for all of them, and what each saw is put together.

    Args:
        q: (queries, key heads, query heads of each, width), scaled.

    Returns:
        Tensor: like q.
    """
    shape = q.shape
    exact = torch.promote_types(q.dtype, torch.float32)  # of norms, and of sums
    peak = q.new_full((shape[0], shape[1] * shape[2], 1), -torch.inf, dtype=exact)
    found = []
    for group, mask in zip(groups, masks, strict=True):
        kv = gathered(cache, layer, group)
        seen, norm = attended(asked(q, group), kv[:, :, 0], kv[:, :, 1], mask, softcap)
        norm = by_row(norm.unsqueeze(-1), group, shape)
        if group.rows is None:
            peak = torch.maximum(peak, norm)
        else:
            peak.scatter_reduce_(0, group.rows.view(-1, 1, 1).expand_as(norm), norm, "amax")
        found.append((group, by_row(seen, group, shape), norm))
    total: Tensor | float = 0.0
    out: Tensor | float = 0.0
    for group, seen, norm in found:
        share = norm.sub_(peak if group.rows is None else peak.index_select(0, group.rows)).exp_()
        total = summed(share, group) + total
        out = summed(seen * share, group) + out
    assert isinstance(out, Tensor) and isinstance(total, Tensor)
    return out.div_(total).view(shape).to(q.dtype)


def attended(q: Tensor, k: Tensor, v: Tensor, mask: Mask, softcap: float | None) -> tuple[Tensor, Tensor]:
    """What each query sees of the keys of its entry alone, and the log of the sum of its scores' exponentials.

    Args:
        q: (E, heads, queries, width).
        k, v: (E, heads, keys, width).

    Returns:
        tuple: (E, heads, queries, width), and (E, heads, queries), which is -inf where nothing may be seen.
    """
    if FLASH is not None and q.device.type == "cpu" and softcap is None and q.dtype in (torch.float32, torch.float64):
        hidden = mask.hidden if mask.hidden is None else mask.hidden.expand(*q.shape[:3], k.shape[2])
        seen, norm = FLASH(q, k, v, 0.0, False, attn_mask=hidden, scale=1.0)
    else:
        scores = torch.matmul(q, k.mT)
        if softcap is not None:
            scores = scores.div_(softcap).tanh_().mul_(softcap)
        scores = scores if mask.hidden is None else scores + mask.hidden
        norm = torch.logsumexp(scores.float() if scores.dtype != torch.float64 else scores, -1)
        chances = (scores - norm.unsqueeze(-1)).exp_().nan_to_num_(0.0) if mask.blind is not None else None
        seen = torch.matmul((torch.softmax(scores, -1) if chances is None else chances).to(v.dtype), v)
    if mask.blind is not None:
        norm = norm.masked_fill(mask.blind, -torch.inf)
    return seen, norm


def gathered(cache: Tensor, layer: int, group: Group) -> Tensor:
    """(E, heads, 2, K, width): the keys and values of each entry; views of the cache if they lie together."""
    if group.slots is not None:
        if layer in group.kept:  # a group that outlives a step reads what nobody writes to
            return group.kept[layer]
        found = cache[group.blocks, :, :, group.slots].permute(1, 2, 0, 3).unsqueeze(0)
        if found.numel() <= KEPT:
            group.kept[layer] = found
        return found
    heads, _, size, width = cache.shape[1:]
    blocks = cache[group.blocks] if isinstance(group.blocks, slice) else cache.index_select(0, group.blocks)
    if group.width > 1:
        blocks = blocks.view(group.entries, group.width, heads, 2, size, width).permute(0, 2, 3, 1, 4, 5)
        blocks = blocks.reshape(group.entries, heads, 2, group.width * size, width)
    return blocks


def asked(values: Tensor, group: Group) -> Tensor:
    """(queries, heads, each, width) to what each entry is asked with: (E, heads, U * each, width)."""
    _, heads, each, width = values.shape
    if group.rows is not None:
        values = values.index_select(0, group.rows)
    if group.users == 1:
        return values
    values = values.view(group.entries, group.users, heads, each, width).transpose(1, 2)
    return values.reshape(group.entries, heads, group.users * each, width)


def by_row(found: Tensor, group: Group, shape: Sequence[int]) -> Tensor:
    """(E, heads, U * each, any) to (E * U, heads * each, any)."""
    _, heads, each, _ = shape
    if group.users > 1:
        found = found.view(group.entries, heads, group.users, each, -1).transpose(1, 2)
    return found.reshape(group.entries * group.users, heads * each, -1)


def summed(some: Tensor, group: Group) -> Tensor:
    """(queries, heads, any): the sum of the rows of `some` (E * U, heads, any) that belong to each query."""
    if group.rows is None:
        return some
    return F.embedding_bag(group.order, some.flatten(1), group.begins, mode="sum").view(-1, *some.shape[1:])


def read(
    span: Span,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cache: Tensor,
    scale: float,
    softcap: float | None,
    window: int | None,
) -> Tensor:
    """Many tokens of one sequence, each of which sees all before it: (count, query heads, width)."""
    here = slice(span.first, span.first + span.count)
    asked = q[here].transpose(0, 1)  # (query heads, count, width)
    if span.blocks is None:
        k, v = k[here].transpose(0, 1), v[here].transpose(0, 1)
    else:
        k, v = cache[span.blocks, :, :, span.slots].permute(2, 1, 0, 3)
    plain = span.blocks is None and (window is None or window >= span.count)
    if plain and softcap is None:
        out = F.scaled_dot_product_attention(
            asked[None], k[None], v[None], is_causal=True, scale=scale, enable_gqa=True
        )
        return out[0].transpose(0, 1)
    ahead = torch.arange(span.position, span.position + span.count, device=q.device).unsqueeze(1)
    ahead = ahead - torch.arange(k.shape[1], device=q.device)  # how many tokens each key is before its query
    seen = (ahead >= 0) if window is None else (ahead >= 0) & (ahead < window)
    if softcap is None:
        out = F.scaled_dot_product_attention(
            asked[None], k[None], v[None], attn_mask=seen, scale=scale, enable_gqa=True
        )
        return out[0].transpose(0, 1)
    grouped = asked.reshape(k.shape[0], -1, asked.shape[2])  # (key heads, query heads of each * count, width)
    scores = torch.bmm(grouped, k.mT).mul_(scale).div_(softcap).tanh_().mul_(softcap)
    scores = scores.view(k.shape[0], -1, span.count, k.shape[1]).masked_fill_(~seen, -torch.inf)
    chances = torch.softmax(scores, -1).view(k.shape[0], -1, k.shape[1])
    return torch.bmm(chances, v).view(-1, span.count, v.shape[2]).transpose(0, 1)


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """As transformers calls it: (1, heads, T, width) in, (1, T, heads, width) out."""
    cache: Cache = module.mullover_cache
    q, k, v = query[0].transpose(0, 1), key[0].transpose(0, 1), value[0].transpose(0, 1)
    scale = scaling if scaling is not None else query.shape[3] ** -0.5
    return cache.attend(module.layer_idx, q, k, v, scale, softcap, sliding_window).unsqueeze(0), None
