"""Small random models in directories of their own, made on the spot for the tests of the local backend."""

import sys
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import mullover.engine  # noqa: F401  before torch

TEXT = (
    "a about again all an and animal another answer apples are as at bear before big blue but by cat come "
    "cow day did do dog down eight every far fast find first five four fox from give go good green had "
    "hare has have he her how many is it just know large last left like little long made man more much my "
    "new next night nine no not now of old on once one only or other our out owl pears people place red "
    "right round run said saw second seven she six sky small so some ten than that the their them then "
    "there they this three time to two under up us very was we well went what when where which who will "
    "with year you user assistant system ? . , are there How "
)
TEMPLATE = (
    "{% for message in messages %} {{ message.role }} {{ message.content | trim }}"
    "{% if message.role != 'assistant' or not loop.last %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %} assistant{% endif %}"
)
THINKING = TEMPLATE.replace(
    "{% if add_generation_prompt %} assistant{% endif %}",
    "{% if add_generation_prompt %} assistant"
    "{% if enable_thinking is defined and enable_thinking %}<think>{% endif %}{% endif %}",
)


def words() -> list[str]:
    return [*dict.fromkeys(TEXT.split())]


def save(folder: Path, template: str | None = TEMPLATE, seed: int = 0, **config: Any) -> Path:
    """A Llama of two layers, whose vocabulary is whole words with the space before them."""
    import torch
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM

    named = ["<|end|>", "<unk>", "<think>", "</think>", *(f" {word}" for word in words())]
    tokenizer: Any = Tokenizer(models.WordLevel({word: i for i, word in enumerate(named)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r" ?[^ <]+| <[^>]*>|<[^>]*>"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(["<|end|>", "<think>", "</think>"])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    if template is not None:
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    torch.manual_seed(seed)
    said = {
        "hidden_size": 48,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "initializer_range": 0.4,  # so that some words are likelier than others
    }
    settings: Any = LlamaConfig(
        vocab_size=len(named), bos_token_id=None, eos_token_id=0, pad_token_id=0, **said | config
    )
    model: Any = LlamaForCausalLM(settings)
    with torch.no_grad():
        model.lm_head.weight[0] *= 1.5  # some samples end by themselves
    model.save_pretrained(folder)
    return folder


@cache
def small(kind: str = "plain") -> str:
    """The directory of a model that all tests of a process share."""
    folder = Path(mkdtemp(prefix="mullover-"))
    return str(save(folder, THINKING if kind == "thinking" else TEMPLATE))


if __name__ == "__main__":
    save(Path(sys.argv[1]))
