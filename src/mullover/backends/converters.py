"""Recorded samples of other shapes, read into the lines of a recording; each converter has a name.

A converter reads one whole file and yields (where it stands, line): a line is an object as `Record.of`
reads it, with the `id` of its problem.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mullover.backends.lines import items, read_json
from mullover.errors import OptionError

Line = tuple[str, Mapping[str, Any]]
Converter = Callable[[str | Path], Iterator[Line]]


def converter(name: str) -> Converter:
    """Raises OptionError, with the names there are, for any other."""
    if name not in CONVERTERS:
        raise OptionError(f"no converter {name!r}; there are {', '.join(CONVERTERS)}")
    return CONVERTERS[name]


def tot_game24(path: str | Path) -> Iterator[Line]:
    """The Game of 24 logs of Tree of Thoughts: a list of {idx, ys}, one text in ys per sample."""
    for where, puzzle in _listed(read_json(path), path):
        if not isinstance(puzzle, dict) or "idx" not in puzzle:
            raise OptionError(f"{where} has no idx")
        for text in _texts(puzzle.get("ys"), f"{where}: ys"):
            yield where, {"id": puzzle["idx"], "text": text}


def cruxeval(path: str | Path) -> Iterator[Line]:
    """The generations of CRUXEval: an object from a problem's id to its list of texts."""
    data = read_json(path)
    if not isinstance(data, dict):
        raise OptionError(f"{path} is no object from ids to lists of texts")
    for problem, texts in data.items():
        where = f"{path}, {problem}"
        for text in _texts(texts, where):
            yield where, {"id": problem, "text": text}


def codet_humaneval(path: str | Path) -> Iterator[Line]:
    """CodeT's HumanEval samples: 164 lines of {prompt, samples}, without ids but in the order of their names."""
    problems = list(items(path))
    if len(problems) != 164:
        raise OptionError(f"{path} has {len(problems)} lines; it must have one for each of HumanEval's 164 problems")
    names = sorted(f"HumanEval/{number}" for number in range(164))  # 0, 1, 10, 100, 101 ...
    for name, (where, problem) in zip(names, problems, strict=True):
        if not isinstance(problem, dict) or not isinstance(problem.get("prompt"), str):
            raise OptionError(f"{where} has no prompt")
        for text in _texts(problem.get("samples"), f"{where}: samples"):
            yield where, {"id": name, "question": problem["prompt"], "text": text}


CONVERTERS: Mapping[str, Converter] = {
    "tot_game24": tot_game24,
    "cruxeval": cruxeval,
    "codet_humaneval": codet_humaneval,
}


def _listed(data: Any, path: str | Path) -> Iterator[tuple[str, Any]]:
    if not isinstance(data, list):
        raise OptionError(f"{path} is no JSON list")
    yield from ((f"{path}, item {number}", value) for number, value in enumerate(data, 1))


def _texts(value: Any, where: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise OptionError(f"{where} is no list of texts")
    return value
