"""Writes what is generated from code: docs/strategies.md, docs/commands.md, and the README's tables and runs.

`--check` writes nothing and fails if anything is stale.
"""

import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from mullover.cli import HELP, main
from mullover.cli.strategies import row
from mullover.strategies import names

ROOT = Path(__file__).parents[1]
MARK = re.compile(r"(<!-- (table|run):([^\n]*?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


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
    parts = ["# Commands\n\nGenerated from the command line by `make docs`.\n"]
    for words in [[], *([name] for name in HELP), *(["runs", name] for name in ("ls", "show", "export"))]:
        shown = said([*words, "--help"])
        parts.append(f"## mull {' '.join(words)}".rstrip() + f"\n\n```\n{shown}\n```\n")
    return "\n".join(parts)


def said(words: list[str]) -> str:
    """The help of a command as plain text 100 columns wide, wherever it is made."""
    os.environ.update(COLUMNS="100", TERMINAL_WIDTH="100", NO_COLOR="1", TERM="dumb")
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        main(words)
    return "\n".join(line.rstrip() for line in out.getvalue().strip().splitlines())


def strategies_table() -> str:
    rows = [
        f"| [`{at['name']}`](docs/strategies.md#{at['name']}) | {at['summary']} | {at['source']} |"
        for at in map(row, names())
    ]
    return "\n".join(["| strategy | what it does | source |", "|---|---|---|", *rows]) + "\n"


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
        made = strategies_table() if found[2] == "table" else transcript(found[3].strip())
        return f"{found[1]}{made}{found[5]}"

    return MARK.sub(fill, (ROOT / "README.md").read_text())


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
