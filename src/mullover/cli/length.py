"""`mull length`: what long reasoning is worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mullover.cli.output import clean, print_json, print_rows
from mullover.cli.progress import patient
from mullover.errors import OptionError

if TYPE_CHECKING:
    from mullover.evaluate.length import FirstRight
    from mullover.evaluate.results import Pool, Results


def command(words: Sequence[str]) -> Callable[..., Any]:
    return length


def length(
    runs: Annotated[list[str], typer.Argument(help="Runs with samples; several are settings of one length control.")],
    low: Annotated[float | None, typer.Option("--low", min=0, help="Least tokens that the control asked for.")] = None,
    high: Annotated[float | None, typer.Option("--high", min=0, help="Most tokens that it asked for.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write figures and plot of the first run there.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Accuracy by length and difficulty, right or wrong, after the first right answer; s1's three figures."""
    from mullover.evaluate import length as of
    from mullover.store.find import find_runs

    folders = find_runs(*runs)
    with patient("reading the runs"):
        loaded = [opened(folder) for folder in folders]
        first, pool = loaded[0]
        chains = list(chains_of(folders[0]))
        told = facts(pool, chains)
        if low is not None or high is not None:
            told["control"] = [of.control(of.lengths(p), low or 0.0, high or float("inf")) for _, p in loaded]
        points = [(float(of.lengths(p).mean()), float(p.right.mean())) for _, p in loaded]
        if len(points) > 1:
            slope = of.scaling(points)
            told |= {"points": points, "scaling": None if slope is None else 1000 * slope,
                     "performance": of.performance(points)}  # fmt: skip
    if out is not None:
        for file in written(pool, told, out):
            print(clean(f"wrote {file}"))
    if json:
        print_json({"runs": [str(folder) for folder in folders], **told})
        return
    show(told, len(first.ids), pool.n)


def opened(folder: Path) -> tuple[Results, Pool]:
    from mullover.evaluate.results import load

    results = load(folder)
    if results.pool is None:
        raise OptionError(f"{folder.name}: {results.no_pool}")
    return results, results.pool


def chains_of(folder: Path) -> list[FirstRight]:
    """Of all records of a run, one after the other."""
    from mullover.evaluate.length import first_right
    from mullover.store import decode
    from mullover.store.journal import NAME, lines

    return [one for _, line in lines(folder / NAME) for one in first_right(decode(line))]


def facts(pool: Pool, chains: Sequence[FirstRight]) -> dict[str, Any]:
    from mullover.evaluate import length as of

    after = [one.tokens - one.first for one in chains if one.right and one.first is not None]
    return {
        "cells": [asdict(cell) for cell in of.by_difficulty(pool)],
        "contrast": asdict(of.contrast(pool)),
        "outcome efficiency": of.efficiency(chains) if chains else None,
        "underthinking": of.underthinking(chains),
        "tokens after the first right answer": sum(after) / len(after) if after else None,
        "right chains with a right line": len(after),
        "right chains": sum(one.right for one in chains),
    }


def show(told: dict[str, Any], problems: int, n: int) -> None:
    print(f"{problems} problems, {n} samples each; lengths in tokens, quarters of each third of problems")
    rows = [["problems", "quarter", "tokens", "right, %", "95 %"]]
    for cell in told["cells"]:
        low, high = cell["ci95"]
        rows.append([cell["level"], f"{cell['quarter'] + 1}", f"{cell['tokens']:.0f}", f"{100 * cell['accuracy']:.1f}",
                     f"{100 * low:.1f} to {100 * high:.1f}"])  # fmt: skip
    print_rows(rows)
    c = told["contrast"]
    both = [f"{c[name]:.0f}" if c[name] is not None else "none" for name in ("right", "wrong")]
    print(f"right samples take {both[0]} tokens, wrong ones {both[1]}")
    if c["ci95"] is not None:
        low, high = c["ci95"]
        span = f"{c['longer']:+.1f} tokens ({low:+.1f} to {high:+.1f})"
        print(f"within {c['problems']} problems that have both, wrong less right: {span}")
    if told["tokens after the first right answer"] is not None:
        many, having = told["right chains"], told["right chains with a right line"]
        after = told["tokens after the first right answer"]
        print(f"of {many} right chains {having} have a line with the right answer, and go on for {after:.1f} tokens")
        print(f"outcome efficiency {told['outcome efficiency']:.3f}")
    if told["underthinking"] is not None and told["right chains"]:
        print(f"underthinking {told['underthinking']:.3f}: the share of wrong chains behind a right line")
    if "control" in told:
        print(f"control {', '.join(f'{value:.1%}' for value in told['control'])} of samples within the limits")
    if "points" in told:
        slope = "not defined" if told["scaling"] is None else f"{100 * told['scaling']:+.2f} points for 1,000 tokens"
        print(f"scaling {slope}; performance {told['performance']:.1%}")


def written(pool: Pool, told: dict[str, Any], out: Path) -> list[Path]:
    import orjson

    from mullover.evaluate import plots
    from mullover.store.files import told as errors_told
    from mullover.store.files import write_whole

    with errors_told(out):
        out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "length.json", [orjson.dumps(told, option=orjson.OPT_INDENT_2), b"\n"])
    return [out / "length.json", *plots.lengths_plot(pool, out / "lengths")]
