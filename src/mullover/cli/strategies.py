"""`mull strategies`: what there is to choose from."""

import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from mullover.cli.output import print_json
from mullover.openers import openable
from mullover.strategies import docs, load, names, needs, parameters
from mullover.types import Strategy


def command(words: Sequence[str]) -> Callable[..., Any]:
    return strategies


def strategies(
    long: Annotated[bool, typer.Option("--long", help="With options, needs, departures and source.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON list.")] = False,
) -> None:
    rows = [row(name) for name in names()]
    if json:
        print_json(rows)
        return
    width = max(len(name) for name in names())
    for at in rows:
        if not long:
            print(f"{at['name']:<{width}}  {at['summary']}")
            continue
        print(f"{at['name']}\n  {at['summary']}")
        for option in at["options"]:
            print(f"  --{option['name'].replace('_', '-')} [{option['default']}]  {option['help']}")
        for part in ("yields", "needs", "departures", "source"):
            if at[part]:
                print(f"  {part}: {at[part]}")
        print()


def row(name: str) -> dict[str, Any]:
    """One strategy, as the list, the docs page and the README's table show it."""
    strategy = load(name)
    told = docs(strategy)
    return {
        "name": name,
        "summary": told.summary,
        "options": options(strategy),
        "yields": told.yields,
        "needs": needed(strategy),
        "departures": told.departures,
        "source": told.source,
    }


def options(strategy: Strategy) -> list[dict[str, str]]:
    told = docs(strategy).options
    shown = []
    for option, p in parameters(strategy).items():
        if openable(p.annotation):
            default = "required" if p.default is inspect.Parameter.empty else str(getattr(p.default, "name", p.default))
            shown.append({"name": option, "default": default, "help": told.get(option, "")})
    return shown


def needed(strategy: Strategy) -> str:
    need = needs(strategy)
    parts = [*sorted(need.can), *(f"{name} = {value}" for name, value in need.sampling.items())]
    return ", ".join(parts) + (f" ({need.why})" if parts and need.why else "")
