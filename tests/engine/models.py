"""What the tests of the engine ask: tiny models with random weights, vocabularies of letters, and a way to run both."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
import transformers
from torch import Tensor

from mullover.engine.cost import Cost, Look
from mullover.engine.engine import BLOCK, Engine
from mullover.engine.hugging import HuggingFace
from mullover.engine.reads import Reader
from mullover.engine.request import Request
from mullover.engine.rules import Compiled
from mullover.engine.runner import Output
from mullover.seeds import fold
from mullover.types import Event, Sample, Sampling

WIDE = 1 << 26  # bytes of KV memory: enough for anything here
COMMON: Mapping[str, Any] = {
    "vocab_size": 120,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "initializer_range": 0.25,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
SLIDES = {"sliding_window": 12, "layer_types": ["sliding_attention", "full_attention"]}
GPT2: Mapping[str, Any] = {
    "vocab_size": 120, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512, "initializer_range": 0.25,
    "bos_token_id": None, "eos_token_id": None,
}  # fmt: skip
OWN: Mapping[str, Mapping[str, Any]] = {
    "gemma2": {**SLIDES, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 8.0, "query_pre_attn_scalar": 6},
    "gemma3_text": {**SLIDES, "query_pre_attn_scalar": 6},
    "granite": {"attention_multiplier": 0.3, "logits_scaling": 1.5, "residual_multiplier": 0.7},
    "mistral": {"sliding_window": 12},
    "olmo3": dict(SLIDES),
    "phi3": {"sliding_window": 12},
    "qwen2": {"use_sliding_window": True, "max_window_layers": 1, "sliding_window": 12},
    "smollm3": {"no_rope_layers": [1, 0]},
}


def build(family: str, seed: int = 0, dtype: torch.dtype = torch.float64, **fields: Any) -> Any:
    """A tiny causal language model with random weights."""
    own = {**GPT2, **fields} if family == "gpt2" else {**COMMON, **OWN.get(family, {}), **fields}
    config = transformers.AutoConfig.for_model(family, **own)
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    for name, parameter in model.named_parameters():
        if "bias" in name or "norm" in name:  # they would all be 0 or 1, and show nothing
            torch.nn.init.normal_(parameter, 0.5, 0.3)
    return model.eval().to(dtype)


@cache
def pair(family: str, dtype: torch.dtype = torch.float64, **fields: Any) -> tuple[Any, Any]:
    """The same model twice: the first for an engine, the second as it is, to compare with."""
    model = build(family, dtype=dtype, **fields)
    plain = copy.deepcopy(model)
    plain.set_attn_implementation("eager" if family == "gemma2" else "sdpa")  # sdpa knows no softcap
    return HuggingFace(model), plain


class Letters:
    """Each token is one letter, or a text of its own."""

    def __init__(
        self,
        ends: Iterable[int] = (),
        think: tuple[str, str] | None = None,
        texts: Mapping[int, str] | None = None,
    ) -> None:
        self.ends, self.think, self.texts = frozenset(ends), think, texts or {}

    def stream(self, before: Sequence[int]) -> "Letters":
        return self

    def text(self, token: int) -> str:
        return self.texts.get(token, chr(97 + token % 26))

    def push(self, token: int) -> str:
        return self.text(token)

    def rest(self) -> str:
        return ""


class Table:
    """A runner without a model: the logits after a token are a row of a matrix, or whatever `logits` says.

    It remembers every token of every pass, so that a test can see what was computed.
    """

    device = torch.device("cpu")
    context = 512
    cost = Cost(body=7, head=3, looks=(Look(2), Look(1, window=10)))
    slot_bytes = 1

    def __init__(self, rows: Tensor, before: Callable[[Any], None] | None = None) -> None:
        self.rows, self.before = rows, before
        self.vocabulary = rows.shape[1]
        self.passes: list[list[tuple[int, int]]] = []  # (token, position)

    def allocate(self, blocks: int, size: int) -> Reader:
        self.blocks = blocks
        return Reader()

    def forward(self, plan: Any) -> Output:
        if self.before is not None:
            self.before(plan)
        self.passes.append(list(zip(plan.tokens.tolist(), plan.positions.tolist(), strict=True)))
        tokens = plan.tokens[plan.wanted]
        return Output(self.rows[tokens], self.rows[tokens])

    def wipe(self, places: Sequence[tuple[int, int]]) -> None:
        """There is nothing."""

    def swap(self, weights: Mapping[str, Tensor]) -> None:
        raise NotImplementedError


class Heard:
    """A request's reader: what it was told, and how often it has not read at once."""

    def __init__(self, reads: bool = True) -> None:
        self.reads = reads
        self.events: list[Event] = []

    def __call__(self, request: Request, events: list[Event]) -> None:
        self.events += events
        if self.reads:
            request.read()

    @property
    def samples(self) -> dict[int, Sample]:
        return {event.index: event.sample for event in self.events if event.sample is not None}


