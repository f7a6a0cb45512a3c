"""Log-probabilities of given texts, where a server tells those of a prompt."""

import asyncio
import math
import random
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mullover.aio import together
from mullover.backends.content import messages
from mullover.backends.http.endpoint import Endpoint
from mullover.backends.http.failures import AttemptError, in_words
from mullover.errors import ModelError
from mullover.types import Prompt, Sampling

if TYPE_CHECKING:
    from mullover.backends.http.http import Patience
    from mullover.backends.pool.router import Router


async def scored(
    router: "Router", patience: "Patience", prompt: Prompt, texts: Sequence[str]
) -> list[tuple[float, ...]]:
    """Of each token of each text as the continuation of `prompt`, nats.

    Raises:
        ModelError: a request failed for good, or tokens do not part where the prompt ends.
    """
    return await together(*(_retried(router, patience, prompt, text) for text in texts))


async def _retried(router: "Router", patience: "Patience", prompt: Prompt, text: str) -> tuple[float, ...]:
    avoid, tries = None, 0
    while True:
        endpoint = await router.enter(prompt.text, avoid)
        started = time.monotonic()
        try:
            logprobs = await one(endpoint, prompt, text)
            endpoint.gate.well(started, time.monotonic() - started)
            router.succeeded()
            return logprobs
        except AttemptError as failed:
            endpoint.failed(failed, started)
            tries += 1
            if tries >= patience.attempts or router.is_hopeless(failed):
                raise ModelError(str(failed)) from None
            avoid = endpoint
        finally:
            endpoint.gate.leave(started)
        # The wait's length is no part of any result, so it needs no seed.
        await asyncio.sleep(random.uniform(0, patience.most(tries)))


async def one(endpoint: Endpoint, prompt: Prompt, text: str) -> tuple[float, ...]:
    """By one request to one endpoint.

    Raises:
        AttemptError: it failed, or the answer does not have them.
    """
    if not text:
        return ()
    body: dict[str, Any] = {"model": endpoint.spec.name, "max_tokens": 1, "temperature": 1.0}
    url = f"{endpoint.spec.url}/completions"
    if endpoint.profile.scores == "prompt_logprobs":
        before, ids = await endpoint.begun(prompt, Sampling()), await endpoint.ids_of(text)
        if isinstance(before, str):
            raise AttemptError(f"{endpoint.spec.host} needs the prompt in token ids to score texts")
        body |= {"prompt": [*before, *ids], "prompt_logprobs": 0}
        return of_prompt(await endpoint.transport.json("POST", url, body), ids)
    if endpoint.template is None:
        raise AttemptError(f"{endpoint.spec.host} needs a chat template to score texts: URL#name;template=FILE")
    said = endpoint.template.render(messages(prompt), None) + prompt.said
    body |= {"prompt": said + text, "echo": True, "logprobs": 1}
    return of_echo(await endpoint.transport.json("POST", url, body), said, text)


def of_prompt(value: Any, ids: Sequence[int]) -> tuple[float, ...]:
    """Of the last ids of the prompt, as vLLM tells them: one mapping from id to logprob a token."""
    try:
        told = value["choices"][0]["prompt_logprobs"][-len(ids) :]
        return tuple([float(at[str(i)]["logprob"]) for at, i in zip(told, ids, strict=True)])
    except (KeyError, IndexError, TypeError, ValueError):
        raise AttemptError(f"the server told no log-probabilities of its prompt: {in_words(value)}") from None


def of_echo(value: Any, said: str, text: str) -> tuple[float, ...]:
    """Of the tokens of `text` in an echoed prompt that begins with `said`."""
    try:
        logprobs = value["choices"][0]["logprobs"]
        offsets, numbers = logprobs["text_offset"], logprobs["token_logprobs"]
        at = [i for i, offset in enumerate(offsets) if len(said) <= offset < len(said) + len(text)]
        found = tuple([float(numbers[i]) for i in at])
        starts = {offsets[i] for i in at}
    except (KeyError, IndexError, TypeError, ValueError):
        raise AttemptError(f"the server told no log-probabilities of its prompt: {in_words(value)}") from None
    if len(said) not in starts or any(map(math.isnan, found)):
        raise AttemptError("a token of the prompt reaches into the text to be scored, which so cannot be scored alone")
    return found
