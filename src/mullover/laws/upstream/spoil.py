"""Faults in what an answer says: JSON in, JSON out."""

import json
import math
from collections.abc import Callable
from typing import Any

from mullover.laws.upstream.fault import Fault

Json = dict[str, Any]


def dumped(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def spoiled(fault: Fault | None, answer: Json, n: int) -> list[Json]:
    """What is sent in the place of a chunk, or of a whole body, of an answer of `n` choices."""
    if fault is None or fault.kind not in _SPOILERS:
        return [answer]
    return _SPOILERS[fault.kind](fault, answer, n)


def _wrong_n(fault: Fault, answer: Json, n: int) -> list[Json]:
    """Choices with the highest indices are left out, or the first one is said again under further indices."""
    choices = answer.get("choices") or []
    if not choices:
        return [answer]
    kept = [choice for choice in choices if choice["index"] < n + min(fault.by, 0)]
    firsts = [choice for choice in choices if choice["index"] == 0]
    kept += [{**choice, "index": n + k} for k in range(max(fault.by, 0)) for choice in firsts]
    return [{**answer, "choices": kept}] if kept or "usage" in answer else []


def _null_content(fault: Fault, answer: Json, n: int) -> list[Json]:
    return [_each(answer, _emptied)]


def _emptied(choice: Json) -> Json:
    return {**_with_content(choice, None, None), "finish_reason": "stop" if choice.get("finish_reason") else None}


def _with_content(choice: Json, delta: object, message: object) -> Json:
    """Another content, in whichever place it has."""
    changed = dict(choice)
    for key, content in (("delta", delta), ("message", message)):
        if key in choice:
            changed[key] = {**choice[key], "content": content}
    if "text" in choice:
        changed["text"] = message
    return changed


def _no_usage(fault: Fault, answer: Json, n: int) -> list[Json]:
    kept = {key: value for key, value in answer.items() if key != "usage"}
    return [kept] if kept.get("choices") else []


def _no_done(fault: Fault, answer: Json, n: int) -> list[Json]:
    return [_each(answer, lambda choice: {**choice, "finish_reason": None})]


def _nan_logprobs(fault: Fault, answer: Json, n: int) -> list[Json]:
    return [_each(answer, lambda choice: {**choice, "logprobs": _nan(choice.get("logprobs"))})]


def _nan(value: Any, inside: bool = False) -> Any:
    """Every log-probability in it becomes NaN."""
    if isinstance(value, dict):
        return {key: _nan(one, inside or "logprob" in key) for key, one in value.items() if key != "bytes"}
    if isinstance(value, list):
        return [_nan(one, inside) for one in value]
    return math.nan if inside and isinstance(value, float) else value


def _duplicate_finish(fault: Fault, answer: Json, n: int) -> list[Json]:
    choices = answer.get("choices") or []
    if "usage" in answer and choices:  # a body
        return [{**answer, "choices": [*choices, *choices]}]
    return [answer, answer] if any(choice.get("finish_reason") for choice in choices) else [answer]


def _garbage_index(fault: Fault, answer: Json, n: int) -> list[Json]:
    return [_each(answer, lambda choice: {**choice, "index": fault.index})]


def _wrong_types(fault: Fault, answer: Json, n: int) -> list[Json]:
    wrong = _each(answer, lambda choice: _with_content(choice, ["so"], 5))
    if isinstance(usage := wrong.get("usage"), dict):
        wrong["usage"] = {key: str(value) for key, value in usage.items()}
    return [wrong]


def _each(answer: Json, change: Callable[[Json], Json]) -> Json:
    return {**answer, "choices": [change(choice) for choice in answer.get("choices") or []]}


_SPOILERS: dict[str, Callable[[Fault, Json, int], list[Json]]] = {
    "wrong_n": _wrong_n,
    "null_content": _null_content,
    "no_usage": _no_usage,
    "no_done": _no_done,
    "nan_logprobs": _nan_logprobs,
    "duplicate_finish": _duplicate_finish,
    "garbage_index": _garbage_index,
    "wrong_types": _wrong_types,
}
