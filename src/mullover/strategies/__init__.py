"""One file, one strategy: module `name` holds the async generator `name`. Nothing to register."""

import inspect
import pkgutil
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from importlib import import_module
from types import MappingProxyType
from typing import Any

from mullover.errors import OptionError
from mullover.types import Needs, Strategy


def names() -> list[str]:
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def load(name: str) -> Strategy:
    """`best_of_n` (one of ours) or `your_package.your_module:function` (one of yours).

    Raises:
        OptionError: no such strategy. A missing dependency inside one is not hidden by this.
    """
    module, _, attribute = name.partition(":")
    if not attribute:
        if name not in names():
            near = get_close_matches(name, names(), 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names())}"
            raise OptionError(f"no strategy {name!r}; {hint}")
        module, attribute = f"{__name__}.{name}", name
    try:
        found = getattr(import_module(module), attribute, None)
    except ModuleNotFoundError as error:
        if f"{module}.".startswith(f"{error.name}."):
            raise OptionError(f"no module {module!r} for strategy {name!r}; is it installed?") from None
        raise
    if not inspect.isasyncgenfunction(found):
        raise OptionError(f"{name!r} is no strategy: {attribute} must be an async generator function in {module}")
    return found


@lru_cache(maxsize=256)
def parameters(strategy: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Its options, with annotations resolved: what flags, recipes, server and docs are made from."""
    signature = inspect.signature(strategy, eval_str=True)
    return MappingProxyType({name: p for name, p in signature.parameters.items() if p.kind is p.KEYWORD_ONLY})


def needs(strategy: Strategy) -> Needs:
    """NEEDS of the strategy's module: what it must have of a model."""
    found = getattr(sys.modules.get(strategy.__module__), "NEEDS", None)
    return found if isinstance(found, Needs) else _NONE


_NONE = Needs()


@dataclass(frozen=True, slots=True)
class Docs:
    """A strategy's docstring, taken apart: what flags, `mull strategies` and the docs page are made from."""

    summary: str  # its first paragraph
    options: Mapping[str, str]  # what its Args say
    yields: str
    departures: str  # from the paper
    source: str


@lru_cache(maxsize=256)
def docs(strategy: Strategy) -> Docs:
    """What its docstring says; empty where it says nothing."""
    text = inspect.getdoc(strategy) or ""
    summary, *_ = text.split("\n\n")
    parts = {m[1]: " ".join(m[2].split()) for m in _SECTION.finditer(text)}
    args = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)*)", text, re.MULTILINE)
    options = {m[1]: " ".join(m[2].split()) for m in _ARGUMENT.finditer(args[1])} if args else {}
    return Docs(
        " ".join(summary.split()),
        options,
        parts.get("Yields", ""),
        parts.get("Departures", ""),
        parts.get("Source", ""),
    )


_SECTION = re.compile(r"^(Yields|Departures|Source):((?:.|\n(?=[ \t]|\n[ \t]))*)", re.MULTILINE)
_ARGUMENT = re.compile(r"^ {4}(\w+): ((?:.|\n {8})*)", re.MULTILINE)
