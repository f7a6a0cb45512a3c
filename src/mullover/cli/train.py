"""`mull train`: models from nothing, and models made better by examples."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mullover.cli.output import clean
from mullover.errors import OptionError
from mullover.openers import POCKET, open_model

if TYPE_CHECKING:
    from mullover.train.recipe import Recipe

app = typer.Typer(no_args_is_help=True, help="Train models.")
Out = Annotated[Path, typer.Option("--out", help="The run's folder; the same command goes on where it stopped.")]


@app.command()
def pretrain(
    out: Out,
    recipe: Annotated[str | None, typer.Option("--recipe", help="A TOML file, or pocket, or quick.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="The recipe quick: one family, minutes on two cores.")] = False,
    seed: Annotated[int | None, typer.Option("--seed", help="Instead of the recipe's.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Instead of the recipe's.")] = None,
) -> None:
    """Train a small model from nothing on generated school problems, and examine it while it trains."""
    _check(out)
    if quick == (recipe is not None):
        raise OptionError("give either --recipe FILE or --quick")
    from dataclasses import replace

    from mullover.train.pretrain import pretrain as run

    said = _recipe("quick" if recipe is None else recipe)
    said = replace(said, seed=said.seed if seed is None else seed, steps=steps or said.steps)
    with _stoppable():
        model = run(said, out, tell, lambda folder, step: _examine(said, folder, out, step))
        _plot(out)
    print(f"{clean(str(model))} holds the model; ask it: mull ask --model {clean(str(model))} ...")


@app.command()
def sft(
    out: Out,
    data: Annotated[
        Path, typer.Option("--data", help='JSONL: {"messages": [...]} or {"prompt": ..., "completion": ...}.')
    ],
    model: Annotated[Path, typer.Option("--model", help="A directory in Hugging Face's layout, or pocket.")],
    epochs: Annotated[int, typer.Option("--epochs", min=1)] = 1,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Tokens of a step and device.")] = 4096,
    lr: Annotated[float, typer.Option("--lr", help="The highest learning rate.")] = 1e-5,
    lora: Annotated[
        int, typer.Option("--lora", min=0, max=4096, help="Rank of low-rank adapters; 0: train all weights.")
    ] = 0,
    longest: Annotated[int, typer.Option("--longest", min=1, help="Tokens; longer examples are left out.")] = 4096,
    seed: Annotated[int, typer.Option("--seed")] = 0,
) -> None:
    """Fine-tune a model on what its assistant should say.

    On several devices: `accelerate launch -m mullover train sft ...`.
    """
    _check(out)
    from mullover.train.sft import Settings
    from mullover.train.sft import sft as run

    model = POCKET if str(model) == "pocket" else model
    settings = Settings(epochs=epochs, batch=batch, lr=lr, lora=lora, longest=longest, seed=seed)
    with _stoppable():
        made = run(data, model, out, settings, tell)
        if made is None:
            return  # of several processes another one writes
        _plot(out)
    print(f"{clean(str(made))} holds the model; ask it: mull ask --model {clean(str(made))} ...")


@contextmanager
def _stoppable() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        tell("mull: stopped; the same command goes on from the last checkpoint")
        raise typer.Exit(1) from None


def tell(line: str) -> None:
    print(clean(line), file=sys.stderr, flush=True)


def _check(out: Path) -> None:
    """Is there what training needs, and is the folder a run's or to be one?"""
    from importlib.util import find_spec

    if missing := [name for name in ("torch", "tokenizers", "safetensors") if find_spec(name) is None]:
        raise OptionError(f"training needs {', '.join(missing)}; pip install 'mullover[train]'")
    if out.exists() and not out.is_dir():
        raise OptionError(f"{out} is no folder; choose another --out")
    held = {path.name for path in out.iterdir()} if out.exists() else set()
    if held and not held & {"lock", "tokenizer.json", "checkpoint.safetensors"}:
        raise OptionError(f"{out} holds {min(held)} but no run; choose another --out or an empty folder")


def _recipe(name: str) -> Recipe:
    from mullover.train import recipe

    own = recipe.named(name)
    if own is None and not Path(name).is_file():
        raise OptionError(f"no recipe {name!r}; name a TOML file, or one of {', '.join(recipe.NAMES)}")
    return recipe.read(own or Path(name))


def _examine(said: Recipe, folder: Path, out: Path, step: int) -> None:
    """Held-out accuracy of each cell, told and kept."""
    from mullover.tasks.school import FAMILIES
    from mullover.tasks.school.skills import SKILLS
    from mullover.train import exam

    if step in {line["step"] for line in exam.lines(out / exam.FILE)}:
        return  # before the run was stopped
    last = said.phase(said.steps - 1)
    cells = exam.cells(last.families or FAMILIES, last.skills or SKILLS)
    marks = asyncio.run(exam.examine(open_model(str(folder)), cells, "dev", said.questions))
    exam.write(out / exam.FILE, step, marks)
    tell(f"held-out accuracy after {step} steps, per cent of {said.questions} a cell")
    for line in exam.table(marks).splitlines():
        tell(line)


def _plot(out: Path) -> None:
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        tell("no plots: matplotlib is not installed; pip install 'mullover[plots]'")
        return
    from mullover.train import plots

    for file in plots.draw(out):
        tell(f"drew {file}")
