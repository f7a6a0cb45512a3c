"""Problems from a JSONL file of the user: one JSON object a line, plain or gzipped.

Fields: `id` (or `unique_id`, else the line number), `question` (or `problem`, `prompt`, `input`), `answer` (or
`target`; a text, a number, true or false, or a list of accepted ones, the first of which is shown), and where wanted
`kind`, `choices` (or `options`; a list, or letter -> text) and `instruction`. Short fields of other names are kept as
the problem's facts. Of an answer with `####` or a box only what it states is kept; a line with choices is of kind
choice unless a kind is named.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mullover.errors import OptionError
from mullover.tasks.files import Line, Lines, Numeral, parsed
from mullover.tasks.golds import ANSWER, golds_of
from mullover.tasks.kinds import KINDS, inferred, letter, spec, with_options
from mullover.tasks.options import OPTIONS, as_choices, as_letters, letters_up_to, options_of, shown
from mullover.tasks.problem import Problem, Task, by_answer
from mullover.types import Kind

QUESTION = ("question", "problem", "prompt", "input")
ID = ("id", "unique_id")
KNOWN = {*ID, *QUESTION, *ANSWER, *OPTIONS, "kind", "instruction", "solution"}
FACT = 200  # characters of a field worth keeping


@dataclass(frozen=True, slots=True)
class Draft:
    """One line, read but not yet of a kind."""

    where: str  # for errors: file and line
    id: str
    question: str
    golds: tuple[str, ...]
    kind: Kind | None  # None: what fits the golds of all such lines
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
    drafts = [draft(line, file, kind) for line in lines]
    if not drafts:
        raise OptionError(f"{file}: holds no problem; write one JSON object a line, with question and answer")
    refuse_twins(drafts)
    common = common_kind(drafts)
    lettered = [each for each in drafts if (each.kind or common) == "choice" and not each.options]
    letters = letters_up_to(all_golds(lettered), [each.question for each in lettered])
    problems = tuple(finished(each, each.kind or common, letters) for each in drafts)
    return Task(file.name, problems, by_answer, str(file), lines.sha256)


def draft(line: Line, file: Path, overruling: Kind | None) -> Draft:
    where = f"{file}, line {line.number}"
    row = parsed(line.text, where)
    if not isinstance(row, dict):
        hint = "; write one JSON object a line, not one array" if line.text.startswith("[") else ""
        raise OptionError(f"{where}: is not a JSON object{hint}")
    options = options_of(row, where)
    named = kind_of(row, where)
    kind = overruling or named or ("choice" if options else None)
    return Draft(
        where,
        id_of(row, where, line.number),
        question_of(row, where),
        golds_of(row, kind, where),
        kind,
        options,
        text_of(row, "instruction", where),
        facts_of(row),
    )


def facts_of(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a table may group by: short fields, such as a subject or a level, but nothing like a solution."""
    short = {name: value for name, value in row.items() if name not in KNOWN and len(str(value)) <= FACT}
    return {n: v if isinstance(v, bool) else str(v) for n, v in short.items() if isinstance(v, str | bool)}


def id_of(row: Mapping[str, Any], where: str, number: int) -> str:
    name = next((name for name in ID if row.get(name) is not None), None)
    if name is None:
        return str(number)
    value = row[name]
    if not isinstance(value, str) or not value.strip():
        raise OptionError(f"{where}: its {name} is {value!r}; give a text or a number")
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


def text_of(row: Mapping[str, Any], name: str, where: str) -> str | None:
    value = row.get(name)
    if value is not None and (not isinstance(value, str) or isinstance(value, Numeral)):
        raise OptionError(f"{where}: its {name} is no text")
    return value


def kind_of(row: Mapping[str, Any], where: str) -> Kind | None:
    name = row.get("kind")
    if name is None:
        return None
    wanted = name.strip().casefold() if isinstance(name, str) else name
    kind = next((kind for kind in KINDS if kind == wanted), None)
    if kind is None:
        raise OptionError(f"{where}: unknown kind {name!r}; there are {', '.join(KINDS)}")
    return kind


def refuse_twins(drafts: Iterable[Draft]) -> None:
    seen: dict[str, Draft] = {}
    for each in drafts:
        if each.id in seen:
            first = seen[each.id].where.rpartition(", ")[2]
            raise OptionError(f"{each.where}: its id {each.id!r} is that of {first} too; ids must differ")
        seen[each.id] = each


def all_golds(drafts: Iterable[Draft]) -> list[str]:
    return [gold for each in drafts for gold in each.golds]


def common_kind(drafts: list[Draft]) -> Kind:
    """What fits the gold answers of all lines that name no kind and have no choices."""
    open_ones = [each for each in drafts if each.kind is None]
    return inferred(all_golds(open_ones), all(shown(each.question) for each in open_ones))


def finished(each: Draft, kind: Kind, letters: tuple[str, ...]) -> Problem:
    """`letters` are those of choices that no field tells."""
    question = with_options(each.question, each.options)
    golds = each.golds
    choices: tuple[str, ...] = ()
    if kind == "choice" and each.options:
        golds, choices = as_letters(golds, each.options, each.where), as_choices(each.options)
    elif kind == "choice" and letters:
        golds, choices = tuple(letter(gold) for gold in golds), letters
    return Problem(each.id, question, golds[0], spec(kind, choices, question, each.instruction), golds[1:], each.facts)
