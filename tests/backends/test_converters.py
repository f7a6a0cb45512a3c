"""Recordings of others, read as they lie: small made-up files, and the real ones where they are at hand."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from mullover.backends.replay import Replay
from mullover.errors import OptionError
from mullover.types import Prompt, Sample, Sampling

DATA = Path(os.environ.get("MULLOVER_DATA") or Path(__file__).parents[3] / "shared" / "data")
REAL = [
    ("rec_tot_game24_gpt4/gpt-4_0.7_naive_cot_sample_100_start900_end1000.json.gz", "tot_game24", 100, 100, "900"),
    ("rec_tot_game24_gpt4/gpt-4_0.7_naive_standard_sample_100_start900_end1000.json.gz", "tot_game24", 100, 100, "999"),
    ("rec_cruxeval_codellama7b/generations_output_temp0.2.json.gz", "cruxeval", 800, 10, "sample_0"),
    (
        "rec_codet_humaneval_codegen16b/HumanEval_codegen16B_temp0.8_topp0.95_num100_max300_code_solution.jsonl.gz",
        "codet_humaneval",
        164,
        100,
        "HumanEval/163",
    ),
    ("rec_epoch_otis_mock_aime/completions_o3-mini-2025-01-31_x16.jsonl.gz", "", 45, 16, "2024-Mock-AIME-Problem-01"),
    (
        "rec_epoch_otis_mock_aime/completions_gpt-4.1-nano-2025-04-14_x8.jsonl.gz",
        "",
        45,
        8,
        "2024-Mock-AIME-Problem-01",
    ),
]


def drawn(model: Replay, problem: str, n: int) -> list[Sample]:
    return asyncio.run(model.sample(Prompt.of("?", origin=problem), n, Sampling(temperature=0.7)))


@pytest.mark.parametrize("name, converter, problems, samples, some", REAL, ids=[name[:24] for name, *_ in REAL])
def test_every_real_recording_is_readable(name: str, converter: str, problems: int, samples: int, some: str) -> None:
    if not (path := DATA / name).exists():
        pytest.skip(f"{path} is not here")
    model = Replay(path, converter)
    assert model.recording.problems == problems
    assert model.recording.count(some) == samples
    said = drawn(model, some, samples)
    assert len(said) == samples
    assert all(sample.text.strip() and sample.finish == "eos" for sample in said)
    assert model.info.unit == "words"


def test_a_list_of_idx_and_ys_is_the_game_of_24(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    path.write_text(json.dumps([{"idx": 900, "ys": ["a\nb", "c"]}, {"idx": 901, "ys": ["d"]}]))
    model = Replay(path, "tot_game24")
    assert [s.text for s in drawn(model, "900", 2)] == ["a\nb", "c"]
    assert [s.text for s in drawn(model, "901", 1)] == ["d"]


def test_an_object_of_lists_is_cruxeval(tmp_path: Path) -> None:
    path = tmp_path / "generations.json"
    path.write_text('{"sample_3": ["1", "2"]}')
    assert [s.text for s in drawn(Replay(path, "cruxeval"), "sample_3", 2)] == ["1", "2"]


def test_lines_of_prompt_and_samples_are_codet(tmp_path: Path) -> None:
    path = tmp_path / "solutions.jsonl"
    lines = [{"prompt": f"def f_{i}():", "samples": [f" return {i}"]} for i in range(164)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    model = Replay(path, "codet_humaneval")
    assert drawn(model, "HumanEval/10", 1)[0].text == " return 2"  # they lie in the order of their names
    assert asyncio.run(model.sample(Prompt.of("def f_0():"), 1, Sampling()))[0].text == " return 0"


@pytest.mark.parametrize(
    "converter, content, why",
    [
        ("tot_game24", '{"idx": 1}', "is no JSON list"),
        ("tot_game24", '[{"ys": []}]', "item 1 has no idx"),
        ("tot_game24", '[{"idx": 1, "ys": [1]}]', "item 1: ys is no list of texts"),
        ("tot_game24", '[{"idx": 1, "ys": []}]', "holds no recorded sample"),
        ("tot_game24", "[", "is no JSON"),
        ("cruxeval", "[]", "is no object from ids"),
        ("cruxeval", '{"sample_0": "1"}', "sample_0 is no list of texts"),
        ("codet_humaneval", '{"samples": []}\n' * 164, "line 1 has no prompt"),
        ("codet_humaneval", '{"prompt": "def f():"}\n' * 164, "line 1: samples is no list of texts"),
        ("codet_humaneval", '{"prompt": "def f():", "samples": []}', "has 1 lines; it must have one for each"),
    ],
)
def test_a_file_of_another_shape_is_a_clear_error(tmp_path: Path, converter: str, content: str, why: str) -> None:
    path = tmp_path / "recorded"
    path.write_text(content)
    with pytest.raises(OptionError, match=why) as error:
        Replay(path, converter)
    assert str(path) in str(error.value)


def test_an_unknown_converter_names_those_there_are(tmp_path: Path) -> None:
    (tmp_path / "recorded").write_text("[]")
    with pytest.raises(OptionError, match="no converter 'tot'; there are tot_game24, cruxeval, codet_humaneval"):
        Replay(tmp_path / "recorded", "tot")
