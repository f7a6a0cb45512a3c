"""`mullover.solve` and its kin: one question in, a checked answer and what it cost out."""

import asyncio
import atexit
import os
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import fields
from typing import Any, TypeVar

from mullover.errors import OptionError
from mullover.openers import open_model, open_strategy, opened, opened_field
from mullover.prompts import INSTRUCTIONS, instruction
from mullover.running import Budget, Run, run
from mullover.strategies import checked, parameters
from mullover.types import Answer, AnswerSpec, Kind, Model, Price, Prompt, Sampling, Strategy

T = TypeVar("T")
SAMPLED = frozenset(f.name for f in fields(Sampling) if f.compare)


def as_prompt(question: str | Prompt, kind: Kind = "text", system: str = "") -> Prompt:
    """A question as a Prompt that says how the answer is to be stated.

    Raises:
        OptionError: an empty question, or no such kind.
    """
    if isinstance(question, Prompt):
        return question
    if not isinstance(question, str):
        raise OptionError(f"the question is of type {type(question).__name__}; give a text or a Prompt")
    if not question.strip():
        raise OptionError("the question is empty; ask something")
    if kind not in INSTRUCTIONS:
        raise OptionError(f"no kind of answer {kind!r}; there are {', '.join(INSTRUCTIONS)}")
    return Prompt.of(question, AnswerSpec(kind, instruction=instruction(kind)), system=system)


async def asolve(
    question: str | Prompt,
    *,
    model: Model | str | None = None,
    strategy: Strategy | str = "chain_of_thought",
    kind: Kind = "text",
    system: str = "",
    seed: int = 0,
    budget: Budget = Budget(),
    watch: Callable[[Answer], object] | None = None,
    **options: Any,
) -> Run:
    """Answer one question by one strategy.

    Args:
        question: a text, or a Prompt (then `kind` and `system` are its own).
        model: a Model, or a spec such as `replay:FILE`; None is MULLOVER_MODEL, or else `pocket`.
        strategy: a name of `mull strategies`, `your.module:function`, or the function itself.
        kind: of the short answer, so that it can be read and compared.
        budget: hard limits; `run.answer.complete` is False if one was reached.
        watch: hears of each better answer.
        options: the strategy's own and fields of Sampling (temperature, max_tokens, ...). Texts are
            opened as on the command line where the option is no text: `scorer="judge:MODEL"`.

    Returns:
        Run: `.answer.value`, `.answer.text`, `.usage` by role, `.calls`.

    Raises:
        OptionError: an option that does not exist or cannot work; nothing was asked then.
        ModelError: the model failed.
    """
    prompt = as_prompt(question, kind, system)
    chosen = open_strategy(strategy) if isinstance(strategy, str) else checked(strategy, str(strategy))
    backend = open_model(model) if model is None or isinstance(model, str) else model
    if not isinstance(backend, Model):
        raise OptionError(f"the model is of type {type(backend).__name__}; give a Model, or a spec such as replay:FILE")
    known = parameters(chosen)
    own: dict[str, Any] = {}
    words: dict[str, Any] = {}
    if "sampling" in options:
        raise OptionError("give the fields of sampling as options: temperature=0.7, max_tokens=512, ...")
    for name, value in options.items():
        if name in SAMPLED and name not in known:
            words[name] = opened_field(name, value) if isinstance(value, str) else value
        elif name in known and isinstance(value, str) and known[name].annotation is not str:
            own[name] = opened(name, known[name].annotation, value)
        else:
            own[name] = value
    try:
        return await run(chosen, backend, prompt, seed=seed, budget=budget, sampling=words, watch=watch, **own)
    finally:
        if backend is not model and (close := getattr(backend, "aclose", None)) is not None:
            await close()  # nobody else has it, and its connections would stay open for a while


def solve(question: str | Prompt, **options: Any) -> Run:
    """`asolve` without await: from scripts and notebooks, and again and again.

    All calls share one event loop in a thread of its own, so it works where a loop already runs.
    """
    return _in_background(asolve(question, **options))


async def stream(question: str | Prompt, **options: Any) -> AsyncGenerator[Answer, None]:
    """Each better answer as it comes; the last one is the answer. Leaving the loop cancels the rest."""
    queue: asyncio.Queue[Answer | None] = asyncio.Queue()
    job = asyncio.create_task(asolve(question, watch=queue.put_nowait, **options))
    job.add_done_callback(lambda _: queue.put_nowait(None))
    last: Answer | None = None
    try:
        while (answer := await queue.get()) is not None:
            last = answer
            yield answer
        final = (await job).answer
        if final != last:  # a budget ended the run: say so
            yield final
    finally:
        if not job.done():
            job.cancel()
            with suppress(asyncio.CancelledError):
                await job


def model(function: Callable[..., Awaitable[Any]], *, name: str | None = None, price: Price | None = None) -> Model:
    """Any async function from a prompt's text to a reply, as a Model.

    Raises:
        OptionError: the function is not async.
    """
    from mullover.backends.called import called

    return called(function, name=name, price=price)


class _Background:
    """One event loop in a thread, started at first use; a forked child starts its own."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.loop: asyncio.AbstractEventLoop | None = None

    def running(self) -> asyncio.AbstractEventLoop:
        with self.lock:
            if self.loop is None:
                self.loop = asyncio.new_event_loop()
                thread = threading.Thread(target=self.loop.run_forever, name="mullover", daemon=True)
                thread.start()
                atexit.register(self.stop, self.loop, thread)
            return self.loop

    def stop(self, loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
        if self.loop is not loop:  # a forked child: the thread was its parent's
            return
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(_leave(), loop).result(timeout=2)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=2)
        if not thread.is_alive():
            loop.close()


async def _leave() -> None:
    """Cancel what still runs, and wait until it is gone."""
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()  # backends close their connections there


_BACKGROUND = _Background()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_BACKGROUND.__init__)  # type: ignore[misc]


def _in_background(job: Coroutine[Any, Any, T]) -> T:
    loop = _BACKGROUND.running()
    with suppress(RuntimeError):  # no loop runs here, the usual case
        if asyncio.get_running_loop() is loop:
            job.close()
            raise OptionError("solve() is called by something that solve() runs; it would wait forever: await asolve()")
    future: Future[T] = asyncio.run_coroutine_threadsafe(job, loop)
    try:
        return future.result()
    except BaseException:  # whatever ended the waiting, Ctrl-C or an alarm, ends the work
        future.cancel()
        raise
