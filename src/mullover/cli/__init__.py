"""`mull`: a composition root. One file per command; what a command imports, `mull --help` does not."""

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module

import typer
from typer.exceptions import Abort, Exit, TyperException

from mullover.errors import MulloverError, OptionError, StoreError

HELP = {
    "ask": "Answer one question. The answer alone goes to stdout; progress and cost go to stderr.",
    "eval": "Answer every problem of a task, grade the answers, tell accuracy and cost. The same command resumes.",
    "sample": "Draw a pool of chains of each problem; tell what votes and choices among any number of them give.",
    "compare": "Compare strategies at equal spending: curves with bands, paired differences, a report in one page.",
    "calibrate": "Tell how far the confidence of a run's answers may be trusted: agreement, probability, scores.",
    "length": "Tell what long reasoning is worth: by difficulty, right against wrong, after the first right answer.",
    "leaderboard": "Rank the finished runs of each task, with intervals and spending.",
    "strategies": "List the strategies: --long tells their options, needs and sources.",
    "tasks": "List the tasks, and whether their data is at hand.",
    "doctor": "Find out in at most 12 tiny calls what a server can do, and keep that for the other commands.",
    "runs": "See again what was run: ls, show, diff, export.",
    "train": "Train models: pretrain a small one from nothing, fine-tune (sft) any on a file of examples.",
    "bench": "Measure on this machine: engine.",
}
GROUPS = ("runs", "bench", "train")  # of commands


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0, or 2 for a user's mistake with one line that says what and what to do, or 1."""
    words = list(sys.argv[1:] if argv is None else argv)
    if argv is None:
        _at_home()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a character that the terminal lacks stops nothing
    try:
        if any(not word.isascii() and _broken(word) for word in words):
            raise OptionError("an argument is no valid UTF-8 text; mend it")
        result = app(words)(args=words, prog_name="mull", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) and result in (0, 1, 2) else 1 if result else 0
    except MulloverError as error:
        say(error)
        return 2 if isinstance(error, (OptionError, StoreError)) else 1
    except TyperException as error:
        if told := error.format_message().rstrip("."):
            command = f"{words[0]} " if words and words[0] in HELP else ""
            say(f"{told[:300]}; see `mull {command}--help`")
        return 2
    except Exit as done:
        if done.exit_code == 130:  # Ctrl-C, before a command could take it
            say("stopped; nothing was asked yet")
        return min(done.exit_code, 1) if done.exit_code not in (0, 2) else done.exit_code
    except (Abort, KeyboardInterrupt):
        say("stopped")
        return 1
    except OSError as error:  # stdout is full, or its reader left: a traceback would not help
        if error.filename is not None:
            say(f"cannot use {str(error.filename)[:60]!r}: {error.strerror}; name another")
            return 2
        if not isinstance(error, BrokenPipeError):
            say(f"cannot print: {error}")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _at_home() -> None:
    """For a process of its own: strategies are imported from here too, SIGTERM is Ctrl-C, a stdout may be missing."""
    with suppress(OSError):  # the folder is gone
        sys.path.append(os.getcwd())  # last, so that no file here can stand for a library
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as shells have it in the background: SIGTERM ends it
        signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115  for the rest of the process
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115


def _broken(word: str) -> bool:
    return any("\ud800" <= c <= "\udfff" for c in word)


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
        if name == called and name in GROUPS:
            root.add_typer(import_module(f"mullover.cli.{name}").app, name=name, help=text)
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
