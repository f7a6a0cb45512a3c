"""Several tasks in one go: names with commas, or a suite's TOML file.

tasks = ["school/sums/5", {task = "gsm8k", limit = 200}]
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mullover.errors import OptionError

SUITE = "suite:"


@dataclass(frozen=True, slots=True)
class Member:
    task: str
    limit: int | None  # the first so many problems

    @property
    def folder(self) -> str:
        """A name for its run's folder."""
        return re.sub(r"[^A-Za-z0-9._-]+", "_", self.task).strip("._")[-60:] or "task"


def members(text: str, limit: int | None) -> list[Member]:
    """What `--task` names; `--limit` goes before a suite's own.

    Raises:
        OptionError: the suite cannot be read, or a task is named twice.
    """
    if text.startswith(SUITE):
        found = _read(Path(text.removeprefix(SUITE)), limit)
    elif "," in text and not Path(text).exists():
        found = [Member(part.strip(), limit) for part in text.split(",") if part.strip()]
    else:
        return [Member(text, limit)]
    names = [member.folder for member in found]
    if not found or len(set(names)) < len(names):
        twice = next((name for name in names if names.count(name) > 1), "")
        raise OptionError(f"--task names {twice} twice; leave one out" if twice else f"--task {text!r} names no task")
    return found


def _read(path: Path, limit: int | None) -> list[Member]:
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OptionError(f"cannot read the suite {path}: {error}") from None
    if set(said) != {"tasks"} or not isinstance(said["tasks"], list):
        raise OptionError(f'the suite {path} must be one list: tasks = ["NAME", {{task = "NAME", limit = 100}}]')
    return [_member(row, limit, path) for row in said["tasks"]]


def _member(row: Any, limit: int | None, path: Path) -> Member:
    if isinstance(row, str):
        return Member(row, limit)
    good = isinstance(row, dict) and set(row) <= {"task", "limit"} and isinstance(row.get("task"), str)
    if not good or (type(row.get("limit", 1)) is not int or row.get("limit", 1) < 1):
        form = "write a name, or {task = NAME, limit = 100}"
        raise OptionError(f"the suite {path}: {str(row)[:60]} is no task; {form}")
    return Member(row["task"], limit if limit is not None else row.get("limit"))
