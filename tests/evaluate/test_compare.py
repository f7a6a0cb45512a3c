"""Methods at equal spending: every figure against one by hand, by brute force, or by another library."""

import re
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mullover.errors import OptionError
from mullover.evaluate import compare as compared
from mullover.evaluate import plots, report
from mullover.evaluate.compare import Comparison, Line, Point, capped, compare, line_of, point_of
from mullover.evaluate.metrics import wilson
from mullover.evaluate.results import UNITS, Results, Step


def bits(text: str) -> Any:
    return np.array([c == "1" for c in text])


def results(
    right: str,
    spent: Sequence[float] | float = 10.0,
    *,
    name: str = "run",
    ids: Sequence[str] = (),
    trails: Sequence[Sequence[tuple[bool, float]]] = (),
    task: str = "sums",
    sha: str = "0",
    oracle: bool = False,
    failed: str = "",
) -> Results:
    """A run of which only what a comparison looks at is filled in; every unit counts the same."""
    n = len(right)
    tokens = np.full(n, spent, float) if isinstance(spent, (int, float)) else np.array(spent, float)
    steps = [[Step(ok, dict.fromkeys(UNITS, at)) for ok, at in trail] for trail in trails or [()] * n]
    return Results(
        Path(name), {"task": task, "task_sha256": sha}, {}, tuple(ids) or tuple(f"p{i}" for i in range(n)),
        bits(right), np.ones(n, bool), np.ones(n, bool), bits(failed or "0" * n), oracle,
        dict.fromkeys(UNITS, tokens), {}, tuple(map(tuple, steps)), None,
    )  # fmt: skip


def line(name: str, *runs: Results, ids: Sequence[str] = ()) -> Line:
    many = len(runs) > 1
    labelled = [(f"{name} {i}" if many else name, run) for i, run in enumerate(runs)]
    return line_of(name, labelled, "tokens", ids or runs[0].ids)


def shuffled(run: Results, seed: int) -> Results:
    """The same run, whose problems finished in another order."""
    order = np.random.default_rng(seed).permutation(len(run.ids))
    text = "".join("1" if run.right[i] else "0" for i in order)
    return results(text, run.spent["tokens"][order].tolist(), name=str(run.folder), ids=[run.ids[i] for i in order])


def drawn(rng: Any, n: int, p: float = 0.5) -> str:
    return "".join("1" if one else "0" for one in rng.random(n) < p)


class TestLines:
    def test_between_two_settings_lies_the_policy_that_draws_lots_and_it_spends_the_budget(self) -> None:
        rng = np.random.default_rng(0)
        runs = [results(drawn(rng, 12), rng.uniform(5 * 4**i, 15 * 4**i, 12).tolist()) for i in range(3)]
        found = line("vote", *runs)
        for low, high in pairwise(found.points):
            for share in (0.0, 0.25, 0.6, 0.999):
                budget = (1 - share) * low.spending + share * high.spending
                chances = found.at(budget)
                assert chances is not None
                assert chances == pytest.approx(np.where(low.right, 1 - share, 0) + np.where(high.right, share, 0))
                lots = np.random.default_rng(1).random((20_000, 12)) < share
                right, spent = np.where(lots, high.right, low.right), np.where(lots, high.spent, low.spent)
                assert right.mean(axis=0) == pytest.approx(chances, abs=0.02)
                assert spent.mean() == pytest.approx(budget, rel=0.01)

    def test_below_the_cheapest_there_is_nothing_and_above_the_dearest_the_dearest(self) -> None:
        found = line("vote", results("1100", 10), results("0111", 40))
        assert found.at(9.99) is None
        for budget, right in ((10.0, "1100"), (40.0, "0111"), (1e15, "0111"), (float("inf"), "0111")):
            chances = found.at(budget)
            assert chances is not None and chances.tolist() == bits(right).astype(float).tolist()

    def test_settings_are_put_in_order_and_two_of_one_price_do_not_divide_by_zero(self) -> None:
        found = line("vote", results("0111", 40), results("1111", 20), results("1100", 10), results("0001", 20))
        assert [point.spending for point in found.points] == [10, 20, 20, 40]
        for budget in (10, 15, 20, 30, 40):
            chances = found.at(budget)
            assert chances is not None and ((chances >= 0) & (chances <= 1)).all()
        assert found.at(15).mean() == pytest.approx(0.75)  # type: ignore[union-attr]
        assert found.at(30).mean() == pytest.approx(0.5)  # type: ignore[union-attr]

    def test_a_rounding_below_the_cheapest_gives_no_chance_outside_0_to_1(self) -> None:
        found = line("vote", results("10", 100), results("01", 100 + 2e-8))
        chances = found.at(100 - 5e-8)
        assert chances is not None and ((chances >= 0) & (chances <= 1)).all()

    def test_what_was_not_counted_is_refused(self) -> None:
        with pytest.raises(OptionError, match="nothing was counted in tokens for vote"):
            line("vote", results("10", 0))


