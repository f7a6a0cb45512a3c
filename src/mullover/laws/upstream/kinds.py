"""The five kinds of server, each as the table of what it can and how it says so."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["vllm", "sglang", "llamacpp", "ollama", "openai"]
Error = Mapping[str, Any]

_OPENAI_FIELDS = """
    messages model audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens
    metadata modalities n parallel_tool_calls prediction presence_penalty prompt_cache_key reasoning_effort
    response_format safety_identifier seed service_tier stop store stream stream_options temperature tool_choice tools
    top_logprobs top_p user verbosity web_search_options
"""


@dataclass(frozen=True, slots=True)
class Traits:
    owned_by: str
    version: str
    reasoning: str | None  # the field reasoning is in; None: it is counted and never sent
    end: str | None  # the end token's text among log-probabilities; None: it is not among them
    defaults: Mapping[str, float]  # of sampling, where the request is silent
    many: int | None = None  # the largest n; None: any; 1: n is ignored
    continues: Literal["flag", "always", "never"] = "flag"  # a last turn that is the assistant's
    keep_stop: str = ""  # the field that keeps a stop string in the text
    named_stop: str = ""  # the field that names the stop string met
    seed_bits: int | None = 64  # larger seeds are refused or cut; None: a seed changes nothing
    logprobs: int | None = None  # the largest top_logprobs; None: any
    ignores: frozenset[str] = frozenset()  # fields of `defaults` and others that it takes and does not obey
    knows: frozenset[str] | None = None  # the fields it takes; None: any
    efforts: frozenset[str] | None = None  # values of reasoning_effort; None: any
    template: bool = True  # obeys chat_template_kwargs
    completions: bool = True
    budget_of: Literal["whole", "prompt", "none"] = "prompt"  # what must fit into the context, or is refused
    finish_apart: bool = True  # the finish_reason comes in a chunk of its own
    cached: bool = True  # usage tells tokens read from a cache
    tokens: bool = False  # token ids in and out
    budget: str = ""  # the field for a budget of reasoning tokens
    completion_limit: int | None = None  # max_tokens of /v1/completions, where the request is silent
    open_paths: frozenset[str] = frozenset()  # need no key
    open_root: bool = False  # nor does anything outside /v1
    done_after_error: bool = False  # an error event is followed by [DONE]


_EFFORTS = frozenset({"none", "minimal", "low", "medium", "high", "xhigh", "max"})
_PLAIN = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0}

TRAITS: Mapping[str, Traits] = {
    "vllm": Traits(
        "vllm", "0.18.0", "reasoning", "<|end|>", _PLAIN,
        keep_stop="include_stop_str_in_output", named_stop="stop_reason", logprobs=20, efforts=_EFFORTS,
        budget_of="whole", finish_apart=False, tokens=True, budget="thinking_token_budget",
        completion_limit=16, open_root=True, done_after_error=True,
    ),
    "sglang": Traits(
        "sglang", "0.5.9", "reasoning_content", "<|end|>", _PLAIN,
        keep_stop="no_stop_trim", named_stop="matched_stop", efforts=_EFFORTS,
        budget_of="whole", cached=False, completion_limit=16, open_paths=frozenset({"/health"}),
    ),
    "llamacpp": Traits(
        "llamacpp", "b8123-0fa1b2c3", "reasoning_content", "",
        {"temperature": 0.8, "top_p": 0.95, "top_k": 40, "min_p": 0.05},
        many=4, continues="always", seed_bits=32, budget="reasoning_budget_tokens",
        open_paths=frozenset({"/health", "/v1/models"}),
    ),
    "ollama": Traits(
        "library", "0.17.1", "reasoning", None, _PLAIN,
        many=1, continues="always", ignores=frozenset({"top_k", "min_p", "logprobs"}),
        efforts=frozenset({"none", "low", "medium", "high", "max"}), template=False, budget_of="none", cached=False,
    ),
    "openai": Traits(
        "system", "fp_44709d6fcb", None, None, _PLAIN,
        many=128, continues="never", seed_bits=None, logprobs=20, knows=frozenset(_OPENAI_FIELDS.split()),
        efforts=_EFFORTS, completions=False,
    ),
}  # fmt: skip


class Refused(Exception):  # noqa: N818 (an answer, not a bug)
    """A request that the server answers with an error."""

    def __init__(self, status: int, message: str, *, code: str = "", param: str = "", type: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param, self.type = status, message, code, param, type


_CLASSES = {
    400: "BadRequestError", 401: "AuthenticationError", 404: "NotFoundError", 429: "RateLimitError",
    503: "ServiceUnavailableError",
}  # fmt: skip
_TYPES = {
    400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error",
    503: "unavailable_error",
}  # fmt: skip


def error_body(kind: Kind, refused: Refused) -> Error:
    """The JSON each kind puts into an error answer."""
    status, message, param = refused.status, refused.message, refused.param or None
    if status == 401 and kind in ("vllm", "sglang"):
        return {"error": "Unauthorized"}
    named = refused.type or _CLASSES.get(status, "InternalServerError" if status >= 500 else "BadRequestError")
    if kind == "vllm":
        return {"error": {"message": message, "type": named, "param": param, "code": status}}
    if kind == "sglang":
        return {"object": "error", "message": message, "type": named, "param": param, "code": status}
    typed = refused.type or _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    if kind == "llamacpp":
        return {"error": {"code": status, "message": message, "type": typed}}
    if kind == "ollama":
        typed = "api_error" if status >= 500 else typed
        return {"error": {"message": message, "type": typed, "param": None, "code": None}}
    typed = "invalid_request_error" if status in (401, 404) else typed
    return {"error": {"message": message, "type": typed, "param": param, "code": refused.code or None}}


def unknown_model(kind: Kind, name: str) -> Refused:
    messages = {
        "vllm": f"The model `{name}` does not exist.",
        "sglang": f"Model '{name}' not found",
        "llamacpp": f"model '{name}' not found",
        "ollama": f"model '{name}' not found",
        "openai": f"The model `{name}` does not exist or you do not have access to it.",
    }
    return Refused(404, messages[kind], code="model_not_found", param="model")
