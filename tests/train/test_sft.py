"""Fine-tuning: what is learned of an example, that it is learned, going on, adapters, and data that is wrong."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import load_file, save_file
from tests.backends.local_models import TEMPLATE
from tests.train.small import data_of, hugging, lines_of, steady
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import Metaspace
from torch import Tensor
from transformers import AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast

from mullover.errors import OptionError, StoreError
from mullover.store.lock import Lock
from mullover.train import checkpoint, examples, loop, sft
from mullover.train.examples import Example
from mullover.train.losses import cross_entropy
from mullover.train.sft import MODEL, Settings

FAST = Settings(epochs=4, batch=25, lr=3e-3, checkpoint=1e9)
TALK: list[Any] = [
    {"messages": [{"role": "user", "content": "How many apples are"}, {"role": "assistant", "content": "seven"}]},
    {
        "messages": [
            {"role": "user", "content": "who was it"},
            {"role": "assistant", "content": "the old fox"},
            {"role": "user", "content": "where"},
            {"role": "assistant", "content": "under the red sky"},
        ]
    },
    {"messages": [{"role": "user", "content": "and then"}, {"role": "assistant", "content": "they run"}]},
    {"prompt": " the cow and", "completion": " the blue dog"},
]  # fmt: skip


class Stopped(Exception):  # noqa: N818  no error
    """As if the process had ended."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hugging(tmp_path_factory.mktemp("base") / "model")


@pytest.fixture(scope="module")
def tokenizer(base: Path) -> Any:
    return AutoTokenizer.from_pretrained(str(base))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return data_of(tmp_path / "data.jsonl", *TALK)


@pytest.fixture(autouse=True)
def _every_step_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "LOGGED", 1)


def tuned(data: Path, base: Path, out: Path, settings: Settings = FAST, stops: int = 0) -> list[str]:
    """What it told."""
    told = list[str]()

    def say(line: str) -> None:
        told.append(line)
        if stops and line.startswith(f"step {stops}/"):
            raise Stopped

    if stops:
        with pytest.raises(Stopped):
            sft.sft(data, base, out, settings, say)
    else:
        assert sft.sft(data, base, out, settings, say) == out / MODEL
    return told


def words_of(tokenizer: Any, example: Example) -> list[str]:
    """What is learned, span by span."""
    return [tokenizer.decode(example.ids[first:end]) for first, end in example.learned]


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class TestExamples:
    def test_only_turns_of_the_assistant_are_learned(self, data: Path, tokenizer: Any) -> None:
        found, long = examples.read(data, tokenizer, 100)
        assert long == 0
        assert [words_of(tokenizer, one) for one in found[:3]] == [
            [" seven"],
            [" the old fox", " under the red sky"],
            [" they run"],
        ]
        whole = tokenizer.decode(found[1].ids)
        assert (
            whole
            == " user who was it<|end|> assistant the old fox<|end|> user where<|end|> assistant under the red sky"
        )

    def test_of_a_completion_the_end_is_learned_too(self, data: Path, tokenizer: Any) -> None:
        found, _ = examples.read(data, tokenizer, 100)
        assert words_of(tokenizer, found[3]) == [" the blue dog<|end|>"]
        assert tokenizer.decode(found[3].ids) == " the cow and the blue dog<|end|>"

    def test_no_space_comes_before_what_is_learned(self, tmp_path: Path) -> None:
        letters = Tokenizer(BPE({"\u2581": 0, "a": 1, "b": 2, "<end>": 3}, []))
        letters.pre_tokenizer = Metaspace(prepend_scheme="always", split=False)  # as SentencePiece
        hugged: Any = PreTrainedTokenizerFast  # which is not typed
        spaced = hugged(tokenizer_object=letters, eos_token="<end>")
        assert spaced.encode("b") == [0, 2], "by itself the text has a space before it"
        path = data_of(tmp_path / "data.jsonl", {"prompt": "a", "completion": "b"})
        ((example,), _) = examples.read(path, spaced, 100)
        assert example == Example((0, 1, 2, 3), ((2, 4),))

    def test_what_follows_the_last_turn_of_the_assistant_is_left_out(self, tokenizer: Any, tmp_path: Path) -> None:
        more = [*TALK[0]["messages"], {"role": "user", "content": "six"}]
        (one,), _ = examples.read(data_of(tmp_path / "d.jsonl", {"messages": more}), tokenizer, 100)
        (same,), _ = examples.read(data_of(tmp_path / "e.jsonl", TALK[0]), tokenizer, 100)
        assert one == same

    def test_a_batch_tells_what_follows_each_place(self, data: Path, tokenizer: Any) -> None:
        found, _ = examples.read(data, tokenizer, 100)
        made = examples.batch(found)
        assert made.lengths == tuple(len(one.ids) for one in found)
        assert tokenizer.decode(made.targets) == " seven the old fox under the red sky they run the blue dog<|end|>"
        assert torch.equal(made.targets, made.ids[made.where + 1])

    def test_a_first_token_is_never_told(self) -> None:
        made = examples.batch([Example((5, 6, 7), ((0, 3),)), Example((8, 9), ((0, 2),))])
        assert (made.where.tolist(), made.targets.tolist()) == ([0, 1, 3], [6, 7, 9])

    def test_lines_may_be_empty_and_texts_may_hold_other_ends_of_lines(self, tokenizer: Any, tmp_path: Path) -> None:
        path = tmp_path / "d.jsonl"
        line = {"prompt": " the\u2028cow\x85", "completion": " dog"}
        path.write_text("\n" + json.dumps(line, ensure_ascii=False) + "\r\n  \n", encoding="utf-8", newline="")
        found, _ = examples.read(path, tokenizer, 100)
        assert len(found) == 1

    def test_too_long_ones_are_left_out_and_counted(self, data: Path, tokenizer: Any) -> None:
        every, _ = examples.read(data, tokenizer, 100)
        longest = max(len(one.ids) for one in every)
        kept, long = examples.read(data, tokenizer, longest - 1)
        assert long == 1 and kept == [one for one in every if len(one.ids) < longest]
        with pytest.raises(OptionError, match="no example of at most 2 tokens"):
            examples.read(data, tokenizer, 2)


