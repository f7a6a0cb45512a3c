"""`mull ask`: one question, one answer."""

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import typer

from mullover.answers import equal
from mullover.api import as_prompt
from mullover.cli import say
from mullover.cli.options import Chosen, chosen, signed
from mullover.cli.output import clean, ledger, print_json
from mullover.cli.progress import waited_for
from mullover.errors import ModelError, OptionError
from mullover.running import Run, run
from mullover.types import Answer, AnswerSpec, Model, Prompt

OWN = {
    "question": (str, typer.Argument(help="The question; - reads it from stdin."), ...),
    "min_agreement": (
        float | None,
        typer.Option("--min-agreement", min=0, max=1, help="Abstain where fewer of the samples agree."),
        None,
    ),
    "json": (bool, typer.Option("--json", help="Print one JSON object."), False),
}


def command(words: Sequence[str]) -> Callable[..., Any]:
    return signed(ask, words, OWN)


def ask(words: Sequence[str], question: str, min_agreement: float | None, json: bool, **given: Any) -> int:
    """Answer, keep, print."""
    picked = chosen(given)
    prompt = as_prompt(asked(question), picked.kind or "text", picked.system)  # type: ignore[arg-type]
    model = waited_for(picked.model)
    if any(getattr(value, "of_task", False) for value in picked.options.values()):
        raise OptionError("the scorer `oracle` grades by a task's answers; with ask write oracle:TRUTH")
    started = time.time()
    result, error = asyncio.run(answered(picked, prompt, model, quiet=json))
    seconds = time.time() - started
    keep(words, result, picked, prompt, model.info.name, started, seconds, error)
    if error and result.answer.value is None:
        say(error)
        return 1
    agreeing = None if min_agreement is None else agreement(result.answer, prompt.expects)
    if agreeing is not None and agreeing < (min_agreement or 0.0) - 1e-12:
        return abstained(result, agreeing, report(result, picked, model.info.name, seconds) if json else None)
    if json:
        print_json(report(result, picked, model.info.name, seconds))
    else:
        answer = result.answer
        print(clean(answer.value if answer.value is not None else answer.text))
        if answer.value is None and answer.text:
            say("no short answer was stated; this is the whole reply")
        print(cost_line(result, seconds), file=sys.stderr)
    return 1 if error else 0


def agreement(answer: Answer, expects: AnswerSpec) -> float:
    """The share of samples that state the answer.

    Raises:
        OptionError: there were not several samples.
    """
    samples = [c for c in answer.candidates if c.kind == "sample" and c.sample is not None]
    if len(samples) < 2:
        raise OptionError("--min-agreement needs several samples; take --strategy self_consistency")
    agree = [
        c for c in samples if None not in (c.value, answer.value) and equal(c.value or "", answer.value or "", expects)
    ]
    return len(agree) / len(samples)


def abstained(result: Run, agreeing: float, shown: dict[str, Any] | None) -> int:
    """No answer, and why."""
    if shown is not None:
        print_json({**shown, "answer": None, "abstained": True, "leading": result.answer.value, "agreement": agreeing})
    else:
        say(f"abstained: {agreeing:.0%} of the samples agree on {clean(str(result.answer.value))[:80]}")
    return 1


def asked(question: str) -> str:
    """The question, from stdin if it is a dash."""
    if question != "-":
        return question
    if sys.stdin is None:
        raise OptionError("there is no stdin to read the question from; give it as an argument")
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise OptionError(f"the question on stdin is no UTF-8 text: {error}") from None


async def answered(picked: Chosen, prompt: Prompt, model: Model, quiet: bool) -> tuple[Run, str]:
    """The run, and why it ended early if it did: then it is what there was until then."""
    try:
        result = await run(
            picked.strategy,
            model,
            prompt,
            seed=picked.seed,
            budget=picked.budget,
            sampling=picked.sampling,
            watch=None if quiet else Watch(),
            **picked.options,
        )
    except (asyncio.CancelledError, ModelError) as ended:
        stopped = isinstance(ended, asyncio.CancelledError)
        result = getattr(ended, "run", None) or Run(Answer(None, complete=False, why="stopped"), ())
        return result, "stopped; nothing was answered yet" if stopped else str(ended)
    return result, ""


class Watch:
    """Tells of the answer so far, on a terminal at once and elsewhere every two seconds."""

    def __init__(self) -> None:
        self.every = 0.5 if sys.stderr.isatty() else 2.0  # seconds
        self.next = time.monotonic() + self.every

    def __call__(self, answer: Answer) -> None:
        if time.monotonic() >= self.next:
            self.next = time.monotonic() + self.every
            print(f"... {clean(str(answer.value))[:60]} ({answer.why})", file=sys.stderr, flush=True)


def report(result: Run, picked: Chosen, model: str, seconds: float) -> dict[str, Any]:
    """What `ask --json` prints."""
    answer = result.answer
    return {
        "answer": answer.value,
        "text": answer.text,
        "why": answer.why,
        "strategy": picked.name,
        "options": picked.specs,
        "model": model,
        "seed": picked.seed,
        "incomplete": not answer.complete,
        "oracle": result.oracle,
        "candidates": [
            {
                "value": c.value,
                "text": c.text,
                "kind": c.kind,
                "status": c.status,
                "parents": list(c.parents),
                "score": None if c.score is None else c.score.value,
                "numbers": dict(c.numbers),
            }
            for c in answer.candidates
        ],
        "usage": ledger(result.total, result.usage),
        "seconds": seconds,
    }


def cost_line(result: Run, seconds: float) -> str:
    total = result.total
    parts = [
        result.answer.why,
        f"{total.calls} call{'s' if total.calls != 1 else ''}",
        f"{total.prompt_tokens} + {total.completion_tokens} tokens (prompt + completion)",
        f"{seconds:.2f} s",
    ]
    if total.money:
        parts.append(f"cost {total.money:.6g}")
    if result.oracle:
        parts.append("ORACLE: the scorer knew the truth")
    return "; ".join(clean(part) for part in parts)


def keep(
    words: Sequence[str],
    result: Run,
    picked: Chosen,
    prompt: Prompt,
    model: str,
    started: float,
    seconds: float,
    failed: str,
) -> None:
    """Store the run; that it cannot be stored takes nothing from the answer."""
    from mullover.errors import StoreError
    from mullover.store import Done, RunStore, encode, new_folder_for_ask

    manifest = {
        "identity": {
            "task": "ask",
            "question": prompt.question,
            "model": picked.model or model,
            "strategy": picked.name,
            "options": picked.specs,
            "sampling": picked.sampling,
            "seed": picked.seed,
        },
        "command": list(words),
    }
    line = encode(
        "question", result, gold=None, correct=None, grades=None, seconds=seconds, started=started, error=failed
    )
    try:
        store = RunStore.open(new_folder_for_ask(), manifest)
        store.append(line, Done.of("question", result, None, None, seconds=seconds, error=failed))
        store.close({"problems": 1})
    except (StoreError, OptionError) as error:
        say(f"not stored: {error}")
