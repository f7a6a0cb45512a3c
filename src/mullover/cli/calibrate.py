"""`mull calibrate`: how far the confidence of a run's answers may be trusted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mullover.cli.output import clean, print_json, print_rows
from mullover.cli.progress import patient
from mullover.errors import OptionError

if TYPE_CHECKING:
    from mullover.evaluate.calibration import Signal


def command(words: Sequence[str]) -> Callable[..., Any]:
    return calibrate


def calibrate(
    run: Annotated[str, typer.Argument(help="A run with several samples a problem: its folder, name, or `last`.")],
    min_agreement: Annotated[
        float | None, typer.Option("--min-agreement", min=0, max=1, help="How right are answers of this agreement?")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the table and the plots there.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Tell each confidence's error, and what abstaining by it would give."""
    from mullover.evaluate import calibration
    from mullover.evaluate.metrics import wilson
    from mullover.evaluate.results import load
    from mullover.store.find import find_runs

    (folder,) = find_runs(run)
    with patient("reading the run"):
        results = load(folder)
        found = calibration.signals(results)
        told = {signal.name: facts(signal) for signal in found}
    least = None
    if min_agreement is not None:
        if found[0].name != "agreement":
            raise OptionError("--min-agreement needs several samples a problem")
        answers, right = calibration.selected(found[0], min_agreement)
        least = {"min_agreement": min_agreement, "answers": answers, "right": right}
    if out is not None:
        written(found, told, out)
    if json:
        print_json({"run": str(folder), "problems": len(results.ids), "signals": told, "selected": least})
        return 0
    show(found, told)
    if least is not None:
        low, high = wilson(right, answers)
        share = f", {right / answers:.2%} ({low:.1%} to {high:.1%})" if answers else ""
        print(
            f"agreement of at least {min_agreement:.0%}: {answers} of {len(results.ids)} problems, {right} right{share}"
        )
    return 0


def facts(signal: Signal) -> dict[str, Any]:
    """All figures of one confidence; those that need a probability are None for other scores."""
    from mullover.evaluate import calibration as c

    thresholds, coverage, accuracy = c.risk_coverage(signal)
    bins = [vars(row) | {"ci95": list(row.ci95)} for row in c.reliability(signal)] if signal.probability else []
    return {
        "what": signal.what,
        "answers": len(signal.right),
        "silent": signal.silent,
        "accuracy": float(signal.right.mean()),
        "confidence": float(signal.confidence.mean()) if signal.probability else None,
        "ece": c.ece(signal) if signal.probability else None,
        "brier": c.brier(signal) if signal.probability else None,
        "brier ci95": list(c.ci95(signal)["brier"]) if signal.probability else None,
        "auroc": c.auroc(signal.confidence, signal.right),
        "bins": bins,
        "risk_coverage": {
            "threshold": thresholds.tolist(),
            "coverage": coverage.tolist(),
            "accuracy": accuracy.tolist(),
        },
    }


def show(found: Sequence[Signal], told: dict[str, dict[str, Any]]) -> None:
    def cell(value: float | None) -> str:
        return "" if value is None else f"{value:.4f}"

    names = ("accuracy", "confidence", "ece", "brier", "auroc")
    rows = [[n, str(told[n]["answers"]), *(cell(told[n][name]) for name in names)] for n in told]
    print_rows([["confidence by", "answers", "accuracy", "mean confidence", "ECE", "Brier", "AUROC"], *rows])
    for signal in found:
        silent = f"; {signal.silent} state none" if signal.silent else ""
        print(f"  {signal.name}: {signal.what}{silent}")
        if signal.probability:
            print(f"  {signal.name}, bins:")
            bins = told[signal.name]["bins"]
            print_rows(
                [
                    ["    confidence", "answers", "mean", "right", "95 %"],
                    *(
                        [f"{b['low']:.1f} to {b['high']:.1f}", str(b["answers"]), f"{b['confidence']:.2f}",
                         f"{b['accuracy']:.1%}", f"{b['ci95'][0]:.1%} to {b['ci95'][1]:.1%}"] for b in bins
                    ),
                ]
            )  # fmt: skip


def written(found: Sequence[Signal], told: dict[str, dict[str, Any]], out: Path) -> None:
    import orjson

    from mullover.evaluate import plots
    from mullover.store.files import told as errors_told
    from mullover.store.files import write_whole

    with errors_told(out):
        out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "calibration.json", [orjson.dumps(told, option=orjson.OPT_INDENT_2), b"\n"])
    files = [out / "calibration.json", *plots.risk_coverage_plot(found, out / "risk-coverage")]
    for signal in found:
        if signal.probability:
            files += plots.reliability_diagram(signal, out / f"reliability-{signal.name}")
    for file in files:
        print(clean(f"wrote {file}"))
