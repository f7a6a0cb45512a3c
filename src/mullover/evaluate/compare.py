"""Methods at equal spending, on the same problems: curves, bands, paired differences, who dominates whom.

A strategy's curve goes through its settings (a number of samples each, say), or, where it has one setting, through
what its run would have been under a hard budget for each problem, which the run's trail tells. Between two settings
lies the policy that draws lots between them for each problem: its mean spending and accuracy are the means of theirs,
so that any spending in between can be compared, problem by problem. Above its dearest setting a strategy stays there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from typing import Any

import numpy as np

from mullover.errors import OptionError
from mullover.evaluate.metrics import wilson
from mullover.evaluate.results import Bools, Floats, Results, Unit, aligned, same_problems
from mullover.evaluate.statistics import holm, interval, mcnemar, resampled, two_sided, visible

CAPS = 12  # budgets at which a trail is read, at most
PAIRED = 10_000  # resamples of a difference: corrected p-values need small ones
BUDGETS = 8  # spendings at which strategies are compared, at most, unless they are named


@dataclass(frozen=True)
class Point:
    """One setting of a strategy, or its run under a cap."""

    label: str
    right: Bools  # [problems]
    spent: Floats  # [problems], in the unit of the comparison
    run: str = ""
    capped: bool = False

    @property
    def accuracy(self) -> float:
        return float(self.right.mean())

    @property
    def spending(self) -> float:
        return float(self.spent.mean())


@dataclass(frozen=True)
class Line:
    """A strategy: its points, the cheapest first; and what its runs were."""

    name: str
    points: tuple[Point, ...]
    runs: tuple[Results, ...] = field(default=(), repr=False)

    def at(self, budget: float) -> Floats | None:
        """Each problem's chance to be right at this mean spending; None where even the cheapest setting costs more."""
        points = self.points
        if budget < points[0].spending * (1 - 1e-9):
            return None
        for low, high in pairwise(points):
            if budget < high.spending:
                share = max(0.0, (budget - low.spending) / (high.spending - low.spending))
                mixed: Floats = (1 - share) * low.right + share * high.right
                return mixed
        return points[-1].right.astype(float)


@dataclass(frozen=True)
class Difference:
    """The second less the first, in accuracy, on the same problems."""

    first: str
    second: str
    budget: float
    mean: float
    ci95: tuple[float, float]
    p: float  # of the bootstrap, against no difference
    adjusted: float | None = None  # by Holm, over all but the primary one; None for that


@dataclass(frozen=True)
class Match:
    """Two dearest settings, problem by problem."""

    first: str
    second: str
    only_first: int
    only_second: int
    both: int
    neither: int
    p: float  # McNemar's, exact
    adjusted: float
    visible: float | None  # the least difference that so many problems can show, at their rate of differing


@dataclass(frozen=True)
class Comparison:
    unit: Unit
    problems: int
    lines: tuple[Line, ...]
    bands: Mapping[str, tuple[Floats, Floats]]  # by line: [points] ends of 95 % intervals
    budgets: tuple[float, ...]
    differences: tuple[Difference, ...]
    matches: tuple[Match, ...]
    pareto: frozenset[str]  # labels of points that no other beats in both
    notes: tuple[str, ...]
    primary: tuple[str, str] | None = None


def line_of(name: str, runs: Sequence[tuple[str, Results]], unit: Unit, ids: Sequence[str]) -> Line:
    """A strategy's curve: through its settings, or along the trail of its only one.

    Args:
        runs: (label, run) of each setting.
        ids: the order of problems, the same for all lines that are to be compared.

    Raises:
        OptionError: nothing of this unit was counted.
    """
    points = [point_of(label, results, unit, ids) for label, results in runs]
    if not any(point.spent.any() for point in points):
        raise OptionError(f"nothing was counted in {unit} for {name}; take --x tokens")
    if len(runs) == 1 and any(len(trail) > 1 for trail in runs[0][1].trails):
        points = [*capped(points[0], runs[0][1], unit, ids), *points]
    return Line(name, tuple(sorted(points, key=lambda point: point.spending)), tuple(r for _, r in runs))