class TestCaps:
    TRAILS = (
        ((False, 10.0), (True, 30.0), (False, 90.0)),
        ((True, 20.0),),
        ((False, 5.0), (True, 50.0)),
        (),
    )

    def run(self) -> Results:
        return results("0110", [100, 25, 60, 80], trails=self.TRAILS)

    def points(self, run: Results) -> list[Point]:
        return list(capped(point_of("a", run, "tokens", run.ids), run, "tokens", run.ids))

    def test_under_a_cap_the_last_answer_by_then_counts_and_none_yet_is_wrong(self) -> None:
        points = self.points(self.run())
        assert len(points) == compared.CAPS and all(point.capped for point in points)
        for point in points:
            cap = point.spent.max()  # some problem always spends more
            assert point.spent.tolist() == np.minimum([100, 25, 60, 80], cap).tolist()
            by_then = [[ok for ok, at in trail if at <= cap] for trail in self.TRAILS]
            assert point.right.tolist() == [bool(seen) and seen[-1] for seen in by_then]
        assert points[0].right.tolist() == [False] * 4 and points[0].spending == 5

    def test_random_trails_by_brute_force_and_more_cap_is_more_spending(self) -> None:
        rng = np.random.default_rng(2)
        for _ in range(20):
            times = [np.sort(rng.uniform(1, 100, rng.integers(0, 5))) for _ in range(8)]
            trails = [[(bool(rng.integers(2)), float(at)) for at in own] for own in times]
            totals = [float(own.max(initial=1.0) + rng.uniform(0, 9)) for own in times]
            if not any(trails):
                continue
            run = results(drawn(rng, 8), totals, trails=trails)
            points = self.points(run)
            for point in points:
                by_then = [[ok for ok, at in trail if at <= point.spent.max()] for trail in trails]
                assert point.right.tolist() == [bool(seen) and seen[-1] for seen in by_then]
            spendings = [point.spending for point in points]
            assert spendings == sorted(spendings) and max(spendings) < np.mean(totals)

    def test_a_curve_of_one_setting_has_its_caps_and_that_of_many_has_not(self) -> None:
        assert [point.capped for point in line("a", self.run()).points] == [True] * compared.CAPS + [False]
        assert not any(point.capped for point in line("a", self.run(), results("1111", 200)).points)
        assert not any(point.capped for point in line("a", results("10", 9, trails=[[(True, 9)], []])).points)

    def test_caps_are_on_no_pareto_front_and_name_no_budget(self) -> None:
        found = compare([line("a", self.run()), line("b", results("1111", 200))], "tokens")
        assert found.pareto == {"a", "b"} and found.budgets == (66.25, 200)


