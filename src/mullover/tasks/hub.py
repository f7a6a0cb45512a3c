"""Rows from the Hugging Face hub, where the package `datasets` is installed. It is imported only when used."""

import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from mullover.errors import OptionError

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Hub:
    """Where a set lies on the hub, and how its rows become those of the file."""

    path: str  # owner/name
    split: str
    config: str | None = None
    row: Callable[[Row], Row] = dict

    @property
    def reachable(self) -> bool:
        """Is the package installed? The network is not asked."""
        return "datasets" in sys.modules or find_spec("datasets") is not None


def rows_of(hub: Hub) -> tuple[Sequence[Row], str]:
    """The rows of one split, in its order, and the sha256 of them as canonical JSON.

    Raises:
        OptionError: the hub cannot be reached, or has no such set, configuration or split.
    """
    from datasets import load_dataset

    try:
        rows = [hub.row(row) for row in load_dataset(hub.path, hub.config, split=hub.split)]
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise OptionError(f"{hub.path} ({hub.split}) cannot be loaded from the Hugging Face hub: {error}") from error
    return rows, digest(rows)


def digest(rows: Sequence[Row]) -> str:
    text = json.dumps(rows, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def renamed(**names: str) -> Callable[[Row], Row]:
    """A row with some of its fields under other names: `renamed(prompt="problem")` reads prompt from problem."""

    def rename(row: Row) -> Row:
        return {**row, **{ours: row[theirs] for ours, theirs in names.items()}}

    return rename
