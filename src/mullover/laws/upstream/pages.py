"""What GET requests get: the list of models, versions, health."""

from collections.abc import Mapping
from typing import Any

from mullover.laws.upstream.asked import Rules
from mullover.laws.upstream.kinds import Kind, Refused, error_body
from mullover.laws.upstream.spoil import dumped
from mullover.laws.upstream.template import TEMPLATE

CREATED = 1_760_000_000
Page = tuple[int, bytes, str]  # status, body, content type
JSON = "application/json"


def page(rules: Rules, name: str, path: str) -> Page | None:
    """None: this kind has none there."""
    if path == "/v1/models":
        return 200, dumped(_models(rules, name)), JSON
    if path == "/health" and rules.kind in ("vllm", "sglang"):
        return 200, b"", JSON
    if path == "/" and rules.kind == "ollama":
        return 200, b"Ollama is running", "text/plain"
    known = _infos(rules, name).get((rules.kind, path))
    return None if known is None else (200, dumped(known), JSON)


def not_found(kind: Kind, path: str, method: str = "GET") -> Page:
    if kind in ("vllm", "sglang"):
        return 404, b'{"detail":"Not Found"}', JSON
    if kind == "ollama":
        return 404, b"404 page not found", "text/plain"
    said = "File Not Found" if kind == "llamacpp" else f"Invalid URL ({method} {path})"
    return 404, dumped(error_body(kind, Refused(404, said))), JSON


def _models(rules: Rules, name: str) -> Mapping[str, Any]:
    one: dict[str, Any] = {"id": name, "object": "model", "created": CREATED, "owned_by": rules.traits.owned_by}
    if rules.kind in ("vllm", "sglang"):
        one |= {"root": name, "parent": None, "max_model_len": rules.context}
    if rules.kind == "llamacpp":
        one["meta"] = {"n_ctx_train": rules.context, "n_vocab": rules.voice.first}
    return {"object": "list", "data": [one]}


def _infos(rules: Rules, name: str) -> Mapping[tuple[Kind, str], Mapping[str, Any]]:
    version, context = rules.traits.version, rules.context
    props = {
        "build_info": version,
        "model_path": f"/models/{name}.gguf",
        "chat_template": TEMPLATE,
        "total_slots": rules.traits.many,
        "default_generation_settings": {"n_ctx": context},
    }
    return {
        ("vllm", "/version"): {"version": version},
        ("sglang", "/get_server_info"): {"version": version, "model_path": name, "context_length": context},
        ("llamacpp", "/props"): props,
        ("llamacpp", "/health"): {"status": "ok"},
        ("ollama", "/api/version"): {"version": version},
    }
