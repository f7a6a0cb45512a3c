"""Contestants in turn (A B C A B C ...), and what came of it: one row for each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

Tell = Callable[[str], object]
GENERATE, ROOFLINE = "generate", "roofline"


@dataclass(frozen=True, slots=True)
class Row:
    """One engine in one case. Without seconds it did not run; the note says why."""

    case: str
    model: str
    engine: str
    tokens_per_s: float | None = None
    ratio_to_generate: float | None = None  # of tokens a second; both ratios are medians over the rounds
    share_of_roofline: float | None = None
    seconds: float | None = None  # median
    repeats: int = 0
    tokens: int = 0  # in one repeat
    note: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        found = {name: getattr(self, name) for name in self.__slots__ if name != "more"}
        return {name: _rounded(value) for name, value in {**found, **self.more}.items()}


@dataclass(frozen=True)
class Contestant:
    """Who takes part. One that fails has a row that says so, unless it `must` not."""

    name: str
    run: Callable[[int], tuple[int, float]]  # the round, -1 the warm-up: tokens that were wanted, seconds
    told: Callable[[], tuple[str, dict[str, Any]]] = lambda: ("", {})  # afterwards: a note, and more facts
    close: Callable[[], object] = lambda: None
    must: bool = False


def contest(case: str, model: str, contestants: Sequence[Contestant], repeats: int, tell: Tell) -> list[Row]:
    """A warm-up of each, then `repeats` rounds of all."""
    took = {one.name: list[tuple[int, float]]() for one in contestants}
    failed = dict[str, str]()
    try:
        for turn in range(-1, repeats):
            for one in contestants:
                if one.name in failed:
                    continue
                tell(f"{case}: {one.name}, {f'round {turn + 1} of {repeats}' if turn >= 0 else 'warming up'}")
                try:
                    found = one.run(turn)
                except Exception as error:
                    if one.must:
                        raise
                    failed[one.name] = f"not run: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
                    continue
                if turn >= 0:
                    took[one.name].append(found)
    finally:
        for one in contestants:
            one.close()
    rates = {name: [tokens / seconds for tokens, seconds in some] for name, some in took.items() if name not in failed}
    rows = []
    for one in contestants:
        if one.name in failed:
            rows.append(Row(case, model, one.name, note=failed[one.name]))
            continue
        rows.append(_row(case, model, one, took[one.name], rates))
    return rows


def _row(
    case: str, model: str, one: Contestant, took: Sequence[tuple[int, float]], rates: Mapping[str, Sequence[float]]
) -> Row:
    note, more = one.told()

    def against(other: str) -> float | None:
        if other not in rates:
            return None
        return median(mine / its for mine, its in zip(rates[one.name], rates[other], strict=True))

    return Row(
        case,
        model,
        one.name,
        median(rates[one.name]),
        against(GENERATE),
        against(ROOFLINE),
        median(seconds for _, seconds in took),
        len(took),
        took[-1][0],
        note,
        more,
    )


def _rounded(value: Any) -> Any:
    """Four digits are more than a clock is worth."""
    return float(f"{value:.4g}") if isinstance(value, float) else value
