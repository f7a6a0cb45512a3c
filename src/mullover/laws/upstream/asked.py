"""What a request asks, once everything its kind of server refuses is refused."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mullover.errors import OptionError
from mullover.laws.upstream.kinds import Kind, Refused, Traits
from mullover.laws.upstream.template import message_of
from mullover.laws.upstream.voice import Spot, Voice
from mullover.sampling import Sampling
from mullover.types import Message

ENDLESS = 1 << 20  # max_tokens where the request is silent


@dataclass(frozen=True, slots=True)
class Rules:
    """What does not change between requests."""

    kind: Kind
    traits: Traits
    voice: Voice
    context: int
    strict: bool  # as OpenAI's reasoning models


@dataclass(frozen=True, slots=True)
class Asked:
    chat: bool
    spot: Spot
    n: int
    seeds: tuple[int, ...]
    sampling: Sampling
    stream: bool = False
    usage: bool = False
    logprobs: bool = False
    ids: bool = False
    id_tokens: bool = False  # tokens of log-probabilities by their ids
    keep_stop: bool = False
    budget: int | None = None  # of reasoning tokens
    echo: bool = False
    mute: bool = False  # the echo is all that is wanted
    prompt_logprobs: int | None = None


def read(rules: Rules, chat: bool, body: Mapping[str, Any]) -> Asked:
    """Raises Refused as this kind of server would."""
    _check_fields(rules, body)
    traits = rules.traits
    logprobs, top = _logprobs(traits, chat, body)
    silent = ENDLESS if chat or traits.completion_limit is None else traits.completion_limit
    limit = _int(body, "max_completion_tokens", _int(body, "max_tokens", silent))
    echo = traits.tokens and not chat and body.get("echo") is True
    asked = Asked(
        chat,
        spot_of(rules, body, chat),
        n := _many(traits, body),
        _seeds(traits, body, n),
        _sampling(rules, body, 1 if echo and limit == 0 else limit, top),
        body.get("stream") is True,
        isinstance(options := body.get("stream_options"), dict) and options.get("include_usage") is True,
        logprobs,
        traits.tokens and body.get("return_token_ids") is True,
        traits.tokens and body.get("return_tokens_as_token_ids") is True,
        bool(traits.keep_stop) and body.get(traits.keep_stop) is True,
        _budget(traits, body) if chat else None,
        echo,
        echo and limit == 0,
        _int(body, "prompt_logprobs", None) if traits.tokens else None,
    )
    _check(rules, asked, limit)
    return asked


def spot_of(rules: Rules, body: Mapping[str, Any], chat: bool) -> Spot:
    """Where the model stands when it has read the prompt."""
    return _chat_spot(rules, body) if chat else _text_spot(rules, body)


def _text_spot(rules: Rules, body: Mapping[str, Any]) -> Spot:
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], (str, list)):
        prompt = prompt[0]
    if isinstance(prompt, str):
        return rules.voice.of_text(prompt)
    if rules.traits.tokens and isinstance(prompt, list) and prompt and all(type(i) is int for i in prompt):
        return rules.voice.of_ids(prompt)
    raise Refused(400, "prompt must be a text or a list of token ids", param="prompt")


def _chat_spot(rules: Rules, body: Mapping[str, Any]) -> Spot:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Refused(400, "messages must be a list of at least one message", param="messages")
    turns = [_message(one) for one in messages]
    quiet, said = _quiet(rules.traits, body), ""
    if _continues(rules, body, turns):
        if rules.kind == "llamacpp" and rules.voice.quiet is not None and not quiet:
            raise Refused(400, "Assistant response prefill is incompatible with enable_thinking.")
        said = turns.pop().text
    return rules.voice.of_chat(turns, quiet, said)


def _message(given: object) -> Message:
    if not isinstance(given, dict):
        raise Refused(400, "a message must be an object", param="messages")
    content = given.get("content")
    if isinstance(content, list):
        content = "\n".join([part.get("text", "") for part in content if isinstance(part, dict)])
    if content is not None and not isinstance(content, str):
        raise Refused(400, "content must be a text or a list of parts", param="messages")
    return message_of(given.get("role"), content or "")


def _continues(rules: Rules, body: Mapping[str, Any], turns: list[Message]) -> bool:
    last = turns[-1].role == "assistant"
    if rules.traits.continues != "flag":
        return last and rules.traits.continues == "always"
    if body.get("continue_final_message") is not True:
        return False
    if rules.kind == "vllm" and body.get("add_generation_prompt", True) is not False:
        raise Refused(400, "Cannot set both `continue_final_message` and `add_generation_prompt` to True.")
    if not last:
        raise Refused(400, "continue_final_message is set but the final message is not the assistant's")
    return True


def _quiet(traits: Traits, body: Mapping[str, Any]) -> bool:
    settings = body.get("chat_template_kwargs")
    if traits.template and isinstance(settings, dict) and "enable_thinking" in settings:
        return settings["enable_thinking"] is False
    return body.get("reasoning_effort") == "none"


def _many(traits: Traits, body: Mapping[str, Any]) -> int:
    n: int = _int(body, "n", 1)
    if traits.many == 1:
        return 1
    if n < 1 or (traits.many is not None and n > traits.many):
        raise Refused(400, f"n must be at least 1 and at most {traits.many or 16384}, got {n}", param="n")
    return n


def _seeds(traits: Traits, body: Mapping[str, Any], n: int) -> tuple[int, ...]:
    """Choice i has the seed of choice 0, plus i."""
    seed = _int(body, "seed", None)
    if traits.seed_bits is None:
        seed = None
    elif traits.seed_bits == 32 and seed is not None:
        seed = None if seed % 2**32 == 2**32 - 1 else seed % 2**32
    elif seed is not None and not -(2**63) <= seed < 2**63:
        raise Refused(400, f"seed is {seed}; it must fit in 64 bits", param="seed")
    return tuple(random.getrandbits(63) if seed is None else seed + i for i in range(n))


def _budget(traits: Traits, body: Mapping[str, Any]) -> int | None:
    budget: int | None = _int(body, traits.budget, None)
    return None if budget is None or budget < 0 else budget


def _logprobs(traits: Traits, chat: bool, body: Mapping[str, Any]) -> tuple[bool, int]:
    """Whether they are wanted, and how many alternatives."""
    if "logprobs" in traits.ignores:
        return False, 0
    if chat:
        wanted, top = body.get("logprobs") is True, _int(body, "top_logprobs", 0)
        if top and not wanted:
            raise Refused(400, "when using `top_logprobs`, `logprobs` must be set to true.", param="top_logprobs")
    else:
        wanted, top = body.get("logprobs") is not None, _int(body, "logprobs", 0)
    if top < 0 or (traits.logprobs is not None and top > traits.logprobs):
        raise Refused(400, f"top_logprobs must be at most {traits.logprobs}, got {top}", param="top_logprobs")
    return wanted, top


def _sampling(rules: Rules, body: Mapping[str, Any], limit: int, top: int) -> Sampling:
    numbers = {name: _number(rules.traits, body, name) for name in rules.traits.defaults}
    stop = body.get("stop") or ()
    stops = (stop,) if isinstance(stop, str) else tuple(stop)
    if not all(isinstance(one, str) and one for one in stops):
        raise Refused(400, "stop cannot contain an empty string.", param="stop")
    if rules.kind == "openai" and len(stops) > 4:
        raise Refused(400, "Invalid 'stop': array too long. Expected at most 4.", code="array_above_max_length")
    top_k = max(0, int(numbers["top_k"]))
    try:
        return Sampling(numbers["temperature"], numbers["top_p"], top_k, numbers["min_p"], limit, stops, top)
    except OptionError as error:
        raise Refused(400, str(error)) from None


def _number(traits: Traits, body: Mapping[str, Any], name: str) -> float:
    value = body.get(name)
    if value is None or name in traits.ignores:
        return traits.defaults[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Refused(400, f"{name} must be a number, got {value!r}", param=name)
    return float(value)


def _int(body: Mapping[str, Any], name: str, silent: Any) -> Any:
    """An int, or `silent` if there is none; null is none."""
    value = body.get(name)
    if value is None:
        return silent
    if isinstance(value, bool) or not isinstance(value, int):
        raise Refused(400, f"{name} must be an integer, got {value!r}", param=name)
    return value


def _check_fields(rules: Rules, body: Mapping[str, Any]) -> None:
    traits = rules.traits
    if traits.knows is not None and (unknown := [name for name in body if name not in traits.knows]):
        many = "s" if len(unknown) > 1 else ""
        raise Refused(400, f"Unrecognized request argument{many} supplied: {', '.join(unknown)}")
    if rules.kind in ("vllm", "openai") and body.get("stream_options") and body.get("stream") is not True:
        raise Refused(400, "Stream options can only be defined when `stream=True`.", param="stream_options")
    effort = body.get("reasoning_effort")
    if effort is not None and traits.efforts is not None and effort not in traits.efforts:
        raise Refused(400, f"reasoning_effort is {effort!r}; take one of {sorted(traits.efforts)}")
    if rules.strict:
        _check_strict(body)


def _check_strict(body: Mapping[str, Any]) -> None:
    for name, instead in (("max_tokens", " Use 'max_completion_tokens' instead."), ("top_p", ""), ("logprobs", "")):
        if body.get(name) is not None:
            said = f"Unsupported parameter: '{name}' is not supported with this model.{instead}"
            raise Refused(400, said, code="unsupported_parameter", param=name)
    if body.get("temperature") not in (None, 1):
        said = (
            f"Unsupported value: 'temperature' does not support {body['temperature']} with this model. "
            "Only the default (1) value is supported."
        )
        raise Refused(400, said, code="unsupported_value", param="temperature")


def _check(rules: Rules, asked: Asked, limit: int) -> None:
    if rules.kind == "vllm":
        if asked.n > 1 and asked.sampling.temperature == 0:
            raise Refused(400, f"n must be 1 when using greedy sampling, got {asked.n}.")
        if asked.stream and (asked.prompt_logprobs is not None or asked.echo):
            raise Refused(400, "`prompt_logprobs` are not available when `stream=True`.", param="prompt_logprobs")
    words = len(asked.spot.ids) if rules.traits.tokens else asked.spot.words
    new = limit if rules.traits.budget_of == "whole" and limit != ENDLESS else 1
    if rules.traits.budget_of != "none" and words + new > rules.context:
        said = f"This model's maximum context length is {rules.context} tokens, and {words} + {new} were requested."
        kind = "exceed_context_size_error" if rules.kind == "llamacpp" else ""
        raise Refused(400, said, code="context_length_exceeded", param="messages", type=kind)