class TestDifferences:
    def test_they_are_a_bootstrap_of_the_same_problems_exactly_and_as_scipy_has_it(self) -> None:
        stats = pytest.importorskip("scipy.stats")
        rng = np.random.default_rng(3)
        a = drawn(rng, 60)
        b = "".join(x if rng.random() < 0.7 else y for x, y in zip(a, drawn(rng, 60, 0.8), strict=True))
        (found,) = compare([line("a", results(a)), line("b", results(b))], "tokens").differences
        gap = bits(b).astype(float) - bits(a)
        assert (found.first, found.second) == ("a", "b") and found.mean == pytest.approx(gap.mean())
        one, law = [(gap == value).mean() for value in (-1, 0, 1)], np.ones(1)
        for _ in gap:
            law = np.convolve(law, one)  # of the sum of the gaps of 60 problems drawn with putting back
        sums = np.arange(-60, 61)
        exact = 2 * min(law[sums <= 0].sum(), law[sums >= 0].sum())
        assert found.p == pytest.approx(exact, abs=4 * np.sqrt(exact / compared.PAIRED) + 3e-4)
        ends = [sums[np.searchsorted(law.cumsum(), q)] / 60 for q in (0.025, 0.975)]
        assert found.ci95 == pytest.approx(ends, abs=1 / 60 + 1e-9)
        theirs = stats.bootstrap(
            (bits(a) * 1.0, bits(b) * 1.0), lambda x, y, axis: y.mean(axis) - x.mean(axis), paired=True,
            vectorized=True, n_resamples=10_000, method="percentile", rng=1,
        ).confidence_interval  # fmt: skip
        assert found.ci95 == pytest.approx((theirs.low, theirs.high), abs=1 / 60 + 1e-9)

    def test_between_settings_the_mixed_policies_are_compared(self) -> None:
        a = line("a", results("1100" * 5, 10), results("1111" * 5, 30))
        b = line("b", results("0001" * 5, 20))
        (found,) = compare([a, b], "tokens", budgets=[20]).differences
        assert found.mean == pytest.approx(0.25 - 0.75)
        gaps = np.tile([-1, -1, -0.5, 0.5], 5)
        assert found.ci95[0] < gaps.mean() < found.ci95[1] and found.p < 0.05

    def test_holm_corrects_all_but_the_primary_at_the_highest_budget(self) -> None:
        multitest = pytest.importorskip("statsmodels.stats.multitest")
        rng = np.random.default_rng(4)
        lines = [
            line(name, *(results(drawn(rng, 50, p + 0.1 * i), 10 * 2**i) for i in range(3)))
            for name, p in (("a", 0.3), ("b", 0.45), ("c", 0.6))
        ]
        found = compare(lines, "tokens", primary=("c", "a"))
        main = [d for d in found.differences if d.adjusted is None]
        assert [(d.first, d.second, d.budget) for d in main] == [("c", "a", max(found.budgets))]
        rest = [d for d in found.differences if d.adjusted is not None]
        assert len(rest) == 8 and {(d.first, d.second) for d in rest} == {("a", "b"), ("c", "a"), ("b", "c")}
        corrected = multitest.multipletests([d.p for d in rest], method="holm")[1]
        assert [d.adjusted for d in rest] == pytest.approx(corrected)
        plain = compare(lines, "tokens")
        assert None not in [d.adjusted for d in plain.differences]
        assert main[0].mean == -next(d.mean for d in reversed(plain.differences) if d.first == "a" and d.second == "c")

    def test_matches_are_mcnemars_tables_of_the_dearest_settings(self) -> None:
        tables = pytest.importorskip("statsmodels.stats.contingency_tables")
        rng = np.random.default_rng(5)
        texts = [drawn(rng, 80, p) for p in (0.3, 0.5, 0.7)]
        lines = [line(name, results("0" * 80, 5), results(text)) for name, text in zip("abc", texts, strict=True)]
        found = compare(lines, "tokens").matches
        assert [(m.first, m.second) for m in found] == [("a", "b"), ("a", "c"), ("b", "c")]
        for m in found:
            x, y = (texts["abc".index(name)] for name in (m.first, m.second))
            count = [sum(pair == (i, j) for pair in zip(x, y, strict=True)) for i in "10" for j in "10"]
            assert [m.both, m.only_first, m.only_second, m.neither] == count
            assert m.p == pytest.approx(tables.mcnemar(np.reshape(count, (2, 2)), exact=True).pvalue)
            assert m.adjusted >= m.p
        assert min(found, key=lambda m: m.p).adjusted == pytest.approx(3 * min(m.p for m in found))

    def test_identical_strategies_differ_by_0_and_p_is_1(self) -> None:
        rng = np.random.default_rng(6)
        one, two = drawn(rng, 40), drawn(rng, 40)
        lines = [line(name, results(one, 10), results(two, 37)) for name in "ab"]
        found = compare(lines, "tokens", budgets=[10, 13.7, 21.1, 37, 99])
        assert [(d.mean, d.ci95, d.p, d.adjusted) for d in found.differences] == [(0, (0, 0), 1, 1)] * 5
        assert [(m.only_first, m.only_second, m.p, m.visible) for m in found.matches] == [(0, 0, 1, None)]
        assert found.pareto >= {"a 0", "b 0"}

    def test_of_strategies_of_equal_accuracy_1_in_20_differs_at_5_per_cent(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(compared, "PAIRED", 300)
        rng = np.random.default_rng(7)
        seen, exact = [], []
        for seed in range(500):
            pair = [line(name, results(drawn(rng, 60, 0.6))) for name in "ab"]
            found = compare(pair, "tokens", seed=seed)
            seen.append(found.differences[0].p)
            exact.append(found.matches[0].p)
        assert 0.025 < np.mean(np.array(seen) < 0.05) < 0.08
        assert np.mean(np.array(exact) < 0.05) < 0.06

    def test_the_order_in_which_problems_finished_does_not_matter(self) -> None:
        rng = np.random.default_rng(8)
        runs = [results(drawn(rng, 30), rng.uniform(1, 9, 30).tolist(), name=f"r{i}") for i in range(3)]
        ids = runs[0].ids

        def both(second: Sequence[Results]) -> Comparison:
            return compare([line("a", runs[0], ids=ids), line("b", *second, ids=ids)], "tokens", budgets=[9])

        first, second = both(runs[1:]), both([shuffled(run, i) for i, run in enumerate(runs[1:])])
        assert (first.differences, first.matches, first.pareto) == (second.differences, second.matches, second.pareto)
        assert report.rows(first) == report.rows(second)
        turned = [line(name, shuffled(run, 9), ids=shuffled(run, 9).ids) for name, run in zip("ab", runs, strict=False)]
        straight = [line(name, run) for name, run in zip("ab", runs, strict=False)]
        one, two = (compare(lines, "tokens", budgets=[9]).differences[0] for lines in (turned, straight))
        assert one.mean == pytest.approx(two.mean) and one.ci95 == pytest.approx(two.ci95, abs=0.05)

    def test_a_strategy_is_left_out_below_its_cheapest_setting(self) -> None:
        found = compare([line("a", results("10", 10)), line("b", results("11", 50))], "tokens")
        assert found.budgets == (10, 50) and [d.budget for d in found.differences] == [50]
        assert "b takes at least 50, so it is left out below that" in found.notes
        assert "a takes at most 10; above that it stays as it is" in found.notes

    def test_strategies_whose_spendings_are_close_are_compared_all_the_same(self) -> None:
        found = compare([line("a", results("10", 40)), line("b", results("11", 43))], "tokens", primary=("a", "b"))
        assert found.budgets[-1] == 43 and found.differences[-1].adjusted is None

    def test_budgets_are_those_of_the_settings_thinned_and_at_most_so_many(self) -> None:
        lines = [line("a", *(results("10", 2.0**i) for i in range(20)))]
        found = compare(lines, "tokens").budgets
        assert len(found) == compared.BUDGETS and (found[0], found[-1]) == (1, 2.0**19)
        assert compare(lines, "tokens", budgets=[9, 3, 9]).budgets == (3, 9)


def test_the_pareto_front_is_that_of_brute_force_with_ties(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compared, "PAIRED", 10)
    rng = np.random.default_rng(9)
    for _ in range(60):
        runs = [results(drawn(rng, 3), float(rng.integers(1, 5))) for _ in range(7)]
        found = compare([line(f"s{i}", run) for i, run in enumerate(runs)], "tokens")
        places = {f"s{i}": (-run.spent["tokens"].mean(), run.right.mean()) for i, run in enumerate(runs)}
        assert found.pareto == {
            name
            for name, (x, y) in places.items()
            if not any(u >= x and v >= y and (u, v) != (x, y) for u, v in places.values())
        }


class TestBands:
    def test_they_are_95_per_cent_of_the_binomial_law(self) -> None:
        stats = pytest.importorskip("scipy.stats")
        found = compare([line("a", results("1" * 60 + "0" * 140), results("1" * 150 + "0" * 50, 20))], "tokens")
        low, high = found.bands["a"]
        for i, p in enumerate((0.3, 0.75)):
            ends = stats.binom.ppf([0.025, 0.975], 200, p) / 200
            assert (low[i], high[i]) == pytest.approx(tuple(ends), abs=0.011)

    @pytest.mark.parametrize("right", "01")
    def test_of_one_problem_only_they_are_wilsons_and_differences_know_nothing(self, right: str) -> None:
        found = compare([line("a", results(right)), line("b", results("1", 20))], "tokens")
        low, high = found.bands["a"]
        assert (low[0], high[0]) == wilson(int(right), 1)
        (told,) = found.differences
        assert (told.mean, told.ci95, told.p, told.adjusted) == (1 - int(right), (-1, 1), 1, 1)
        assert found.matches[0].p == 1 and found.matches[0].visible is None
        assert any("only 1 problem:" in note for note in found.notes)


class TestRefused:
    def test_budgets_that_no_strategy_meets(self) -> None:
        lines = [line("a", results("10", 40)), line("b", results("11", 60))]
        with pytest.raises(OptionError, match=r"no strategy can meet a budget of 39 tokens.* takes 40"):
            compare(lines, "tokens", budgets=[39, 100])
        assert not compare(lines, "tokens", budgets=[40]).differences

    @pytest.mark.parametrize(
        "other, why",
        [
            ({"task": "other"}, "different tasks: sums and other"),
            ({"sha": "1"}, "different versions of the task: 0 and 1"),
            ({"ids": ["p0", "p9"]}, "did not finish the same problems: 2 are in one alone, such as p1"),
        ],
    )
    def test_runs_of_other_questions(self, other: Mapping[str, Any], why: str) -> None:
        lines = [line("a", results("10", name="one")), line("b", results("11", name="two", **other))]
        with pytest.raises(OptionError, match=f"one and two .*{why}"):
            compare(lines, "tokens")

    def test_a_primary_comparison_of_strangers(self) -> None:
        with pytest.raises(OptionError, match="--primary names c; there are a, b"):
            compare([line("a", results("10")), line("b", results("10"))], "tokens", primary=("a", "c"))


def test_oracles_failures_and_few_problems_are_noted() -> None:
    lines = [line("a", results("10" * 10, oracle=True)), line("b", results("10" * 10, failed="01" + "0" * 18))]
    notes = compare(lines, "tokens").notes
    assert any(note.startswith("a: ORACLE") for note in notes) and not any("b: ORACLE" in note for note in notes)
    assert any(re.match("b: 1 problems? failed", note) for note in notes)
    assert any("only 20 problems" in note for note in notes)
    assert not compare([line("a", results("10" * 20))], "tokens").notes


class Names(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_whatever_others_wrote_is_escaped_on_the_page() -> None:
    evil = "<script>alert(1)</script>"
    found = compare([line(evil, results("10", oracle=True)), line("b", results("11"))], "tokens", primary=(evil, "b"))
    parser = Names()
    parser.feed(report.page(found, {"task": evil, evil: '"><img src=x>'}, "<svg></svg>"))
    assert "script" not in parser.tags and "img" not in parser.tags
    assert parser.text.count(evil) >= 6 and '"><img src=x>' in parser.text


@pytest.mark.parametrize("name", ["a", "50% <b>&amp;", "_a",
                                  "$x^$"])  # fmt: skip
def test_every_strategy_is_in_the_legend_as_it_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    seen, keep = list[Any](), plots.keep

    def kept(figure: Any, to: Path) -> list[Path]:
        seen.append(figure)
        return keep(figure, to)

    monkeypatch.setattr(plots, "keep", kept)
    found = compare([line(name, results("10")), line("b", results("11", 20))], "tokens")
    files = report.curves_plot(found, "title", tmp_path / "curves")
    assert [file.suffix for file in files if file.stat().st_size] == [".png", ".svg"]
    assert [text.get_text() for text in seen[0].legends[0].get_texts()] == [plots.literally(name), "b"]
