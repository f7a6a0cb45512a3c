"""The bench of the engine, on a model of a few thousand parameters: what it counts and tells, not how fast it is."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from mullover.bench import CASES, OWN_CASES
from mullover.bench.cases import Problems, many_problems, one_prompt, search_tree
from mullover.bench.engine import OWN, RANDOM
from mullover.bench.models import Bed, Shape, build, load
from mullover.bench.roofline import Roofline, products
from mullover.bench.rows import Contestant, Row, contest
from mullover.errors import OptionError

import torch  # isort: skip

KEYS = {
    "case",
    "model",
    "engine",
    "tokens_per_s",
    "ratio_to_generate",
    "share_of_roofline",
    "seconds",
    "repeats",
    "tokens",
    "note",
}
TINY = Shape("T", 32, 2, 4, 2, 64, 128)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bed() -> Bed:
    return build(TINY, torch.device("cpu"))


def by_engine(rows: list[Row]) -> dict[str, Row]:
    assert all(row.facts().keys() >= KEYS for row in rows)
    json.dumps([row.facts() for row in rows], allow_nan=False)
    return {row.engine: row for row in rows}


def quiet(what: str) -> None:
    pass


def ran(row: Row) -> bool:
    return (row.tokens_per_s or 0) > 0 and (row.seconds or 0) > 0 and row.repeats > 0


def test_every_case_has_a_name() -> None:
    assert CASES.keys() == RANDOM.keys()
    assert OWN_CASES.keys() == OWN.keys()


def test_one_prompt_stores_the_prefix_once(bed: Bed) -> None:
    rows = by_engine(one_prompt(bed, "one", 6, 2, quiet, prompt=64, new=10, than=2))
    assert rows.keys() == {"mullover", "mullover, not fused", "mullover, n=2", "generate", "roofline"}
    assert all(map(ran, rows.values()))
    ours = rows["mullover"]
    assert (ours.tokens, ours.repeats) == (60, 2)
    assert ours.more["blocks"] == 2 + 6
    assert ours.more["blocks_if_copied"] == 18
    assert ours.more["seconds_per_token_to_n2"] > 0
    assert ours.share_of_roofline is not None and ours.share_of_roofline > 0
    assert (rows["generate"].ratio_to_generate, rows["roofline"].share_of_roofline) == (1, 1)
    assert rows["mullover, n=2"].tokens == 20
    assert rows["mullover, n=2"].ratio_to_generate is None


def test_a_prompt_longer_than_the_context_is_refused(bed: Bed) -> None:
    with pytest.raises(OptionError, match="holds 2048 tokens; this case needs 2049"):
        one_prompt(bed, "one", 1, 1, quiet, prompt=2000, new=49)


def test_many_problems_count_only_what_was_wanted(bed: Bed) -> None:
    some = Problems.drawn(bed, 4, 2, prompt=20, mean=4)
    assert {len(one) for one in some.lengths} == {2}
    assert all(1 <= n <= 16 for one in some.lengths for n in one)
    assert some == Problems.drawn(bed, 4, 2, prompt=20, mean=4)
    rows = by_engine(many_problems(bed, "many", 1, quiet, problems=some, sizes=(2, 4)))
    others = {name: row for name, row in rows.items() if not name.startswith("transformers")}
    assert others.keys() == {"mullover", "generate", "roofline"}
    assert all(ran(row) and row.tokens == some.wanted for row in others.values())
    assert rows["generate"].more["batch"] in (2, 4)
    continuous = rows["transformers continuous batching"]
    assert ran(continuous) or continuous.note.startswith("not run: ")


def test_a_search_computes_what_is_distinct_and_no_more(bed: Bed) -> None:
    shape = {"prompt": 40, "steps": 3, "beams": 2, "branches": 2, "new": 5}
    kept, again = search_tree(bed, "tree", 1, quiet, **shape)
    by_engine([kept, again])
    assert kept.tokens == again.tokens == 3 * 4 * 5
    assert kept.more["computed"] <= kept.more["distinct"] == 40 + kept.tokens
    assert again.more["computed"] > kept.more["computed"]


def test_the_roofline_has_the_products_of_the_model(bed: Bed) -> None:
    layer = [(32, 64), (32, 32), (32, 128), (64, 32)]  # qkv, o, gate and up, down
    assert products(bed.model) == [*layer, *layer, (32, 128)]
    roofline = Roofline(bed.model)
    assert roofline.step(4, 1 << 20) > 0 < roofline.prefill(16)


def test_the_engines_share_weights_and_nothing_else(bed: Bed) -> None:
    twin = bed.twin()
    assert {p.data_ptr() for p in twin.parameters()} == {p.data_ptr() for p in bed.model.parameters()}
    assert not {id(m) for m in twin.modules()} & {id(m) for m in bed.model.modules()}


class TestContest:
    def test_they_take_turns_and_medians_are_told(self) -> None:
        order = list[str]()

        def of(name: str, *seconds: float) -> Contestant:
            def run(turn: int) -> tuple[int, float]:
                order.append(name)
                return 12, seconds[turn]

            return Contestant(name, run)

        rows = contest("c", "m", [of("mine", 2, 3, 4), of("generate", 4, 12, 6)], 3, quiet)
        assert order == ["mine", "generate"] * 4
        assert [(row.seconds, row.tokens_per_s) for row in rows] == [(3, 4), (6, 2)]
        assert [row.ratio_to_generate for row in rows] == [2, 1]
        assert rows[0].share_of_roofline is None

    def test_who_fails_has_a_row_that_says_why(self) -> None:
        def fails(turn: int) -> tuple[int, float]:
            raise ValueError("no\nroom")

        closed = list[int]()
        rows = contest("c", "m", [Contestant("x", fails, close=lambda: closed.append(1))], 1, quiet)
        assert (rows[0].note, rows[0].tokens_per_s, closed) == ("not run: ValueError: no room", None, [1])
        with pytest.raises(ValueError, match="room"):
            contest("c", "m", [Contestant("x", fails, must=True)], 1, quiet)


def test_a_model_of_a_directory(bed: Bed, tmp_path: Path) -> None:
    bed.model.save_pretrained(tmp_path)
    loaded = load(str(tmp_path))
    assert loaded.vocabulary == 128
    assert torch.equal(loaded.model.lm_head.weight.cpu().float(), bed.model.lm_head.weight)
    for wrong in ("nothing", "pickled"):
        (tmp_path / wrong).mkdir()
        (tmp_path / wrong / "config.json").write_text((tmp_path / "config.json").read_text() if wrong[0] == "p" else "")
        with pytest.raises(OptionError, match="no model that can be loaded"):
            load(str(tmp_path / wrong))


@pytest.fixture
def gpu() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_benchmark", ROOT / "benchmarks" / "gpu.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_gpu_script_in_small(
    gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--small", "--repeats", "1", "--model", "0.5B", "--out", str(tmp_path)])
    assert gpu.main() == 0
    report = json.loads(next(tmp_path.glob("*-small.json")).read_text())
    assert report["parity"][0]["ok"] is True
    assert report["parity"][0]["greedy_clear"] > 0
    assert {row["case"] for row in report["rows"]} == {"one-prompt-1", "one-prompt-4"}
    assert all(row.keys() >= KEYS for row in report["rows"])
