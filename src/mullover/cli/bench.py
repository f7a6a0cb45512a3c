"""`mull bench`: what the local engine is worth on this machine."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mullover.cli.output import clean, print_json
from mullover.errors import OptionError

if TYPE_CHECKING:
    from mullover.bench.rows import Row

app = typer.Typer(no_args_is_help=True, help="Measure on this machine.")
COLUMNS = ("case", "model", "engine", "tokens/s", "to generate", "of roofline", "seconds", "note")


@app.command()
def engine(
    model: Annotated[str | None, typer.Option("--model", help="A directory; else random models S and M.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON list: a row a case and engine.")] = False,
    case: Annotated[
        list[str] | None,
        typer.Option("--case", help="Only this case; may be repeated. Else all, an hour on two cores."),
    ] = None,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Rounds, of which medians are told.")] = 5,
) -> None:
    """Time the local engine side by side with transformers, and against the bare matrix products."""
    from mullover.bench import CASES, OWN_CASES

    known = CASES if model is None else OWN_CASES
    names = list(dict.fromkeys(case or known))
    if wrong := [name for name in names if name not in known]:
        raise OptionError(f"there is no case {wrong[0]!r}; there are {', '.join(known)}")
    try:
        from mullover.bench.engine import bench
        from mullover.bench.models import machine
    except ImportError as error:
        if (error.name or "").split(".")[0] not in ("torch", "transformers"):
            raise
        raise OptionError(f"{error.name} is not installed; install mullover[local]") from None
    facts = machine()
    print(", ".join(f"{name} {value}" for name, value in facts.items()), file=sys.stderr if json else sys.stdout)
    try:
        rows = bench(names, repeats, tell, model)
    finally:
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr)
    if json:
        print_json([{**row.facts(), "machine": facts} for row in rows])
    else:
        show(rows, {**CASES, **(OWN_CASES if model is not None else {})})


def tell(what: str) -> None:
    """What runs now."""
    end = {"end": "", "flush": True} if sys.stderr.isatty() else {"flush": True}
    print(("\r\033[K" if sys.stderr.isatty() else "") + clean(f"mull bench: {what}"), file=sys.stderr, **end)


def show(rows: Sequence[Row], cases: Mapping[str, str]) -> None:
    """One table, the engines of a case together."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in COLUMNS:
        table.add_column(name, justify="right" if name in COLUMNS[3:7] else "left", overflow="fold")
    last = ""
    for row in rows:
        cells: list[Any] = [row.case if row.case != last else "", row.model if row.case != last else "", row.engine]
        cells += [_number(row.tokens_per_s, ",.0f"), _number(row.ratio_to_generate, ".2f")]
        cells += [_number(row.share_of_roofline, ".1%"), _number(row.seconds, ".3f"), row.note]
        table.add_row(*[Text(clean(cell)) for cell in cells])
        last = row.case
    wide = None if sys.stdout.isatty() else 160
    Console(highlight=False, markup=False, emoji=False, width=wide).print(table)
    for name in dict.fromkeys(row.case for row in rows):
        print(f"  {name}: {cases[name]}")


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
