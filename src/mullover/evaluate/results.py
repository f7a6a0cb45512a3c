"""A stored run as arrays: what every report is computed from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import orjson
from numpy.typing import NDArray

from mullover.errors import OptionError, StoreError
from mullover.store import manifest as manifests
from mullover.store.index import Index
from mullover.types import NOTHING, Usage

Unit = Literal["tokens", "flops", "seconds", "cost"]
UNITS: tuple[Unit, ...] = get_args(Unit)
Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Pool:
    """Equally many samples of each problem: arrays of [problems, n], in the order they were drawn."""

    groups: Ints  # equal numbers are equal answers; -1 states none
    right: Bools
    tokens: Floats  # generated
    thought: Floats  # reasoning tokens among them
    ended: Bools  # not cut by length
    scores: Floats | None  # of a scorer; NaN: could not be judged
    sure: Floats | None  # geometric mean of the tokens' probabilities; NaN: not known
    prompt: Floats  # prompt tokens that were computed for it; mostly all of them for the first sample

    @property
    def n(self) -> int:
        return int(self.groups.shape[1])


@dataclass(frozen=True)
class Step:
    """The answer became right or wrong when so much was spent."""

    right: bool
    spent: Mapping[Unit, float]


@dataclass(frozen=True)
class Results:
    """Problems in the run's order; one that failed or was not answered is not right."""

    folder: Path
    identity: Mapping[str, Any]
    info: Mapping[str, Any]
    ids: tuple[str, ...]
    right: Bools  # [problems]
    answered: Bools
    complete: Bools  # not cut by a budget
    failed: Bools
    oracle: bool  # some choice was made by who knew the truth
    spent: Mapping[Unit, Floats]  # by unit, [problems]
    usage: Mapping[str, Usage]  # by role, of all problems together
    trails: tuple[tuple[Step, ...], ...]
    pool: Pool | None
    no_pool: str = ""  # why there is none
    sheets: Sequence[Mapping[str, Any]] = field(default=(), repr=False)

    @property
    def total(self) -> Usage:
        return sum(self.usage.values(), NOTHING)


def load(folder: Path, tell: Callable[[int, int], object] = lambda done, many: None) -> Results:
    """A run by its folder.

    Args:
        tell: hears how far the records are read, which happens once.

    Raises:
        OptionError: there is no run, or nothing in it yet.
        StoreError: it is damaged.
    """
    folder = folder.absolute()
    content = manifests.load(folder)
    if content is None:
        raise OptionError(f"{folder} holds no run; `mull runs ls` lists them")
    with closing(Index.of_reader()) as index:
        index.refresh(folder)
        rows = [(id_, orjson.loads(sheet)) for id_, sheet in index.sheets(folder, tell)]
    if not rows:
        raise OptionError(f"{folder} holds no finished problem yet; go on with the command that began it")
    ids, sheets = tuple(id_ for id_, _ in rows), [sheet for _, sheet in rows]
    pool, why = _pool(sheets)
    return Results(
        folder,
        content["identity"],
        content["info"],
        ids,
        np.array([sheet["right"] is True for sheet in sheets]),
        np.array([bool(sheet["answered"]) for sheet in sheets]),
        np.array([bool(sheet["complete"]) for sheet in sheets]),
        np.array([bool(sheet["error"]) for sheet in sheets]),
        any(sheet["oracle"] for sheet in sheets),
        _spent(sheets),
        _usage(sheets),
        tuple(_steps(sheet) for sheet in sheets),
        pool,
        why,
        sheets,
    )


def _steps(sheet: Mapping[str, Any]) -> tuple[Step, ...]:
    rows = sheet.get("trail", ())
    return tuple([Step(row[0] is True, dict(zip(UNITS, _by_unit(row), strict=True))) for row in rows])


def _by_unit(row: Sequence[Any]) -> tuple[float, float, float, float]:
    _, tokens, flops, money, seconds = row
    return float(tokens), float(flops), float(seconds), float(money)