def point_of(label: str, results: Results, unit: Unit, ids: Sequence[str]) -> Point:
    at = aligned(results, ids)
    return Point(label, results.right[at], np.asarray(results.spent[unit])[at], str(results.folder))


def capped(whole: Point, results: Results, unit: Unit, ids: Sequence[str]) -> Iterator[Point]:
    """What the run would have answered under hard budgets for each problem: the last answer it had by then."""
    trails = [results.trails[at] for at in aligned(results, ids)]
    marks = sorted(step.spent[unit] for trail in trails for step in trail)
    low, high = marks[0], float(np.quantile(whole.spent, 0.95))
    if low <= 0 or high <= low:
        return
    for cap in np.geomspace(low, high, CAPS + 1)[:-1]:
        right = np.array([_by(trail, unit, cap) for trail in trails])
        yield Point(f"{whole.label} cap {cap:.3g}", right, np.minimum(whole.spent, cap), whole.run, True)


def _by(trail: Sequence[Any], unit: Unit, cap: float) -> bool:
    """Was the last answer right that had come by then?"""
    known = [step.right for step in trail if step.spent[unit] <= cap]
    return bool(known and known[-1])


def compare(
    lines: Sequence[Line],
    unit: Unit,
    *,
    budgets: Sequence[float] = (),
    primary: tuple[str, str] | None = None,
    seed: int = 0,
) -> Comparison:
    """All figures of a comparison; resamples of problems are shared, so that every difference is a paired one.

    Args:
        budgets: mean spendings a problem at which strategies are compared; none: those of their settings.
        primary: (first, second) named beforehand: its p-value at the highest budget is not corrected.

    Raises:
        OptionError: runs of different problems, a budget that no strategy can meet, an unknown name.
    """
    same_problems([results for line in lines for results in line.runs])
    names, ids = [line.name for line in lines], lines[0].runs[0].ids
    if primary is not None and not set(primary) <= set(names):
        raise OptionError(
            f"--primary names {', '.join(sorted(set(primary) - set(names)))}; there are {', '.join(names)}"
        )
    spendings = sorted(point.spending for line in lines for point in line.points if not point.capped)
    least = min(line.points[0].spending for line in lines)
    chosen = sorted(set(budgets)) or _thinned(spendings)
    if low := [budget for budget in chosen if budget < least * (1 - 1e-9)]:
        raise OptionError(
            f"no strategy can meet a budget of {low[0]:g} {unit} a problem; the cheapest takes {least:.4g}"
        )
    columns = np.array([point.right for line in lines for point in line.points], float).T
    low_, high_ = interval(resampled(columns, seed=seed)) if len(ids) > 1 else _one(columns)
    for column in np.flatnonzero(columns.min(axis=0) == columns.max(axis=0)):  # all or none: resampling sees no doubt
        low_[column], high_[column] = wilson(int(columns[:, column].sum()), len(ids))
    bands, start = {}, 0
    for line in lines:
        own = slice(start, start := start + len(line.points))
        bands[line.name] = (low_[own], high_[own])
    differences = _differences(lines, chosen, primary, seed)
    return Comparison(
        unit, len(ids), tuple(lines), bands, tuple(chosen), differences, _matches(lines), _pareto(lines),
        tuple(_notes(lines, chosen, len(ids))), primary,
    )  # fmt: skip


def _one(columns: Floats) -> tuple[Floats, Floats]:
    """One problem cannot be resampled: what Wilson's interval says of it."""
    spans = [wilson(int(value), 1) for value in columns[0]]
    return np.array([low for low, _ in spans]), np.array([high for _, high in spans])


