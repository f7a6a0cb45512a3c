"""`mull leaderboard`: all finished runs of each task, the best first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mullover.cli.output import clean, print_json, print_rows

if TYPE_CHECKING:
    from mullover.store.index import Listed


def command(words: Sequence[str]) -> Callable[..., Any]:
    return leaderboard


def leaderboard(
    task: Annotated[str | None, typer.Option("--task", help="Only this task; else all.")] = None,
    within: Annotated[Path | None, typer.Option("--in", help="Only runs below this folder.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Rank finished runs of a task and version; those that knew the truth are marked and have no rank."""
    from mullover.store.index import Index

    index = Index.of_reader()
    try:
        index.refresh()
        runs = [run for run in index.runs() if run.run.task != "ask"]
    finally:
        index.close()
    tables: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run in runs:
        if within is None or Path(run.run.folder).is_relative_to(within.absolute()):
            for row in row_of(run):
                if task is None or row["task"] == task:
                    tables.setdefault((row["task"], row["version"]), []).append(row)
    ranked = [rank(rows) for _, rows in sorted(tables.items())]
    if json:
        print_json(ranked)
        return
    if not ranked:
        print("no finished run" + (f" of {clean(task)}" if task else "") + "; `mull eval` makes one")
    for rows in ranked:
        show(rows)


def row_of(run: Listed) -> list[dict[str, Any]]:
    """None where it is not finished, or its folder is gone."""
    from mullover.evaluate.metrics import wilson
    from mullover.store import manifest as manifests

    content = manifests.load(Path(run.run.folder))
    if content is None or content.get("status") != "finished" or not run.problems:
        return []
    identity, result = content["identity"], content.get("result") or {}
    options = {**(identity.get("options") or {}), **(identity.get("sampling") or {})}
    told = ", ".join(f"{name}={value}" for name, value in options.items())
    return [
        {
            "task": run.run.task,
            "version": str(identity.get("task_sha256", ""))[:8],
            "model": run.run.model,
            "strategy": run.run.strategy + (f"({told})" if told else ""),
            "seed": identity.get("seed", 0),
            "problems": run.problems,
            "correct": run.correct,
            "accuracy": run.correct / run.problems,
            "ci95": list(wilson(run.correct, run.problems)),
            "tokens": run.tokens / run.problems,
            "oracle": bool(result.get("oracle")),
            "failed": run.failed,
            "run": run.run.folder,
        }
    ]


def rank(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By accuracy, then by tokens. No rank: it knew the truth, or has fewer problems than others (a --limit)."""
    most = max(row["problems"] for row in rows)
    rows = sorted(rows, key=lambda row: (-row["accuracy"], row["tokens"]))
    place = 0
    for row in rows:
        row["why"] = "ORACLE" if row["oracle"] else f"{row['problems']} of {most}" if row["problems"] < most else ""
        place += not row["why"]
        row["rank"] = None if row["why"] else place
    return sorted(rows, key=lambda row: (row["rank"] is None, row["rank"] or 0))


def show(rows: Sequence[dict[str, Any]]) -> None:
    most = max(row["problems"] for row in rows)
    print(clean(f"{rows[0]['task']} (version {rows[0]['version'] or 'unknown'}), {most} problems"))
    table = [["", "right, %", "95 %", "tokens a problem", "model", "strategy"]]
    for row in rows:
        low, high = row["ci95"]
        span = f"{100 * low:.1f} to {100 * high:.1f}"
        place = row["why"] if row["rank"] is None else str(row["rank"])
        figures = [f"{100 * row['accuracy']:.1f}", span, f"{row['tokens']:.4g}"]
        table.append([place, *figures, row["model"][-40:], row["strategy"]])
    print_rows(table)
    print()
