"""Which answers are equal although their keys differ: math-verify, asked only about group heads, under a cap.

Keys come first and decide nearly everything. For kind math what is left goes to one worker process, which is started
when first needed, reused, killed when a vote's seconds are spent, and started again. Where math-verify is not
installed, nothing is merged. math-verify says yes too often: it takes {1,2} for (1,2), x for X, 52_8 for 52, 9 a.m. for
9 p.m., and rounds. So it is only asked about two things of one shape, in exact numbers, with each other's symbols.
"""

import asyncio
import atexit
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path

from mullover.answers.algebra import UnreadableError
from mullover.answers.keys import equal, is_rational, key
from mullover.answers.latex import clean, tokens
from mullover.answers.numeric import apart
from mullover.answers.sentences import closing
from mullover.types import AnswerSpec

LONGEST = 300  # characters of an answer that is sent
REMEMBERED = 10_000  # pairs
START = 30.0  # seconds the worker may take to import sympy; not counted under a vote's cap
HOPELESS = 0.5  # seconds without an answer after which a pair is not tried again

_CHARACTERS = re.compile(r"[\w\s\\{}()\[\].,;:+\-*/^=<>|!%&'$°πθ√∞±≤≥−]*", re.ASCII)
_UNSAFE = re.compile(
    r"__|\.|:|\d\s*_|\\(?:text|mbox|mathrm|operatorname)|[)\]}]\s*\^\s*\{?\s*\d{2}|\^\s*\{[^{}]*\^|\^\s*\{[^{}]*\{[^{}]*\^|\^[^{}]\^|\^\s*\{?\s*-?\d{4,}|\d{40,}|\d{4,}\s*!|!\s*!|\)\s*!|\}\s*!"
    r"|\\(?:int|iint|oint|sum|prod|lim|input|include|def|let|write|read|catcode)(?![A-Za-z])|\b(?:or|and|maybe|not)\b"
)
_RELATION = re.compile(r" (?:=|<|<=|!=|in|to) ")
_COMMAND = re.compile(r"\\[A-Za-z]+")
_LONG_WORD = re.compile(r"[A-Za-z]{4,}")


async def merge(heads: Sequence[str], spec: AnswerSpec = AnswerSpec(), *, cap: float = 2.0) -> list[int]:
    """For each head, the index of the earliest head it equals; its own where there is none.

    Args:
        heads: one answer per group, in the order first seen.
        cap: seconds this call may take once the worker is up and other calls are done. When they are spent, what is
            unsettled stays apart.

    Returns:
        0, 1, 2, ... for any kind but math, and where math-verify is not installed.
    """
    if spec.kind != "math" or not installed():
        return list(range(len(heads)))
    return await asyncio.get_running_loop().run_in_executor(_WORKER.thread, _merge, list(heads), spec, cap)


async def equivalent(gold: str, value: str, spec: AnswerSpec = AnswerSpec(), *, cap: float = 2.0) -> bool:
    """Whether `value` is right: the keys are equal or, for kind math, math-verify says so within `cap` seconds."""
    if equal(gold, value, spec):
        return True
    return spec.kind == "math" and (await merge([gold, value], spec, cap=cap))[1] == 0


@cache
def installed() -> bool:
    return find_spec("math_verify") is not None


def safe(answer: str) -> bool:
    """Short, balanced, of mathematical characters, without words, towers of powers or what else computes forever."""
    return _sent(answer) is not None


@lru_cache(maxsize=4096)
def _sent(answer: str) -> tuple[str, frozenset[str]] | None:
    """What the worker is sent for this answer, and the symbols in it; None if it is not sent."""
    if len(answer) > LONGEST:
        return None
    text = clean(answer)
    if not _CHARACTERS.fullmatch(text) or _UNSAFE.search(text) or not _balanced(text):
        return None
    if _LONG_WORD.search(_COMMAND.sub(" ", text).replace("sqrt", "")):
        return None
    try:
        symbols = frozenset(token.text for token in tokens(text) if token.kind == "symbol")
    except UnreadableError:
        return None
    return text, symbols - {"pi", "e", "i", "oo"}


def _balanced(answer: str) -> bool:
    depth = deepest = 0
    for match in re.finditer(r"\\.|[{}]", answer):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        deepest = max(deepest, depth)
        if depth < 0:
            return False
    return depth == 0 and deepest <= 8