def _thinned(spendings: Sequence[float]) -> list[float]:
    """At most BUDGETS of them; of those within a tenth the highest, which all of them can meet."""
    kept, first = list[float](), 0.0
    for value in spendings:
        if kept and value <= 1.1 * first:
            kept[-1] = value
        else:
            kept.append(value)
            first = value
    if len(kept) > BUDGETS:
        kept = [kept[round(i * (len(kept) - 1) / (BUDGETS - 1))] for i in range(BUDGETS)]
    return kept


def _differences(
    lines: Sequence[Line], budgets: Sequence[float], primary: tuple[str, str] | None, seed: int
) -> tuple[Difference, ...]:
    pairs, gaps = list[tuple[str, str, float]](), list[Floats]()
    for budget in budgets:
        for first, second in combinations(lines, 2):
            if primary == (second.name, first.name):
                first, second = second, first
            a, b = first.at(budget), second.at(budget)
            if a is not None and b is not None:
                pairs.append((first.name, second.name, budget))
                gaps.append(b - a)
    if primary is not None and primary not in {pair[:2] for pair in pairs}:
        raise OptionError(f"--primary: {' and '.join(primary)} meet none of the budgets; give higher --budgets")
    if not pairs:
        return ()
    columns = np.array(gaps).T
    if len(columns) > 1:
        means = resampled(columns, resamples=PAIRED, seed=seed)  # one draw of problems for all
        (low, high), p = interval(means), two_sided(means)
    else:
        low, high, p = -np.ones(len(pairs)), np.ones(len(pairs)), np.ones(len(pairs))
    found = [
        Difference(*pair, float(gap.mean()), (float(low[i]), float(high[i])), float(p[i]))
        for i, (pair, gap) in enumerate(zip(pairs, gaps, strict=True))
    ]
    main = next((d for d in reversed(found) if (d.first, d.second) == primary), None)
    adjusted = holm({str(i): d.p for i, d in enumerate(found) if d is not main})
    return tuple(
        Difference(d.first, d.second, d.budget, d.mean, d.ci95, d.p, adjusted.get(str(i))) for i, d in enumerate(found)
    )


def _matches(lines: Sequence[Line]) -> tuple[Match, ...]:
    tables = []
    for first, second in combinations(lines, 2):
        a, b = first.points[-1].right, second.points[-1].right
        tables.append((first.name, second.name, int((a & ~b).sum()), int((b & ~a).sum()), int((a & b).sum())))
    adjusted = holm({str(i): mcnemar(won, lost) for i, (_, _, won, lost, _) in enumerate(tables)})
    many = len(lines[0].points[0].right)
    return tuple(
        Match(a, b, won, lost, both, many - won - lost - both, mcnemar(won, lost), adjusted[str(i)],
              visible(many, (won + lost) / many))
        for i, (a, b, won, lost, both) in enumerate(tables)
    )  # fmt: skip


def _pareto(lines: Sequence[Line]) -> frozenset[str]:
    points = [point for line in lines for point in line.points if not point.capped]
    return frozenset(
        one.label
        for one in points
        if not any(
            (other.spending <= one.spending and other.accuracy > one.accuracy)
            or (other.spending < one.spending and other.accuracy >= one.accuracy)
            for other in points
        )
    )


def _notes(lines: Sequence[Line], budgets: Sequence[float], problems: int) -> Iterator[str]:
    for line in lines:
        if line.points[0].spending > budgets[0] * (1 + 1e-9):
            yield f"{line.name} takes at least {line.points[0].spending:.4g}, so it is left out below that"
        if line.points[-1].spending < budgets[-1] * (1 - 1e-9):
            yield f"{line.name} takes at most {line.points[-1].spending:.4g}; above that it stays as it is"
        if any(results.oracle for results in line.runs):
            yield f"{line.name}: ORACLE, it knew the truth; this is no result of a method"
        if failed := sum(int(results.failed.sum()) for results in line.runs):
            yield f"{line.name}: {failed} problems failed and count as wrong; the same command asks them again"
    if problems < 30:
        yield f"only {problems} problem{'s' if problems != 1 else ''}: intervals by resampling are too narrow"
