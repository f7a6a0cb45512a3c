"""Spec strings to things: the one table that command line, recipes and server share."""

import dataclasses
import hashlib
import inspect
import os
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from mullover.errors import MulloverError, OptionError
from mullover.prompts import Style, style
from mullover.types import AnswerSpec, Candidate, Model, Prompt, Sampling, Score, Scorer, Strategy

Opener = Callable[[str], Any]
POCKET = Path(__file__).with_name("pocket")
MODEL_FORMS = "pocket, DIRECTORY, http://HOST:PORT/v1#NAME, pool:FILE.toml, replay:FILE, scripted:FILE, toy, toy:FILE"


def open_model(spec: str | None = None) -> Model:
    """The model a spec names; None means MULLOVER_MODEL, or else `pocket`.

    Raises:
        OptionError: no such model, or its file cannot be read.
    """
    spec = spec or os.environ.get("MULLOVER_MODEL") or "pocket"
    kind, _, rest = spec.partition(":")
    if kind in ("http", "https"):
        return _server(spec)
    if spec == "pocket" or spec.startswith("pocket;"):
        return _pocket(spec.removeprefix("pocket"))
    if kind in MODELS and (rest or kind == "toy"):
        return MODELS[kind](rest)
    if kind in MODELS:
        raise OptionError(f"the model {spec!r} lacks its file; write {kind}:FILE")
    if is_local(spec):
        return _local(spec)
    raise OptionError(f"no model {spec!r}; there are {MODEL_FORMS}")


def is_local(spec: str) -> bool:
    """Does the spec name a directory?"""
    return Path(spec.partition(";")[0]).is_dir()


def _local(spec: str, what: str = "models from a directory need") -> Model:
    if missing := [name for name in ("torch", "transformers", "tokenizers") if find_spec(name) is None]:
        raise OptionError(f"{what} {', '.join(missing)}; pip install 'mullover[local]'")
    from mullover.backends.local.local import Local

    return Local(spec)


def _pocket(settings: str) -> Model:
    """The model in the package; settings as behind a directory."""
    what = "pocket, the model in the package and the default, needs"
    model = _local(f"{POCKET}{settings}", what)
    model.info = dataclasses.replace(model.info, name="pocket")
    return model


def _server(spec: str) -> Model:
    from mullover.backends.pool.file import specs

    return _served(specs(spec))


def _pool(path: str) -> Model:
    from mullover.backends.pool.file import read

    named, timeouts = read(path)
    return _served(named, timeouts=timeouts)


def _served(named: Sequence[Any], **more: Any) -> Model:
    from mullover.backends.http.http import Http
    from mullover.backends.http.prices import price_of

    return Http(named, price=price_of(named), **more)


def _toy(path: str) -> Model:
    from mullover.backends.toy import open_toy

    return _of_file(open_toy(path), path)


def _scripted(path: str) -> Model:
    from mullover.backends.scripted import open_scripted

    return _of_file(open_scripted(path), path)


def _replay(spec: str) -> Model:
    from mullover.backends.replay import Replay

    path, mark, converter = spec.rpartition("#")
    if not mark or Path(spec).exists():
        path, converter = spec, ""
    return _of_file(Replay(path, converter), path)


def _of_file(model: Model, path: str) -> Model:
    """With the hash of its file, so that another file under the same name is another model."""
    if path:
        with Path(path).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        model.info = dataclasses.replace(model.info, digest=digest)
    return model


MODELS: Mapping[str, Callable[[str], Model]] = {
    "pool": _pool,
    "toy": _toy,
    "scripted": _scripted,
    "replay": _replay,
}


@dataclasses.dataclass(frozen=True, slots=True)
class OracleOfTask:
    """Stands for each problem's own truth until `evaluate` knows the problem."""

    of_task: bool = True
    oracle: bool = True

    async def __call__(self, prompt: Prompt, candidates: Sequence[Candidate]) -> list[Score]:
        raise OptionError("the scorer `oracle` needs a task; for one question write oracle:TRUTH")


def open_scorer(spec: str) -> Scorer:
    """`judge:MODEL`, `likelihood`, `oracle` (of a task), `oracle:TRUTH`, or what `module:function` returns.

    Raises:
        OptionError: no such scorer.
    """
    name, _, rest = spec.partition(":")
    if name in SCORERS:
        return SCORERS[name](rest)
    if rest.isidentifier():
        return _outside(spec, name, rest)
    raise OptionError(f"no scorer {spec!r}; there are judge:MODEL, likelihood, oracle, or module:function")