class TestOrder:
    def test_each_epoch_has_each_example_once_in_an_order_of_its_own(self) -> None:
        some = [Example(tuple(range(n)), ((1, n),)) for n in (5, 9, 2, 30, 7, 7, 3)]
        order = examples.batches(some, 20, 3, 0)
        flat = [i for chosen in order for i in chosen]
        epochs = [flat[7 * i : 7 * i + 7] for i in range(3)]
        assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
        assert epochs[0] != epochs[1] != epochs[2]
        assert order == examples.batches(some, 20, 3, 0) != examples.batches(some, 20, 3, 1)
        for chosen in order:
            assert len(chosen) == 1 or sum(len(some[i].ids) for i in chosen) <= 20

    def test_devices_share_every_step(self) -> None:
        some = [Example((i, i), ((1, 2),)) for i in range(5)]
        order = [[i] for i in range(5)]
        streams = [examples.Examples(some, order, 1, device, 2) for device in range(2)]
        assert [[int(next(one).ids[0]) for one in streams] for _ in range(2)] == [[2, 3], [4, 0]]


BAD = {
    "no JSON": '{"prompt": ',
    "no object": "[1, 2]",
    "another key": '{"text": "a"}',
    "no completion": '{"prompt": "a"}',
    "a number": '{"prompt": "a", "completion": 3}',
    "messages that are no list": '{"messages": "a"}',
    "a message that is no object": '{"messages": ["a"]}',
    "an unknown role": '{"messages": [{"role": "robot", "content": "a"}]}',
    "no content": '{"messages": [{"role": "user"}]}',
    "content in parts": '{"messages": [{"role": "user", "content": [{"type": "text"}]}]}',
    "no assistant": '{"messages": [{"role": "user", "content": "a"}]}',
    "no messages": '{"messages": []}',
    "nothing at all": '{"prompt": "", "completion": ""}',
    "half a character": '{"prompt": " the", "completion": "\\ud800"}',
    "half a character of a message": '{"messages": [{"role": "assistant", "content": "\\ud800"}]}',
    "depth": "[" * 100_000,
}


