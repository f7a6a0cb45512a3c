"""Make a small random Llama with a tokenizer of whole words, for real servers: `python small.py FOLDER`.

Whole words, so that a text is spelled in one way only: half an answer, spelled anew, goes on as it did.
"""

import sys

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TEXT = (
    "a about again all an and animal another answer apples are as at bear before big birds blue but by "
    "cat come cow day did do dog down eight every far fast find first five four fox from give go good "
    "green had hare has have he her here him his home how in is it its just know large last left like "
    "little long made make man many me more much my new next night nine no not now of off old on once one "
    "only or other our out over owl people place red right round run said sang saw say second seven she "
    "short six sky slept small so some story ten than that the their them then there they think this "
    "three time to two under up us very was way we well went were what when where which who will wise "
    "with year you user assistant system "
)
WORDS = TEXT.split()
SPECIAL = ["<|end|>", "<unk>"]
TEMPLATE = (
    "{% for message in messages %} {{ message.role }} {{ message.content | trim }}"
    "{% if message.role != 'assistant' or not loop.last or add_generation_prompt %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %} assistant{% endif %}"
)


def main(folder: str) -> None:
    vocabulary = {word: i for i, word in enumerate([*SPECIAL, *(f" {word}" for word in WORDS)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(" [^ ]+"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call,unused-ignore]
        tokenizer_object=tokenizer,
        eos_token="<|end|>",
        pad_token="<|end|>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=0,
        initializer_range=0.5,  # so that some words are likelier than others
    )
    model = LlamaForCausalLM(config)
    model.generation_config.do_sample = True  # transformers serve obeys a temperature only then
    model.save_pretrained(folder)


if __name__ == "__main__":
    main(sys.argv[1])
