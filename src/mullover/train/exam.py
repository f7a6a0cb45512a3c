"""How much of each skill, family and grade a model has learned, on problems that it never saw."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mullover.aio import together
from mullover.errors import ContextError, OptionError
from mullover.evaluate.metrics import wilson
from mullover.scorers.exact import exact
from mullover.store.files import write_whole
from mullover.tasks.school import FAMILIES, different
from mullover.tasks.school.document import Document, Draw
from mullover.tasks.school.family import GRADES, Split
from mullover.tasks.school.skills import SKILLS
from mullover.types import Candidate, Message, Model, Prompt, Sampling

LONGEST = 420  # tokens of an answer; no right one of any family is longer
FILE = "exams.jsonl"  # of a run
WHOLE = ("direct", "step_by_step")  # skills that are examined in every grade
TRIES = 10  # draws for each question that is wanted
MIDDLE = 2  # the grade in which the others are


@dataclass(frozen=True, slots=True)
class Cell:
    """One thing to be examined in."""

    skill: str
    family: str
    grade: int


@dataclass(frozen=True, slots=True)
class Mark:
    """How many questions of a cell were answered rightly, by greedy decoding."""

    cell: Cell
    right: int
    asked: int

    @property
    def share(self) -> float:
        return self.right / max(1, self.asked)

    @property
    def interval(self) -> tuple[float, float]:
        """95 %, by Wilson's score."""
        return wilson(self.right, self.asked)


def cells(families: Iterable[str] = FAMILIES, skills: Iterable[str] = SKILLS) -> list[Cell]:
    """Direct and step by step in all grades; every other skill in one."""
    found = list[Cell]()
    for family in families:
        for skill in skills:
            grades = GRADES if skill in WHOLE else (MIDDLE,)
            found += [Cell(skill, family, grade) for grade in grades]
    return found


def questions(cell: Cell, split: Split, many: int, seed: int = 0) -> Iterator[Document]:
    """Documents of a cell about different problems; fewer where it has no more."""
    for i, item in different(FAMILIES[cell.family], cell.grade, split, seed, many, TRIES):
        yield SKILLS[cell.skill](Draw.about(item, split, seed, i))


def prompt_of(document: Document) -> Prompt:
    """What a model is asked."""
    turns = tuple(Message.of(role, text) for role, text in document.turns)  # type: ignore[arg-type]
    prompt = Prompt(turns)
    return prompt.then(document.given) if document.given else prompt


async def right(document: Document, text: str) -> bool:
    """By the rule of its family, where what is wanted is the answer of a problem; else by what is wanted itself."""
    if document.by == "first_line":
        return text.strip().split("\n")[0].strip() == document.wants
    item, expects = document.item, document.expects
    of_problem = item is not None and document.wants == item.family.answer(item.facts)
    scorer = item.family.scorer(item.facts) if item is not None and of_problem else exact(document.wants, expects)
    (score,) = await scorer(Prompt.of("", expects), [Candidate(text.rpartition("</think>")[2])])
    return score.value is not None and score.value >= 1.0


async def examine(model: Model, wanted: Sequence[Cell], split: Split, many: int, seed: int = 0) -> list[Mark]:
    """Greedy answers to `many` questions of each cell, all at once; one that is too long to be asked is not right."""

    async def one(document: Document) -> bool:
        sampling = Sampling(temperature=0.0, max_tokens=LONGEST, thinking=document.thinking)
        try:
            (sample,) = await model.sample(prompt_of(document), 1, sampling)
        except ContextError:
            return False
        return sample.finish != "length" and await right(document, sample.text)

    asked = [(cell, document) for cell in wanted for document in questions(cell, split, many, seed)]
    verdicts = await together(*(one(document) for _, document in asked))
    counts = {cell: [0, 0] for cell in wanted}
    for (cell, _), verdict in zip(asked, verdicts, strict=True):
        counts[cell][0] += verdict
        counts[cell][1] += 1
    return [Mark(cell, *count) for cell, count in counts.items()]


def lines(path: Path, numbers: Sequence[str] = ("step",)) -> list[dict[str, Any]]:
    """Of a JSONL file; none where there is no file.

    Raises:
        OptionError: a line is no JSON object with these numbers.
    """
    try:
        told = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        found = [json.loads(line) for line in told]
        if any(type(line) is not dict or any(type(line.get(n)) not in (int, float) for n in numbers) for line in found):
            raise ValueError(f"a line without {', '.join(numbers)}")
        return found
    except ValueError as error:
        raise OptionError(f"{path} is damaged ({error}); remove it, it can be told anew but for what is lost") from None


def write(path: Path, step: int, marks: Sequence[Mark]) -> None:
    """One line a cell, behind those of earlier steps; all of them or none."""
    rows = lines(path)
    for mark in marks:
        cell = mark.cell
        told = {"step": step, "skill": cell.skill, "family": cell.family, "grade": cell.grade}
        rows.append(told | {"right": mark.right, "asked": mark.asked})
    write_whole(path, (f"{json.dumps(row)}\n".encode() for row in rows))


def table(marks: Sequence[Mark]) -> str:
    """A row a family: the grades directly, the grades step by step, and the mean of other skills."""
    by = {(m.cell.family, m.cell.skill, m.cell.grade): m for m in marks}
    families = list(dict.fromkeys(m.cell.family for m in marks))
    lines = [f"{'family':14}{'direct 1-5':>22}{'step by step 1-5':>24}{'other skills':>16}"]
    for family in families:
        row = f"{family:14}"
        for skill, wide in zip(WHOLE, (22, 24), strict=True):
            shown = [f"{100 * by[family, skill, g].share:.0f}" if (family, skill, g) in by else "-" for g in GRADES]
            row += f"{' '.join(shown):>{wide}}"
        rest = [m.share for m in marks if m.cell.family == family and m.cell.skill not in WHOLE]
        lines.append(row + f"{f'{100 * sum(rest) / len(rest):.0f}' if rest else '-':>16}")
    return "\n".join(lines)