def _outside(spec: str, module: str, name: str) -> Scorer:
    try:
        made = getattr(import_module(module), name, None)
    except (ImportError, SyntaxError, ValueError, TypeError) as error:
        raise OptionError(f"cannot import {module!r} for the scorer {spec!r}: {error}") from error
    if not callable(made) or inspect.signature(made).parameters:
        raise OptionError(f"no scorer {spec!r}; {module} must have a function {name}() that returns one")
    scorer = made()
    call = scorer if inspect.isfunction(scorer) else getattr(scorer, "__call__", None)  # noqa: B004
    if not inspect.iscoroutinefunction(call):
        raise OptionError(f"no scorer {spec!r}; {name}() must return an async function of (prompt, candidates)")
    return typing.cast(Scorer, scorer)


def _judge(rest: str) -> Scorer:
    from mullover.scorers.judge import Judge

    return Judge(open_model(rest or None))


def _likelihood(rest: str) -> Scorer:
    from mullover.scorers.likelihood import likelihood

    return likelihood()


def _oracle(truth: str) -> Scorer:
    from mullover.scorers.exact import exact
    from mullover.scorers.oracle import Oracle

    return Oracle(exact(truth, AnswerSpec("math"))) if truth else OracleOfTask()


SCORERS: Mapping[str, Callable[[str], Scorer]] = {"judge": _judge, "likelihood": _likelihood, "oracle": _oracle}


def open_strategy(spec: str) -> Strategy:
    from mullover.strategies import load

    return load(spec)


def _bool(word: str) -> bool:
    if word.lower() not in ("yes", "no", "true", "false", "on", "off"):
        raise ValueError("say yes or no")
    return word.lower() in ("yes", "true", "on")


OPENERS: Mapping[Any, Opener] = {
    int: int,
    float: float,
    str: str,
    bool: _bool,
    Model: open_model,
    Scorer: open_scorer,
    Style: style,
    Strategy: open_strategy,
}


def openable(kind: Any) -> bool:
    """Can a spec string be opened as this kind of option?"""
    return kind in OPENERS or get_origin(kind) is Literal or _optional(kind) is not None


def opened(name: str, kind: Any, word: str) -> Any:
    """The option `name` from the word a user wrote.

    Raises:
        OptionError: the word is no value of this kind.
    """
    if (inner := _optional(kind)) is not None:
        return None if word.lower() == "none" else opened(name, inner, word)
    if get_origin(kind) is Literal:
        values = {str(value): value for value in get_args(kind)}
        if word not in values:
            raise OptionError(f"{name} is {word[:80]!r}; it must be one of {', '.join(values)}")
        return values[word]
    if kind not in OPENERS:
        raise OptionError(f"{name} cannot be given as text; use it from Python")
    try:
        return OPENERS[kind](word)
    except MulloverError:
        raise
    except ValueError as error:
        raise OptionError(f"{name} is {word[:80]!r}, which is no {kind.__name__}: {str(error)[:80]}") from None


def _optional(kind: Any) -> Any:
    """X of `X | None`, else None."""
    if get_origin(kind) not in (types.UnionType, typing.Union):
        return None
    inner = [arg for arg in get_args(kind) if arg is not type(None)]
    return inner[0] if len(inner) == 1 and len(get_args(kind)) == 2 else None


def thinking(word: str) -> bool | str | int:
    """on, off, an effort (low, medium, high ...) or a budget in tokens."""
    if word.lower() in ("on", "off", "yes", "no", "true", "false"):
        return _bool(word)
    return int(word) if word.isdigit() else word


def opened_field(name: str, word: str) -> Any:
    """A field of Sampling from the word a user wrote.

    Raises:
        OptionError: the word is no value of this field, or no text can be.
    """
    if name == "thinking":
        return thinking(word)
    return opened(name, typing.get_type_hints(Sampling)[name], word)


def sampling_words(**words: Any) -> dict[str, Any]:
    """Those that the user said, checked.

    Raises:
        OptionError: a value that no sampling can have.
    """
    said = {name: value for name, value in words.items() if value is not None}
    Sampling(**said)
    return said
