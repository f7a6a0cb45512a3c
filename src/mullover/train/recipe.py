"""A recipe: everything a training run depends on, in one TOML file."""

import dataclasses
import hashlib
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from mullover.errors import OptionError
from mullover.seeds import canonical
from mullover.tasks.school import FAMILIES, GRADES
from mullover.tasks.school.skills import SKILLS
from mullover.train.llama import Shape
from mullover.train.loop import Schedule

NAMES = ("pocket", "quick")
LEAST = {
    "steps": 1, "batch": 1, "vocab": 300, "exam": 1, "questions": 1, "warmup": 0, "seed": 0, "checkpoint": 0,
    "decay": 0, "prompt_weight": 0, "cooldown": 0, "width": 2, "layers": 1, "heads": 1, "inner": 1, "context": 2,
}  # fmt: skip
MOST = {
    "batch": 1 << 22, "vocab": 1 << 17, "questions": 10_000, "layers": 256, "heads": 256, "width": 1 << 14,
    "inner": 1 << 16, "context": 1 << 17,
}  # fmt: skip
WEIGHTS = 1 << 30  # of a model, at most: this loop is for small ones
ABOVE_0 = ("matrix_lr", "lr", "clip", "eps", "theta")
KINDS = {int: "a whole number", float: "a number", str: "a text", tuple: "a list"}  # as TOML has them; else a table
PLACES = (Path(__file__).with_name("recipes"), Path(__file__).parents[3] / "recipes")  # installed, and in a checkout


