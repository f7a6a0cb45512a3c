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
from mullover.types import Needs, Sampling, Strategy


def names() -> list[str]:
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def load(name: str) -> Strategy:
    """`best_of_n` (one of ours) or `your_package.your_module:function` (one of yours).

    Raises:
        OptionError: no such strategy, or one that cannot be imported or is not shaped as one; the message says why.
    """
    module, colon, attribute = name.partition(":")
    if not colon:
        if name not in names():
            near = get_close_matches(name, names(), 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names())}"
            raise OptionError(f"no strategy {name[:80]!r}; {hint}")
        module, attribute = f"{__name__}.{name}", name
    try:
        found = getattr(import_module(module), attribute, None)
    except (ImportError, SyntaxError, ValueError, TypeError) as error:
        raise OptionError(f"cannot import {module!r} for the strategy {name!r}: {error}") from error
    return checked(found, name)


FLAGS = {"model", "strategy", "question", "task", "limit", "concurrency", "out", "data", "seed", "system", "kind"}
SAMPLED = {"temperature", "top_p", "top_k", "min_p", "max_tokens", "thinking"}
BUDGETS = {"budget", "budget_tokens", "budget_seconds", "budget_money"}
RESERVED = FLAGS | SAMPLED | BUDGETS | {"prompt", "json", "help", "cache", "watch", "options"}


def checked(found: object, name: str) -> Strategy:
    """An async generator function of (model, prompt, *, options) with types.

    Raises:
        OptionError: it is not, or an option has the name of a flag that every strategy has.
    """
    if not inspect.isasyncgenfunction(found):
        raise OptionError(f"{name!r} is no strategy; it must be an async generator function")
    try:
        given = list(inspect.signature(found, eval_str=True).parameters.values())
    except (NameError, TypeError, SyntaxError) as error:
        raise OptionError(f"the annotations of {name!r} cannot be read: {error}; import them at the top") from error
    before = [p for p in given if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    options = [p for p in given if p.kind is p.KEYWORD_ONLY]
    if len(before) != 2 or len(before) + len(options) != len(given):
        raise OptionError(f"{name!r} must take (model, prompt, *, option, ...): two arguments, then options by name")
    for p in options:
        if p.name in RESERVED:
            raise OptionError(f"the option {p.name} of {name!r} has the name of a common flag; rename it")
        if p.annotation is p.empty:
            raise OptionError(f"the option {p.name} of {name!r} has no type; annotate it")
        if p.name == "sampling" and not isinstance(p.default, Sampling):
            raise OptionError(f"the option sampling of {name!r} must have a Sampling as its default")
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