class TestBadData:
    @pytest.mark.parametrize("kind", BAD)
    def test_a_bad_line_is_told_with_file_and_line(self, tokenizer: Any, tmp_path: Path, kind: str) -> None:
        path = tmp_path / "bad.jsonl"
        path.write_text(f"{json.dumps(TALK[0])}\n\n{BAD[kind]}\n{json.dumps(TALK[1])}\n")
        with pytest.raises(OptionError) as error:
            examples.read(path, tokenizer, 100)
        assert f"{path}, line 3: " in str(error.value) and "\n" not in str(error.value)
        assert len(str(error.value)) < len(str(path)) + 250

    @pytest.mark.parametrize("text", ["", "\n \n"])
    def test_a_file_without_examples_is_told(self, tokenizer: Any, tmp_path: Path, text: str) -> None:
        (tmp_path / "empty.jsonl").write_text(text)
        with pytest.raises(OptionError, match=r"empty\.jsonl has no example$"):
            examples.read(tmp_path / "empty.jsonl", tokenizer, 100)

    def test_a_file_that_cannot_be_read_is_told(self, tokenizer: Any, tmp_path: Path) -> None:
        (tmp_path / "bytes.jsonl").write_bytes(b"\xff\xfe")
        for name in ("missing.jsonl", "bytes.jsonl", ""):
            with pytest.raises(OptionError, match=f"cannot read {tmp_path / name}"):
                examples.read(tmp_path / name, tokenizer, 100)

    @pytest.mark.parametrize(
        ("template", "told"),
        [
            (None, "has no chat template; give prompt and completion"),
            ("{{ raise_exception('turns must alternate') }}", "the chat template refuses it: turns must alternate"),
            ("{% if", "the chat template refuses it"),
            ("{{ messages | length }}{% if add_generation_prompt %}x{% endif %}", "in another way once it is over"),
            (f"{{{{ messages[-1].content }}}}{TEMPLATE}", "in another way once it is over"),
        ],
    )
    def test_a_template_that_cannot_be_used_is_told(
        self, base: Path, tmp_path: Path, template: str | None, told: str
    ) -> None:
        own = AutoTokenizer.from_pretrained(str(base))
        own.chat_template = template
        with pytest.raises(OptionError) as error:
            examples.read(data_of(tmp_path / "d.jsonl", TALK[0]), own, 100)
        assert told in str(error.value) and "line 1" in str(error.value) and "\n" not in str(error.value)

    def test_a_template_that_forgets_earlier_thoughts_is_told(self, base: Path, tmp_path: Path) -> None:
        own = AutoTokenizer.from_pretrained(str(base))
        own.chat_template = TEMPLATE.replace(
            "{{ message.content | trim }}",
            "{{ message.content if loop.last or message.role == 'user' else message.content[:3] }}",
        )
        examples.read(data_of(tmp_path / "one.jsonl", TALK[0]), own, 100)
        with pytest.raises(OptionError, match="changes earlier turns; split the conversation"):
            examples.read(data_of(tmp_path / "two.jsonl", TALK[1]), own, 100)

    def test_completions_need_a_token_that_ends(self, base: Path, tmp_path: Path) -> None:
        own = AutoTokenizer.from_pretrained(str(base))
        own.eos_token = None
        with pytest.raises(OptionError, match="eos_token"):
            examples.read(data_of(tmp_path / "d.jsonl", TALK[3]), own, 100)

    @pytest.mark.parametrize(
        "wrong", [{"epochs": 0}, {"batch": 0}, {"longest": 0}, {"lr": 0.0}, {"lr": -1.0}, {"lora": -1}]
    )
    def test_settings_out_of_bounds_are_refused(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(OptionError):
            Settings(**wrong)

    def test_what_is_no_model_is_refused(self, data: Path, tmp_path: Path) -> None:
        with pytest.raises(OptionError, match=r"config\.json"):
            tuned(data, tmp_path, tmp_path / "out")
        (tmp_path / "config.json").write_text('{"model_type": "llama"}')
        with pytest.raises(OptionError, match="has no weights"):
            tuned(data, tmp_path, tmp_path / "out")


class TestLogits:
    @pytest.fixture
    def net(self, base: Path) -> Any:
        net: Any = LlamaForCausalLM.from_pretrained(str(base))
        return net.eval()

    def test_packed_and_padded_logits_are_equal(self, net: Any, data: Path, tokenizer: Any) -> None:
        found, _ = examples.read(data, tokenizer, 100)
        made = examples.batch(found)
        with torch.no_grad():
            packed, padded = sft.row(net, made), sft.padded(net, made)
            alone = torch.cat([sft.row(net, examples.batch([one])) for one in found])
        assert packed.shape == (len(made.where), net.config.vocab_size)
        assert torch.allclose(packed, padded, atol=1e-4)
        assert torch.allclose(packed, alone, atol=1e-4)
        assert sft.packs(net, found)

    def test_a_model_that_mixes_examples_is_noticed(self, net: Any, data: Path, tokenizer: Any) -> None:
        found, _ = examples.read(data, tokenizer, 100)

        class Mixing:
            """Knows nothing of places: all that stands in a row is one text."""

            def __getattr__(self, name: str) -> Any:
                return getattr(net, name)

            def __call__(self, position_ids: Tensor, **more: Any) -> Any:
                return net(**more)

        assert not sft.packs(Mixing(), found)

    def test_gradients_are_those_of_transformers_with_masked_labels(
        self, net: Any, data: Path, tokenizer: Any, tmp_path: Path
    ) -> None:
        found, _ = examples.read(data, tokenizer, 100)
        made = examples.batch(found[1:2])
        labels = torch.full_like(made.ids, -100)
        labels[made.where + 1] = made.targets
        told = net(input_ids=made.ids[None], labels=labels[None]).loss
        mine = cross_entropy(sft.row(net, made), made.targets)
        assert torch.allclose(mine, told, atol=1e-5)


class TestRuns:
    def test_the_loss_falls_and_the_result_says_what_it_learned(self, data: Path, base: Path, tmp_path: Path) -> None:
        told = tuned(data, base, tmp_path / "out", replace(FAST, epochs=15))
        lines = lines_of(tmp_path / "out" / "log.jsonl")
        assert lines[-1]["loss"] < 0.2 < 2 < lines[0]["loss"]
        assert told[0] == f"4 examples in {len(lines)} steps"
        net: Any = LlamaForCausalLM.from_pretrained(str(tmp_path / "out" / MODEL))
        own = AutoTokenizer.from_pretrained(str(tmp_path / "out" / MODEL))
        ids = own.apply_chat_template(
            TALK[0]["messages"][:1], add_generation_prompt=True, return_tensors="pt", return_dict=False
        )
        assert own.decode(net(input_ids=ids).logits[0, -1].argmax()) == " seven"

    def test_a_run_in_pieces_equals_one_in_one_go(self, data: Path, base: Path, tmp_path: Path) -> None:
        tuned(data, base, tmp_path / "once")
        steps = len(lines_of(tmp_path / "once" / "log.jsonl"))
        assert steps > 4
        often = replace(FAST, checkpoint=0.0)
        tuned(data, base, tmp_path / "cut", often, stops=3)  # told before it is kept, so step 3 is done again
        told = tuned(data, base, tmp_path / "cut", often)
        assert next(line for line in told if line.startswith("step ")).startswith(f"step 3/{steps}")
        assert steady(tmp_path / "cut" / "log.jsonl") == steady(tmp_path / "once" / "log.jsonl")
        for name in (checkpoint.NAME, f"{MODEL}/model.safetensors"):
            assert equal(load_file(tmp_path / "once" / name), load_file(tmp_path / "cut" / name))

    def test_other_settings_or_data_in_the_same_folder_are_refused(
        self, data: Path, base: Path, tmp_path: Path
    ) -> None:
        short = replace(FAST, epochs=1)
        tuned(data, base, tmp_path / "out", short)
        for other in (replace(short, lr=1e-3), replace(short, epochs=2), replace(short, seed=1)):
            with pytest.raises(OptionError, match="choose another --out"):
                tuned(data, base, tmp_path / "out", other)
        with pytest.raises(OptionError, match="choose another --out"):
            tuned(data_of(data, *TALK[:2]), base, tmp_path / "out", short)

    def test_one_process_trains_in_a_folder(self, data: Path, base: Path, tmp_path: Path) -> None:
        with closing(Lock(tmp_path)), pytest.raises(StoreError, match="another process"):
            sft.sft(data, base, tmp_path, FAST, print)

    def test_too_long_examples_are_told(self, data: Path, base: Path, tmp_path: Path, tokenizer: Any) -> None:
        longest = max(len(one.ids) for one in examples.read(data, tokenizer, 100)[0])
        told = tuned(data, base, tmp_path / "out", replace(FAST, epochs=1, longest=longest - 1))
        assert told[0].startswith("3 examples in ") and told[0].endswith("; 1 are too long and left out")

    def test_the_context_of_the_model_bounds_examples(self, data: Path, tmp_path: Path) -> None:
        small = hugging(tmp_path / "small", max_position_embeddings=12)
        told = tuned(data, small, tmp_path / "out", replace(FAST, epochs=1))
        assert told[0].endswith("; 1 are too long and left out")


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # of peft and transformers
class TestLora:
    def test_only_adapters_are_trained_and_the_result_is_a_plain_model(
        self, data: Path, base: Path, tmp_path: Path
    ) -> None:
        pytest.importorskip("peft")
        out = tmp_path / "out"
        tuned(data, base, out, replace(FAST, lora=2, epochs=8, lr=1e-2))
        lines = lines_of(out / "log.jsonl")
        assert lines[-1]["loss"] < 0.7 * lines[0]["loss"]
        before, after = load_file(base / "model.safetensors"), load_file(out / MODEL / "model.safetensors")
        assert before.keys() == after.keys()
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert changed == {name for name in before if "_proj." in name}
        for name in changed:
            assert int(torch.linalg.matrix_rank(after[name] - before[name], tol=1e-4)) <= 2, name
        trained = load_file(out / checkpoint.NAME)
        states = {name.split("/")[1] for name in trained if name.count("/") == 2}
        assert states and all("lora_" in name for name in states)
        assert not (out / MODEL / "adapter_config.json").exists()
        LlamaForCausalLM.from_pretrained(str(out / MODEL))

    def test_adapters_go_on_where_they_stopped(self, data: Path, base: Path, tmp_path: Path) -> None:
        pytest.importorskip("peft")
        settings = replace(FAST, lora=2, checkpoint=0.0)
        tuned(data, base, tmp_path / "once", settings)
        tuned(data, base, tmp_path / "cut", settings, stops=3)
        tuned(data, base, tmp_path / "cut", settings)
        found = [load_file(tmp_path / name / MODEL / "model.safetensors") for name in ("once", "cut")]
        assert equal(*found)

    def test_without_peft_it_says_so(
        self, data: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sft, "find_spec", lambda name: None if name == "peft" else object())
        with pytest.raises(OptionError, match="LoRA needs peft"):
            tuned(data, base, tmp_path / "out", replace(FAST, lora=2))


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_of_both_their_batches(
    data: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node=2",
        "--master_port=29517",
        "-m",
        "mullover",
    ]
    words += ["train", "sft", "--data", str(data), "--model", str(base), "--out", str(tmp_path / "two")]
    words += ["--batch", "25", "--lr", "0.003", "--epochs", "4"]
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, capture_output=True, text=True, timeout=400, env=env)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("holds the model") == 1

    single = examples.batches

    def both(*args: Any) -> list[list[int]]:
        order = single(*args)
        order += order[: len(order) % 2]
        return [a + b for a, b in zip(order[::2], order[1::2], strict=True)]

    monkeypatch.setattr(examples, "batches", both)
    tuned(data, base, tmp_path / "one")
    two, one = (load_file(tmp_path / name / MODEL / "model.safetensors") for name in ("two", "one"))
    assert all(torch.allclose(two[name], one[name], rtol=1e-3, atol=1e-4) for name in one)