@dataclass(frozen=True, slots=True)
class Phase:
    """What is drawn from one step on: relative weights by name; none: all alike.

    In a file, what is not said is as in the phase before.
    """

    step: int
    families: Mapping[str, float] = field(default_factory=dict)
    grades: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0, 1.0)
    skills: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Of one model."""

    model: Shape
    steps: int
    phases: tuple[Phase, ...]
    seed: int = 0
    vocab: int = 768
    batch: int = 6144  # tokens of a step, about: it ends with the document that reaches them
    optimizer: Literal["muon", "adamw"] = "muon"
    matrix_lr: float = 0.02  # of Muon
    lr: float = 0.002  # of AdamW
    decay: float = 0.0
    warmup: int = 50  # steps
    cooldown: float = 0.4  # share of the steps in which the rate falls to 0, linearly
    prompt_weight: float = 0.0  # of the loss on what is asked, against that on what is said
    clip: float = 1.0  # of the gradient's norm
    exam: int = 1000  # steps between examinations
    questions: int = 50  # of each cell of an examination
    checkpoint: float = 180.0  # seconds between checkpoints

    def __post_init__(self) -> None:
        shape = self.model
        values = {**dataclasses.asdict(self), **dataclasses.asdict(shape)}
        for name, value in values.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise OptionError(f"{name} is {value}; it must be a finite number")
        for name, least in LEAST.items():
            if values[name] < least:
                raise OptionError(f"{name} is {values[name]}; it must be at least {least}")
        for name, most in MOST.items():
            if values[name] > most:
                raise OptionError(f"{name} is {values[name]}; it must be at most {most}")
        weights = self.vocab * shape.width + shape.layers * shape.width * (4 * shape.width + 3 * shape.inner)
        if weights > WEIGHTS:
            raise OptionError(f"the model has about {weights:,} weights; it must have at most {WEIGHTS:,}")
        for name in ABOVE_0:
            if values[name] <= 0:
                raise OptionError(f"{name} is {values[name]}; it must be above 0")
        if self.seed >= 1 << 63 or self.cooldown > 1:
            raise OptionError("the seed must be below 2^63, and cooldown at most 1")
        if shape.width % (2 * shape.heads):
            raise OptionError(f"the width is {shape.width}; each of {shape.heads} heads needs an even part of it")

    def identity(self, step: int) -> str:
        """Of all that changes the weights up to a step, besides the rates."""
        said = dataclasses.asdict(self)
        for name in ("steps", "cooldown", "exam", "questions", "checkpoint"):
            said.pop(name)
        said["phases"] = [dataclasses.asdict(one) for one in self.phases if one.step < max(1, step)]
        return hashlib.sha256(canonical(said).encode()).hexdigest()[:16]

    def phase(self, step: int) -> Phase:
        return max((one for one in self.phases if one.step <= step), key=lambda one: one.step)

    @property
    def schedule(self) -> Schedule:
        return Schedule(self.steps, self.warmup, self.cooldown, self.clip)


def named(name: str) -> Path | None:
    """The file of one of our own recipes."""
    files = (place / f"{name}.toml" for place in PLACES)
    return next((file for file in files if file.is_file()), None) if name in NAMES else None


def read(path: Path) -> Recipe:
    """A recipe from its file.

    Raises:
        OptionError: it cannot be read, or has an unknown key or a value that is not of its kind.
    """
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OptionError(f"cannot read the recipe {path}: {error}") from None
    found = built(Recipe, inherited(said), str(path))
    starts = [one.step for one in found.phases]
    if 0 not in starts or len(set(starts)) < len(starts) or min(starts) < 0:
        raise OptionError(f"the recipe {path} needs a [[phases]] of step 0, and others of later steps, one each")
    for one in found.phases:
        _check(one, f"{path}, phase of step {one.step}")
    return found  # type: ignore[no-any-return]


def inherited(said: dict[str, Any]) -> dict[str, Any]:
    """Each phase with what it does not say itself from the one before it."""
    phases = said.get("phases")
    if not isinstance(phases, list) or not all(isinstance(one, dict) for one in phases):
        return said
    steps = [one.get("step") for one in phases]
    if all(isinstance(step, int) for step in steps):
        phases = sorted(phases, key=lambda one: one["step"])
    full: list[dict[str, Any]] = list(accumulate(phases, lambda before, own: {**before, **own}))
    return {**said, "phases": full}


def _check(phase: Phase, where: str) -> None:
    for said, known in ((phase.families, FAMILIES.keys()), (phase.skills, SKILLS.keys())):
        if unknown := sorted(set(said) - known):
            raise OptionError(f"{where}: no such name {unknown[0]!r}; there are {', '.join(known)}")
    if len(phase.grades) != len(GRADES):
        raise OptionError(f"{where}: grades needs {len(GRADES)} weights, one a grade")
    for weights in (phase.grades, phase.families.values(), phase.skills.values()):
        if weights and not (min(weights) >= 0 and 0 < sum(weights) < math.inf):
            raise OptionError(f"{where}: weights must be at least 0, and one of them above 0")


def built(kind: Any, said: Mapping[str, Any], where: str) -> Any:
    """A dataclass from a table, each value of the kind that its field names.

    Raises:
        OptionError: a key is unknown or missing, or a value is not of its kind or out of range; it begins with `where`.
    """
    hints = get_type_hints(kind)
    known = {f.name: hints[f.name] for f in dataclasses.fields(kind)}
    if unknown := sorted(set(said) - set(known)):
        raise OptionError(f"{where}: no such key {unknown[0]!r}; there are {', '.join(known)}")
    needed = {f.name for f in dataclasses.fields(kind) if f.default is f.default_factory is dataclasses.MISSING}
    if missing := sorted(needed - set(said)):
        raise OptionError(f"{where}: {missing[0]} is missing")
    values = {name: _valued(known[name], value, f"{where}, {name}") for name, value in said.items()}
    try:
        return kind(**values)
    except OptionError as error:
        raise OptionError(f"{where}: {error}") from None


def _valued(kind: Any, value: Any, where: str) -> Any:
    origin, parts = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        return built(kind, value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(_valued(parts[0], one, where) for one in value)
    if origin is Mapping and isinstance(value, dict):
        return {str(name): _valued(parts[1], one, where) for name, one in value.items()}
    if origin is Literal and value in parts:
        return value
    if kind is float and type(value) in (int, float):
        return float(value) if isinstance(value, float) or abs(value) < 1 << 1000 else math.inf
    if kind is Any or type(value) is kind:
        return value
    wanted = " or ".join(map(str, parts)) if origin is Literal else KINDS.get(origin or kind, "a table")
    raise OptionError(f"{where}: {str(value)[:60]!r} must be {wanted}")
