"""Curves over k samples of recorded pools, and of pools whose law is known, against counting subsets."""

import csv
import json
from collections.abc import Iterable
from itertools import combinations, product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mullover.answers import find
from mullover.backends.toy import Toy
from mullover.cli import main
from mullover.evaluate.curves import Curve, pool_curves, shown, spent_tokens
from mullover.evaluate.results import Pool, load
from mullover.store import decode
from mullover.types import AnswerSpec

DRAWS = 20_000
Floats = NDArray[np.float64]


def sampled(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    code = main(["sample", *words, "--json"])
    out = capsys.readouterr()
    assert code == 0, out.err
    told: dict[str, Any] = json.loads(out.out)
    return told


def pool_of(told: dict[str, Any]) -> Pool:
    pool = load(Path(told["run"])).pool
    assert pool is not None
    return pool


def by_name(pool: Pool) -> dict[str, Curve]:
    return {curve.name: curve for curve in pool_curves(pool)}


def otis(data: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    folder = data / "rec_epoch_otis_mock_aime"
    replay = f"replay:{folder}/completions_o3-mini-2025-01-31_x16.jsonl.gz"
    return sampled(capsys, "--task", str(folder / "problems.jsonl"), "--model", replay, "--n", "16")


def game24(data: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    replay = f"replay:{data}/rec_tot_game24_gpt4/gpt-4_0.7_naive_cot_sample_100_start900_end1000.json.gz#tot_game24"
    return sampled(capsys, "--task", "game24", "--data", str(data), "--model", replay, "--n", "100")


def toy(folder: Path, capsys: pytest.CaptureFixture[str], problems: int, n: int) -> dict[str, Any]:
    rows = [{"id": f"p{i}", "question": f"apples in basket {i}?", "answer": "8"} for i in range(problems)]
    (folder / "apples.jsonl").write_text("\n".join(json.dumps(row | {"kind": "number"}) for row in rows) + "\n")
    words = ("--task", str(folder / "apples.jsonl"), "--model", "toy", "--temperature", "1", "--n", str(n))
    return sampled(capsys, *words)


def values_of(told: dict[str, Any]) -> list[tuple[list[str | None], str | None]]:
    """What the samples of each problem state, and the truth, from the records; 060 is 60."""
    records = [decode(line) for line in (Path(told["run"]) / "problems.jsonl").read_bytes().splitlines()]
    return [([bare(c.value) for c in record.answer.candidates], bare(record.gold)) for record in records]


def bare(value: str | None) -> str | None:
    return None if value is None else value.lstrip("0") or "0"


def voted(values: Iterable[str | None], gold: str | None) -> float:
    """The share of the truth among the commonest answers; None has no vote."""
    stated = [value for value in values if value is not None]
    most = max(map(stated.count, stated), default=0)
    tops = {value for value in stated if stated.count(value) == most}
    return (gold in tops) / max(1, len(tops))


def over_subsets(
    groups: NDArray[np.int64], right: NDArray[np.bool_], taken: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """(the vote is right, some sample is right) of one problem for each row of `taken`."""
    names = np.unique(groups[groups >= 0])
    votes = taken.astype(int) @ (groups[:, None] == names).astype(int)
    truth = np.array([right[groups == name][0] for name in names], bool)
    top = (votes == votes.max(axis=1, keepdims=True, initial=0)) & (votes > 0)
    return (top & truth).sum(axis=1) / np.maximum(1, top.sum(axis=1)), (taken & right).any(axis=1).astype(float)


def at_random(n: int, k: int, many: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    taken = np.zeros((many, n), bool)
    np.put_along_axis(taken, rng.random((many, n)).argsort(axis=1)[:, :k], True, axis=1)
    return taken


def drawn(pool: Pool, k: int, each: int) -> tuple[Floats, Floats]:
    """Means over problems of maj@k and pass@k over `each` random subsets of each, and their standard errors."""
    rng = np.random.default_rng(7)
    hits = [
        over_subsets(groups, right, at_random(pool.n, k, each, rng))
        for groups, right in zip(pool.groups, pool.right, strict=True)
    ]
    each_hit = np.array(hits)  # [problems, 2, subsets]
    return each_hit.mean(axis=(0, 2)), np.sqrt((each_hit.var(axis=2, ddof=1) / each).sum(axis=0)) / len(hits)


class TestContestProblems:
    def test_curves_are_means_over_all_subsets_of_what_the_records_say(
        self, data: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        told = otis(data, capsys)
        problems = values_of(told)
        assert (told["problems"], told["n"], len(problems)) == (45, 16, 45)
        assert any(None in values for values, _ in problems)
        curves = by_name(pool_of(told))
        for k in (1, 2, 3):
            votes, hits = [], []
            for values, gold in problems:
                subsets = list(combinations(values, k))
                votes.append(sum(voted(subset, gold) for subset in subsets) / len(subsets))
                hits.append(sum(gold in subset for subset in subsets) / len(subsets))
            assert curves["majority"].each[:, k - 1] == pytest.approx(votes)
            assert curves["pass"].each[:, k - 1] == pytest.approx(hits)
            assert curves["majority"].mean[k - 1] == pytest.approx(np.mean(votes))
            assert curves["pass"].mean[k - 1] == pytest.approx(np.mean(hits))

    def test_curves_of_eight_agree_with_random_subsets_within_their_error(
        self, data: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pool = pool_of(otis(data, capsys))
        curves = by_name(pool)
        means, errors = drawn(pool, 8, DRAWS)
        assert (errors > 0).all() and (errors < 1e-3).all()
        assert abs(curves["majority"].mean[7] - means[0]) < 4 * errors[0]
        assert abs(curves["pass"].mean[7] - means[1]) < 4 * errors[1]

    def test_the_vote_of_all_is_that_of_the_datas_index_within_one_problem(
        self, data: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        curves = otis(data, capsys)["curves"]
        assert curves["majority"]["16"][0] == pytest.approx(0.6889, abs=1 / 45 + 1e-4)
        assert curves["pass"]["1"][0] == pytest.approx(0.6444, abs=0.01)
        assert curves["majority"]["1"] == pytest.approx(curves["pass"]["1"])


class TestGameOf24:
    def test_some_of_ten_and_of_a_hundred_samples_is_right_as_often_as_the_datas_index_says(
        self, data: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        told = game24(data, capsys)
        assert (told["problems"], told["n"]) == (100, 100)
        assert told["curves"]["pass"]["10"][0] == pytest.approx(0.2148, abs=5e-5)
        assert told["curves"]["pass"]["100"][0] == pytest.approx(0.49)

    def test_votes_of_ten_agree_with_random_subsets_within_their_error(
        self, data: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pool = pool_of(game24(data, capsys))
        assert pool.groups.shape == (100, 100)
        means, errors = drawn(pool, 10, DRAWS // 100)
        assert 0 < errors[0] < 3e-3
        assert abs(by_name(pool)["majority"].mean[9] - means[0]) < 4 * errors[0]


class TestAKnownLaw:
    LAW = Toy().probabilities(lambda text: found.value if (found := find(text, AnswerSpec("number"))) else None)

    def test_one_sample_is_right_as_often_as_the_model_is(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pool, exact = pool_of(toy(tmp_path, capsys, 40, 100)), self.LAW["8"]
        assert exact == pytest.approx(0.6)
        mean = by_name(pool)["pass"].mean[0]
        assert mean == pytest.approx(pool.right.mean())
        assert abs(mean - exact) < 4 * (exact * (1 - exact) / pool.right.size) ** 0.5
        silent, none = np.mean(pool.groups < 0), self.LAW[None]
        assert abs(silent - none) < 4 * (none * (1 - none) / pool.right.size) ** 0.5

    def test_votes_and_hits_of_a_few_samples_follow_the_models_law(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        curves = by_name(pool_of(toy(tmp_path, capsys, 200, 20)))
        for k in (2, 3, 5):
            replies = [(reply, prod(self.LAW[value] for value in reply)) for reply in product(self.LAW, repeat=k)]
            vote = sum(chance * voted(reply, "8") for reply, chance in replies)
            hit = sum(chance * ("8" in reply) for reply, chance in replies)
            for curve, exact in ((curves["majority"], vote), (curves["pass"], hit)):
                each = curve.each[:, k - 1]
                assert abs(curve.mean[k - 1] - exact) < 4 * each.std(ddof=1) / len(each) ** 0.5

    def test_votes_of_more_samples_than_can_be_counted_are_drawn_and_say_how_far_to_trust_them(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        curves = by_name(pool_of(toy(tmp_path, capsys, 4, 201)))
        assert (curves["pass"].error == 0).all()
        error = curves["majority"].error
        assert 0 < error[0] < 0.01
        assert abs(curves["majority"].mean[0] - curves["pass"].mean[0]) < 4 * error[0]
        assert curves["majority"].mean[-1] == 1.0 and error[-1] == 0

    def test_what_is_printed_stored_and_computed_is_the_same(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        told = toy(tmp_path, capsys, 5, 12)
        pool = pool_of(told)
        curves, spent = by_name(pool), spent_tokens(pool)
        assert told["curves"].keys() == curves.keys() == {"pass", "majority", "weighted by probability"}
        assert [int(k) for k in told["tokens"]] == shown(12) == [1, 2, 4, 5, 8, 10, 12]
        for name, curve in curves.items():
            assert (curve.low <= curve.mean + 1e-12).all() and (curve.mean <= curve.high + 1e-12).all()
            for k, row in told["curves"][name].items():
                i = int(k) - 1
                assert row == pytest.approx([curve.mean[i], curve.low[i], curve.high[i]])
        words = ("--task", str(tmp_path / "apples.jsonl"), "--model", "toy", "--temperature", "1", "--n", "12")
        assert main(["sample", *words, "--csv", str(tmp_path / "curves.csv")]) == 0
        assert "5 problems, 12 samples each" in capsys.readouterr().out
        rows = list(csv.DictReader((tmp_path / "curves.csv").read_text().splitlines()))
        assert [int(row["samples"]) for row in rows] == list(range(1, 13))
        assert [float(row["tokens"]) for row in rows] == pytest.approx(spent.tolist(), abs=0.006)
        for name, curve in curves.items():
            assert [float(row[name]) for row in rows] == pytest.approx(curve.mean.tolist(), abs=1e-6)
            assert [float(row[f"{name} error"]) for row in rows] == pytest.approx(curve.error.tolist(), abs=1e-6)

    def test_the_prompt_is_paid_once_and_each_sample_adds_as_much(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        told = toy(tmp_path, capsys, 5, 12)
        found = load(Path(told["run"]))
        assert found.pool is not None
        spent = spent_tokens(found.pool)
        assert spent[-1] == pytest.approx(found.spent["tokens"].mean())
        assert np.diff(spent) == pytest.approx(found.pool.tokens.mean())
        assert (found.pool.prompt[:, 1:] == 0).all() and (found.pool.prompt[:, 0] > 0).all()


def test_one_sample_of_one_problem_has_curves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = toy(tmp_path, capsys, 1, 1)
    right = float(pool_of(told).right[0, 0])
    assert told["curves"]["pass"] == told["curves"]["majority"] == {"1": [right, right, right]}
