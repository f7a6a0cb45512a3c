"""Recipes: what is refused and how, phases, the schedule, and which changes make another run."""

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from tests.train.small import SHAPE, TINY

from mullover.errors import OptionError
from mullover.tasks.school import FAMILIES
from mullover.tasks.school.skills import SKILLS
from mullover.train.loop import Schedule
from mullover.train.recipe import NAMES, Phase, Recipe, named, read

GOOD = """
steps = 100
[model]
width = 32
layers = 2
heads = 2
inner = 48
[[phases]]
step = 0
grades = [1, 2.5, 0, 0, 0]
families = { sums = 1 }
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "one.toml"
    path.write_text(text)
    return path


class TestReading:
    def test_what_is_not_said_is_as_usual(self, tmp_path: Path) -> None:
        found = read(written(tmp_path, GOOD))
        assert found == Recipe(replace(SHAPE, context=1024), 100, (Phase(0, {"sums": 1.0}, (1.0, 2.5, 0.0, 0.0, 0.0)),))
        assert type(found.phases[0].families["sums"]) is float

    @pytest.mark.parametrize(
        ("old", "new", "told"),
        [
            ("steps = 100", "steps = 100\nstepps = 5", "no such key 'stepps'"),
            ("width = 32", "width = 32\nwidht = 5", "no such key 'widht'"),
            ("step = 0", "step = 0\ngrade = [1]", "no such key 'grade'"),
            ("steps = 100", "steps = '100'", "steps: '100' must be a whole number"),
            ("steps = 100", "steps = 100.0", "steps: '100.0' must be a whole number"),
            ("steps = 100", "steps = true", "steps: 'True' must be a whole number"),
            ("steps = 100", "steps = 100\nlr = 'fast'", "lr: 'fast' must be a number"),
            ("steps = 100", "steps = 100\noptimizer = 'sgd'", "optimizer: 'sgd' must be muon or adamw"),
            ("sums = 1", "sums = 'often'", "families: 'often' must be a number"),
            ("grades = [1, 2.5, 0, 0, 0]", "grades = [1, 'x']", "grades: 'x' must be a number"),
            ("grades = [1, 2.5, 0, 0, 0]", "grades = 3", "grades: '3' must be"),
            ("width = 32", "width = [32]", "width: '[32]' must be a whole number"),
            ("sums = 1", "sumz = 1", "no such name 'sumz'; there are sums, "),
            ("step = 0", "step = 0\nskills = { plian = 1 }", "no such name 'plian'; there are plain, "),
            ("grades = [1, 2.5, 0, 0, 0]", "grades = [1, 2.5]", "grades needs 5 weights"),
            ("grades = [1, 2.5, 0, 0, 0]", "grades = [0, 0, 0, 0, 0]", "weights must be at least 0"),
            ("sums = 1", "sums = -1", "weights must be at least 0"),
            ("sums = 1", "sums = nan", "weights must be at least 0"),
            ("sums = 1", "sums = inf", "weights must be at least 0"),
            ("heads = 2", "heads = 3", "each of 3 heads needs an even part"),
            ("heads = 2", "heads = 0", "heads is 0; it must be at least 1"),
            ("heads = 2", "heads = 32", "each of 32 heads needs an even part"),
            ("width = 32\n", "", "width is missing"),
            ("steps = 100", "", "steps is missing"),
            ("step = 0\n", "", "step is missing"),
            ("step = 0", "step = 1", "needs a [[phases]] of step 0"),
            ("steps = 100", "steps = 0", "steps is 0; it must be at least 1"),
            ("steps = 100", "steps = 100\ncooldown = 1.5", "cooldown at most 1"),
            ("step = 0", "step = 0\n[[phases]]\nstep = 0", "others of later steps, one each"),
            ("steps = 100", "steps = 100\nlr = nan", "lr is nan; it must be a finite number"),
            ("steps = 100", f"steps = 100\nlr = {'9' * 400}", "lr is inf; it must be a finite number"),
            ("steps = 100", "steps = 100\nclip = -1", "clip is -1.0; it must be above 0"),
            ("steps = 100", "steps = 100\nvocab = 10", "vocab is 10; it must be at least"),
            ("steps = 100", "steps = 100\nexam = 0", "exam is 0; it must be at least 1"),
            ("steps = 100", f"steps = 100\nseed = {1 << 63}", "seed must be below 2^63"),
            ("[model]", "[model", "cannot read the recipe"),
            ("steps = 100", f"steps = 100\nvocab = {'9' * 23}", "it must be at most 131072"),
            ("width = 32", "width = 3200000", "it must be at most 16384"),
            ("width = 32\nlayers = 2", "width = 16384\nlayers = 200", "it must have at most 1,073,741,824"),
            ("steps = 100", 'steps = "100"', "'100' must be a whole number"),
            ("grades = [1, 2.5, 0, 0, 0]", "grades = 1", "'1' must be a list"),
        ],
    )
    def test_what_is_wrong_is_told_in_one_line_with_the_file(
        self, tmp_path: Path, old: str, new: str, told: str
    ) -> None:
        assert GOOD.count(old) == 1
        path = written(tmp_path, GOOD.replace(old, new))
        with pytest.raises(OptionError) as error:
            read(path)
        assert told in str(error.value) and str(path) in str(error.value)
        assert "\n" not in str(error.value)

    def test_without_a_model_it_says_so(self, tmp_path: Path) -> None:
        with pytest.raises(OptionError, match="model is missing"):
            read(written(tmp_path, "steps = 1\n[[phases]]\nstep = 0\n"))

    def test_without_phases_it_says_so(self, tmp_path: Path) -> None:
        with pytest.raises(OptionError, match="phases"):
            read(written(tmp_path, GOOD.partition("[[phases]]")[0]))
        with pytest.raises(OptionError, match="phases"):
            read(written(tmp_path, "phases = []\n" + GOOD.partition("[[phases]]")[0]))

    def test_a_file_that_is_not_there_or_no_text_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(OptionError, match=r"missing\.toml"):
            read(tmp_path / "missing.toml")
        (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(OptionError, match=r"bytes\.toml"):
            read(tmp_path / "bytes.toml")

    @pytest.mark.parametrize("name", NAMES)
    def test_our_own_are_found_and_right(self, name: str) -> None:
        path = named(name)
        assert path is not None
        found = read(path)
        for phase in found.phases:
            assert set(phase.families) <= set(FAMILIES) and set(phase.skills) <= set(SKILLS)
            assert len(phase.grades) == 5
        assert max(phase.step for phase in found.phases) < found.steps
        assert found.model.width % found.model.heads == 0

    @pytest.mark.parametrize("name", ["", "poket", "../pocket", "pyproject"])
    def test_other_names_are_none_of_ours(self, name: str) -> None:
        assert named(name) is None


def test_a_phase_lasts_until_the_next_in_any_order() -> None:
    phases = tuple(Phase(step) for step in (50, 0, 10))
    recipe = replace(TINY, phases=phases)
    assert [recipe.phase(step).step for step in (0, 9, 10, 49, 50, 10**6)] == [0, 0, 10, 10, 50, 50]


class TestSchedule:
    def test_it_warms_up_stays_and_cools_down(self) -> None:
        rates = [Schedule(10, 2, 0.4).rate(step) for step in range(10)]
        assert rates == [0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25]

    @pytest.mark.parametrize("schedule", [Schedule(10, 0, 0.0), Schedule(1, 5, 1.0), Schedule(7, 20, 0.9)])
    def test_it_is_never_negative_and_never_above_one(self, schedule: Schedule) -> None:
        rates = [schedule.rate(step) for step in range(schedule.steps)]
        assert all(0 < rate <= 1 for rate in rates)
        assert schedule.rate(schedule.steps) == 0

    def test_without_warmup_and_cooldown_it_is_level(self) -> None:
        assert {Schedule(10, 0, 0.0).rate(step) for step in range(10)} == {1.0}

    def test_a_recipe_hands_on_its_own(self) -> None:
        recipe = replace(TINY, steps=30, warmup=7, cooldown=0.2, clip=0.5)
        assert recipe.schedule == Schedule(30, 7, 0.2, 0.5)


class TestIdentity:
    @pytest.mark.parametrize(
        "other",
        [
            replace(TINY, steps=99),
            replace(TINY, exam=7),
            replace(TINY, questions=70),
            replace(TINY, checkpoint=1.0),
            replace(TINY, cooldown=0.1),
            replace(TINY, phases=(*TINY.phases, Phase(40))),
        ],
    )
    def test_what_may_change_in_a_run_is_no_part_of_it(self, other: Recipe) -> None:
        assert other.identity(40) == TINY.identity(40)

    @pytest.mark.parametrize(
        "other",
        [
            replace(TINY, lr=0.1),
            replace(TINY, matrix_lr=0.1),
            replace(TINY, seed=1),
            replace(TINY, vocab=301),
            replace(TINY, batch=513),
            replace(TINY, optimizer="adamw"),
            replace(TINY, warmup=3),
            replace(TINY, prompt_weight=0.1),
            replace(TINY, phases=(replace(TINY.phases[0], grades=(1.0, 0.0, 0.0, 0.0, 0.0)),)),
            replace(TINY, model=replace(SHAPE, theta=500.0)),
            replace(TINY, model=replace(SHAPE, layers=3)),
        ],
    )
    def test_what_changes_the_weights_is_part_of_it(self, other: Recipe) -> None:
        assert other.identity(0) != TINY.identity(0)

    def test_a_phase_is_part_of_it_once_it_has_begun(self) -> None:
        other = replace(TINY, phases=(*TINY.phases, Phase(40)))
        assert [other.identity(step) == TINY.identity(step) for step in (0, 40, 41)] == [True, True, False]
