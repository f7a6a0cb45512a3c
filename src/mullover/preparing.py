"""A strategy's arguments, checked before anything is asked."""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, get_args

from mullover.errors import CapabilityError, OptionError
from mullover.prompts import Style
from mullover.strategies import needs, parameters
from mullover.types import Model, ModelInfo, Needs, Sampling, Scorer, Strategy

MOST = 100_000  # samples of one question


def prepared(
    strategy: Strategy, model: Model, sampling: Mapping[str, Any], options: Mapping[str, Any]
) -> dict[str, Any]:
    """All arguments of the strategy: the options given, the defaults of the others, the settled sampling.

    Raises:
        OptionError: an unknown or missing option, an n that is no number from 1 to 100,000, or a wish against
            what the strategy fixes.
        CapabilityError: the model cannot do what the strategy or its style needs, or what the user asked for.
    """
    known, need, name = parameters(strategy), needs(strategy), strategy.__name__
    if unknown := [option for option in options if option not in known]:
        raise OptionError(f"{name} has no option {', '.join(sorted(unknown))}; it has {', '.join(known) or 'none'}")
    if missing := [option for option, p in known.items() if p.default is p.empty and option not in options]:
        raise OptionError(f"{name} needs {missing[0]}; give it as --{missing[0].replace('_', '-')}")
    arguments = bound(strategy, options)
    for option, value in arguments.items():
        if option == "n" and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST):
            raise OptionError(
                f"{name}: n is {str(value)[:40]}; it must be a whole number, at least 1 and at most {MOST}"
            )
        if isinstance(value, float) and math.isnan(value):
            raise OptionError(f"{name}: {option} is not a number")
        if isinstance(value, Style) and value.extract and "turns" not in model.info.can:
            raise CapabilityError(
                f"the style {value.name} asks twice, and {model.info.name} cannot do turns; take another"
            )
    if lacking := need.can - model.info.can:
        way_out = model.info.hint or need.why
        raise CapabilityError(
            f"{name} needs {', '.join(sorted(lacking))}, which {model.info.name} cannot do; {way_out}"
        )
    if "sampling" in known and "sampling" not in options:
        arguments["sampling"] = settled_sampling(name, known["sampling"].default, need, model.info, sampling)
    return arguments


def bound(strategy: Strategy, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options given, and the defaults of the others; one that has neither is left out."""
    known = parameters(strategy).items()
    return {name: options.get(name, p.default) for name, p in known if name in options or p.default is not p.empty}


def settled_sampling(name: str, default: Sampling, need: Needs, info: ModelInfo, words: Mapping[str, Any]) -> Sampling:
    """What the strategy fixes, then the user's word, the model's own config, the strategy's default."""
    for key, value in need.sampling.items():
        if key in words and words[key] != value:
            raise OptionError(f"{name} needs {key} {value}, not {words[key]}; {need.why or 'leave it out'}")
    if deaf := [key for key in {**words, **need.sampling} if key not in info.can]:
        who = name if deaf[0] in need.sampling else "you"
        way_out = info.hint or "leave it out"
        raise CapabilityError(f"{info.name} cannot do {', '.join(sorted(deaf))}, which {who} asked for; {way_out}")
    return replace(default, **{**info.defaults, **words, **need.sampling})


@lru_cache(maxsize=256)
def scorers(strategy: Strategy) -> frozenset[str]:
    """Its options of type `Scorer`, or `Scorer | None`."""
    kinds = {option: p.annotation for option, p in parameters(strategy).items()}
    return frozenset(option for option, kind in kinds.items() if kind is Scorer or Scorer in get_args(kind))