def ask(
    ids: Sequence[int],
    n: int = 1,
    *,
    seed: int = 0,
    rules: Sequence[Compiled] = (),
    texts: Sequence[Sequence[int]] = (),
    hidden: bool = False,
    opened: bool = False,
    context: int = 1 << 62,
    reads: bool = True,
    **fields: Any,
) -> Request:
    """A request with a reader of its own, `heard(request)`."""
    seeds = tuple(fold(seed, i) for i in range(n)) if not texts else ()
    scored = tuple(tuple(text) for text in texts)
    return Request(
        tuple(ids), Sampling(**fields), Heard(reads), seeds, tuple(rules), scored, hidden, opened, context=context
    )


def heard(request: Request) -> Heard:
    assert isinstance(request.deliver, Heard)
    return request.deliver


def told(request: Request) -> list[Sample]:
    """All samples of a finished request, in their order."""
    samples = heard(request).samples
    assert [*sorted(samples)] == [*range(request.size)]
    return [samples[i] for i in range(request.size)]


def finish(engine: Engine, *, most: int = 20_000) -> None:
    """Step until nobody waits."""
    for _ in range(most):
        if not engine.busy:
            return
        assert engine.step(), "somebody waits, but nothing can be done"
    raise AssertionError(f"not finished after {most} steps")


def run(engine: Engine, requests: Sequence[Request]) -> list[list[Sample]]:
    for request in requests:
        engine.add(request)
    finish(engine)
    return [told(request) for request in requests]


def engine_of(runner: Any, vocabulary: Any = None, *, blocks: int = 0, **fields: Any) -> Engine:
    """An engine with so many blocks of KV memory; 0: as many as it likes."""
    memory = blocks * BLOCK * runner.slot_bytes if blocks else WIDE
    return Engine(runner, vocabulary or Letters(), memory=memory, **fields)


def random_ids(seed: int, count: int, size: int = 120) -> list[int]:
    return torch.randint(0, size, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def greedy(plain: Any, ids: Sequence[int], count: int) -> list[int]:
    """What transformers generates."""
    asked = torch.tensor([list(ids)])
    out = plain.generate(
        asked, attention_mask=torch.ones_like(asked), do_sample=False, max_new_tokens=count, pad_token_id=0
    )
    return out[0, len(ids) :].tolist()  # type: ignore[no-any-return]


def logprobs(plain: Any, ids: Sequence[int]) -> Tensor:
    """(tokens, vocabulary): log-probabilities of what follows each token, from one pass over all of them."""
    with torch.inference_mode():
        return torch.log_softmax(plain(torch.tensor([list(ids)]), use_cache=False).logits[0], -1)


def close(got: Sequence[float], want: Sequence[float], within: float) -> bool:
    return len(got) == len(want) and all(abs(a - b) <= within for a, b in zip(got, want, strict=True))


def watch_delays(engine: Engine) -> list[object]:
    """Who was put off, each time."""
    delays: list[object] = []
    delay = engine.scheduler.delay

    def watched(one: Any) -> None:
        delays.append(one)
        delay(one)

    engine.scheduler.delay = watched  # type: ignore[method-assign]
    return delays
