"""Records in a form in which equal runs are equal, byte for byte."""

from __future__ import annotations

from typing import Any

import orjson


def canonical(line: bytes) -> bytes:
    """The record without its clocks, keys sorted: equal for equal runs, whatever order their calls ended in.

    The answer's text is written out: which of several samples that say the same comes first is a clock too.
    """
    record = orjson.loads(line)
    record.pop("clock", None)
    record.pop("trail", None)  # which answer came first, and what was spent by then, is a clock as well
    calls = record.get("calls", ())
    if "text_at" in record:
        call, sample = record.pop("text_at")
        record["text"] = calls[call]["samples"][sample]["text"]
    for table, pointer in (("prompts", "prompt"), ("segments", "said")):
        if table in record:
            record[table], moved = _sorted(record[table])
            for call in calls:
                if pointer in call:
                    old = call[pointer]
                    call[pointer] = moved[old] if isinstance(old, int) else [moved[i] for i in old]
    if calls:
        if len(models := {call.get("model", record["model"]) for call in calls}) > 1:
            for call in calls:  # the record's model is that of the call which ended first
                call.setdefault("model", record["model"])
            record["model"] = min(models)
        record["calls"], moved = _sorted(calls)
        for candidate in record.get("candidates", ()):
            if "at" in candidate:
                candidate["at"][0] = moved[candidate["at"][0]]
    return orjson.dumps(record, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def _sorted(rows: list[Any]) -> tuple[list[Any], dict[int, int]]:
    """The rows in the order of their own text, and where each went."""
    texts = [orjson.dumps(row, option=orjson.OPT_SORT_KEYS) for row in rows]
    order = sorted(range(len(rows)), key=texts.__getitem__)
    return [rows[i] for i in order], {old: new for new, old in enumerate(order)}
