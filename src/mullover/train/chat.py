"""How an exchange is written for a model trained here, and its tokenizer."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from mullover.tasks.school.document import Document

END = "<|end|>"
SPECIAL = (END, "<|system|>", "<|user|>", "<|assistant|>")
THINK = ("<think>", "</think>")
OPENED = {None: "", True: "<think>\n", False: "<think>\n\n</think>\n\n"}
# Jinja trims the line break behind a block, so those of the text are written out.
TEMPLATE = (
    "{%- for message in messages -%}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}"
    "{{ '<|assistant|>' }}"
    "{%- if enable_thinking is defined -%}"
    "{{ '<think>\\n' if enable_thinking else '<think>\\n\\n</think>\\n\\n' }}"
    "{%- endif -%}"
    "{%- endif -%}"
)


def asked(document: Document) -> str:
    """What the model is shown; a test holds it against the template."""
    turns = "".join(f"<|{role}|>{text}{END}" for role, text in document.turns)
    return f"{turns}<|assistant|>{OPENED[document.thinking]}{document.given}"


def end(tokenizer: Tokenizer) -> int:
    """The id of the end of a turn.

    Raises:
        ValueError: the tokenizer was not trained here and has none.
    """
    found: int | None = tokenizer.token_to_id(END)
    if found is None:
        raise ValueError(f"the tokenizer has no {END}")
    return found


def encoded(tokenizer: Tokenizer, documents: Iterable[Document]) -> Iterator[tuple[list[int], int, int]]:
    """Ids of each exchange, how many of them are asked, and how many with what is given; the rest is said."""
    for document in documents:
        ids = tokenizer.encode(asked(document), add_special_tokens=False).ids
        said = tokenizer.encode(document.said + END, add_special_tokens=False).ids
        given = tokenizer.encode(document.given, add_special_tokens=False).ids
        yield [*ids, *said], len(ids) - len(given), len(ids)


def trained(texts: Iterable[str], vocab: int) -> Tokenizer:
    """Byte-level BPE in which each digit is a token. Source: Sennrich et al. 2016, arXiv:1508.07909."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    named = [*(AddedToken(t, special=True) for t in SPECIAL), *(AddedToken(t, special=False) for t in THINK)]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab - len(THINK),
        special_tokens=named[: len(SPECIAL)],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens(named[len(SPECIAL) :])
    return tokenizer


def save(tokenizer: Tokenizer, folder: Path, context: int) -> None:
    """With the template and what transformers wants to know."""
    tokenizer.save(str(folder / "tokenizer.json"))
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END,
        "pad_token": END,
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
        "chat_template": TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