def _shape(own: str) -> str:
    """What kind of thing a key is; "" for equations and inequalities, of which math-verify knows too little."""
    if _RELATION.search(own):
        return ""
    if "∪" in own or "∩" in own:
        return "union"
    if own[:1] in ("(", "[") and closing(own, 0) == len(own):
        return own[0] + own[-1]
    if own.startswith(("\\{", "\\begin")):
        return own[:3]
    return "list" if ", " in own else "value"


def _merge(heads: list[str], spec: AnswerSpec, cap: float) -> list[int]:
    vote = _Vote(time.monotonic() + cap)
    keys = [key(head, spec) for head in heads]
    first: dict[str, int] = {}
    earliest: list[int] = []
    for i, own in enumerate(keys):
        same = first.get(own)
        if same is None:
            candidates = [j for j in dict.fromkeys(earliest) if earliest[j] == j]
            maybe = (j for j in candidates if not apart(keys[j], own))
            same = next((j for j in maybe if _WORKER.same(heads[j], heads[i], (keys[j], own), vote)), i)
        first.setdefault(own, same)
        earliest.append(same)
    return earliest


@dataclass(slots=True)
class _Vote:
    """One call of merge."""

    deadline: float  # on the monotonic clock; put off by what it takes to start the worker

    @property
    def left(self) -> float:
        return max(0.0, self.deadline - time.monotonic())


class _Worker:
    """The one process, and what it has answered."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None
        self.ready = False
        self.thread = ThreadPoolExecutor(1, "mullover-answers")  # votes take turns, so each has its seconds to itself
        self.answers: OrderedDict[tuple[str, str], bool] = OrderedDict()

    def same(self, a: str, b: str, keys: tuple[str, str], vote: _Vote) -> bool:
        """Whether a equals b; False when the vote's deadline comes first."""
        if keys in self.answers:
            return self.answers[keys]
        left, right = _sent(a), _sent(b)
        if left is None or right is None or not vote.left:
            return False
        (a, ours), (b, theirs) = left, right
        shape = _shape(keys[0])
        if not shape or shape != _shape(keys[1]) or not (ours <= theirs or theirs <= ours):
            return False
        if is_rational(a) and is_rational(b):
            return False
        vote.deadline += self._up()
        began = time.monotonic()
        answer = self._ask(a, b, vote.left)
        if answer is not None or time.monotonic() - began > HOPELESS:
            self._remember(keys, bool(answer))
        return bool(answer)

    def _remember(self, keys: tuple[str, str], answer: bool) -> None:
        self.answers[keys] = answer
        while len(self.answers) > REMEMBERED:
            self.answers.popitem(last=False)

    def _ask(self, a: str, b: str, seconds: float) -> bool | None:
        """None if there was no answer in time; then the process is replaced, and its successor starts meanwhile."""
        if not self.ready:
            return None
        line = self._exchange(json.dumps([a, b]), seconds)
        if line not in ("true", "false"):
            self._start()
            return None
        return line == "true"

    def _exchange(self, line: str | None, seconds: float) -> str:
        """A line out and a line in; a timer that kills is the one way to bound a read on every platform."""
        process = self.process
        if process is None or process.stdin is None or process.stdout is None:
            return ""
        timer = threading.Timer(seconds, process.kill)
        timer.daemon = True
        timer.start()
        try:
            if line is not None:
                process.stdin.write(line + "\n")
                process.stdin.flush()
            return process.stdout.readline().strip()
        except (OSError, ValueError):  # it is gone
            return ""
        finally:
            timer.cancel()

    def _up(self) -> float:
        """Have a process that answers; the seconds that took. It may fail to start: then `ready` stays false."""
        began = time.monotonic()
        if self.process is None or self.process.poll() is not None:
            self._start()
        if not self.ready:
            self.ready = self._exchange(None, START) == "ready"
        return time.monotonic() - began

    def _start(self) -> None:
        self.close()
        root = str(Path(__file__).parents[2])
        paths = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "mullover.answers.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": paths},
        )

    def close(self) -> None:
        process, self.process, self.ready = self.process, None, False
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):  # a line may be left in the buffer
                if pipe is not None:
                    pipe.close()


_WORKER = _Worker()


def _forget() -> None:
    """In a forked child: the process, its pipes and the thread are the parent's."""
    _WORKER.process, _WORKER.ready, _WORKER.thread = None, False, ThreadPoolExecutor(1)


atexit.register(_WORKER.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
