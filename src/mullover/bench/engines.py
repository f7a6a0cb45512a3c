"""The engines that are compared: ours, `generate` of transformers, and its continuous batching."""

import logging
import time
from collections.abc import Sequence
from typing import Any

import torch
import transformers

from mullover.engine.engine import BLOCK, Engine
from mullover.engine.hugging import HuggingFace
from mullover.engine.request import Request
from mullover.engine.text import Stream
from mullover.errors import ModelError
from mullover.types import Event, Sample, Sampling

PATIENCE = 120  # seconds without a result


class _Nothing:
    def push(self, token: int) -> str:
        return chr(97 + token % 26)

    def rest(self) -> str:
        return ""


class Plain:
    """A vocabulary without text: no sample ends by itself."""

    ends: frozenset[int] = frozenset()
    think: tuple[str, str] | None = None

    def stream(self, before: Sequence[int]) -> Stream:
        return _Nothing()

    def text(self, token: int) -> str:
        return str(token)


def asked(ids: Sequence[int], seeds: Sequence[int], new: int, temperature: float = 1.0) -> Request:
    return Request(tuple(ids), Sampling(temperature=temperature, max_tokens=new), _ignored, seeds=tuple(seeds))


class Ours:
    """Room for `tokens` cached tokens, and for the blocks that `most` sequences leave half full."""

    def __init__(self, runner: HuggingFace, tokens: int, most: int = 256) -> None:
        blocks = -(-tokens // BLOCK) + 2 * most + 64
        wide = runner.device.type == "cuda"
        memory, chunk = blocks * BLOCK * runner.slot_bytes, 8192 if wide else 512
        self.engine = Engine(runner, Plain(), memory=memory, most=max(most, 2), chunk=chunk)

    def run(self, requests: Sequence[Request]) -> list[list[Sample]]:
        """Samples of each request, in order.

        Raises:
            ModelError: one failed.
        """
        found: dict[Request, dict[int, Sample]] = {request: {} for request in requests}

        def deliver(request: Request, events: list[Event]) -> None:
            request.read()
            for event in events:
                if event.sample is not None:
                    found[request][event.index] = event.sample

        for request in requests:
            request.deliver = deliver
            self.engine.add(request)
        while self.engine.busy:
            self.engine.step()
        bad = [sample.error for some in found.values() for sample in some.values() if sample.error]
        if bad:
            raise ModelError(bad[0])
        return [[some[i] for i in range(request.size)] for request, some in found.items()]


def _ignored(request: Request, events: list[Event]) -> None:
    """Until `Ours.run` takes it."""


class Generate:
    """`model.generate`, left-padded; all samples of a call run to the same length."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def run(self, prompts: Sequence[Sequence[int]], each: int, new: int, seed: int = 0) -> torch.Tensor:
        """(prompts * each, longest prompt + new) tokens."""
        longest = max(map(len, prompts))
        ids = torch.tensor([[0] * (longest - len(one)) + [*one] for one in prompts], device=self.model.device)
        seen = torch.tensor([[0] * (longest - len(one)) + [1] * len(one) for one in prompts], device=self.model.device)
        torch.manual_seed(seed)
        with torch.inference_mode():
            done: torch.Tensor = self.model.generate(
                ids,
                attention_mask=seen,
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                num_return_sequences=each,
                max_new_tokens=new,
                min_new_tokens=new,
                use_cache=True,
            )
        assert done.shape == (len(prompts) * each, longest + new)
        return done


class Continuous:
    """transformers' own continuous batching, each sample a request of its own.

    Args:
        tokens: that its cache holds.
        most: requests at a time.
    """

    PAGE = 32

    def __init__(self, model: Any, tokens: int, most: int) -> None:
        logging.getLogger("ContinuousBatchingLogger").setLevel(logging.CRITICAL)
        library: Any = transformers  # of which not all is typed
        on_gpu = model.device.type == "cuda"
        self.manager = model.init_continuous_batching(
            generation_config=library.GenerationConfig(do_sample=True, top_k=0, eos_token_id=-1, pad_token_id=0),
            continuous_batching_config=library.ContinuousBatchingConfig(
                page_size=256 if on_gpu else self.PAGE,
                num_blocks=None if on_gpu else -(-tokens // self.PAGE),
                max_batch_tokens=None if on_gpu else 512,
                max_requests_per_batch=most,
                auto_switch_to_flash=False,
            ),
        )
        self._runs = 0

    def run(self, requests: Sequence[tuple[Sequence[int], int]]) -> int:
        """Tokens made for (prompt, new tokens) each.

        Raises:
            ModelError: a request failed, or nothing came for a long time.
        """
        if not self.manager.is_running():
            self.manager.start()
        self._runs += 1
        for i, (ids, new) in enumerate(requests):
            self.manager.add_request([*ids], request_id=f"{self._runs}.{i}", max_new_tokens=new)
        made = done = 0
        last = time.monotonic()
        while done < len(requests):
            found = self.manager.get_result(timeout=1)
            if found is not None and found.is_finished():
                if found.error is not None:
                    raise ModelError(str(found.error))
                made, done, last = made + len(found.generated_tokens), done + 1, time.monotonic()
            elif not self.manager.is_running() or time.monotonic() - last > PATIENCE:
                raise ModelError(f"it stopped: {self.manager.background_thread_status.fatal_error}")
        return made

    def close(self) -> None:
        if self.manager.is_running():
            self.manager.stop(block=True, timeout=5)
        self.manager.destroy()
