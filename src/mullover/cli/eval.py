"""`mull eval`: a task, a model and a strategy in; accuracy and cost out."""

import asyncio
import gc
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import typer

from mullover.cli import say
from mullover.cli.options import Chosen, chosen, signed
from mullover.cli.output import clean, ledger, print_json
from mullover.cli.progress import Progress, waited_for
from mullover.cli.suite import members
from mullover.errors import OptionError
from mullover.evaluate.evaluate import Plan, Result, evaluate
from mullover.evaluate.metrics import wilson
from mullover.tasks import Task, load
from mullover.types import Model

TASK = "A name of `mull tasks`, or a problem file (JSONL); several with commas, or suite:FILE.toml."
ONE = (str, typer.Option("--task", help="A name of `mull tasks`, or a problem file (JSONL)."), ...)
OWN = {
    "task": (str, typer.Option("--task", help=TASK), ...),
    "limit": (int | None, typer.Option("--limit", help="The first so many problems."), None),
    "concurrency": (int, typer.Option("--concurrency", help="Problems at the same time."), 16),
    "out": (Path | None, typer.Option("--out", help="The run's folder; else one below MULLOVER_HOME/runs."), None),
    "data": (Path | None, typer.Option("--data", help="The folder of the tasks' data; else MULLOVER_DATA."), None),
    "min_agreement": (
        float | None,
        typer.Option("--min-agreement", min=0, max=1, help="Tell also what is right where so many samples agree."),
        None,
    ),
    "json": (bool, typer.Option("--json", help="Print one JSON object."), False),
}


def command(words: Sequence[str]) -> Callable[..., Any]:
    return signed(run_eval, words, OWN)


def run_eval(
    words: Sequence[str],
    task: str,
    limit: int | None,
    concurrency: int,
    out: Path | None,
    data: Path | None,
    min_agreement: float | None,
    json: bool,
    **given: Any,
) -> int:
    """Open what the flags name, evaluate, print."""
    check(limit, concurrency)
    picked, asked = chosen(given), members(task, limit)
    model = waited_for(picked.model)
    tasks = [load(one.task, data=data, kind=picked.kind) for one in asked]  # type: ignore[arg-type]
    told, worst = list[dict[str, Any]](), 0
    for one, problems in zip(asked, tasks, strict=True):
        plan = planned(picked, problems, model, limit=one.limit, concurrency=concurrency, command=tuple(words))
        folder = out if out is None or len(asked) == 1 else out / one.folder
        result = carried_out(plan, folder, f"{one.task} {picked.name}", words)
        if result is None:
            return 1
        told.append(facts(result, None if min_agreement is None else kept(result, min_agreement)))
        if not json:
            show(result, told[-1].get("kept"))
        worst = max(worst, verdict(result))
    if json:
        print_json(told[0] if len(told) == 1 else {"tasks": told, "mean": mean(told)})
    elif len(told) > 1:
        print(f"mean of {len(told)} tasks: {mean(told):.1%} right")
    return worst


def mean(told: Sequence[dict[str, Any]]) -> float:
    """Of the tasks' accuracies, each task alike."""
    return float(sum(row["accuracy"] for row in told) / len(told))


def check(limit: int | None, concurrency: int) -> None:
    """Refuse no problems, or none at a time."""
    for flag, value in (("--limit", limit), ("--concurrency", concurrency)):
        if value is not None and value < 1:
            raise OptionError(f"{flag} is {value}; it must be at least 1")


def kept(result: Result, least: float) -> dict[str, Any]:
    """What abstaining where fewer samples agree would give.

    Raises:
        OptionError: no problem has several samples.
    """
    from mullover.evaluate import calibration
    from mullover.evaluate.results import load as loaded

    found = calibration.signals(loaded(Path(result.run)))[0]
    if found.name != "agreement":
        raise OptionError("--min-agreement needs several samples a problem; take --strategy self_consistency")
    answers, right = calibration.selected(found, least)
    return {"min_agreement": least, "answers": answers, "right": right, "ci95": list(wilson(right, answers))}


