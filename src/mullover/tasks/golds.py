"""The gold answers of a problem file's line, as the layouts of others write them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mullover.errors import OptionError
from mullover.tasks.contest import last_box
from mullover.types import Kind

ANSWER = ("answer", "target")
HASHED = re.compile(r"(?:^|\s)####\s*(\S.*)$")  # GSM8K writes the final answer behind it
BOX = re.compile(r"\\(?:boxed|fbox)\b")


def golds_of(row: Mapping[str, Any], kind: Kind | None, where: str) -> tuple[str, ...]:
    """All answers that are right; the first is the one to show.

    For the kinds list and set a flat list is one answer, and a list of lists holds several. For others any list does.

    Raises:
        OptionError: there is none, or it is empty or of no use.
    """
    name = next((name for name in ANSWER if row.get(name) is not None), None)
    if name is None:
        raise OptionError(f"{where}: has no answer; name it {' or '.join(ANSWER)}")
    value = row[name]
    if value == []:
        raise OptionError(f"{where}: its {name} is an empty list; give at least one right answer")
    values = value if isinstance(value, list) else [value]
    if kind in ("list", "set") and isinstance(value, list) and not all(isinstance(each, list) for each in value):
        values = [value]
    return tuple(_written(each, kind, name, where) for each in values)


def _written(value: Any, kind: Kind | None, name: str, where: str) -> str:
    if isinstance(value, list) and kind in ("list", "set"):
        return _joined(value, name, where)
    return _final(_text(value, name, where), kind)


def _joined(values: Sequence[Any], name: str, where: str) -> str:
    """With commas between; an element with a comma of its own stands in quotes, a list in brackets."""
    if not values:
        raise OptionError(f"{where}: its {name} holds an empty list; give at least one element")
    parts = [
        f"[{_joined(each, name, where)}]" if isinstance(each, list) else _text(each, name, where) for each in values
    ]
    return ", ".join(
        f'"{part}"' if isinstance(value, str) and re.search(r"[,;\n]", part) and '"' not in part else part
        for value, part in zip(values, parts, strict=True)
    )


def _text(value: Any, name: str, where: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, str):
        raise OptionError(f"{where}: its {name} holds {type(value).__name__}; give a text, a number or a list of them")
    if not value.strip():
        raise OptionError(f"{where}: its {name} is empty")
    return str(value).strip()


def _final(gold: str, kind: Kind | None) -> str:
    """Of a solution only its answer: behind `####` in the last line, else in the last box where no kind forbids it."""
    if kind == "code":
        return gold
    hashed = HASHED.search(gold.rpartition("\n")[2])
    gold = hashed[1] if hashed else gold
    if kind in (None, "number", "math", "choice") and BOX.search(gold):
        try:
            return last_box(gold) or gold
        except OptionError:  # it is not closed
            return gold
    return gold
