"""Loss and held-out accuracy of a run, drawn from its log."""

from pathlib import Path
from statistics import mean
from typing import Any

from mullover.train.exam import FILE, WHOLE, lines
from mullover.train.loop import LOG

AROUND = 8  # lines of the log on either side of which one point of the bold line is the mean, at most
MARKS = "osD^v"  # one a grade, so that they can be told apart in grey


def draw(run: Path) -> list[Path]:
    """`loss.png`, and `accuracy.png` where there were examinations. Returns the files."""
    import matplotlib as mpl

    mpl.use("Agg")
    drawn = [_loss(run)] if lines(run / LOG, ("step", "tokens", "loss")) else []
    return drawn + ([_accuracy(run)] if lines(run / FILE, ("step", "grade", "right", "asked")) else [])


def _loss(run: Path) -> Path:
    import matplotlib.pyplot as plt

    log = lines(run / LOG, ("step", "tokens", "loss"))
    tokens, losses = [line["tokens"] / 1e6 for line in log], [line["loss"] for line in log]
    reach = [min(AROUND, i, len(log) - 1 - i) for i in range(len(log))]  # as far to both sides, or the ends would lag
    means = [mean(losses[i - r : i + r + 1]) for i, r in enumerate(reach)]
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    axes.plot(tokens, losses, color="0.75", linewidth=0.8)
    axes.plot(tokens, means, color="tab:blue")
    axes.set(xlabel="million tokens", ylabel="loss (nats a target, weighted)", yscale="log")
    axes.grid(alpha=0.3)
    return _kept(figure, run / "loss.png")


def _accuracy(run: Path) -> Path:
    """A panel a family: each grade over the steps, step by step (full) and directly (dotted)."""
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D

    marks = lines(run / FILE, ("step", "grade", "right", "asked"))
    families = list(dict.fromkeys(mark["family"] for mark in marks))
    columns = min(5, len(families))
    rows = -(-len(families) // columns)
    size = (3 * columns + 1.6, 2.6 * rows + 0.4)  # inches, the legend beside
    figure, grid = plt.subplots(
        rows, columns, figsize=size, sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    colours = plt.get_cmap("viridis")
    for panel, family in zip(grid.flat, families, strict=False):
        for skill, dash in zip(WHOLE, (":", "-"), strict=True):
            for grade in sorted({mark["grade"] for mark in marks}):
                own = [m for m in marks if (m["family"], m["skill"], m["grade"]) == (family, skill, grade)]
                shares = [m["right"] / max(1, m["asked"]) for m in own]
                name = f"grade {grade}" if skill == WHOLE[1] else None
                style = {"color": colours((grade - 1) / 4.6), "marker": MARKS[grade - 1], "markersize": 3}
                panel.plot([m["step"] for m in own], shares, dash, label=name, **style)
        panel.set(title=family, ylim=(-0.03, 1.03))
        panel.grid(alpha=0.3)
    ways = [Line2D([], [], color="0.3", linestyle=dash) for dash in ("-", ":")]
    lines_, names = grid.flat[0].get_legend_handles_labels()
    figure.legend([*lines_, *ways], [*names, "step by step", "directly"], loc="outside right upper")
    figure.supxlabel("steps")
    figure.supylabel("held-out accuracy")
    return _kept(figure, run / "accuracy.png")


def _kept(figure: Any, to: Path) -> Path:
    import matplotlib.pyplot as plt

    figure.savefig(to, dpi=120)
    plt.close(figure)
    return to
