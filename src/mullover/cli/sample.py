"""`mull sample`: a pool of chains of each problem, and what votes and choices among any number of them would give."""

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mullover.cli import say
from mullover.cli.eval import ONE, carried_out, check, planned, verdict
from mullover.cli.eval import OWN as EVAL
from mullover.cli.options import chosen, signed
from mullover.cli.output import clean, print_json, print_rows
from mullover.cli.progress import patient, waited_for
from mullover.errors import OptionError
from mullover.tasks import load

if TYPE_CHECKING:
    from mullover.evaluate.curves import Curve

OWN = {name: flag for name, flag in EVAL.items() if name != "min_agreement"} | {
    "task": ONE,
    "csv": (Path | None, typer.Option("--csv", help="Write the curves for every number of samples there."), None),
    "grow": (
        Path | None,
        typer.Option("--grow", help="A smaller pool: its samples are not drawn again; prompts are paid once more."),
        None,
    ),
}
DRAWN = "self_consistency"  # a pool is what it draws


def command(words: Sequence[str]) -> Callable[..., Any]:
    return signed(run_sample, words, OWN, DRAWN)


def run_sample(
    words: Sequence[str],
    task: str,
    limit: int | None,
    concurrency: int,
    out: Path | None,
    data: Path | None,
    json: bool,
    csv: Path | None,
    grow: Path | None,
    **given: Any,
) -> int:
    """Draw what is missing, then tell the curves."""
    check(limit, concurrency)
    if given["strategy"] not in (None, DRAWN):
        raise OptionError("`mull sample` draws independent chains; leave out --strategy, or take `mull eval`")
    picked = chosen({**given, "strategy": DRAWN})
    model = waited_for(picked.model)
    problems = load(task, data=data, kind=picked.kind)  # type: ignore[arg-type]
    reuse = () if grow is None else (grow,)
    more = {"limit": limit, "concurrency": concurrency, "command": tuple(words), "reuse": reuse}
    result = carried_out(planned(picked, problems, model, **more), out, f"{task} pool", words)
    if result is None:
        return 1
    if verdict(result):
        return 1
    return told(Path(result.run), result.unit, json, csv)


def told(run: Path, unit: str, json: bool, to: Path | None) -> int:
    """The curves of a pool, on stdout and to a file."""
    from mullover.evaluate.curves import pool_curves, shown, spent_tokens
    from mullover.evaluate.results import load as loaded
    from mullover.store.files import write_whole

    with patient("computing the curves"):
        found = loaded(run)
        if found.pool is None:
            raise OptionError(f"no curves: {found.no_pool}")
        pool = found.pool
        curves, spent = pool_curves(pool), spent_tokens(pool)
    if to is not None:
        write_whole(to, [table(curves, spent.tolist()).encode()])
    ks = shown(pool.n)
    if json:
        rows = {c.name: {k: [c.mean[k - 1], c.low[k - 1], c.high[k - 1]] for k in ks} for c in curves}
        print_json({"run": str(run), "problems": len(found.ids), "n": pool.n, "tokens": {k: spent[k - 1] for k in ks},
                    "unit": unit, "curves": rows})  # fmt: skip
        return 0
    print(f"{len(found.ids)} problems, {pool.n} samples each; per cent right, 95 % intervals by a bootstrap")
    heads = ["samples", f"{unit} a problem", *(c.name for c in curves)]
    print_rows([heads, *([str(k), f"{spent[k - 1]:.0f}", *(ranged(c, k) for c in curves)] for k in ks)])
    for c in curves:
        drawn = f"; drawn, standard error at most {100 * c.error.max():.2g} points" if c.error.max() > 0 else ""
        print(f"  {c.name}: {c.what}{drawn}")
    say(clean(str(run)))
    return 0


def ranged(curve: "Curve", k: int) -> str:
    """Per cent, with the interval."""
    mean, low, high = (100 * values[k - 1] for values in (curve.mean, curve.low, curve.high))
    return f"{mean:.1f} ({low:.1f} to {high:.1f})"


def table(curves: Sequence["Curve"], spent: Sequence[float]) -> str:
    """CSV: a row for each number of samples."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    parts = ("", " low", " high", " error")
    writer.writerow(["samples", "tokens", *(f"{c.name}{part}" for c in curves for part in parts)])
    for i, tokens in enumerate(spent):
        cells = [value[i] for c in curves for value in (c.mean, c.low, c.high, c.error)]
        writer.writerow([i + 1, round(tokens, 2), *(round(float(cell), 6) for cell in cells)])
    return buffer.getvalue()