class TestWhatCannotBeFineTuned:
    def test_a_model_that_lacks_weights_is_refused(self, data: Path, base: Path, tmp_path: Path) -> None:
        shutil.copytree(base, tmp_path / "model")
        weights = load_file(tmp_path / "model" / "model.safetensors")
        kept = {name: weight for name, weight in weights.items() if "layers.1.mlp" not in name}
        save_file(kept, tmp_path / "model" / "model.safetensors", {"format": "pt"})
        with pytest.raises(OptionError, match=r"lacks weights: model\.layers\.1\.mlp"):
            sft.sft(data, tmp_path / "model", tmp_path / "out", FAST, print)

    def test_a_tokenizer_of_another_model_is_refused(self, data: Path, base: Path, tmp_path: Path) -> None:
        small = hugging(tmp_path / "model")
        net = LlamaForCausalLM.from_pretrained(str(small))
        net.resize_token_embeddings(5)
        net.save_pretrained(small)
        with pytest.raises(OptionError, match="they are no pair"):
            sft.sft(data, small, tmp_path / "out", FAST, print)

    def test_the_base_is_never_overwritten(self, data: Path, base: Path, tmp_path: Path) -> None:
        shutil.copytree(base, tmp_path / "model")
        before = (tmp_path / "model" / "model.safetensors").read_bytes()
        for out in (tmp_path, tmp_path / "model"):
            with pytest.raises(OptionError, match="would take the place"):
                sft.sft(data, tmp_path / "model", out, FAST, print)
        assert (tmp_path / "model" / "model.safetensors").read_bytes() == before

    def test_missing_data_are_told_before_the_model_is_loaded(self, base: Path, tmp_path: Path) -> None:
        with pytest.raises(OptionError, match=r"cannot read .*none\.jsonl"):
            sft.sft(tmp_path / "none.jsonl", tmp_path / "no model", tmp_path / "out", FAST, print)

    def test_calls_of_tools_are_not_learned_as_silence(self, tokenizer: Any, tmp_path: Path) -> None:
        turns = [{"role": "user", "content": "where"}, {"role": "assistant", "content": "", "tool_calls": [{}]}]
        with pytest.raises(OptionError, match="calls of tools are not learned"):
            examples.read(data_of(tmp_path / "calls.jsonl", {"messages": turns}), tokenizer, 99)
