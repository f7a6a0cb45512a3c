"""Problems from a JSONL file of the user: one JSON object a line, plain or gzipped.

Fields: `id` (else the line number), `question` (or `problem`, `prompt`, `input`), `answer` (or `target`; a text, a
number, true or false, or a list of accepted ones, the first of which is shown), and where wanted `kind`, `choices`
(a list, or letter -> text) and `instruction`. Short fields of other names are kept as the problem's facts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from mullover.errors import OptionError
from mullover.tasks.files import Line, Lines, Numeral, parsed
from mullover.tasks.kinds import KINDS, inferred, lettered, spec, with_options
from mullover.tasks.problem import Problem, Task, by_answer
from mullover.types import Kind

QUESTION = ("question", "problem", "prompt", "input")
ANSWER = ("answer", "target")
KNOWN = {"id", *QUESTION, *ANSWER, "kind", "choices", "instruction", "solution"}
HASHES = "####"  # GSM8K writes the final answer behind it
FACT = 200  # characters of a field worth keeping


@dataclass(frozen=True, slots=True)
class Draft:
    """One line, read but not yet of a kind."""

    where: str  # for errors: file and line
    id: str
    question: str
    golds: tuple[str, ...]
    kind: Kind | None
    options: Mapping[str, str]  # letter -> text
    instruction: str | None
    facts: Mapping[str, Any]


def read(file: Path, kind: Kind | None = None) -> Task:
    """The problems of a file, in its order.

    Args:
        file: JSONL in UTF-8; a BOM, CRLF, blank lines and gzip are fine.
        kind: of every answer, whatever the file says. None: what each line says, else what fits all its gold answers.

    Raises:
        OptionError: the file cannot be read, has no problem, or has a bad line; the message names the line.
    """
    lines = Lines(file)
    drafts = [draft(line, file) for line in lines]
    if not drafts:
        raise OptionError(f"{file}: holds no problem; write one JSON object a line, with question and answer")
    refuse_twins(drafts)
    drafts = after_hashes(drafts)
    common = kind or common_kind(drafts)
    problems = tuple(finished(each, kind or each.kind or common) for each in drafts)
    return Task(file.name, problems, by_answer, str(file), lines.sha256)


def draft(line: Line, file: Path) -> Draft:
    where = f"{file}, line {line.number}"
    row = parsed(line.text, where)
    if not isinstance(row, dict):
        hint = "; write one JSON object a line, not one array" if line.text.startswith("[") else ""
        raise OptionError(f"{where}: is not a JSON object{hint}")
    return Draft(
        where,
        id_of(row, where, line.number),
        question_of(row, where),
        golds_of(row, where),
        kind_of(row, where),
        options_of(row, where),
        text_of(row, "instruction", where),
        facts_of(row),
    )


def facts_of(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a table may group by: short fields, such as a subject or a level, but nothing like a solution."""
    short = {name: value for name, value in row.items() if name not in KNOWN and len(str(value)) <= FACT}
    return {n: v if isinstance(v, bool) else str(v) for n, v in short.items() if isinstance(v, str | bool)}


def id_of(row: Mapping[str, Any], where: str, number: int) -> str:
    value = row.get("id")
    if value is None:
        return str(number)
    if not isinstance(value, str) or not value.strip():
        raise OptionError(f"{where}: its id is {value!r}; give a text or a number")
    return str(value)


def question_of(row: Mapping[str, Any], where: str) -> str:
    name = next((name for name in QUESTION if row.get(name) is not None), None)
    if name is None:
        raise OptionError(f"{where}: has no question; name it {' or '.join(QUESTION)}")
    value = row[name]
    if not isinstance(value, str) or isinstance(value, Numeral):
        raise OptionError(f"{where}: its {name} is no text")
    if not value.strip():
        raise OptionError(f"{where}: its {name} is empty")
    return value


