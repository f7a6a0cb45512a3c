"""`mull runs diff`: two runs of one task, problem by problem."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from mullover.cli.output import clean, print_json, print_rows
from mullover.errors import OptionError

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
    """What the command prints.

    Raises:
        OptionError: runs of different tasks or versions, or without a common problem.
    """
    import numpy as np

    from mullover.evaluate.results import UNITS, aligned, load
    from mullover.evaluate.statistics import interval, mcnemar, resampled
    from mullover.store.find import find_run
    from mullover.store.index import Index

    index = Index.of_reader()
    try:
        folders = [find_run(run, index) for run in (a, b)]
    finally:
        index.close()
    first, second = (load(folder) for folder in folders)
    for name in ("task", "task_sha256"):
        if first.identity.get(name) != second.identity.get(name):
            left, right = first.identity.get(name), second.identity.get(name)
            raise OptionError(f"the runs are of different tasks or versions: {name} is {left} and {right}")
    ids = [id_ for id_ in first.ids if id_ in set(second.ids)]
    if not ids:
        raise OptionError("the runs have no problem in common")
    at, to = aligned(first, ids), aligned(second, ids)
    x, y = first.right[at], second.right[to]
    means = resampled((y.astype(float) - x)[:, None], resamples=10_000)
    low, high = (float(end[0]) for end in interval(means)) if len(ids) > 1 else (-1.0, 1.0)
    only_first, only_second = int((x & ~y).sum()), int((y & ~x).sum())
    runs = ((first, at), (second, to))
    return {
        "runs": [str(folder) for folder in folders],
        "settings": dict(differing(first.identity, second.identity)),
        "problems": len(ids),
        "left_out": [f"{len(one.ids) - len(ids)} problems are in {one.folder.name} alone, and left out"
                     for one in (first, second) if len(one.ids) > len(ids)],
        "accuracy": [float(x.mean()), float(y.mean())],
        "difference": float(np.mean(y.astype(float) - x)),
        "ci95": [low, high],
        "only_first": only_first,
        "only_second": only_second,
        "p": mcnemar(only_first, only_second),
        "spent": {unit: [float(np.mean(one.spent[unit][where])) for one, where in runs] for unit in UNITS},
        "changed": [{"id": ids[i], "first": bool(x[i]), "second": bool(y[i])} for i in np.flatnonzero(x != y)],
    }  # fmt: skip


def differing(a: Any, b: Any, name: str = "") -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Settings that are not the same in both, by their dotted names."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for key in sorted(a.keys() | b.keys()):
            yield from differing(a.get(key), b.get(key), f"{name}.{key}" if name else key)
    elif a != b:
        yield name, (a, b)
