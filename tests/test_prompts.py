"""Styles are text files with three slots."""

from pathlib import Path

import pytest

from mullover.errors import OptionError
from mullover.prompts import INSTRUCTIONS, instruction, style, styles, trigger
from mullover.types import AnswerSpec, Kind, Message, Prompt

NUMBER = AnswerSpec("number", instruction="End with ANSWER:.")
LETTERS = AnswerSpec("choice", ("A", "B", "C"))


def test_a_style_holds_the_question_and_the_instruction() -> None:
    for name in styles():
        asked = style(name).ask(Prompt.of("How {instruction} many {question}?", NUMBER)).text
        assert "How {instruction} many {question}?" in asked
    assert (
        style("step_by_step").ask(Prompt.of("Q?", NUMBER)).text == "Q?\n\nLet's think step by step. End with ANSWER:."
    )
    assert style("plain").ask(Prompt.of("Q? ", NUMBER)).text == "Q? "


def test_only_the_last_user_turn_changes_and_its_pictures_stay() -> None:
    picture = {"type": "image", "url": "x"}
    turns = (
        Message.of("system", "s"),
        Message.of("user", "first"),
        Message.of("assistant", "a"),
        Message("user", (picture, {"type": "text", "text": "last"})),
    )
    asked = style("step_by_step").ask(Prompt(turns))
    assert asked.messages[:3] == turns[:3]
    assert asked.messages[3].parts[0] == picture
    assert asked.messages[3].text.startswith("last\n\n")


def test_few_shot_examples_fit_the_kind_of_answer() -> None:
    assert "(A)" in style("few_shot").ask(Prompt.of("Q?", LETTERS)).text
    assert "rolls" in style("few_shot").ask(Prompt.of("Q?", NUMBER)).text
    assert style("few_shot").ask(Prompt.of("Q?", AnswerSpec("text"))).text.endswith("Q: Q?\nA:")


@pytest.mark.parametrize(
    "spec, words",
    [
        (AnswerSpec("number"), "the answer (arabic numerals) is"),
        (AnswerSpec("yes_no"), "the answer (Yes or No) is"),
        (LETTERS, "among A through C, the answer is"),
        (AnswerSpec("choice", ("red", "blue")), "the answer is"),
        (AnswerSpec("text"), "the answer is"),
        (AnswerSpec("math"), "the answer is"),
    ],
)
def test_the_second_stage_asks_by_the_kind_of_answer(spec: AnswerSpec, words: str) -> None:
    assert trigger(spec) == words
    asked, said = style("two_stage").again(Prompt.of("Q?", spec), "I reason.")
    assert said == f"Therefore, {words}"
    assert [m.text for m in asked.messages] == ["Q?", "I reason.", said]


def test_every_kind_has_an_instruction() -> None:
    kinds: tuple[Kind, ...] = ("number", "math", "choice", "yes_no", "text", "list", "set", "code", "expression")
    assert set(kinds) == set(INSTRUCTIONS)
    assert all(instruction(kind) for kind in kinds)


def test_a_style_of_ones_own_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("Sing: {question}\n=== extract\nSo {trigger}\n")
    mine = style(str(tmp_path / "mine.txt"))
    assert mine.ask(Prompt.of("Q?")).text == "Sing: Q?"
    assert mine.again(Prompt.of("Q?"), "la")[1] == "So the answer is"
    (tmp_path / "bad.txt").write_text("no slot")
    with pytest.raises(OptionError, match=r"must have \{question\}"):
        style(str(tmp_path / "bad.txt"))
    with pytest.raises(OptionError, match="no style 'haiku'; there are direct, few_shot, plain"):
        style("haiku")
