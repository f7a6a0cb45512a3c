"""Models from a directory: what is refused, how prompts become tokens, thinking, scores, states, shared engines."""

import asyncio
import json
import math
import shutil
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from safetensors.torch import load_file, save_file

pytest.importorskip("torch")

import torch
from tests.backends.local_models import TEMPLATE, save, small
from transformers import LlamaForCausalLM

from mullover.backends.local.load import Settings
from mullover.backends.local.local import Local
from mullover.errors import CapabilityError, OptionError
from mullover.openers import open_model
from mullover.types import Force, Message, Prompt, Rule, Sampling, Segment

T = TypeVar("T")
QUESTION = Prompt.of("How many apples are there?")


def run(job: Awaitable[T]) -> T:
    async def main() -> T:
        return await job

    return asyncio.run(main())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(small(), tmp_path / "model"))


def edited(folder: Path, name: str, **fields: Any) -> Path:
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    return folder


def refused(folder: Path | str, *words: str) -> None:
    with pytest.raises(OptionError) as error:
        open_model(str(folder))
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


class TestWhatIsRefused:
    def test_a_directory_without_a_configuration(self, tmp_path: Path) -> None:
        refused(tmp_path, "config.json")

    def test_a_missing_tokenizer(self, folder: Path) -> None:
        (folder / "tokenizer.json").unlink()
        refused(folder, "tokenizer.json")

    def test_a_broken_tokenizer(self, folder: Path) -> None:
        (folder / "tokenizer.json").write_text("{}")
        refused(folder, "tokenizer.json")

    def test_weights_that_only_a_pickle_holds(self, folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
        refused(folder, "pytorch_model.bin", "safetensors")

    def test_no_weights_at_all(self, folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        refused(folder, "no weights")

    def test_weights_that_are_cut_short(self, folder: Path) -> None:
        path = folder / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-1000])
        refused(folder, "cannot load")

    def test_a_family_that_the_engine_does_not_run(self, folder: Path) -> None:
        refused(edited(folder, "config.json", model_type="bloom"), "bloom", "llama", "URL")

    def test_a_recurrent_state_and_an_encoder_by_name(self, folder: Path) -> None:
        refused(edited(folder, "config.json", model_type="mamba2"), "mamba2", "recurrent")
        refused(edited(folder, "config.json", model_type="t5", is_encoder_decoder=True), "t5", "encoder-decoder")

    def test_code_of_its_own(self, folder: Path) -> None:
        told = {"AutoModelForCausalLM": "evil.Model"}
        refused(edited(folder, "config.json", model_type="evil", auto_map=told), "evil", "never run")

    def test_positions_that_depend_on_the_batch(self, folder: Path) -> None:
        rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
        refused(edited(folder, "config.json", rope_parameters=rope), "dynamic")

    def test_a_tokenizer_of_another_model(self, folder: Path, tmp_path: Path) -> None:
        told = json.loads((folder / "tokenizer.json").read_text())
        told["model"]["vocab"] |= {f" more{i}": 10_000 + i for i in range(3)}
        (folder / "tokenizer.json").write_text(json.dumps(told))
        refused(folder, "tokenizer")

    def test_weights_that_are_missing(self, folder: Path) -> None:
        refused(edited(folder, "config.json", num_hidden_layers=3), "lacks weights")

    def test_weights_of_another_size(self, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
        refused(edited(folder, "config.json", intermediate_size=80), "other sizes", "mlp")
        assert capfd.readouterr().err == ""  # what a library has to say about it is no line of ours

    def test_weights_that_are_no_numbers(self, tmp_path: Path) -> None:
        folder = Path(shutil.copytree(small(), tmp_path / "broken"))
        weights = load_file(folder / "model.safetensors")
        name = next(name for name in weights if "down_proj" in name)
        weights[name][1, 2] = float("nan")
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        refused(folder, "no finite numbers", name)

    @pytest.mark.parametrize(
        ("fields", "word"),
        [
            ({"num_hidden_layers": 0}, "num_hidden_layers"),
            ({"num_hidden_layers": -1}, "num_hidden_layers"),
            ({"rope_parameters": "x"}, "rope"),
            ({"rope_parameters": {"rope_type": "linear", "factor": 2.0, "partial_rotary_factor": 0.5}}, "config.json"),
            ({"hidden_act": "nothing"}, "nothing"),
            ({"rms_norm_eps": "tiny"}, "rms_norm_eps"),
        ],
        ids=str,
    )
    def test_a_configuration_that_makes_no_sense(self, folder: Path, fields: dict[str, Any], word: str) -> None:
        refused(edited(folder, "config.json", **fields), word)

    def test_a_device_that_computes_nothing(self) -> None:
        refused(f"{small()};device=meta", "meta", "cpu")

    @pytest.mark.parametrize(
        "words", ["kv_memory", "kv_memory=", "kv_memory=much", "kv_memory=0", "speed=9", "dtype=int8"]
    )
    def test_settings_that_do_not_exist(self, words: str) -> None:
        refused(f"{small()};{words}", words.partition("=")[0])

    def test_a_memory_too_small_for_anything(self) -> None:
        refused(f"{small()};kv_memory=1KB", "at least")

    def test_a_prompt_longer_than_the_context(self) -> None:
        long = Prompt.of("apples " * 600)
        with pytest.raises(OptionError, match="512"):
            run(Local(small()).sample(long, 1, Sampling()))
        with pytest.raises(OptionError, match="512"):
            run(Local(small()).score(QUESTION, [" apples" * 600]))

    def test_what_is_no_text(self) -> None:
        image = Prompt((Message("user", ({"type": "image", "url": "x"},)),))
        with pytest.raises(CapabilityError, match="text"):
            run(Local(small()).sample(image, 1, Sampling()))
        with pytest.raises(OptionError, match="half of a surrogate pair"):
            run(Local(small()).sample(Prompt.of("apples \ud83d"), 1, Sampling()))

    def test_an_unknown_signal_and_an_effort(self) -> None:
        with pytest.raises(CapabilityError, match="confidence@20"):
            run(Local(small()).sample(QUESTION, 1, Sampling(signals=("mood",))))
        with pytest.raises(CapabilityError, match="high"):
            run(Local(small("thinking")).sample(QUESTION, 1, Sampling(thinking="high")))

    def test_one_request_that_is_too_large_harms_no_other(self) -> None:
        async def main() -> tuple[Any, Any]:
            model = Local(f"{small()};kv_memory=60KB")  # two blocks and a half
            large = model.sample(QUESTION, 1, Sampling(max_tokens=400, rules=(Rule("", -math.inf),)))
            fine = model.sample(Prompt.of("How?"), 2, Sampling(max_tokens=4))
            return tuple(await asyncio.gather(large, fine, return_exceptions=True))  # type: ignore[return-value]

        large, fine = run(main())
        assert "kv-memory" in str(large)
        assert len(fine) == 2


class TestPrompts:
    def test_the_template_is_filled_in_and_known_tokens_stay(self) -> None:
        model = Local(small())
        words = model.words
        told, ids = model._begun(QUESTION.then(" so").then(Segment("?", (7, 8))).then(" it").then(" is"), Sampling())
        assert told == " user How many apples are there?<|end|> assistant so? it is"
        begun = words.ids(" user How many apples are there?<|end|> assistant")
        assert ids == (*begun, *words.ids(" so"), 7, 8, *words.ids(" it is"))

    def test_a_model_without_a_template_reads_the_text(self, tmp_path: Path) -> None:
        model = Local(str(save(tmp_path / "base", template=None)))
        assert model._begun(Prompt.of(" How many"), Sampling()) == (" How many", model.words.ids(" How many"))

    def test_a_template_cannot_reach_what_is_not_its_own(self, tmp_path: Path) -> None:
        evil = "{{ messages.__class__.__mro__[1].__subclasses__() }}"
        model = Local(str(save(tmp_path / "evil", template=evil)))
        with pytest.raises(OptionError, match="template"):
            run(model.sample(QUESTION, 1, Sampling()))

    def test_the_generation_config_gives_defaults(self, folder: Path) -> None:
        edited(folder, "generation_config.json", do_sample=True, temperature=0.6, top_p=0.9, top_k=20)
        assert Local(str(folder)).info.defaults == {"temperature": 0.6, "top_p": 0.9, "top_k": 20}

    def test_other_weights_are_another_model(self, tmp_path: Path) -> None:
        one, other = save(tmp_path / "a", seed=1), save(tmp_path / "b", seed=2)
        assert Local(str(one)).info.digest != Local(str(other)).info.digest
        assert Local(str(one)).info.digest == Local(str(one)).info.digest

    def test_settings_are_read(self) -> None:
        path, settings = Settings.parse("some/where;kv_memory=1.5GB;dtype=bfloat16;device=cpu")
        assert path == Path("some/where")
        assert settings == Settings(3 << 29, "bfloat16", "cpu")


class TestThinking:
    def test_it_is_turned_on_and_off_by_the_template(self) -> None:
        model = Local(small("thinking"))
        assert "thinking" in model.info.can
        assert model._begun(QUESTION, Sampling(thinking=True))[0].endswith("assistant<think>")
        assert model._begun(QUESTION, Sampling(thinking=False))[0].endswith("assistant")

    def test_a_template_that_knows_no_thinking_is_not_asked_for_it(self) -> None:
        with pytest.raises(CapabilityError, match="thinking"):
            run(Local(small()).sample(QUESTION, 1, Sampling(thinking=True)))

    def test_a_budget_ends_it(self) -> None:
        model = Local(small("thinking"))
        samples = run(model.sample(QUESTION, 8, Sampling(thinking=5, max_tokens=12)))
        closer = model.words.ids("</think>")[0]
        for sample in samples:
            if len(sample.ids) > 6:
                assert closer in sample.ids[:6]
            assert sample.usage.reasoning_tokens <= 6
            if closer in sample.ids:
                assert sample.reasoning.endswith("</think>")
                assert sample.usage.reasoning_tokens == sample.ids.index(closer) + 1


class TestEngine:
    def test_two_that_open_one_directory_share_an_engine(self) -> None:
        assert Local(small()).service is Local(small()).service
        assert Local(small()).service is not Local(f"{small()};kv_memory=8MB").service

    def test_a_prompt_is_paid_for_once(self) -> None:
        async def main() -> Any:
            model = Local(f"{small()};kv_memory=7MB")
            first = await model.sample(QUESTION, 8, Sampling(max_tokens=8))
            return first, await model.sample(QUESTION, 8, Sampling(max_tokens=8)), model

        first, again, model = run(main())
        size = len(model._begun(QUESTION, Sampling())[1])
        assert sum(sample.usage.prompt_tokens for sample in first) == size
        assert {s.usage.prompt_tokens + s.usage.cached_tokens for s in [*first, *again]} == {size}
        assert sum(sample.usage.prompt_tokens for sample in again) <= 1  # the logits of its last token
        assert first[0].usage.flops > 0

    def test_scores_share_the_prompt_and_agree_with_the_whole_model(self) -> None:
        model = Local(small())
        texts = [" apples are", " pears", "", " we know that it is so"]
        found = run(model.score(QUESTION, texts))
        _, begun = model._begun(QUESTION, Sampling())
        plain: Any = LlamaForCausalLM.from_pretrained(small())
        for text, logprobs in zip(texts, found, strict=True):
            ids = model.words.ids(text)
            assert len(logprobs) == len(ids)
            if ids:
                tokens = torch.tensor([[*begun, *ids]])
                table = torch.log_softmax(plain(tokens).logits[0], -1).detach()
                exact = [float(table[len(begun) + i - 1, token]) for i, token in enumerate(ids)]
                assert logprobs == pytest.approx(exact, abs=1e-4)

    def test_states_are_the_last_hidden_ones(self) -> None:
        model = Local(small())
        one, two = run(model.states(QUESTION, [" apples are", " pears"]))
        again = run(model.states(QUESTION, [" pears"]))[0]
        assert one.shape == two.shape == (48,)
        assert torch.allclose(two, again, atol=1e-4)
        with pytest.raises(OptionError, match="empty"):
            run(model.states(QUESTION, [""]))

    def test_new_weights_are_another_version_and_another_answer(self, tmp_path: Path) -> None:
        model = Local(str(save(tmp_path / "m", seed=5)))
        other = Local(str(save(tmp_path / "n", seed=6)))
        greedy = Sampling(temperature=0, max_tokens=12)
        before = run(model.sample(QUESTION, 1, greedy))[0]
        runner: Any = other.service.engine.runner
        weights = {name: value.clone() for name, value in runner.model.state_dict().items()}
        assert model.service.swap(weights).result(10) == 1
        after = run(model.sample(QUESTION, 1, greedy))[0]
        assert after.ids == run(other.sample(QUESTION, 1, greedy))[0].ids
        assert after.ids != before.ids
        assert after.usage.cached_tokens == 0
        with pytest.raises(OptionError, match="fit"):
            model.service.swap({"no.such": torch.zeros(1)}).result(10)

    def test_rules_are_compiled_from_texts(self) -> None:
        model = Local(small())
        pears = model.words.ids(" pears")[0]
        rules = (Rule(" pears", 50.0, before=2), Force(" apples are", 3))
        (sample,) = run(model.sample(QUESTION, 1, Sampling(temperature=0, max_tokens=6, rules=rules)))
        assert sample.ids[:2] == (pears, pears)
        assert sample.ids[3:5] == model.words.ids(" apples are")

    def test_a_template_of_the_sandbox_knows_generation_tags(self, tmp_path: Path) -> None:
        text = TEMPLATE.replace(
            "{{ message.content | trim }}", "{% generation %}{{ message.content }}{% endgeneration %}"
        )
        model = Local(str(save(tmp_path / "tags", template=text)))
        assert model._begun(QUESTION, Sampling())[0] == " user How many apples are there?<|end|> assistant"
