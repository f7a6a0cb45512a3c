"""What one server can do with one model, as `mull doctor` found out, and where that is kept."""

import json
import os
import time
from dataclasses import asdict, dataclass, field, fields, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, get_args

from mullover.backends.http.spec import Spec
from mullover.backends.thinking import THINK
from mullover.home import home
from mullover.types import ModelInfo, Price

BASIS = frozenset({"temperature", "top_p", "max_tokens", "stop", "turns"})  # what all such servers take

Continues = Literal["", "tokens", "flag", "trailing", "template"]
Thinks = Literal["", "template", "effort", "type", "reasoning"]
Scores = Literal["", "prompt_logprobs", "echo"]


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor's table."""

    what: str
    state: Literal["works", "emulated", "missing", "unknown"]
    how: str = ""


@dataclass(frozen=True, slots=True)
class Profile:
    """The defaults are what may be assumed of a server that nobody has looked at."""

    kind: str = ""  # what it calls itself; a hint for the order of questions, never for an answer
    version: str = ""
    context: int = 0  # tokens; 0: untold
    limit: str = "max_tokens"  # the name of that field
    temperature: bool = True  # does it take one?
    varied: bool = True  # answers at a high temperature differ
    top_k: bool = False
    min_p: bool = False
    seed: bool = True  # does it take one?
    seeds: bool = False  # equal seeds give equal texts
    many: bool = False  # n > 1 gives as many choices
    usage: bool = True  # takes stream_options
    ids: bool = False  # tells token ids
    logprobs: int = 0  # alternatives it tells for each token, of the raw model
    reasoning: str = ""  # the field in which it comes; "inline": in <think> tags
    thinks: Thinks = ""  # how thinking is turned on and off
    efforts: tuple[str, ...] = ()  # values of reasoning_effort that it takes
    budget: str = ""  # the field that takes a budget of thinking tokens
    stops: bool = False  # it keeps and names stop strings where told to; if not, we find them ourselves
    continues: Continues = ""  # how the assistant's turn is gone on with
    scores: Scores = ""  # how given texts are scored
    checks: tuple[Check, ...] = field(default=())
    seen: float = 0.0  # seconds since 1970; 0: never

    @property
    def can(self) -> frozenset[str]:
        """Of ModelInfo.can."""
        more = {
            "top_k": self.top_k,
            "min_p": self.min_p,
            "top_logprobs": self.logprobs > 0,
            "thinking": bool(self.thinks or self.efforts or self.budget),
            "segments": bool(self.continues),
            "score": bool(self.scores),
        }
        basis = BASIS if self.temperature and self.varied else BASIS - {"temperature", "top_p"}
        return basis | {name for name, yes in more.items() if yes}

    def info(self, label: str, price: Price | None) -> ModelInfo:
        """The Model's promises; where nobody has looked they are few, and say how to learn more."""
        hint = "" if self.seen else f"nobody has looked at what it can do: run `mull doctor --model ...` ({label}) once"
        return ModelInfo(
            label,
            self.can,
            context=self.context or 1 << 20,
            think=THINK,
            metered="call",
            prompt_each=True,
            price=price,
            deterministic=self.seeds,
            hint=hint,
        )


def common(profiles: list[Profile]) -> Profile:
    """What all of them can do: a pool's Model promises no more."""
    first, *rest = profiles
    for other in rest:
        both: dict[str, Any] = {}
        for f in fields(Profile):
            mine, theirs = getattr(first, f.name), getattr(other, f.name)
            if isinstance(mine, bool):
                both[f.name] = mine and theirs
            elif f.name == "efforts":
                both[f.name] = tuple(effort for effort in mine if effort in theirs)
            elif isinstance(mine, (int, float)):  # context, logprobs, seen: the smaller, where 0 is none
                both[f.name] = min(mine, theirs) if f.name != "context" else min(mine or theirs, theirs or mine)
            elif isinstance(mine, str) and not theirs:  # the ways may differ, since each endpoint is asked in its own
                both[f.name] = ""
        first = replace(first, **both)
    return first


def path_of(spec: Spec) -> Path:
    """Below MULLOVER_HOME, by address and model."""
    mark = blake2b(f"{spec.url}#{spec.name};{spec.template}".encode("utf-8", "replace"), digest_size=8).hexdigest()
    return home() / "servers" / f"{mark}.json"


def load(spec: Spec) -> Profile:
    """What was found; the defaults where nobody has looked, or the file is not one of ours."""
    try:
        return decoded(json.loads(path_of(spec).read_text()))
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return Profile()


def save(spec: Spec, profile: Profile) -> Path:
    """
    Raises:
        OSError: it cannot be written.
    """
    path = path_of(spec)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps({"server": spec.url, "model": spec.name, **asdict(profile)}, indent=1) + "\n")
    part.replace(path)
    return path


def decoded(value: dict[str, Any]) -> Profile:
    """From what `save` wrote; a field that has another type is no profile of ours (TypeError, KeyError)."""
    default = Profile()
    read: dict[str, Any] = {}
    for f in fields(Profile):
        if f.name not in value:
            continue
        got = value[f.name]
        if f.name == "checks":
            got = tuple(Check(**check) for check in got)
        elif f.name == "efforts":
            got = tuple(map(str, got))
        elif f.name == "seen":
            got = float(got)
        elif type(got) is not type(getattr(default, f.name)):
            raise TypeError(f.name)
        read[f.name] = got
    for name, known in (("continues", Continues), ("thinks", Thinks), ("scores", Scores)):
        if read.get(name, "") not in get_args(known):
            raise TypeError(name)
    if read.get("limit", default.limit) not in ("max_tokens", "max_completion_tokens"):
        raise TypeError("limit")
    if read.get("seen", 0.0) > time.time() + 86_400:
        raise TypeError("seen")
    return replace(default, **read)
