"""`mull runs`: see again what was run. What a model wrote is data: it never reaches the terminal as commands."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mullover.cli.output import print_json
from mullover.cli.runs_diff import diff

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text
    from rich.tree import Tree

    from mullover.store.index import Index, Listed
    from mullover.store.stored import Stored
    from mullover.types import Candidate, Usage
    from mullover.wrappers import Call

app = typer.Typer(no_args_is_help=True, help="See again what was run.")
app.command()(diff)
RUN = Annotated[str, typer.Argument(help="A run's folder, its name or the beginning of it, or `last`.")]
JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ROWS = 40  # of a table or a tree, unless --all
BAR = 24  # characters of the longest bar
MARKS = {True: ("✓", "green"), False: ("✗", "red"), None: ("–", "dim")}
STATUS = {"selected": ("✓", "bold green"), "finished": ("●", ""), "open": ("○", ""), "pruned": ("×", "dim")}


@app.command()
def ls(
    json: JSON = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="The latest so many runs.")] = 20,
) -> None:
    """List the runs, the latest first."""
    from mullover.store.index import Index

    index = Index.of_reader()
    index.refresh()
    runs = index.runs()
    index.close()
    if json:
        print_json([_facts(run) for run in runs[:limit]])
        return
    console = _console()
    table = _table("run", "created", "right", "of", "accuracy", "tokens", "seconds", "status")
    for facts in map(_facts, runs[:limit]):
        accuracy, seconds = facts["accuracy"], facts["seconds"]
        cells = [facts["name"], facts["created"][:16].replace("T", " ")]
        cells += ["–" if accuracy is None else facts["correct"], facts["problems"]]
        cells += ["–" if accuracy is None else f"{accuracy:.1%}", f"{facts['tokens']:,}"]
        cells += ["–" if seconds is None else f"{seconds:.1f}", facts["status"]]
        table.add_row(*map(_text, cells))
    console.print(table)
    if len(runs) > limit:
        console.print(_text(f"and {len(runs) - limit} more; --limit {len(runs)} shows them", "dim"))


@app.command()
def show(
    run: RUN,
    problem: Annotated[str | None, typer.Argument(help="A problem's id, or the beginning of it.")] = None,
    json: JSON = False,
    everything: Annotated[
        bool, typer.Option("--all", help="All problems; of one problem, all prompts, texts, seeds and costs.")
    ] = False,
) -> None:
    """Draw a run's problems; or one problem's votes, tree and cost."""
    from mullover.store.find import find_run, record_of
    from mullover.store.index import Index
    from mullover.store.stored import decode, parse

    index = Index.of_reader()
    try:
        folder = find_run(run, index)
        index.refresh(folder)
        if problem is None:
            _show_run(folder, index, json, everything)
            return
        line = record_of(folder, problem, index)
    finally:
        index.close()
    if json:
        print_json(parse(line))
    else:
        _show_problem(decode(line), everything)


@app.command()
def export(
    run: RUN,
    canonical: Annotated[
        bool, typer.Option("--canonical", help="Without clocks and run ids, by problem id: equal runs are equal bytes.")
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", help="A file; else stdout.")] = None,
) -> None:
    """Write the records as JSON lines."""
    from mullover.errors import OptionError
    from mullover.store.files import write_whole
    from mullover.store.find import exported, find_runs

    (folder,) = find_runs(run)
    if out is not None and out.resolve().parent == folder.resolve():
        raise OptionError(f"{out} is in the run's own folder; export to another place")
    lines = exported(folder, canonical)
    if out is not None:
        write_whole(out, lines)
        return
    try:
        sys.stdout.buffer.writelines(lines)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough; what is still in the buffer goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _facts(run: Listed) -> dict[str, Any]:
    """A row of `ls`."""
    from mullover.evaluate.metrics import wilson
    from mullover.store.lock import held
    from mullover.store.manifest import home

    folder, row = Path(run.run.folder), run.run
    unjudged = run.problems == 0 or (run.judged == 0 and row.task == "ask")
    running = row.status == "running"
    return {
        "name": folder.name if folder.parent == (home() / "runs").absolute() else str(folder),
        "folder": row.folder,
        "created": row.created,
        "task": row.task,
        "model": row.model,
        "strategy": row.strategy,
        "status": "stopped" if running and not held(folder) else row.status,
        "problems": run.problems,
        "correct": run.correct,
        "failed": run.failed,
        "accuracy": None if unjudged else run.correct / run.problems,
        "ci95": None if unjudged else list(wilson(run.correct, run.problems)),
        "tokens": run.tokens,
        "seconds": row.wall,
    }


def _show_run(folder: Path, index: Index, json: bool, everything: bool) -> None:
    from mullover.errors import StoreError
    from mullover.store import manifest as manifests
    from mullover.store.journal import NAME, line_at
    from mullover.store.stored import decode

    listed = next((run for run in index.runs() if run.run.folder == str(folder)), None)
    content = manifests.load(folder)
    if listed is None or content is None:
        raise StoreError(f"{folder} could not be read")
    facts, rows = _facts(listed), index.problems(folder, -1 if everything or json else ROWS)
    if json:
        problems = [{"id": r.id, "correct": r.correct, "answer": r.answer, "error": r.error} for r in rows]
        print_json({**facts, **content, "problems": problems})
        return
    console = _console()
    _print_header(console, folder, facts, content)
    table = _table("", "problem", "answer", "gold", "agreement", "tokens")
    for row in rows:
        stored = decode(line_at(folder / NAME, row.offset, row.length))
        mark, style = ("!", "yellow") if row.error else MARKS[row.correct]
        answer = f"failed: {row.error}" if row.error else "–" if row.answer is None else _line(row.answer)
        cells = (row.id, answer, _line(stored.gold or ""), _agreement(stored), f"{row.tokens:,}")
        table.add_row(_text(mark, style), *map(_text, cells))
    console.print(table)
    if (rest := listed.problems - len(rows)) > 0:
        console.print(_text(f"and {rest} more; --all shows them", "dim"))


def _print_header(console: Console, folder: Path, facts: Mapping[str, Any], content: Mapping[str, Any]) -> None:
    identity, result = content["identity"], content.get("result", {})
    rest = {k: v for k, v in identity.items() if k not in ("task", "model", "strategy") and v not in (None, "", {}, [])}
    console.print(_text(f"{facts['task']}  {facts['model']}  {facts['strategy']}", "bold"))
    console.print(_text("; ".join(f"{name} {_said(value)}" for name, value in rest.items())))
    if facts["accuracy"] is not None:
        low, high = facts["ci95"]
        failed = f", {facts['failed']} failed" if facts["failed"] else ""
        oracle = "; ORACLE: the scorer knew the truth" if result.get("oracle") else ""
        right = f"{facts['correct']} of {facts['problems']} right, {facts['accuracy']:.1%}"
        console.print(_text(f"{right} ({low:.1%} to {high:.1%}){failed}{oracle}"))
    seconds = "" if facts["seconds"] is None else f", {facts['seconds']:.1f} s"
    unit = result.get("unit", "tokens")
    console.print(_text(f"{facts['tokens']:,} {unit}{seconds}, {facts['status']}, {facts['created']}"))
    console.print(_text(str(folder), "dim"))


@dataclass(slots=True)
class Ballot:
    """Equal answers, as the first of them is written; None: those that state none."""

    value: str | None
    chosen: bool = False
    right: bool | None = None
    count: int = 0


def _ballots(stored: Stored) -> list[Ballot]:
    """Who states an answer, and whole samples that should have; the most frequent first."""
    from mullover.answers import key

    answer, right = stored.answer, stored.right
    expects = stored.run.calls[0].prompt.expects if stored.run.calls else None
    parents = {parent for each in answer.candidates for parent in each.parents}
    ballots: dict[str | None, Ballot] = {}
    if answer.value is not None:
        ballots[key(answer.value, expects) if expects else answer.value] = Ballot(answer.value, True, stored.correct)
    for i, candidate in enumerate(answer.candidates):
        value = candidate.value
        if value is None and (candidate.kind != "sample" or i in parents):
            continue
        ballot = ballots.setdefault(key(value, expects) if value and expects else value, Ballot(value))
        ballot.count += 1
        if ballot.right is None and value is not None:
            ballot.right = right.get(i)
    return sorted(ballots.values(), key=lambda ballot: (ballot.value is None, -ballot.count))


def _agreement(stored: Stored) -> str:
    ballots = _ballots(stored)
    total = sum(ballot.count for ballot in ballots)
    return next((f"{ballot.count} of {total}" for ballot in ballots if ballot.chosen and total > 1), "")


def _show_problem(stored: Stored, everything: bool) -> None:
    console, answer = _console(), stored.answer
    if stored.run.calls:
        console.print(_text(f"{stored.run.calls[0].prompt.question}\n"), soft_wrap=True)
    mark, style = MARKS[stored.correct]
    told = "no answer" if answer.value is None else answer.value
    gold = "" if stored.gold is None else f"   gold {stored.gold}"
    cut = "" if answer.complete else "   (cut short)"
    console.print(_text(f"{mark} {told}", f"bold {style}") + _text(f"{gold}{cut}   {answer.why}"), soft_wrap=True)
    if stored.error:
        console.print(_text(f"failed: {stored.error}", "yellow"), soft_wrap=True)
    if stored.run.oracle:
        console.print(_text("ORACLE: the scorer knew the truth", "yellow"))
    _print_votes(console, stored)
    if answer.candidates:
        console.print()
        console.print(_tree(stored, len(answer.candidates) if everything else ROWS))
    console.print()
    _print_cost(console, stored.run.usage)
    if everything:
        for number, call in enumerate(stored.run.calls):
            _print_call(console, number, call)


def _print_votes(console: Console, stored: Stored) -> None:
    """A bar for each answer."""
    ballots = [ballot for ballot in _ballots(stored) if ballot.count]
    total, most = sum(ballot.count for ballot in ballots), max((ballot.count for ballot in ballots), default=0)
    if total < 2:
        return
    table = _table("votes", "", "", "", "")
    for ballot in ballots:
        mark, style = MARKS[ballot.right]
        name = "no answer" if ballot.value is None else _line(ballot.value)
        told = f"{mark if ballot.right is not None else ''}{' chosen' if ballot.chosen else ''}"
        cells = (str(ballot.count), f"{ballot.count / total:.0%}")
        bar = _text("█" * max(1, round(BAR * ballot.count / most)), style)
        table.add_row(_text(name), bar, *map(_text, cells), _text(told, style))
    console.print()
    console.print(table)


def _tree(stored: Stored, most: int) -> Tree:
    """Each candidate below its first parent."""
    from rich.tree import Tree

    candidates, right = stored.answer.candidates, stored.right
    root = Tree(_text(f"{stored.id}: {len(candidates)} candidates", "bold"))
    nodes: dict[int, Tree] = {}
    for i, candidate in enumerate(candidates[:most]):
        above = nodes.get(candidate.parents[0], root) if candidate.parents else root
        nodes[i] = above.add(_node(i, candidate, right.get(i)))
    if len(candidates) > most:
        root.add(_text(f"and {len(candidates) - most} more; --all shows them", "dim"))
    return root


def _node(i: int, candidate: Candidate, right: bool | None) -> Text:
    mark, style = STATUS[candidate.status]
    label = _text(f"{mark} {i} {candidate.kind} {candidate.status}", style)
    if len(candidate.parents) > 1:
        label += _text(f" from {', '.join(map(str, candidate.parents))}")
    if candidate.score is not None:
        value = candidate.score.value
        label += _text(f"  score {'none' if value is None else f'{value:.4g}'}", "cyan")
    if candidate.numbers:
        label += _text("  " + " ".join(f"{name} {value:.4g}" for name, value in candidate.numbers.items()), "cyan")
    if candidate.value is not None:
        label += _text(f"  = {_line(candidate.value)}", "bold")
    if right is not None:
        label += _text(f" {MARKS[right][0]}", MARKS[right][1])
    label += _text(f"  {_line(candidate.text)}", "dim")
    label.no_wrap, label.overflow = True, "ellipsis"
    return label


def _print_cost(console: Console, usage: Mapping[Any, Usage]) -> None:
    names = (
        "calls",
        "prompt_tokens",
        "cached_tokens",
        "completion_tokens",
        "reasoning_tokens",
        "retries",
        "partial",
        "seconds",
        "money",
    )
    shown = [name for name in names if any(getattr(spent, name) for spent in usage.values())]
    table = _table("cost", *[name.replace("_", " ") for name in shown])
    for role, spent in usage.items():
        cells = [getattr(spent, name) for name in shown]
        table.add_row(_text(role), *[_text(f"{c:,}" if isinstance(c, int) else f"{c:.6g}") for c in cells])
    console.print(table)


def _print_call(console: Console, number: int, call: Call) -> None:
    """One call in full."""
    from mullover.seeds import changed

    def say(text: str, style: str = "") -> None:
        console.print(_text(text, style), soft_wrap=True)

    sampling = _said(changed(call.sampling)) if call.sampling is not None else ""
    say(f"\ncall {number}: {call.role} {call.model}, n {call.n} {sampling}", "bold")
    say(_spent(call.usage), "dim")
    for message in call.prompt.messages:
        say(f"[{message.role}]", "bold")
        say(message.text)
    if call.prompt.segments:
        say("[assistant so far]", "bold")
        say(call.prompt.said)
    for i, (sample, seed) in enumerate(zip_longest(call.samples, call.seeds)):
        say(f"-- sample {i}: {sample.finish}, seed {seed}, {_spent(sample.usage)} {sample.error}", "bold")
        say(sample.text)
    say("\n".join([f"-- score {i}: {score.value} {score.why}" for i, score in enumerate(call.scores)]))
    say(f"failed: {call.error}" if call.error else "", "yellow")


def _spent(usage: Usage) -> str:
    cached = f" ({usage.cached_tokens} cached)" if usage.cached_tokens else ""
    return f"{usage.prompt_tokens} + {usage.completion_tokens} tokens{cached}, {usage.seconds:.3f} s"


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={_said(each)}" for name, each in value.items())
    return ", ".join(map(_said, value)) if isinstance(value, (list, tuple)) else str(value)


def _line(text: str) -> str:
    """The first line that says something."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _text(text: object, style: str = "") -> Text:
    """Text for the terminal: no markup is read in it, and no control character gets through."""
    from rich.text import Text

    from mullover.cli.output import clean

    return Text(clean(str(text)), style)


def _table(*names: str) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in names:
        fold = name in ("run", "answer")
        side: Any = "right" if name in ("right", "of", "tokens", "seconds", "accuracy") else "left"
        table.add_column(name, justify=side, no_wrap=not fold, overflow="fold" if fold else "ellipsis")
    return table


def _console() -> Console:
    from rich.console import Console

    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a mark that the terminal's encoding lacks stops nothing
    wide = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160
    return Console(highlight=False, markup=False, emoji=False, width=wide)
