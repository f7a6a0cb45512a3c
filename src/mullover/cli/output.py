"""What commands print: text that commands no terminal, JSON that is JSON, usage in one form."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from mullover.types import Role, Usage


def print_json(value: Any) -> None:
    """One object on stdout, in ASCII, so that every terminal and pipe can take it."""
    print(json.dumps(_plain(value), indent=2, allow_nan=False))


def _plain(value: Any) -> Any:
    """JSON has no numbers beside the finite: those are told as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def clean(text: str) -> str:
    """Model text for a terminal: no control characters but line ends and tabs."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def print_rows(rows: Sequence[Sequence[str]]) -> None:
    """A table without lines: columns flush right, the first row their names."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(clean(cell).rjust(width) for cell, width in zip(row, widths, strict=True)))


def ledger(total: Usage, by_role: Mapping[Role, Usage]) -> dict[str, Any]:
    """What was spent, in all and by role."""
    return {**spent(total), "by_role": {role: spent(usage) for role, usage in by_role.items()}}


def spent(usage: Usage) -> dict[str, Any]:
    """Usage as every command prints it."""
    shown = {
        "calls": usage.calls,
        "prompt_tokens": usage.prompt_tokens,
        "cached_tokens": usage.cached_tokens,
        "completion_tokens": usage.completion_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "seconds": round(usage.seconds, 6),
    }
    more = {"retries": usage.retries, "partial": usage.partial, "flops": usage.flops, "money": usage.money}
    more["sandbox_runs"] = usage.sandbox_runs
    return shown | {name: value for name, value in more.items() if value}
