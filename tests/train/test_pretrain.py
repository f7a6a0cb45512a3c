"""Pretraining: the same recipe gives the same weights, in one go or in pieces, and the result opens as a model."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import load_file
from tests.train.small import TINY, Here, lines_of, steady, tokenizer
from torch import Tensor
from torch.optim import AdamW

from mullover.errors import ModelError, OptionError, StoreError
from mullover.openers import open_model
from mullover.train import checkpoint, corpus, loop
from mullover.train.pretrain import MODEL, pretrain
from mullover.train.recipe import Phase, Recipe
from mullover.types import Prompt, Sampling

RECIPE = """
steps = 60
vocab = 300
batch = 512
warmup = 2
exam = 1000
questions = 1
checkpoint = 0.0
[model]
width = 32
layers = 2
heads = 2
inner = 48
context = 256
[[phases]]
step = 0
grades = [1, 1, 0, 0, 0]
families = { sums = 1 }
skills = { plain = 1 }
"""


class Stopped(Exception):  # noqa: N818  no error
    """As if the process had ended."""


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "Stream", Here)
    monkeypatch.setattr(loop, "LOGGED", 1)


def trained(
    folder: Path, recipe: Recipe = TINY, *, exam_stops: int = 0, stops: int = 0, exams: list[int] | None = None
) -> dict[str, Tensor]:
    """Weights of the checkpoint.

    Args:
        exam_stops: after how many steps the examination breaks off, behind a checkpoint; 0: never.
        stops: after how many steps the run breaks off without one.
    """
    folder.mkdir(exist_ok=True)
    if not (folder / "tokenizer.json").is_file():
        tokenizer().save(str(folder / "tokenizer.json"))

    def exam(model: Path, step: int) -> None:
        assert (model / "model.safetensors").is_file()
        if exams is not None:
            exams.append(step)
        if step == exam_stops:
            raise Stopped

    def say(line: str) -> None:
        if stops and line.startswith(f"step {stops}/"):
            raise Stopped

    if stops or exam_stops:
        with pytest.raises(Stopped):
            pretrain(recipe, folder, say, exam)
    else:
        pretrain(recipe, folder, say, exam)
    return load_file(folder / checkpoint.NAME)


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in one go."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "Stream", Here)
        patch.setattr(loop, "LOGGED", 1)
        trained(folder)
    return folder


class TestGoingOn:
    @pytest.mark.parametrize("optimizer", ["muon", "adamw"])
    def test_a_run_in_pieces_equals_one_in_one_go(self, tmp_path: Path, optimizer: str) -> None:
        recipe = replace(TINY, optimizer=optimizer)  # type: ignore[arg-type]
        exams = list[int]()
        once = trained(tmp_path / "once", recipe, exams=exams)
        assert exams == [4, 8, 12]
        trained(tmp_path / "cut", recipe, exam_stops=4)
        part = trained(tmp_path / "cut", recipe, stops=7)  # three steps behind the checkpoint are lost
        assert [line["step"] for line in lines_of(tmp_path / "cut" / "log.jsonl")] == [*range(1, 8)]
        assert not equal(part, once)
        assert equal(trained(tmp_path / "cut", recipe), once)
        logs = [steady(tmp_path / name / "log.jsonl") for name in ("once", "cut")]
        assert logs[0] == logs[1]
        assert [line["step"] for line in logs[0]] == [*range(1, 13)]
        exported = [load_file(tmp_path / name / MODEL / "model.safetensors") for name in ("once", "cut")]
        assert equal(*exported)

    def test_a_run_that_broke_off_in_its_first_minutes_begins_anew(self, tmp_path: Path, whole: Path) -> None:
        trained_ = tmp_path / "cut"
        trained(trained_, stops=2)
        assert len(lines_of(trained_ / "log.jsonl")) == 2
        assert equal(trained(trained_), load_file(whole / checkpoint.NAME))
        assert steady(trained_ / "log.jsonl") == steady(whole / "log.jsonl")

    def test_a_line_of_the_log_that_was_cut_short_is_dropped(self, tmp_path: Path, whole: Path) -> None:
        trained(tmp_path / "cut", exam_stops=4)
        with (tmp_path / "cut" / "log.jsonl").open("a") as log:
            log.write('{"step": 3, "lo')
        trained(tmp_path / "cut")
        assert steady(tmp_path / "cut" / "log.jsonl") == steady(whole / "log.jsonl")

    def test_a_finished_run_stays_as_it_is(self, tmp_path: Path) -> None:
        first = trained(tmp_path / "run")
        log = (tmp_path / "run" / "log.jsonl").read_text()
        exams = list[int]()
        assert equal(trained(tmp_path / "run", exams=exams), first)
        assert (tmp_path / "run" / "log.jsonl").read_text() == log
        assert exams == [12]  # a kill may have cut it short; whoever examines knows what is done

    def test_more_steps_may_be_set_before_the_cool_down(self, tmp_path: Path) -> None:
        longer = replace(TINY, steps=16)
        once = trained(tmp_path / "once", longer)
        trained(tmp_path / "cut", exam_stops=4)
        assert equal(trained(tmp_path / "cut", longer), once)
        assert steady(tmp_path / "cut" / "log.jsonl") == steady(tmp_path / "once" / "log.jsonl")

    def test_once_the_rate_falls_the_steps_stay_as_they_are(self, tmp_path: Path) -> None:
        trained(tmp_path / "run")
        with pytest.raises(OptionError, match="whose 12 steps would have been others"):
            trained(tmp_path / "run", replace(TINY, steps=16))

    def test_a_phase_that_is_still_to_come_may_be_added(self, tmp_path: Path) -> None:
        more = replace(TINY, phases=(*TINY.phases, Phase(8, {"sums": 1.0})))
        trained(tmp_path / "run", exam_stops=4)
        assert equal(trained(tmp_path / "run", more), trained(tmp_path / "once", more))

    @pytest.mark.parametrize("other", [replace(TINY, lr=0.1), replace(TINY, seed=5), replace(TINY, warmup=3)])
    def test_another_recipe_in_the_same_folder_is_refused(self, tmp_path: Path, other: Recipe) -> None:
        before = trained(tmp_path / "run", exam_stops=4)
        with pytest.raises(OptionError, match=r"holds a run by another recipe, or .* choose another --out"):
            trained(tmp_path / "run", other)
        assert equal(load_file(tmp_path / "run" / checkpoint.NAME), before)

    @pytest.mark.parametrize(
        "other", [replace(TINY, model=replace(TINY.model, width=64)), replace(TINY, optimizer="adamw")]
    )
    def test_another_size_or_optimizer_is_refused(self, tmp_path: Path, other: Recipe) -> None:
        trained(tmp_path / "run", exam_stops=4)
        with pytest.raises(OptionError, match="choose another --out"):
            trained(tmp_path / "run", other)

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda whole: whole[: len(whole) // 2],
            lambda whole: b"",
            lambda whole: b"\xff" * 64 + whole[64:],
            lambda whole: whole.replace(b'"facts"', b'"fakts"'),
            lambda whole: whole.replace(b'model/layers.0.qkv"', b'model/layers.0.qku"'),
        ],
    )
    def test_a_damaged_checkpoint_is_one_clear_error(self, tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
        trained(tmp_path / "run", exam_stops=4)
        path = tmp_path / "run" / checkpoint.NAME
        path.write_bytes(spoil(path.read_bytes()))
        with pytest.raises(OptionError) as error:
            trained(tmp_path / "run")
        assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_equal_seeds_give_equal_weights_and_others_do_not(tmp_path: Path, whole: Path) -> None:
    found = load_file(whole / checkpoint.NAME)
    assert equal(trained(tmp_path / "same"), found)
    assert not equal(trained(tmp_path / "other", replace(TINY, seed=1)), found)


def test_another_recipe_is_refused_from_the_start(tmp_path: Path) -> None:
    trained(tmp_path, stops=1)
    with pytest.raises(OptionError, match="another recipe"):
        trained(tmp_path, replace(TINY, lr=0.5))


def test_weights_that_are_no_numbers_are_never_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = AdamW.step

    def poisoned(self: AdamW, *rest: Any) -> Any:
        found = step(self, *rest)
        with torch.no_grad():
            self.param_groups[0]["params"][0].fill_(torch.nan)
        return found

    monkeypatch.setattr(AdamW, "step", poisoned)
    with pytest.raises(ModelError, match="after step 1 weights are no finite numbers; choose a lower"):
        trained(tmp_path, replace(TINY, steps=1))
    assert all(torch.isfinite(weight).all() for weight in load_file(tmp_path / checkpoint.NAME).values())


def test_what_is_damaged_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"version"')
    with pytest.raises(OptionError, match=r"tokenizer\.json is damaged"):
        trained(tmp_path)
    with pytest.raises(StoreError, match="Not a directory"):
        pretrain(TINY, tmp_path / "tokenizer.json" / "x", print)


def test_others_may_read_the_model(whole: Path) -> None:
    assert {file.stat().st_mode & 0o777 for file in (whole / MODEL).iterdir()} == {0o644}


def test_the_loss_falls_and_the_rate_is_that_of_the_schedule(whole: Path) -> None:
    lines = lines_of(whole / "log.jsonl")
    assert lines[-1]["loss"] < 0.9 * lines[0]["loss"]
    assert [line["rate"] for line in lines] == [round(TINY.schedule.rate(i), 4) for i in range(12)]
    made = [corpus.batch(TINY, tokenizer(), i) for i in range(12)]
    assert lines[-1]["tokens"] == sum(len(one.ids) for one in made)
    assert lines[-1]["targets"] == sum(len(one.targets) for one in made)


def test_the_exported_directory_opens_and_answers(whole: Path) -> None:
    model = open_model(str(whole / MODEL))
    prompt = Prompt.of("What is 3 + 4?")
    for thinking in (None, True, False):
        sampling = Sampling(temperature=0.0, max_tokens=5, thinking=thinking)
        (sample,) = asyncio.run(model.sample(prompt, 1, sampling))
        assert 1 <= len(sample.ids) <= 5
    assert model.info.context == TINY.model.context
    assert model.info.think == ("<think>", "</think>")


def test_the_exported_weights_are_those_of_the_checkpoint(whole: Path) -> None:
    found, mine = load_file(whole / MODEL / "model.safetensors"), load_file(whole / checkpoint.NAME)
    assert {tensor.dtype for tensor in found.values()} == {torch.bfloat16}
    for name, own in (("lm_head", "head"), ("model.embed_tokens", "embedding"), ("model.norm", "last")):
        assert torch.equal(found[f"{name}.weight"], mine[f"model/{own}"].to(torch.bfloat16))
    told = json.loads((whole / MODEL / "generation_config.json").read_text())
    assert told["eos_token_id"] == tokenizer().token_to_id("<|end|>")


@pytest.mark.slow
def test_kill_9_twice_leaves_the_weights_of_an_undisturbed_run(tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text(RECIPE)
    env = {**os.environ, "OMP_NUM_THREADS": "1"}

    def command(out: str) -> list[str]:
        folder = tmp_path / out
        folder.mkdir(exist_ok=True)
        if not (folder / "tokenizer.json").exists():
            tokenizer().save(str(folder / "tokenizer.json"))
        words = ["train", "pretrain", "--recipe", str(tmp_path / "one.toml"), "--out", str(folder)]
        return [sys.executable, "-m", "mullover", *words]

    subprocess.run(command("whole"), env=env, check=True, capture_output=True)
    facts = tmp_path / "cut" / checkpoint.NAME
    seen = list[int]()
    for least in (5, 25):
        with (tmp_path / "told.txt").open("w") as told:
            going = subprocess.Popen(command("cut"), env=env, stderr=told, stdout=told)
        deadline = time.monotonic() + 120
        while not seen or seen[-1] < least:
            assert going.poll() is None, (tmp_path / "told.txt").read_text()
            assert time.monotonic() < deadline
            if facts.exists():
                seen.append(step_of(facts))
            time.sleep(0.002)
        going.send_signal(signal.SIGKILL)
        going.wait()
    assert 25 <= step_of(facts) < 60, "it was finished before it was killed"
    done = subprocess.run(command("cut"), env=env, check=True, capture_output=True, text=True)
    assert "going on at step" in done.stderr
    assert equal(load_file(facts), load_file(tmp_path / "whole" / checkpoint.NAME))
    assert steady(tmp_path / "cut" / "log.jsonl") == steady(tmp_path / "whole" / "log.jsonl")


def step_of(path: Path) -> int:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return int(json.loads(file.metadata()["facts"])["step"])
