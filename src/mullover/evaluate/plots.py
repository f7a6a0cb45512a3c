"""Plots of reports, each as PNG and SVG: labels with units, readable in grey, no colour that carries meaning alone."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mullover.errors import OptionError
from mullover.evaluate.calibration import Signal, reliability, risk_coverage
from mullover.evaluate.length import histogram
from mullover.evaluate.results import Pool

STYLES = (("#1b4f8a", "-", "o"), ("#c2571a", "--", "s"), ("#2f7d4f", "-.", "D"), ("#7a3b8f", ":", "^"),
          ("#8a7a1b", (0, (5, 1)), "v"), ("#555555", (0, (1, 1)), "P"))  # fmt: skip
SIZE = (6.0, 4.0)  # inches
LONGEST = 60  # characters of a name in a plot; longer ones would leave no room for the curves


def pyplot() -> Any:
    """matplotlib, without a display.

    Raises:
        OptionError: it is not installed.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        raise OptionError("plots need matplotlib; pip install 'mullover[plots]'") from None
    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "mullover"  # equal plots are equal bytes
    import matplotlib.pyplot as plt

    return plt


def literally(text: str) -> str:
    """As matplotlib shows it letter by letter: no formulas, and no name that it would leave out."""
    text = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    text = "".join(c if c.isprintable() else "?" for c in text).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def keep(figure: Any, to: Path) -> list[Path]:
    """`to` with .png and .svg."""
    files = [to.with_suffix(".png"), to.with_suffix(".svg")]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a letter that the font lacks is a box
        figure.savefig(files[0], dpi=150)
        figure.savefig(files[1], metadata={"Date": None})
    pyplot().close(figure)
    return files


def reliability_diagram(signal: Signal, to: Path) -> list[Path]:
    """Accuracy by confidence with intervals, the diagonal of a confidence that is right, and how many there are."""
    plt, rows = pyplot(), reliability(signal)
    figure, (top, below) = plt.subplots(
        2, 1, figsize=(SIZE[0], SIZE[1] + 1), sharex=True, height_ratios=(3, 1), layout="constrained"
    )
    x = [row.confidence for row in rows]
    off = [[row.accuracy - row.ci95[0] for row in rows], [row.ci95[1] - row.accuracy for row in rows]]
    top.plot([0, 1], [0, 1], color="0.6", linestyle=":", label="as confident as right")
    colour, _, marker = STYLES[0]
    top.errorbar(x, [row.accuracy for row in rows], yerr=off, color=colour, linestyle="", marker=marker, capsize=3,
                 label="accuracy, 95 % interval")  # fmt: skip
    top.set(ylabel="accuracy", ylim=(-0.02, 1.02), xlim=(-0.02, 1.02))
    top.legend(loc="upper left", frameon=False)
    below.bar([row.low + 0.05 for row in rows], [row.answers for row in rows], width=0.09, color="0.6")
    below.set(xlabel=f"confidence: {signal.name}", ylabel="answers")
    for axes in (top, below):
        axes.grid(alpha=0.3)
    return keep(figure, to)


def risk_coverage_plot(signals: Sequence[Signal], to: Path) -> list[Path]:
    """Accuracy of the answers that are kept, by the share that is kept."""
    plt = pyplot()
    figure, axes = plt.subplots(figsize=SIZE, layout="constrained")
    for signal, (colour, line, _) in zip(signals, STYLES, strict=False):
        _, coverage, accuracy = risk_coverage(signal)
        axes.plot(coverage, accuracy, color=colour, linestyle=line, label=signal.name)
    axes.set(
        xlabel="coverage: share of answers that are given",
        ylabel="accuracy of those given",
        xlim=(0, 1.02),
        ylim=(-0.02, 1.02),
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left", frameon=False)
    return keep(figure, to)


def lengths_plot(pool: Pool, to: Path) -> list[Path]:
    """How many samples are so long, right ones and wrong ones."""
    plt, (edges, right, wrong) = pyplot(), histogram(pool)
    figure, axes = plt.subplots(figsize=SIZE, layout="constrained")
    axes.stairs(right, edges, fill=True, color=STYLES[0][0], alpha=0.5, label="right")
    axes.stairs(wrong, edges, color=STYLES[1][0], linestyle="--", linewidth=1.5, label="wrong")
    axes.set(xlabel="tokens of a sample", ylabel="samples")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return keep(figure, to)
