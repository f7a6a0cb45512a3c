"""What makes two runs the same run, beyond the words of the command: the contents of what they name."""

import hashlib
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from mullover.prompts import Style
from mullover.seeds import canonical
from mullover.strategies import names
from mullover.types import Model, Strategy


def name_of(strategy: Strategy) -> str:
    """The name of one of ours, or `module:function`."""
    ours = strategy.__name__ in names() and strategy.__module__ == f"mullover.strategies.{strategy.__name__}"
    return strategy.__name__ if ours else f"{strategy.__module__}:{strategy.__qualname__}"


def contents(strategy: Strategy, model: Model, options: Mapping[str, Any]) -> dict[str, str]:
    """A hash of each file behind the model, the options and a strategy from outside: an edited file is another run."""
    found = {"model": model.info.digest}
    if ":" in name_of(strategy):
        found["strategy"] = _source(strategy)
    for option, value in options.items():
        found[f"option {option}"] = " ".join(_marks(value))
    return {name: mark for name, mark in found.items() if mark}


def _source(strategy: Strategy) -> str:
    try:
        text = inspect.getsource(inspect.getmodule(strategy) or strategy)
    except (OSError, TypeError):  # made in a notebook or by exec: it has no file
        return ""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _marks(value: Any) -> Iterator[str]:
    if isinstance(value, Style):
        told = canonical([value.template, value.extract, value.by_kind])
        yield hashlib.sha256(told.encode("utf-8", "replace")).hexdigest()
    elif isinstance(value, Model):
        yield value.info.digest or value.info.name
    elif is_dataclass(value) and not isinstance(value, type):
        for f in fields(value):
            yield from _marks(getattr(value, f.name))
