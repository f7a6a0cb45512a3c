"""What a comparison writes: table.csv, compare.json, plots as PNG and SVG, and one page that needs nothing else."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import asdict
from importlib.resources import files
from itertools import cycle
from pathlib import Path
from typing import Any

import orjson
from jinja2 import Environment, StrictUndefined

from mullover.evaluate import plots
from mullover.evaluate.compare import Comparison, Line
from mullover.store.files import told, write_whole

AXES = {
    "tokens": "tokens a problem: prompt computed, and generated",
    "flops": "FLOPs a problem (estimated from the model's sizes)",
    "seconds": "seconds a problem (wall clock, problems side by side)",
    "cost": "money a problem (in the unit of the prices)",
}


def write(comparison: Comparison, facts: Mapping[str, Any], out: Path) -> list[Path]:
    """All files of a report into a folder.

    Args:
        facts: what was compared, for the head of the page: names to texts.

    Raises:
        OptionError: matplotlib is not installed.
        StoreError: the folder cannot be written.
    """
    with told(out):
        out.mkdir(parents=True, exist_ok=True)
        drawn = curves_plot(comparison, str(facts.get("task", "")), out / "curves")
    svg = drawn[1].read_text(encoding="utf-8")
    texts = {
        "table.csv": table(comparison, out).encode(),
        "compare.json": orjson.dumps({**facts, **plain(comparison, out)}, option=orjson.OPT_INDENT_2),
        "report.html": page(comparison, facts, svg[svg.index("<svg") :]).encode(),
    }
    for name, text in texts.items():
        write_whole(out / name, [text])
    return [*(out / name for name in texts), *drawn]


def rows(comparison: Comparison, out: Path | None = None) -> list[dict[str, Any]]:
    """A row for each point, in the order of the lines; runs below `out` are named from there."""
    found = []
    for line in comparison.lines:
        low, high = comparison.bands[line.name]
        for i, point in enumerate(line.points):
            found.append(
                {
                    "strategy": line.name, "setting": point.label, "capped": point.capped,
                    f"{comparison.unit} a problem": point.spending, "problems": comparison.problems,
                    "right": int(point.right.sum()), "accuracy": point.accuracy, "low": float(low[i]),
                    "high": float(high[i]), "pareto": point.label in comparison.pareto, "run": _named(point.run, out),
                }
            )  # fmt: skip
    return found


def _named(run: str, out: Path | None) -> str:
    path = Path(run)
    return str(path.relative_to(out.absolute())) if out and path.is_relative_to(out.absolute()) else run


def table(comparison: Comparison, out: Path | None = None) -> str:
    buffer, found = io.StringIO(), rows(comparison, out)
    writer = csv.DictWriter(buffer, list(found[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows([{k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in found])
    return buffer.getvalue()


def plain(comparison: Comparison, out: Path | None = None) -> dict[str, Any]:
    """As JSON has it."""
    return {
        "unit": comparison.unit,
        "problems": comparison.problems,
        "primary": comparison.primary,
        "budgets": comparison.budgets,
        "points": rows(comparison, out),
        "differences": [asdict(one) for one in comparison.differences],
        "matches": [asdict(one) for one in comparison.matches],
        "notes": comparison.notes,
    }


def curves_plot(comparison: Comparison, title: str, to: Path) -> list[Path]:
    """Accuracy against spending on a logarithmic axis, with 95 % bands; and what is possible with the largest pool."""
    plt = plots.pyplot()
    figure, axes = plt.subplots(figsize=(7.5, 4.6), layout="constrained")
    for line, (colour, dash, marker) in zip(comparison.lines, cycle(plots.STYLES), strict=False):
        x, y = [p.spending for p in line.points], [p.accuracy for p in line.points]
        low, high = comparison.bands[line.name]
        name = plots.literally(line.name)
        if len(x) == 1:
            off = [[y[0] - low[0]], [high[0] - y[0]]]
            axes.errorbar(
                x, y, yerr=off, color=colour, linestyle="", marker=marker, capsize=3, label=plots.literally(line.name)
            )
        else:
            axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
            axes.plot(x, y, color=colour, linestyle=dash, marker=marker, markersize=4, label=name)
    _limits(axes, comparison)
    own = [plots.literally(line.name) for line in comparison.lines]
    axes.set(xlabel=AXES[comparison.unit], ylabel="accuracy", xscale="log", ylim=(-0.02, 1.02))
    axes.set_title(f"{plots.literally(title)}: {comparison.problems} problems, 95 % bands", fontsize=10)
    axes.grid(alpha=0.3, which="both")
    _ticks(axes)
    handles, names = axes.get_legend_handles_labels()
    order = sorted(range(len(names)), key=lambda i: [*own, *names].index(names[i]))
    figure.legend(
        [handles[i] for i in order], [names[i] for i in order], loc="outside right upper", frameon=False, fontsize=9
    )
    return plots.keep(figure, to)


def _ticks(axes: Any) -> None:
    """1, 2, 5, 10, ... as plain numbers, also where the axis is short."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axes.get_xlim()
    near = high / low < 30
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7) if near and high / low < 5 else (1, 2, 5)))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:,.0f}" if 1 <= value < 1e7 else f"{value:g}")
    )
    axes.xaxis.set_minor_formatter(NullFormatter())


def _limits(axes: Any, comparison: Comparison) -> None:
    """Above and below the curves: some sample is right, and one sample alone, of the largest pool."""
    from mullover.evaluate.curves import spent_tokens
    from mullover.evaluate.pools import pass_curves

    pools = [run.pool for line in comparison.lines for run in line.runs if run.pool is not None and run.pool.n > 1]
    if not pools or comparison.unit != "tokens":
        return
    pool = max(pools, key=lambda pool: pool.n)
    spent = spent_tokens(pool)
    axes.plot(spent, pass_curves(pool.right).mean(axis=0), color="0.5", linestyle=(0, (1, 2)), linewidth=1,
              label="some sample is right\n(nobody can choose so well)")  # fmt: skip
    axes.axhline(pool.right.mean(), color="0.5", linewidth=0.8, label="one sample, mean of all")


def page(comparison: Comparison, facts: Mapping[str, Any], svg: str) -> str:
    """One HTML file: style and plot are in it; whatever a model or user wrote is escaped."""
    source = files("mullover.evaluate").joinpath("report.html.j2").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(source).render(
        c=comparison,
        facts=facts,
        rows=rows(comparison),
        svg=re.sub(r'(width|height)="[\d.]+pt"', "", svg, count=2),
        percent=lambda value, digits=1: f"{100 * value:.{digits}f}",
        points=lambda value: f"{100 * value:+.1f}",
        last=last,
    )


def last(line: Line) -> str:
    """The setting that takes part in the matches."""
    return line.points[-1].label
