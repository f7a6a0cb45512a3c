"""Writes what is generated from code: docs/strategies.md, docs/commands.md, and the README's tables and runs.

`--check` writes nothing and fails if anything is stale.
"""

import inspect
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import get_args

from typer.models import OptionInfo

from mullover.cli import GROUPS, HELP
from mullover.cli.strategies import row
from mullover.strategies import names

ROOT = Path(__file__).parents[1]
MARK = re.compile(r"(<!-- (table|run):([^\n]*?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
CODE = re.compile(r"(```python\n)(.*?)(```\n\n[^\n]*\n\n<!-- python -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def strategies_page() -> str:
    parts = ["# Strategies\n\nGenerated from the docstrings by `make docs`.\n"]
    for at in map(row, names()):
        parts.append(f"## {at['name']}\n\n{at['summary']}\n")
        if at["options"]:
            rows = [f"| `--{o['name'].replace('_', '-')}` | {o['default']} | {o['help']} |" for o in at["options"]]
            parts.append("\n".join(["| option | default | |", "|---|---|---|", *rows]) + "\n")
        for part in ("yields", "needs", "departures", "source"):
            if at[part]:
                parts.append(f"{part.capitalize()}: {at[part]}\n")
    return "\n".join(parts)


def commands_page() -> str:
    parts = ["# Commands\n\nGenerated from the command line's tables by `make docs`.\n"]
    for name, text in HELP.items():
        module = import_module(f"mullover.cli.{name}")
        if name not in GROUPS:
            parts.append(f"## mull {name}\n\n{text}\n\n{flags(module.command([]))}")
            continue
        for sub in module.app.registered_commands:
            told = " ".join((sub.callback.__doc__ or "").split("\n\n")[0].split())
            parts.append(f"## mull {name} {sub.name or sub.callback.__name__}\n\n{told}\n\n{flags(sub.callback)}")
    parts.append(
        "Exit codes: 0; 2 for a mistake of the user, with one line that says what and what to do; 1 for the rest.\n"
    )
    return "\n".join(parts)


def flags(command: Callable[..., object]) -> str:
    """A table of the arguments and options of one command."""
    rows = []
    for p in inspect.signature(command, eval_str=True).parameters.values():
        kind, info = get_args(p.annotation)
        is_flag = isinstance(info, OptionInfo)
        said = info.default if isinstance(info.default, str) else f"--{p.name.replace('_', '-')}"
        name = said if is_flag else p.name.upper()
        takes = "" if kind is bool or not is_flag else f" {word(kind)}"
        shown = "" if p.default in (None, False, "", inspect.Parameter.empty, ...) else f" Default: {p.default}."
        rows.append(f"| `{name}{takes}` | {' '.join((info.help or '').split()).replace('|', chr(92) + '|')}{shown} |")
    return "\n".join(["| | |", "|---|---|", *rows]) + "\n"


def word(kind: object) -> str:
    kinds = [k for k in get_args(kind) if k is not type(None)] or [kind]
    return {"str": "TEXT", "int": "N", "float": "X", "Path": "PATH"}.get(getattr(kinds[0], "__name__", ""), "TEXT")


def strategies_table() -> str:
    rows = [
        f"| [`{at['name']}`](docs/strategies.md#{at['name']}) | {at['summary']} | {at['source']} |"
        for at in map(row, names())
    ]
    return "\n".join(["| strategy | what it does | source |", "|---|---|---|", *rows]) + "\n"


def pocket_table() -> str:
    """The cells of all comparisons, as measured for the card."""
    card = ROOT / "src" / "mullover" / "pocket" / "card"
    chosen, measured = (json.loads((card / f"{name}.json").read_text())["results"] for name in ("cells", "measure"))
    heads = ("directly", "one chain", "vote of 16", "one of 16 is right", "by 16 guesses", "by a shortcut")
    rows = [f"| task | problems | {' | '.join(heads)} |", "|---" * (2 + len(heads)) + "|"]
    for family, fixed in chosen.items():
        cell = f"school/{family}/{fixed['middle']}"
        row = measured[cell]
        figures = [row.get(name) for name in ("direct", "greedy", "majority", "pass", "guess pass")]
        figures.append(row["shortcut"] or None)  # most have none
        shown = ["" if at is None else f"{100 * at:.0f}" for at in figures]
        rows.append(f"| `{cell}` | {row['problems']} | {' | '.join(shown)} |")
    return "\n".join(rows) + "\n"


TABLES = {"strategies": strategies_table, "pocket": pocket_table}


def transcript(lines: str) -> str:
    """Real output of the commands between the marks; seconds differ from run to run, so they read `_`."""
    shown = []
    for line in lines.split(" && "):
        with tempfile.TemporaryDirectory() as home:
            mull = Path(sys.executable).with_name("mull")
            done = subprocess.run(
                [str(mull), *shlex.split(line)[1:]],
                capture_output=True,
                text=True,
                cwd=ROOT / "examples",
                env={**os.environ, "MULLOVER_HOME": home, "NO_COLOR": "1"},
                check=True,
            )
        told = re.sub(r"\b\d+\.\d+ s\b", "_ s", done.stdout + done.stderr)
        kept = [part for part in told.strip().splitlines() if home not in part]
        shown.append(f"$ {line}\n" + "\n".join(kept))
    return "```\n" + "\n\n".join(shown) + "\n```\n"


def readme() -> str:
    def fill(found: re.Match[str]) -> str:
        made = TABLES[found[3].strip()]() if found[2] == "table" else transcript(found[3].strip())
        return f"{found[1]}{made}{found[5]}"

    def ran(found: re.Match[str]) -> str:
        done = subprocess.run([sys.executable, "-c", found[2]], capture_output=True, text=True, check=True)
        return f"{found[1]}{found[2]}{found[3]}```\n{done.stdout}```\n{found[5]}"

    return CODE.sub(ran, MARK.sub(fill, (ROOT / "README.md").read_text()))


def write(check: bool) -> int:
    pages = {"docs/strategies.md": strategies_page, "docs/commands.md": commands_page, "README.md": readme}
    stale = []
    for name, make in pages.items():
        path, text = ROOT / name, make()
        if not path.exists() or path.read_text() != text:
            stale.append(name)
            if not check:
                path.write_text(text)
    if stale:
        print(("stale, run `make docs`: " if check else "wrote: ") + ", ".join(stale))
    return 1 if stale and check else 0


if __name__ == "__main__":
    raise SystemExit(write("--check" in sys.argv))
