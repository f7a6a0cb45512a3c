"""What reports need of a finished problem: its samples as columns of numbers, and what each answer had cost.

Far smaller than its record, and quick to read: the index keeps one for each problem whose report was ever wanted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import orjson

from mullover.errors import StoreError
from mullover.store.stored import parse

Sheet = dict[str, Any]  # plain JSON; see `sheet_of`


def sheet_of(line: bytes) -> bytes:
    """The sheet of a record, as JSON.

    `right`, `answered`, `complete`, `oracle`, `error` and `seconds` are the record's; `usage` is by role. Columns over
    its whole samples, in their order, None where nothing is known: `groups` (equal numbers are equal answers),
    `rights`, `tokens` (generated), `prompt` (computed tokens of it), `thought` (reasoning among the generated), `ended`
    (not cut by length), `scores`, `sure` (the geometric mean of the tokens' probabilities). `trail` has a row for each
    change of the answer: whether it is right, then tokens (computed prompt and generated), FLOPs, money and seconds
    spent by then.

    Raises:
        StoreError: it is no record.
    """
    record = parse(line)
    try:
        return orjson.dumps(_sheet(record))
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise StoreError(f"the record of {record['id']} is damaged: {error!r}") from error


def _sheet(record: Mapping[str, Any]) -> Sheet:
    clock = record.get("clock", {})
    sheet: Sheet = {
        "right": record.get("correct"),
        "answered": "answer" in record,
        "complete": record.get("complete", True),
        "oracle": record.get("oracle", False),
        "error": record.get("error", ""),
        "seconds": clock.get("seconds", 0.0),
        "usage": record.get("usage", {}),
    }
    whole = [
        c for c in record.get("candidates", ()) if c.get("kind", "sample") == "sample" and ("at" in c or "sample" in c)
    ]
    if record.get("grades") and len(record["grades"]) == len(whole):
        sheet["rights"], sheet["groups"] = record["grades"], record.get("groups")
        sheet |= _columns(record, whole)
    if "trail" in record:
        seconds = clock.get("trail", [0.0] * len(record["trail"]))
        sheet["trail"] = [_spent(row, at) for row, at in zip(record["trail"], seconds, strict=True)]
    return sheet


def _columns(record: Mapping[str, Any], whole: list[dict[str, Any]]) -> dict[str, Any]:
    calls = record.get("calls", ())
    samples = [c["sample"] if "sample" in c else calls[c["at"][0]]["samples"][c["at"][1]] for c in whole]
    usages = [sample.get("usage", {}) for sample in samples]
    scores = [c.get("score", {}).get("value") for c in whole]
    sure = [_sure(sample.get("logprobs")) for sample in samples]
    return {
        "tokens": [usage.get("completion_tokens", 0) for usage in usages],
        "prompt": [usage.get("prompt_tokens", 0) for usage in usages],
        "thought": [usage.get("reasoning_tokens", 0) for usage in usages],
        "ended": [sample["finish"] in ("eos", "stop") for sample in samples],
        "scores": [float(value) if value is not None else None for value in scores] if any_known(scores) else None,
        "sure": sure if any_known(sure) else None,
    }


def any_known(values: list[Any]) -> bool:
    return any(value is not None for value in values)


def _sure(logprobs: list[float | str] | None) -> float | None:
    if not logprobs:
        return None
    return round(math.exp(math.fsum(map(float, logprobs)) / len(logprobs)), 6)


def _spent(row: Mapping[str, Any], seconds: float) -> list[Any]:
    usage = row["usage"]
    tokens = usage.get("prompt_tokens", 0) + usage.get("completion_tokens", 0)
    return [row.get("right"), tokens, usage.get("flops", 0.0), usage.get("money", 0.0), seconds]
