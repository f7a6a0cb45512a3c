"""What a model trained here is shown is what its template renders, and its tokenizer takes it apart rightly."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from tests.train.small import TINY, tokenizer
from tokenizers import Tokenizer

from mullover.backends.template import Template
from mullover.tasks.school.document import Document
from mullover.train import chat, corpus
from mullover.train.recipe import Phase

TURNS = {
    "one turn": (("user", "What is 3 + 4?"),),
    "several turns": (("user", "What is 3 + 4?"), ("assistant", "3 + 4 = 7"), ("user", "So the answer?\n\n")),
    "a system turn": (("system", "Be brief."), ("user", "  {{ 3 }} {% raw %} <think>\n")),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    chat.save(tokenizer(), folder, 256)
    return folder


@pytest.fixture(scope="module")
def theirs(saved: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(saved))


def messages_of(document: Document) -> list[dict[str, str]]:
    return [{"role": role, "content": text} for role, text in document.turns]


@pytest.mark.parametrize("thinking", [None, True, False])
@pytest.mark.parametrize("name", TURNS)
class TestTemplate:
    def test_what_is_asked_is_what_the_template_renders(self, saved: Path, name: str, thinking: bool | None) -> None:
        template = Template.read(str(saved / "tokenizer_config.json"))
        document = Document(TURNS[name], "", "", thinking=thinking)
        assert chat.asked(document) == template.render(messages_of(document), thinking)

    def test_what_is_given_follows(self, saved: Path, name: str, thinking: bool | None) -> None:
        bare = Document(TURNS[name], "", "", thinking=thinking)
        assert chat.asked(replace(bare, given="3 + 4 = 8\nWait")) == chat.asked(bare) + "3 + 4 = 8\nWait"

    def test_transformers_renders_the_same_into_the_same_ids(
        self, theirs: Any, name: str, thinking: bool | None
    ) -> None:
        document = Document(TURNS[name], "7", "7", thinking=thinking)
        more = {} if thinking is None else {"enable_thinking": thinking}
        rendered = theirs.apply_chat_template(messages_of(document), tokenize=False, add_generation_prompt=True, **more)
        assert rendered == chat.asked(document)
        ids = theirs.apply_chat_template(
            messages_of(document), tokenize=True, add_generation_prompt=True, return_dict=False, **more
        )
        ((mine, _, known),) = chat.encoded(tokenizer(), [document])
        assert list(ids) == mine[:known]


class TestTokenizer:
    def test_each_digit_is_a_token(self) -> None:
        encoded = tokenizer().encode("What is 1234567890 + 11 = 11?")
        assert [t for t in encoded.tokens if any(c.isdigit() for c in t)] == list("12345678901111")

    def test_special_tokens_are_one_each(self) -> None:
        own = tokenizer()
        for text in (*chat.SPECIAL, *chat.THINK):
            assert own.encode(f"so{text}12").tokens.count(text) == 1
        assert len({own.token_to_id(text) for text in (*chat.SPECIAL, *chat.THINK)}) == 6
        assert chat.end(own) == own.token_to_id("<|end|>")

    def test_it_is_as_large_as_the_recipe_says(self) -> None:
        assert tokenizer().get_vocab_size() == TINY.vocab

    def test_thinking_is_text_and_turns_are_not(self) -> None:
        own = tokenizer()
        ids = own.encode("<think>\n7</think><|end|>").ids
        assert own.decode(ids, skip_special_tokens=True) == "<think>\n7</think>"

    @pytest.mark.parametrize("text", ["Größe 12½ 你好 \U0001f600\t\r\n  x", " leading", "trailing ", "\x00\u2028"])
    def test_any_text_decodes_to_itself(self, text: str) -> None:
        own = tokenizer()
        assert own.decode(own.encode(text).ids, skip_special_tokens=False) == text

    def test_a_tokenizer_without_the_end_is_refused(self) -> None:
        from tokenizers import models

        with pytest.raises(ValueError, match=r"<\|end\|>"):
            chat.end(Tokenizer(models.BPE()))


class TestEncoded:
    def test_it_splits_between_what_is_asked_and_what_is_said(self) -> None:
        own, recipe = tokenizer(), replace(TINY, phases=(Phase(0),))
        documents = [document for document, _ in zip(corpus.documents(recipe, 0), range(60), strict=False)]
        assert any(document.given for document in documents)
        for document, (ids, turns, known) in zip(documents, chat.encoded(own, documents), strict=True):
            assert own.decode(ids[:known], skip_special_tokens=False) == chat.asked(document)
            assert own.decode(ids[turns:known], skip_special_tokens=False) == document.given
            assert own.decode(ids[known:-1], skip_special_tokens=False) == document.said
            assert ids[-1] == chat.end(own) and chat.end(own) not in ids[known:-1]

    def test_ids_of_what_is_asked_do_not_depend_on_what_is_said(self) -> None:
        one, other = (Document(TURNS["one turn"], said, said) for said in ("7", " 7, since 3 + 4 = 7"))
        (a, _, known), (b, _, same) = chat.encoded(tokenizer(), [one, other])
        assert known == same and a[:known] == b[:known]


@pytest.mark.parametrize("text", ["What is 12 + 30?", "<|user|>x<|end|>", "a  b\n\nc </think> d", " so. It 's 1 ."])
def test_the_saved_directory_reads_as_transformers_tokenizer_with_equal_ids(theirs: Any, text: str) -> None:
    own = tokenizer()
    assert theirs.encode(text, add_special_tokens=False) == own.encode(text, add_special_tokens=False).ids
    assert theirs.decode(own.encode(text).ids) == text
    assert (theirs.eos_token_id, theirs.pad_token_id, theirs.model_max_length) == (chat.end(own), chat.end(own), 256)
