"""`mull tasks`: what there is to solve."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from mullover.cli.output import print_json
from mullover.tasks import describe


def command(words: Sequence[str]) -> Callable[..., Any]:
    return tasks


def tasks(
    data: Annotated[
        Path | None, typer.Option("--data", help="The folder of the tasks' data; else MULLOVER_DATA.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON list.")] = False,
) -> None:
    rows = describe(data)
    if json:
        print_json([asdict(row) for row in rows])
        return
    name, kind = max(len(row.name) for row in rows), max(len(row.kind) for row in rows)
    for row in rows:
        count = "" if row.problems is None else str(row.problems)
        here = "" if row.available else "  (no data here: set MULLOVER_DATA or --data)"
        print(f"{row.name:<{name}}  {count:>5}  {row.kind:<{kind}}  {row.what}{here}")
