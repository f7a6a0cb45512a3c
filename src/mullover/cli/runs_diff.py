"""`mull runs diff`: two runs of one task, problem by problem."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mullover.cli.output import clean, print_json, print_rows

ROWS = 20  # problems shown, unless --all


def diff(
    a: Annotated[str, typer.Argument(help="A run's folder, its name or the beginning of it, or `last`.")],
    b: Annotated[str, typer.Argument(help="Another run of the same task.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="All problems on which they differ.")] = False,
) -> None:
    """Tell what differs between two runs: settings, accuracy on the same problems, spending, and which problems."""
    told = compared(a, b)
    if json:
        print_json(told)
        return
    for name, (left, right) in told["settings"].items():
        print(clean(f"{name}: {left} | {right}"))
    one, two = told["accuracy"]
    low, high = told["ci95"]
    print(f"{told['problems']} problems: {one:.1%} | {two:.1%} right; the second less the first "
          f"{100 * told['difference']:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})")  # fmt: skip
    print(
        f"only the first right {told['only_first']}, only the second {told['only_second']}; McNemar p {told['p']:.3g}"
    )
    print_rows([["spent a problem", "first", "second"],
                *([unit, f"{x:.4g}", f"{y:.4g}"] for unit, (x, y) in told["spent"].items() if x or y)])  # fmt: skip
    for left in told["left_out"]:
        print(f"  {left}")
    changed = told["changed"]
    for row in changed if everything else changed[:ROWS]:
        print(clean(f"  {row['id']}: {'right' if row['first'] else 'wrong'} | {'right' if row['second'] else 'wrong'}"))
    if len(changed) > ROWS and not everything:
        print(f"  and {len(changed) - ROWS} more; --all shows them")


def compared(a: str, b: str) -> dict[str, Any]:
    from mullover.evaluate.results import load
    from mullover.evaluate.side_by_side import side_by_side
    from mullover.store.find import find_runs

    return side_by_side(*(load(folder) for folder in find_runs(a, b)))
