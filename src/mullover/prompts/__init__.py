"""Prompt styles: one text file each. `{question}`, `{instruction}` and `{trigger}` are filled in; after a line
`=== extract` stands what is asked in a second call, once the model has reasoned.

A file `name.kind.txt` is taken instead of `name.txt` where answers of that kind are expected.
"""

import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from mullover.errors import OptionError
from mullover.types import AnswerSpec, Kind, Prompt

HERE = Path(__file__).parent
SLOT = re.compile(r"\{(question|instruction|trigger)\}")
LABELLED = re.compile(r"[A-Z]\)\s?\S")  # `A) red`
CUT = re.compile(r"^=== extract[ \t]*\n", re.MULTILINE)

INSTRUCTIONS: dict[Kind, str] = {
    "number": 'End with a line "ANSWER: " and the number alone.',
    "math": "Put the final answer within \\boxed{}.",
    "choice": 'End with a line "ANSWER: " and the letter of the right choice alone.',
    "yes_no": 'End with a line "ANSWER: yes" or "ANSWER: no".',
    "text": 'End with a line "ANSWER: " and the answer alone.',
    "list": 'End with a line "ANSWER: " and the items in order, separated by commas.',
    "set": 'End with a line "ANSWER: " and the items, separated by commas.',
    "code": "Give the code in one fenced block.",
    "expression": 'End with a line "ANSWER: " and the expression alone.',
}
# Source: Kojima et al. 2022, arXiv:2205.11916, appendix A.5 (answer triggers by format).
TRIGGERS: dict[Kind, str] = {
    "number": "the answer (arabic numerals) is",
    "yes_no": "the answer (Yes or No) is",
}


def instruction(kind: Kind) -> str:
    """How to state an answer of this kind, so that it can be read without guessing."""
    return INSTRUCTIONS[kind]


def trigger(spec: AnswerSpec) -> str:
    """The words after which the answer follows; no capital, no stop."""
    letters = [choice[0] for choice in spec.choices if len(choice) == 1 or LABELLED.match(choice)]
    if spec.kind == "choice" and letters:
        return f"among {letters[0]} through {letters[-1]}, the answer is"
    return TRIGGERS.get(spec.kind, "the answer is")


@dataclass(frozen=True, slots=True)
class Style:
    """A way to ask."""

    name: str
    template: str
    extract: str = ""  # the second call's words; empty where there is none
    by_kind: dict[str, str] = field(default_factory=dict)  # templates for one kind of answer

    def ask(self, prompt: Prompt) -> Prompt:
        """The last user turn in this style."""
        template = self.by_kind.get(prompt.expects.kind, self.template)
        return prompt.asking(_filled(template, prompt))

    def again(self, prompt: Prompt, reasoned: str) -> tuple[Prompt, str]:
        """The second call's prompt, after the model said `reasoned`, and the words that ask for the answer."""
        words = _filled(self.extract, prompt)
        return prompt.replied(reasoned, words), words


def _filled(template: str, prompt: Prompt) -> str:
    """In one pass, so that braces in a question are text."""
    parts = _parts(template)
    if len(parts) == 3 and not parts[0] and not parts[2] and parts[1] == "question":
        return prompt.question
    words = {"question": prompt.question, "instruction": prompt.expects.instruction}
    if "trigger" in parts:
        words["trigger"] = trigger(prompt.expects)
    return "".join([words[part] if i % 2 else part for i, part in enumerate(parts)]).strip()


@lru_cache(maxsize=256)
def _parts(template: str) -> list[str]:
    """Text, slot, text, slot ... text."""
    return SLOT.split(template)


@lru_cache(maxsize=1)
def styles() -> tuple[str, ...]:
    """The names of our own styles."""
    return tuple(sorted({file.name.split(".")[0] for file in HERE.glob("*.txt")}))


def style(name: str) -> Style:
    """`step_by_step` (one of ours) or the path of a text file.

    Raises:
        OptionError: no such style, or the file has no `{question}`.
    """
    if name in styles():
        return _ours(name)
    if Path(name).is_file():
        return _read(name, {"": Path(name)})
    raise OptionError(f"no style {name[:80]!r}; there are {', '.join(styles())}, or give the path of a text file")


@lru_cache(maxsize=64)
def _ours(name: str) -> Style:
    files = [file for file in HERE.glob("*.txt") if file.name.split(".")[0] == name]
    return _read(name, {file.suffixes[0][1:] if len(file.suffixes) > 1 else "": file for file in files})


def _read(name: str, files: dict[str, Path]) -> Style:
    """One style from the templates of its kinds; "" is for every other kind."""
    try:
        texts = {kind: CUT.split(file.read_text("utf-8").strip("\n")) for kind, file in files.items()}
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"cannot read the style {name!r}: {error}") from None
    for kind, parts in texts.items():
        if "{question}" not in parts[0] or len(parts) > 2:
            raise OptionError(f"the style {files[kind]} must have {{question}} and at most one line `=== extract`")
    asks = {kind: parts[0].strip() for kind, parts in texts.items()}
    return Style(name, asks.pop(""), texts[""][1].strip() if len(texts[""]) > 1 else "", asks)