def planned(picked: Chosen, task: Task, model: Model, **more: Any) -> Plan:
    """What the flags say is to be evaluated."""
    return Plan(
        task=task,
        model=model,
        model_spec=picked.model or model.info.name,
        strategy=picked.strategy,
        options=picked.options,
        specs=picked.specs,
        sampling=picked.sampling,
        seed=picked.seed,
        budget=picked.budget,
        system=picked.system,
        **more,
    )


def carried_out(plan: Plan, out: Path | None, what: str, words: Sequence[str]) -> Result | None:
    """The result, with progress on the way; None if it was stopped: then it is told how to go on."""
    calm()
    many = len(plan.problems())
    with Progress(many, what) as progress:
        try:
            return asyncio.run(evaluate(plan, out, progress.tell))
        except KeyboardInterrupt:
            progress.close()
            resume = " ".join(["mull", *map(quoted, words)])
            print(f"mull: stopped; what was finished is stored. To go on: {resume}", file=sys.stderr)
            return None


def verdict(result: Result) -> int:
    """The exit status: 1 where nothing could be asked."""
    if result.failed == result.problems and result.problems:
        say(f"no problem could be asked: {result.first_error}")
        return 1
    return 0


def calm() -> None:
    """For thousands of requests in flight: look for cycles of garbage more seldom, which took a third of the time."""
    gc.freeze()
    gc.set_threshold(50_000, 25, 100)
    with suppress(ImportError, ValueError, OSError):  # and let there be as many connections as the system allows
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def quoted(word: str) -> str:
    """For a shell, and a terminal: what cannot be seen is written as an escape."""
    if word.isprintable():
        return shlex.quote(word)
    return f"$'{word.encode('unicode_escape').decode().replace(chr(39), chr(92) + chr(39))}'"


def facts(result: Result, kept: dict[str, Any] | None) -> dict[str, Any]:
    """What `--json` prints of a task."""
    return {**result.facts(), "usage": ledger(result.total, result.usage)} | ({"kept": kept} if kept else {})


def show(result: Result, kept: dict[str, Any] | None = None) -> None:
    low, high = result.ci95
    total = result.total
    print(
        f"{result.task}: {result.correct} of {result.problems} right, {result.accuracy:.1%} ({low:.1%} to {high:.1%})"
    )
    rest = {"unanswered": result.unanswered, "failed": result.failed, "cut by the budget": result.incomplete}
    told = ", ".join(f"{count} {what}" for what, count in rest.items() if count)
    if told:
        print(f"  of the others, {told}" if "unanswered" in told else f"  {told}")
    for k, value in result.pass_at.items():
        if k in (1, result.samples_each):
            print(f"  pass@{k} {value:.1%}" + (" (the mean of all samples)" if k == 1 else " (some sample is right)"))
    if result.pass_at_why:
        print(f"  no pass@k: {result.pass_at_why}")
    if kept:
        right, answers, (low, high) = kept["right"], kept["answers"], kept["ci95"]
        share = f", {right / answers:.1%} ({low:.1%} to {high:.1%})" if answers else ""
        print(
            f"  agreement >= {kept['min_agreement']:.0%}: {answers} of {result.problems} answered, {right} right{share}"
        )
    unit = result.unit
    spent = f"{total.prompt_tokens} + {total.completion_tokens} {unit} (prompt + completion), {result.seconds:.1f} s"
    if total.money:
        spent += f", cost {total.money:.6g}"
    print(f"  {spent}")
    if total.retries or total.partial:
        retries = f"{total.retries} retries" if total.retries else ""
        partial = f"{total.partial} answers whose cost nobody told, counted as far as seen" if total.partial else ""
        print(f"  {'; '.join(filter(None, (retries, partial)))}")
    if result.failed:
        print(clean(f"  the first failure: {result.first_error}"))
    if result.oracle:
        print("  ORACLE: the scorer knew the truth; this is no result of the strategy")
    print(f"  {result.run}", file=sys.stderr)
