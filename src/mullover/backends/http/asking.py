"""A request in a server's own words."""

from collections.abc import Mapping
from typing import Any

from mullover.backends.content import messages
from mullover.backends.http.profile import Profile
from mullover.errors import CapabilityError
from mullover.types import ModelInfo, Prompt, Sampling

KEEP = {"include_stop_str_in_output": True, "no_stop_trim": True}  # vLLM's and SGLang's word for one wish
ALL = 1 << 30  # a top_k of all tokens: 0 is refused by SGLang, -1 by llama-cpp-python, and each means all elsewhere
SEED = (1 << 31) - 1  # seeds that fit what every server holds them in


def check(info: ModelInfo, profile: Profile, sampling: Sampling) -> None:
    """What `ModelInfo.check` cannot see: not only whether, but how much.

    Raises:
        CapabilityError: more alternatives than the server tells, or a way of thinking it does not take.
    """
    if sampling.top_logprobs > profile.logprobs > 0:
        raise CapabilityError(
            f"{info.name} cannot do top_logprobs {sampling.top_logprobs}; it tells {profile.logprobs} at most"
        )
    wish = sampling.thinking
    if wish is None:
        return
    if isinstance(wish, bool):
        if not profile.thinks:
            raise CapabilityError(f"{info.name} cannot do thinking on or off; leave it out")
    elif isinstance(wish, str):
        if wish not in profile.efforts:
            known = ", ".join(profile.efforts)
            raise CapabilityError(f"{info.name} cannot do thinking {wish!r}; it takes {known or 'no efforts'}")
    elif not profile.budget:
        raise CapabilityError(f"{info.name} cannot do thinking by a budget of tokens; say on, off or an effort")


def seeded(body: Mapping[str, Any], profile: Profile, seed: int) -> Mapping[str, Any]:
    """A request with its sample's own seed, in what every server holds seeds in."""
    return {**body, "seed": seed & SEED} if profile.seed else body


def chat(name: str, profile: Profile, prompt: Prompt, sampling: Sampling, n: int) -> dict[str, Any]:
    """The body of a chat request; a turn that was begun goes on in the server's way."""
    body = _common(name, profile, sampling, n) | turn(profile, prompt, sampling.thinking)
    if sampling.top_logprobs:
        body |= {"logprobs": True, "top_logprobs": sampling.top_logprobs}
    return body


def turn(profile: Profile, prompt: Prompt, wish: bool | str | int | None) -> dict[str, Any]:
    """The messages, thinking as wished, and how a turn that was begun goes on."""
    asked, body = messages(prompt), dict(thinking(profile, wish))
    if prompt.segments:
        asked.append({"role": "assistant", "content": prompt.said})
        if profile.continues == "flag":
            body |= {"continue_final_message": True, "add_generation_prompt": False}
        if wish is None:  # its thought, if any, is in what was said
            body |= thinking(profile, False if profile.thinks else None)
    return body | {"messages": asked}


def raw(name: str, profile: Profile, begun: str | list[int], sampling: Sampling, n: int) -> dict[str, Any]:
    """The body of a raw completion of a text or of token ids."""
    body = _common(name, profile, sampling, n)
    if body.pop("max_completion_tokens", None):
        body["max_tokens"] = sampling.max_tokens
    body["prompt"] = begun
    if type(sampling.thinking) is int:  # on and off are in the prompt that was rendered, a budget is not
        body |= _budget(profile, sampling.thinking)
    if sampling.top_logprobs:
        body["logprobs"] = sampling.top_logprobs
    return body


def _common(name: str, profile: Profile, sampling: Sampling, n: int) -> dict[str, Any]:
    """What was asked is said in full: a server's own defaults would else stand in for what is left out."""
    body: dict[str, Any] = {"model": name, "stream": True, profile.limit: sampling.max_tokens}
    if profile.temperature:
        body |= {"temperature": sampling.temperature, "top_p": sampling.top_p}
    if profile.top_k:
        body["top_k"] = sampling.top_k or ALL
    if profile.min_p:
        body["min_p"] = sampling.min_p
    if profile.usage:
        body["stream_options"] = {"include_usage": True}
    if profile.ids:
        body["return_token_ids"] = True
    if n > 1:
        body["n"] = n
    if sampling.stop and profile.stops:
        body |= {"stop": list(sampling.stop), **KEEP}
    return body


def thinking(profile: Profile, wish: bool | str | int | None) -> Mapping[str, Any]:
    """The fields that ask for it, in the way this server takes."""
    if wish is None:
        return {}
    if not isinstance(wish, bool):
        return {"reasoning_effort": wish} if isinstance(wish, str) else _budget(profile, wish)
    ways: Mapping[str, dict[str, Any]] = {
        "template": {"chat_template_kwargs": {"enable_thinking": wish, "thinking": wish}},
        "effort": {"reasoning_effort": "medium" if wish else "none"},
        "type": {"thinking": {"type": "enabled" if wish else "disabled"}},
        "reasoning": {"reasoning": {"enabled": wish}},
    }
    return ways.get(profile.thinks, {})


def _budget(profile: Profile, tokens: int) -> Mapping[str, Any]:
    if profile.budget == "reasoning.max_tokens":
        return {"reasoning": {"max_tokens": tokens}}
    return {profile.budget: tokens}
