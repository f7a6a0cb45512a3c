"""`mull`: a composition root. One file per command; what a command imports, `mull --help` does not."""

import sys
from collections.abc import Sequence
from importlib import import_module

import typer
from typer.exceptions import Abort, Exit, TyperException

from mullover.errors import MulloverError

HELP = {
    "ask": "Answer one question. The answer alone goes to stdout; progress and cost go to stderr.",
    "eval": "Answer every problem of a task, grade the answers, tell accuracy and cost. The same command resumes.",
    "strategies": "List the strategies: --long tells their options, needs and sources.",
    "tasks": "List the tasks, and whether their data is at hand.",
    "runs": "See again what was run: ls, show, export.",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0, or 2 for a user's mistake with one line that says what and what to do, or 1."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        result = app(words)(args=words, prog_name="mull", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except MulloverError as error:
        from mullover.errors import OptionError, StoreError

        say(error)
        return 2 if isinstance(error, (OptionError, StoreError)) else 1
    except TyperException as error:
        say(f"{error.format_message().rstrip('.')}; see `mull {words[0] if words and words[0] in HELP else ''} --help`")
        return 2
    except Exit as done:
        return done.exit_code
    except (Abort, KeyboardInterrupt):
        say("stopped")
        return 1
    except BrokenPipeError:
        sys.stderr.close()  # the reader left; so would a traceback
        return 1


def say(message: object) -> None:
    """One line on stderr, whatever the message holds."""
    line = " ".join(str(message).split())
    print("mull:", "".join(c if c.isprintable() else "?" for c in line), file=sys.stderr)


def app(words: Sequence[str]) -> typer.Typer:
    """The command that is called in full, the others as lines of the help."""
    root = typer.Typer(name="mull", add_completion=False, no_args_is_help=True, help="Make language models reason.")
    root.callback()(root_options)
    called = next((word for word in words if not word.startswith("-")), "")
    for name, text in HELP.items():
        if name == "runs" and name == called:
            root.add_typer(import_module("mullover.cli.runs").app, name=name, help=text)
        elif name == called:
            root.command(name, help=text)(import_module(f"mullover.cli.{name}").command(words))
        else:
            root.command(name, help=text)(_elsewhere)
    return root


def show_version(asked: bool) -> None:
    if asked:
        from mullover import __version__

        print(f"mullover {__version__}")
        raise Exit(0)


def root_options(
    version: bool = typer.Option(False, "--version", help="Print the version.", is_eager=True, callback=show_version),
) -> None:
    """What stands before the command."""


def _elsewhere() -> None:
    """Stands for a command that was not called."""
