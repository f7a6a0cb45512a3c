"""`mull compare`: several strategies on one task, at equal spending, as a report."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mullover.cli.eval import ONE, carried_out, check, planned
from mullover.cli.eval import OWN as EVAL
from mullover.cli.options import SAMPLED, Chosen, chosen, own_flags, signed
from mullover.cli.output import clean, print_json, print_rows
from mullover.cli.progress import patient, waited_for
from mullover.errors import OptionError
from mullover.strategies import load as load_strategy
from mullover.strategies import needs, parameters
from mullover.tasks import load
from mullover.types import Model

if TYPE_CHECKING:
    from mullover.evaluate.compare import Comparison
    from mullover.evaluate.results import Results

OWN = {name: flag for name, flag in EVAL.items() if name not in ("min_agreement", "out")} | {
    "task": ONE,
    "out": (Path, typer.Option("--out", help="The folder of the report and of its runs."), ...),
    "strategies": (
        str,
        typer.Option("--strategies", help='Such as "direct,chain_of_thought,best_of_n(scorer=likelihood)".'),
        ...,
    ),
    "sizes": (str | None, typer.Option("--n", help="Numbers of samples, such as 1,2,4,8: a setting each."), None),
    "budgets": (
        str | None,
        typer.Option("--budgets", help="Mean spendings a problem to compare at, in the unit of --x; else those found."),
        None,
    ),
    "x": (str, typer.Option("--x", help="What is spent: tokens, flops, seconds, or cost."), "tokens"),
    "primary": (
        str | None,
        typer.Option("--primary", help="Two strategies, first,second: the comparison that was decided on beforehand."),
        None,
    ),
}
_PART = re.compile(r"\s*([\w.:]+)\s*(?:\(([^()]*)\))?\s*(?:,|$)")


@dataclass(frozen=True)
class Arm:
    """One setting of a strategy."""

    line: str  # of which curve it is a point
    label: str
    picked: Chosen
    n: int  # samples, for the order: what many draw, fewer need not draw again


def command(words: Sequence[str]) -> Callable[..., Any]:
    return signed(run_compare, words, OWN, leave=("n", "strategy"))


def run_compare(
    words: Sequence[str],
    task: str,
    limit: int | None,
    concurrency: int,
    out: Path,
    data: Path | None,
    json: bool,
    strategies: str,
    sizes: str | None,
    budgets: str | None,
    x: str,
    primary: str | None,
    **given: Any,
) -> int:
    """Run every setting that has not been run, then write the report."""
    from mullover.evaluate.results import UNITS
    from mullover.evaluate.reuse import usable

    check(limit, concurrency)
    if x not in UNITS:
        raise OptionError(f"--x is {x!r}; it must be one of {', '.join(UNITS)}")
    lots = _numbers("--budgets", budgets, float) if budgets else []
    arms = settings(strategies, _numbers("--n", sizes, int) if sizes else [], given)
    named = _primary(primary, [arm.line for arm in arms])
    model = waited_for(given["model"])
    problems = load(task, data=data, kind=given["kind"])
    folders: dict[str, Path] = {}
    below = out / ("runs-seconds" if x == "seconds" else "runs")  # what was taken from elsewhere took no time
    before = tuple(sorted(below.glob("*/"))) if x != "seconds" else ()
    more = {"limit": limit, "concurrency": concurrency, "command": tuple(words)}
    for arm in sorted(arms, key=lambda arm: -arm.n):
        folder = below / _folder(arm.label)
        plan = planned(arm.picked, problems, model, **more)
        if x != "seconds":
            drawn = usable([path for path in before if path != folder], plan.manifest()["identity"])
            plan = replace(plan, reuse=(*folders.values(), *(path for path in drawn if path not in folders.values())))
        result = carried_out(plan, folder, arm.label, words)
        if result is None:
            return 1
        if result.failed == result.problems:
            raise OptionError(f"{arm.label}: no problem could be asked: {result.first_error}")
        folders[arm.label] = folder
    asked = sorted(problem.id for problem in problems.problems[:limit])
    return reported(arms, folders, asked, problems.name, model, out, x, lots, named, words, json)


def _folder(label: str) -> str:
    """A name for a setting's folder; what cannot be in one is told apart by a digest."""
    plain = re.sub(r"[^A-Za-z0-9.=_()-]+", "_", label)
    return plain[:80] if plain == label else f"{plain[:80]}-{blake2b(label.encode(), digest_size=3).hexdigest()}"


def settings(text: str, sizes: Sequence[int], given: Mapping[str, Any]) -> list[Arm]:
    """What --strategies and --n name.

    Raises:
        OptionError: it cannot be read, or an option that a strategy does not have.
    """
    arms, at = list[Arm](), 0
    while at < len(text):
        match = _PART.match(text, at)
        if match is None:
            raise OptionError(f"--strategies cannot be read at {text[at:][:40]!r}; write a,b(option=value),c")
        options = _options(match[1], match[2] or "")
        own = parameters(load_strategy(match[1]))
        line = match[1] + (f"({match[2].strip()})" if match[2] else "")
        if any(arm.line == line for arm in arms):
            raise OptionError(f"--strategies names {line} twice; leave one out")
        swept: Sequence[int | None] = sizes if sizes and "n" in own and "n" not in options else [None]
        for n in swept:
            words = options if n is None else {**options, "n": str(n)}
            label = line if n is None else f"{line} n={n}"
            picked = chosen({**_words(match[1], given), **words, "strategy": match[1]})
            default = own["n"].default if "n" in own else 1
            arms.append(Arm(line, label, picked, int(picked.options.get("n", default))))
        at = match.end()
    if not arms:
        raise OptionError("--strategies names none; write a,b(option=value),c")
    return arms