def _spent(sheets: Sequence[Mapping[str, Any]]) -> dict[Unit, Floats]:
    def summed(*names: str) -> Floats:
        return np.array([float(sum(u.get(n, 0) for u in s["usage"].values() for n in names)) for s in sheets])

    seconds = np.array([float(sheet["seconds"]) for sheet in sheets])
    return {
        "tokens": summed("prompt_tokens", "completion_tokens"),
        "flops": summed("flops"),
        "seconds": seconds,
        "cost": summed("money"),
    }


def _usage(sheets: Sequence[Mapping[str, Any]]) -> dict[str, Usage]:
    sums: dict[str, dict[str, float]] = {}
    for sheet in sheets:
        for role, spent in sheet["usage"].items():
            own = sums.setdefault(role, {})
            for name, value in spent.items():
                own[name] = own.get(name, 0) + value
    return {role: Usage(**spent) for role, spent in sums.items()}  # type: ignore[arg-type]


def _pool(sheets: Sequence[Mapping[str, Any]]) -> tuple[Pool | None, str]:
    sizes = {len(sheet.get("groups") or ()) for sheet in sheets}
    if len(sizes) > 1 and 0 in sizes:
        lacking = sum(not sheet.get("groups") for sheet in sheets)
        return None, f"{lacking} of {len(sheets)} problems have no samples with their answers; ask those again"
    if len(sizes) > 1:
        return None, f"problems have {min(sizes)} to {max(sizes)} samples; draw equally many of each"
    if sizes == {0}:
        return None, "no samples were kept with their answers; draw them by `mull sample`"

    def column(name: str, missing: float) -> Floats:
        return np.array([[missing if value is None else value for value in sheet[name]] for sheet in sheets], float)

    def known(name: str) -> Floats | None:
        some = any(sheet[name] is not None for sheet in sheets)
        n = sizes.copy().pop()
        rows = [[np.nan if v is None else v for v in sheet[name] or [None] * n] for sheet in sheets]
        return np.array(rows, float) if some else None

    prompt = column("prompt", 0)  # what no sample says is charged to the first
    prompt[:, 0] += [s["usage"].get("solve", {}).get("prompt_tokens", 0) for s in sheets] - prompt.sum(axis=1)
    return (
        Pool(
            column("groups", -1).astype(np.int64),
            np.array([[value is True for value in sheet["rights"]] for sheet in sheets]),
            column("tokens", 0),
            column("thought", 0),
            np.array([sheet["ended"] for sheet in sheets], bool),
            known("scores"),
            known("sure"),
            prompt,
        ),
        "",
    )


def only(results: Results, ids: Sequence[str]) -> Results:
    """The same run with these problems alone, in this order."""
    at = aligned(results, ids)
    whole = results.pool
    parts: dict[str, Any] = (
        {} if whole is None else {name: None if part is None else part[at] for name, part in vars(whole).items()}
    )
    return replace(
        results,
        ids=tuple(ids),
        right=results.right[at],
        answered=results.answered[at],
        complete=results.complete[at],
        failed=results.failed[at],
        spent={unit: values[at] for unit, values in results.spent.items()},
        trails=tuple([results.trails[i] for i in at]),
        pool=None if whole is None else replace(whole, **parts),
        sheets=[results.sheets[i] for i in at],
    )


def same_problems(runs: Sequence[Results]) -> None:
    """Refuse runs that were not asked the same questions.

    Raises:
        OptionError: another task, another version of it, or other problems; it names the two runs.
    """
    first = runs[0]
    for other in runs[1:]:
        for name, what in (("task", "tasks"), ("task_sha256", "versions of the task")):
            a, b = first.identity.get(name), other.identity.get(name)
            if a != b:
                raise OptionError(f"{first.folder.name} and {other.folder.name} are of different {what}: {a} and {b}")
        if missing := sorted(set(first.ids) ^ set(other.ids)):
            raise OptionError(
                f"{first.folder.name} and {other.folder.name} did not finish the same problems: "
                f"{len(missing)} are in one alone, such as {missing[0]}; finish both, with one --limit"
            )


def aligned(results: Results, ids: Sequence[str]) -> NDArray[np.int64]:
    """Where each of `ids` stands in a run."""
    at = {id_: i for i, id_ in enumerate(results.ids)}
    try:
        return np.array([at[id_] for id_ in ids], np.int64)
    except KeyError as error:
        raise StoreError(f"{results.folder} has no problem {error}") from None
