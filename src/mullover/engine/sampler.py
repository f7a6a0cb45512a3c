"""From logits to tokens, for all sequences of a step at once.

Each draw inverts the distribution's cumulative sum at one uniform number, which is a function of the
sample's seed and the token's position: what else is in the batch, and whether the sequence was put off
and computed again, changes nothing.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from mullover.engine.compiling import kernels
from mullover.engine.kernels import Kernels
from mullover.engine.rules import Bias
from mullover.engine.sequence import Drawn, Live
from mullover.engine.text import Vocabulary
from mullover.seeds import noise
from mullover.types import Sampling, Token

CHUNK = 256  # tokens whose probabilities are added up before the chunks are: a sum of many small ones keeps its digits
FLOOR = -20.0  # nats, of a token that is impossible, in signals
FEW = 1024  # likeliest tokens that are tried before all are sorted
_SLACK = 1e-12  # 0.3 + 0.22 >= 0.52 must hold for floats too


def draw(logits: Tensor, live: Sequence[Live], vocabulary: Vocabulary) -> list[Drawn]:
    """A token for each sequence.

    Args:
        logits: (sequences, vocabulary) of the raw model, float32 or float64.
    """
    norm = log_sums(logits)
    biased = _ruled(logits, live)
    tokens, sampled = _tokens(biased, norm if biased is logits else None, live)
    logprobs = (logits.gather(1, tokens) - norm)[:, 0].tolist()
    alternatives = _alternatives(logits, norm, live, vocabulary)
    signals = _signals(logits, norm, live)
    ids, drawn = tokens[:, 0].tolist(), sampled.tolist()
    finite = torch.isfinite(norm[:, 0]).tolist()
    possible = [True] * len(live) if biased is logits else (biased.amax(-1) > -math.inf).tolist()
    found = []
    for i, one in enumerate(live):
        forced = one.rules is not None and one.rules.forced(one.spoken.inside) is not None
        if not finite[i]:
            found.append(Drawn(0, error="the model's logits are no finite numbers", broken=True))
        elif not possible[i] and not forced:
            found.append(Drawn(0, error=f"the rules forbid every token that can follow {one.spoken.text[-80:]!r}"))
        elif not forced and (rank := _rank(one)) is not None and not _possible(biased[i], rank):
            found.append(Drawn(0, error=f"there is no first token number {rank + 1}: fewer are possible"))
        else:
            row = alternatives.get(i, ())
            found.append(Drawn(ids[i], min(logprobs[i], 0.0), min(drawn[i], 0.0), row, signals.get(i, ())))
    return found


def _ruled(logits: Tensor, live: Sequence[Live]) -> Tensor:
    """Logits after the rules that hold; `logits` itself where none does."""
    rows: dict[Bias, list[int]] = {}
    for i, one in enumerate(live):
        if one.rules is not None:
            for rule in one.rules.holding(one.spoken.inside):
                rows.setdefault(rule, []).append(i)
    if not rows:
        return logits
    biased = logits.clone()
    for rule, where in rows.items():
        index = torch.tensor(where, device=logits.device).unsqueeze(1)
        biased[index, _ids(rule, logits.device)] += rule.bias
    return biased


@lru_cache(maxsize=256)
def _ids(rule: Bias, device: torch.device) -> Tensor:
    return torch.tensor(sorted(rule.ids), dtype=torch.long, device=device)


def _rank(one: Live) -> int | None:
    """Which of the likeliest tokens the sample must begin with."""
    sampling = one.request.sampling
    return sampling.first + one.index if sampling.distinct_first and not one.ids else None


def _possible(logits: Tensor, rank: int) -> bool:
    return rank < int((logits > -math.inf).sum())


def _tokens(biased: Tensor, norm: Tensor | None, live: Sequence[Live]) -> tuple[Tensor, Tensor]:
    """(S, 1) tokens, and (S,) log-probabilities in the distribution they were drawn from.

    `norm` is the log of the sum of exp(biased), where it is known.
    """
    samplings = [one.request.sampling for one in live]
    warm = [i for i, sampling in enumerate(samplings) if sampling.temperature > 0]
    if len(warm) == len(live):
        tokens, sampled = _warm(biased, norm, live)
    else:
        tokens = biased.argmax(-1, keepdim=True)
        sampled = torch.zeros(len(live), dtype=biased.dtype, device=biased.device)
        if warm:
            at = torch.tensor(warm, device=biased.device)
            some = _warm(biased[at], None if norm is None else norm[at], [live[i] for i in warm])
            tokens[at], sampled[at] = some
    for i, one in enumerate(live):
        token = one.rules.forced(one.spoken.inside) if one.rules is not None else None
        rank = _rank(one)
        if token is None and rank is not None and rank < biased.shape[1]:
            token = int(torch.sort(biased[i], descending=True, stable=True).indices[rank])
        if token is not None:
            tokens[i], sampled[i] = token, 0.0
    return tokens, sampled


def _warm(biased: Tensor, norm: Tensor | None, live: Sequence[Live]) -> tuple[Tensor, Tensor]:
    """Draw at temperatures above 0: temperature, then top_k, top_p and min_p, each on what the one before it left."""
    samplings = [one.request.sampling for one in live]
    scaled = biased
    if any(sampling.temperature != 1 for sampling in samplings):
        top = biased.amax(-1, keepdim=True)  # taken off first, so that nothing overflows however cold it is
        coldest = torch.finfo(biased.dtype).tiny
        heat = _column([max(sampling.temperature, coldest) for sampling in samplings], biased)
        top = torch.where(top.isfinite() & (heat != 1), top, 0.0)
        scaled = (biased - top) / heat
        norm = None
    cut = [i for i, s in enumerate(samplings) if s.top_k or s.top_p < 1 or s.min_p > 0]
    if cut:
        scaled = scaled.clone() if scaled is biased else scaled
        at = torch.tensor(cut, device=biased.device)
        scaled[at] = truncated(scaled[at], [samplings[i] for i in cut])
        norm = None
    if norm is None:
        norm = log_sums(scaled)
    uniform = [noise(one.request.seeds[one.index], len(one.ids)) for one in live]
    found = usable(scaled)
    tokens = found.quantile(scaled, norm, uniform) if found else quantile((scaled - norm).exp_(), uniform)
    return tokens, (scaled.gather(1, tokens) - norm)[:, 0]


def usable(values: Tensor) -> Kernels | None:
    """The kernels, if they take such a tensor."""
    right = values.device.type == "cpu" and values.dtype == torch.float32 and values.is_contiguous()
    return kernels() if right else None


def log_sums(logits: Tensor) -> Tensor:
    """(S, 1): the log of the sum of the exponentials of each row."""
    found = usable(logits)
    return found.log_sums(logits) if found else torch.logsumexp(logits, -1, keepdim=True)


def quantile(chances: Tensor, uniform: Sequence[float]) -> Tensor:
    """(S, 1): the token at each quantile of its row, in the order of token ids; never one of probability 0.

    Args:
        chances: (S, V), rows add up to about 1.
        uniform: one number a row, in [0, 1).
    """
    rows, size = chances.shape
    chunk = min(CHUNK, size)
    padded = torch.nn.functional.pad(chances, (0, -size % chunk)).view(rows, -1, chunk)
    u = torch.tensor(uniform, dtype=torch.float64, device=chances.device).unsqueeze(1)
    below = padded.sum(-1, dtype=torch.float64).cumsum(-1)  # (S, chunks)
    target = u * below[:, -1:]
    which = torch.searchsorted(below, target, right=True).clamp_(max=below.shape[1] - 1)
    inside = padded.gather(1, which.unsqueeze(-1).expand(-1, -1, chunk))[:, 0].double()  # (S, chunk)
    before = torch.where(which > 0, below.gather(1, (which - 1).clamp(min=0)), 0.0)
    at = torch.searchsorted(inside.cumsum(-1) + before, target, right=True)
    last = chunk - 1 - (inside > 0).flip(-1).int().argmax(-1, keepdim=True)  # rounding may step over the end
    return (which * chunk + torch.minimum(at, last)).clamp_(max=size - 1)


def truncated(scaled: Tensor, samplings: Sequence[Sampling]) -> Tensor:
    """Logits of the tokens that top_k, top_p and min_p leave; -inf for the others.

    Of equally likely tokens at a bound of top_k or top_p, those of lower id stay.
    """
    size = scaled.shape[1]
    top_k = _column([sampling.top_k or size for sampling in samplings], scaled).clamp_(max=size)
    top_p = _column([sampling.top_p for sampling in samplings], scaled)
    min_p = _column([sampling.min_p for sampling in samplings], scaled)
    few = min(size, max(FEW, *(min(sampling.top_k, size) for sampling in samplings)))
    enough = few < size
    if enough:
        ranked, order = torch.topk(scaled, few + 1, -1)
        enough = not bool((ranked[:, -1] == ranked[:, -2]).any())  # topk chooses among ties as it likes
        ranked, order = ranked[:, :few], order[:, :few]
        if enough and not all(sampling.top_k for sampling in samplings):
            mass = (torch.logsumexp(ranked, -1) - torch.logsumexp(scaled, -1)).exp()
            enough = bool((mass >= top_p[:, 0] + 1e-4).all()) and all(s.top_p < 1 for s in samplings)
    if not enough:
        ranked, order = torch.sort(scaled, dim=-1, descending=True, stable=True)
    elif bool((ranked[:, 1:] == ranked[:, :-1]).any()):  # put ties in the order of ids
        order, again = torch.sort(order, -1)
        ranked, back = torch.sort(ranked.gather(1, again), dim=-1, descending=True, stable=True)
        order = order.gather(1, back)
    place = torch.arange(ranked.shape[1], device=scaled.device).unsqueeze(0)
    ranked = ranked.masked_fill(place >= top_k, -math.inf)
    weights = (ranked - ranked[:, :1]).exp().double()
    mass = weights.cumsum(-1)
    before = mass - weights  # of the likelier ones
    total = mass[:, -1:] if enough is False or bool((top_k < size).all()) else None
    if total is None:  # what lies beyond the likeliest few counts too
        total = (torch.logsumexp(scaled, -1, keepdim=True).double() - ranked[:, :1].double()).exp()
        total = torch.where(top_k < size, mass[:, -1:], total)
    gone = (before >= top_p * total - _SLACK) & (top_p < 1) & (place > 0)
    gone |= (weights < min_p * weights[:, :1] - _SLACK) | (place >= top_k)
    ranked = ranked.masked_fill(gone, -math.inf)
    return torch.full_like(scaled, -math.inf).scatter_(1, order, ranked)


def _column(values: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).unsqueeze(1)


def _alternatives(
    logits: Tensor, norm: Tensor, live: Sequence[Live], vocabulary: Vocabulary
) -> dict[int, tuple[Token, ...]]:
    """The likeliest tokens of the raw model, likeliest first, ties by id, for those who want them."""
    wanting = [i for i, one in enumerate(live) if one.request.sampling.top_logprobs]
    if not wanting:
        return {}
    most = min(max(live[i].request.sampling.top_logprobs for i in wanting), logits.shape[1])
    at = torch.tensor(wanting, device=logits.device)
    logprobs = logits[at] - norm[at]
    values, ids = torch.topk(logprobs, min(most + 1, logits.shape[1]), -1)
    if values.shape[1] > most and bool((values[:, -1] == values[:, -2]).any()):  # topk chooses among ties as it likes
        values, ids = torch.sort(logprobs, dim=-1, descending=True, stable=True)
    values, ids = values[:, :most], ids[:, :most]
    found = {}
    for i, row, tokens in zip(wanting, values.tolist(), ids.tolist(), strict=True):
        ranked = sorted(zip(row, tokens, strict=True), key=lambda pair: (-pair[0], pair[1]))
        top = ranked[: live[i].request.sampling.top_logprobs]
        found[i] = tuple([Token(token, vocabulary.text(token), min(logprob, 0.0)) for logprob, token in top])
    return found


def _signals(logits: Tensor, norm: Tensor, live: Sequence[Live]) -> dict[int, tuple[float, ...]]:
    """What `Request.names` asks, for those who ask; as `mullover.backends.signals` defines it."""
    asking = [i for i, one in enumerate(live) if one.request.names]
    if not asking:
        return {}
    at = torch.tensor(asking, device=logits.device)
    logprobs = logits[at] - norm[at]
    columns = {name: measured(name, logprobs) for name in {name for i in asking for name in live[i].request.names}}
    return {i: tuple([columns[name][k] for name in live[i].request.names]) for k, i in enumerate(asking)}


def measured(name: str, logprobs: Tensor) -> list[float]:
    """One signal of each row of raw log-probabilities, nats."""
    size = logprobs.shape[1]
    if name == "entropy":
        chances = logprobs.exp()
        return list((-torch.xlogy(chances, chances).sum(-1)).clamp_(min=0.0).tolist())
    logprobs = torch.where(logprobs == -math.inf, FLOOR, logprobs)
    if name == "certainty":
        return list((-logprobs.mean(-1) - math.log(size)).tolist())
    k = min(int(name.removeprefix("confidence@")), size)
    return list((-torch.topk(logprobs, k, -1).values.mean(-1)).tolist())