def golds_of(row: Mapping[str, Any], where: str) -> tuple[str, ...]:
    name = next((name for name in ANSWER if row.get(name) is not None), None)
    if name is None:
        raise OptionError(f"{where}: has no answer; name it {' or '.join(ANSWER)}")
    values = row[name] if isinstance(row[name], list) else [row[name]]
    golds = tuple(written(value, name, where) for value in values)
    if not golds:
        raise OptionError(f"{where}: its {name} is an empty list; give at least one right answer")
    return golds


def written(value: Any, name: str, where: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, str):
        raise OptionError(f"{where}: its {name} holds {type(value).__name__}; give a text, a number or a list of them")
    if not value.strip():
        raise OptionError(f"{where}: its {name} is empty")
    return str(value).strip()


def text_of(row: Mapping[str, Any], name: str, where: str) -> str | None:
    value = row.get(name)
    if value is not None and (not isinstance(value, str) or isinstance(value, Numeral)):
        raise OptionError(f"{where}: its {name} is no text")
    return value


def kind_of(row: Mapping[str, Any], where: str) -> Kind | None:
    name = row.get("kind")
    if name is None:
        return None
    kind = next((kind for kind in KINDS if kind == name), None)
    if kind is None:
        raise OptionError(f"{where}: unknown kind {name!r}; there are {', '.join(KINDS)}")
    return kind


def options_of(row: Mapping[str, Any], where: str) -> Mapping[str, str]:
    value = row.get("choices") or {}
    if isinstance(value, list):
        value = lettered(value) if len(value) <= len(ascii_uppercase) else None
    if not isinstance(value, dict) or not all(isinstance(text, str) and text.strip() for text in value.values()):
        raise OptionError(f"{where}: its choices must be at most 26 texts, or letters with their texts")
    if not all(letter in ascii_uppercase and len(letter) == 1 for letter in value):
        raise OptionError(f"{where}: its choices are named {', '.join(value)}; name them by single letters A to Z")
    return {letter: str(text) for letter, text in value.items()}


def refuse_twins(drafts: Iterable[Draft]) -> None:
    seen: dict[str, Draft] = {}
    for each in drafts:
        if each.id in seen:
            first = seen[each.id].where.rpartition(", ")[2]
            raise OptionError(f"{each.where}: its id {each.id!r} is that of {first} too; ids must differ")
        seen[each.id] = each


def after_hashes(drafts: list[Draft]) -> list[Draft]:
    """Where every gold is a solution with the answer behind `####`, as in GSM8K, only the answer is kept."""
    tails = [[final(gold) for gold in each.golds] for each in drafts]
    if not all(tail for per_line in tails for tail in per_line):
        return drafts
    return [
        Draft(d.where, d.id, d.question, tuple(tail), d.kind, d.options, d.instruction, d.facts)
        for d, tail in zip(drafts, tails, strict=True)
    ]


def final(gold: str) -> str:
    """What stands behind the last line's `####`; empty if there is none."""
    last = gold.rstrip().rpartition("\n")[2]
    return last.removeprefix(HASHES).strip() if last.startswith(HASHES) else ""


def common_kind(drafts: list[Draft]) -> Kind:
    """What fits the gold answers of all lines that name no kind."""
    open_ones = [each for each in drafts if each.kind is None]
    golds = [letter_of(each, gold) or gold for each in open_ones for gold in each.golds]
    return inferred(golds, all(each.options or "(A)" in each.question for each in open_ones))


def letter_of(each: Draft, gold: str) -> str:
    """The letter of the option that a gold names by its text; empty if it names none, or two."""
    letters = [letter for letter, text in each.options.items() if text.strip() == gold]
    return letters[0] if len(letters) == 1 and gold not in each.options else ""


def finished(each: Draft, kind: Kind) -> Problem:
    question = with_options(each.question, each.options)
    golds = each.golds
    if kind == "choice" and each.options:
        golds = tuple(letter_of(each, gold) or gold for gold in golds)
        strange = [gold for gold in golds if gold.strip("()") not in each.options]
        if strange:
            raise OptionError(f"{each.where}: its answer {strange[0]!r} is neither a letter nor the text of one choice")
    letters = tuple(each.options) if kind == "choice" else ()
    return Problem(each.id, question, golds[0], spec(kind, letters, question, each.instruction), golds[1:], each.facts)
