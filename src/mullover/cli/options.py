"""The flags that `ask` and `eval` share, and those a strategy's signature gives them."""

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

from mullover.errors import OptionError
from mullover.openers import is_local, openable, opened, sampling_words, thinking
from mullover.prompts import INSTRUCTIONS, styles
from mullover.running import Budget
from mullover.strategies import docs, load, names, parameters
from mullover.types import Strategy

DEFAULT_STRATEGY = "chain_of_thought"

# name -> (type, help)
COMMON: Mapping[str, tuple[Any, str]] = {
    "model": (
        str,
        "DIRECTORY, http://HOST:PORT/v1#NAME, pool:FILE.toml, replay:FILE, scripted:FILE, toy or toy:FILE; "
        "else MULLOVER_MODEL, else pocket.",
    ),
    "kv_memory": (str, "For cached keys and values of a model from a directory, such as 2GB."),
    "strategy": (str, "How to reason; see `mull strategies`."),
    "seed": (int, "Folded into every sample's own seed."),
    "system": (str, "A system message."),
    "kind": (str, f"What the answer looks like: {', '.join(INSTRUCTIONS)}."),
    "temperature": (float, "Of sampling; 0 is greedy."),
    "top_p": (float, "Sample from the likeliest tokens of this total probability."),
    "top_k": (int, "Sample from this many likeliest tokens; 0 is all."),
    "min_p": (float, "Leave out tokens less likely than this share of the likeliest one."),
    "max_tokens": (int, "New tokens per sample, at most."),
    "thinking": (str, "on, off, an effort (low, medium, high), or a budget in tokens."),
    "budget_tokens": (int, "Hard limit for one question: generated, computed prompt and verifier tokens."),
    "budget_seconds": (float, "Hard limit for one question."),
    "budget_money": (float, "Hard limit for one question, by the prices in MULLOVER_PRICES or prices.toml."),
}
SAMPLED = ("temperature", "top_p", "top_k", "min_p", "max_tokens")
# Options that many strategies share: told about even where the chosen strategy lacks them.
SHARED: Mapping[str, str] = {
    "n": "Samples.",
    "style": f"How to ask: {', '.join(styles())}, or a text file.",
    "scorer": "Who chooses: judge:MODEL, likelihood, oracle, or module:function.",
}


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the flags said, opened and checked."""

    name: str
    strategy: Strategy
    options: dict[str, Any]
    specs: dict[str, str]  # the options as they were written, for the record
    sampling: dict[str, Any]
    seed: int
    budget: Budget
    system: str
    kind: str | None
    model: str | None


def signed(
    body: Callable[..., Any],
    words: Sequence[str],
    own: Mapping[str, tuple[Any, Any, Any]],
    usual: str = DEFAULT_STRATEGY,
    leave: Sequence[str] = (),
) -> Callable[..., Any]:
    """`body` with a signature that holds its own flags, the common ones and the strategy's, `usual` unless named.

    Those of `leave` are no flags there.
    """
    name = said(words, "--strategy") or usual
    strategy = load(name)
    fields = {**own}
    for flag, (kind, text) in COMMON.items():
        fields[flag] = (kind | None, typer.Option(f"--{flag.replace('_', '-')}", help=text), None)
    for flag, text in {**SHARED, **own_flags(strategy)}.items():
        fields[flag] = (str | None, typer.Option(f"--{flag.replace('_', '-')}", help=text, metavar="TEXT"), None)
    fields = {flag: field for flag, field in fields.items() if flag not in leave}
    parts = [
        inspect.Parameter(flag, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])
        for flag, (kind, option, default) in fields.items()
    ]

    def command(**given: Any) -> Any:
        return body(words, **given)

    command.__signature__ = inspect.Signature(parts)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parts}
    command.__doc__ = f"Options of {name} among them; choose another with --strategy. There are {', '.join(names())}."
    return command


def said(words: Sequence[str], flag: str) -> str | None:
    """The last value of a flag, before the flags are parsed."""
    found = None
    for at, word in enumerate(words):
        if word == "--":
            break
        if word == flag and at + 1 < len(words):
            found = words[at + 1]
        elif word.startswith(f"{flag}="):
            found = word.partition("=")[2]
    return found


def own_flags(strategy: Strategy) -> dict[str, str]:
    """A help line for each of the strategy's options that a text can give."""
    told = docs(strategy).options
    lines = {}
    for option, p in parameters(strategy).items():
        if openable(p.annotation):
            literal = get_origin(p.annotation) is Literal
            values = f" One of {', '.join(map(str, get_args(p.annotation)))}." if literal else ""
            default = "" if p.default is p.empty else f" [default: {getattr(p.default, 'name', p.default)}]"
            lines[option] = f"{told.get(option, option)}{values}{default}"
    return lines


def chosen(given: Mapping[str, Any]) -> Chosen:
    """The flags' words as things.

    Raises:
        OptionError: an option this strategy does not have, or a value that cannot work.
    """
    name = given["strategy"] or DEFAULT_STRATEGY
    strategy = load(name)
    known = parameters(strategy)
    own = {**SHARED, **own_flags(strategy)}
    specs = {option: given[option] for option in own if given.get(option) is not None}
    for option in specs:
        if option not in known:
            has = ", ".join(f"--{o.replace('_', '-')}" for o in own_flags(strategy))
            raise OptionError(f"{name} has no option --{option}; it has {has or 'none'}; see `mull strategies --long`")
    if given["kind"] is not None and given["kind"] not in INSTRUCTIONS:
        raise OptionError(f"no kind of answer {given['kind']!r}; there are {', '.join(INSTRUCTIONS)}")
    if "sampling" not in known and any(given[word] is not None for word in SAMPLED):
        raise OptionError(f"{name} takes no sampling options; leave out --temperature and its kin")
    sampling = sampling_words(**{word: given[word] for word in SAMPLED})
    if given["thinking"] is not None:
        sampling["thinking"] = thinking(given["thinking"])
    if given["kv_memory"] is not None:
        if not is_local(given["model"] or os.environ.get("MULLOVER_MODEL", "")):
            raise OptionError("--kv-memory is for models from a directory; leave it out")
        os.environ["MULLOVER_KV_MEMORY"] = given["kv_memory"]
    return Chosen(
        name=name,
        strategy=strategy,
        options={
            option: opened(f"--{option.replace('_', '-')}", known[option].annotation, word)
            for option, word in specs.items()
        },
        specs=specs,
        sampling=sampling,
        seed=given["seed"] or 0,
        budget=Budget(given["budget_tokens"], given["budget_seconds"], given["budget_money"]),
        system=given["system"] or "",
        kind=given["kind"],
        model=given["model"],
    )