def _options(name: str, text: str) -> dict[str, Any]:
    """`a=1, b=x` as flags have them; numbers of sampling become numbers."""
    found: dict[str, Any] = {}
    known = {*own_flags(load_strategy(name)), *SAMPLED}
    for part in filter(str.strip, text.split(",")):
        option, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or option not in known:
            has = ", ".join(sorted(known))
            raise OptionError(f"{name} has no option {option!r} to set by option=value; it has {has}")
        try:
            found[option] = value if option not in SAMPLED else float(value) if "." in value else int(value)
        except ValueError:
            raise OptionError(f"{name}: {option} is {value!r}; it must be a number") from None
    return found


def _words(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The flags for all strategies, less those that this one fixes or does not take."""
    strategy = load_strategy(name)
    deaf = set(needs(strategy).sampling) if "sampling" in parameters(strategy) else {*SAMPLED}
    known = {*parameters(strategy)}
    return {
        flag: None if flag in deaf or (flag in ("style", "scorer") and flag not in known) else value
        for flag, value in given.items()
    }


def _numbers(flag: str, text: str, kind: type) -> list[Any]:
    try:
        found = [kind(part) for part in text.split(",")]
    except ValueError:
        raise OptionError(f"{flag} is {text!r}; write numbers with commas, such as 1,2,4") from None
    most = math.inf if kind is float else 1 << 20
    if not all(0 < value < most for value in found):
        raise OptionError(f"{flag} is {text!r}; each must be above 0" + ("" if kind is float else f" and below {most}"))
    return sorted(set(found))


def _primary(text: str | None, lines: Sequence[str]) -> tuple[str, str] | None:
    if text is None:
        return None
    pairs = {f"{a},{b}".replace(" ", ""): (a, b) for a in lines for b in lines if a != b}
    found = pairs.get(text.replace(" ", ""))
    if found is None:
        raise OptionError(f"--primary is {text!r}; write two of {'; '.join(dict.fromkeys(lines))}, with a comma")
    return found


def reported(
    arms: Sequence[Arm],
    folders: Mapping[str, Path],
    asked: Sequence[str],
    task: str,
    model: Model,
    out: Path,
    x: str,
    budgets: Sequence[float],
    primary: tuple[str, str] | None,
    words: Sequence[str],
    json: bool,
) -> int:
    from mullover.evaluate import report
    from mullover.evaluate.compare import compare, line_of
    from mullover.evaluate.results import load as loaded
    from mullover.evaluate.results import only

    with patient("computing the report"):
        runs: dict[str, Results] = {label: only(loaded(folder), asked) for label, folder in folders.items()}
        names = list(dict.fromkeys(arm.line for arm in arms))
        unit: Any = x
        of = {name: [(arm.label, runs[arm.label]) for arm in arms if arm.line == name] for name in names}
        lines = [line_of(name, of[name], unit, asked) for name in names]
        found = compare(lines, unit, budgets=budgets, primary=primary)
        facts = {
            "task": task,
            "model": model.info.name,
            "counted in": model.info.unit,
            "seed": arms[0].picked.seed,
            "command": "mull " + " ".join(words),
            "date": datetime.now(UTC).date().isoformat(),
            "machine": f"{os.uname().machine}, {os.cpu_count()} cores",
            "primary comparison": " against ".join(reversed(primary)) if primary else "none was named",
        }
        files = report.write(found, facts, out)
    if json:
        print_json(report.plain(found))
        return 0
    show(found)
    for file in files:
        print(clean(f"wrote {file}"))
    return 0


def show(found: Comparison) -> None:
    def per_cent(value: float) -> str:
        return f"{100 * value:.1f}"

    table = [["setting", f"{found.unit} a problem", "right, %", "95 %", ""]]
    for line in found.lines:
        low, high = found.bands[line.name]
        for i, point in enumerate(line.points):
            if not point.capped:
                span = f"{per_cent(low[i])} to {per_cent(high[i])}"
                star = "*" if point.label in found.pareto else ""
                table.append([point.label, f"{point.spending:.4g}", per_cent(point.accuracy), span, star])
    print(f"{found.problems} problems; * is beaten by no other setting in both")
    print_rows(table)
    told = [["second less first", "", found.unit, "points", "95 %", "p", "adjusted"]]
    for d in found.differences:
        if d.adjusted is not None and d.budget < found.budgets[-1]:
            continue  # all others are in the report
        span = f"{100 * d.ci95[0]:+.1f} to {100 * d.ci95[1]:+.1f}"
        adjusted = "primary" if d.adjusted is None else f"{d.adjusted:.3g}"
        told.append([d.first, d.second, f"{d.budget:.4g}", f"{100 * d.mean:+.1f}", span, f"{d.p:.3g}", adjusted])
    if len(told) > 1:
        print(f"at equal spending, the highest of {len(found.budgets)}:")
        print_rows(told)
    for note in found.notes:
        print(f"  {note}")
