"""An async function as a Model: the way in for any client that has no backend here."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

from mullover.backends.checks import seeds_of
from mullover.backends.content import content
from mullover.backends.record import Record
from mullover.backends.thinking import THINK
from mullover.errors import ModelError, OptionError, TransientError
from mullover.types import NOTHING, Event, Events, Model, ModelInfo, Price, Prompt, Sample, Sampling, Usage

SAMPLING = ("temperature", "top_p", "max_tokens", "stop")  # Sampling fields that a function may name
OTHERS = ("seed", "system")
_CALL = "__call__"
STEP = 16  # calls begun between two looks at the clock
Call = asyncio.Task[Sample | Exception]
Form = Literal["text", "messages", "prompt"]


def called(function: Callable[..., Awaitable[Any]], *, name: str | None = None, price: Price | None = None) -> Model:
    """Wrap `async def ask(text, ...)` as a Model; n samples are n concurrent calls of it.

    Args:
        function: its first parameter is the prompt's text; or its messages, as a list of {"role": ...,
            "content": ...}, if it is called `messages` or annotated as a list; or the `Prompt`, if it is
            annotated so. It also gets those it names of temperature, top_p, max_tokens, stop (a
            tuple), seed (the sample's own) and system (the system message, which then is not in the text).
            It returns the reply as a str or a `Sample`; or a mapping or object with `text`, and maybe
            `usage`, `finish_reason` and `reasoning`, as a line of a recording has them.
        name: what results call the model; the function's own by default.
        price: for budgets in money.

    Returns:
        Model: it can do the Sampling fields that the function names, no others; continuing a turn
            only with a `Prompt`, several user turns only with that or messages. Usage is counted in
            words unless the function gives it, in which case it must always; `info.unit` goes by
            the return annotation: words for str and for none.

    Raises:
        OptionError: the function is not async, or has parameters that nobody would fill.
    """
    return Called(function, name=name, price=price)


class Called(Model):
    """What `called` makes."""

    def __init__(
        self, function: Callable[..., Awaitable[Any]], *, name: str | None = None, price: Price | None = None
    ) -> None:
        name = name or str(getattr(function, "__name__", type(function).__name__))
        if not _is_async(function):
            raise OptionError(f"{name} is not async; write `async def`, or await asyncio.to_thread(...) in one that is")
        signature = inspect.signature(function)
        self.function = function
        self.form = _form(name, signature)
        self.options = _options(name, signature)
        can = {*self.options} & {*SAMPLING}
        can |= {"messages": {"turns"}, "prompt": {"turns", "segments"}}.get(self.form, set())
        unit: Literal["tokens", "words"] = "words" if _is(signature.return_annotation, "str", "_empty") else "tokens"
        self.info = ModelInfo(
            name,
            frozenset(can),
            think=THINK,
            metered="call",
            prompt_each=True,
            unit=unit,
            price=price,
            deterministic="seed" in self.options,
        )

    async def stream(self, prompt: Prompt, n: int, sampling: Sampling) -> Events:
        seeds = seeds_of(self.info, prompt, n, sampling)
        asked = self._asked(prompt)
        calls = dict[Call, int]()
        ended, failed = asyncio.Queue[Call](), dict[int, Exception]()
        try:
            for index, seed in enumerate(seeds):
                call = asyncio.create_task(self._call(asked, prompt, replace(sampling, seeds=(seed,))))
                call.add_done_callback(ended.put_nowait)
                calls[call] = index
                if index % STEP == STEP - 1:
                    await asyncio.sleep(0)
            for _ in calls:
                call = await ended.get()
                await asyncio.sleep(0)  # many may have ended at once; let others run and clocks fire
                sample = ModelError("the call was cancelled") if call.cancelled() else call.result()
                if isinstance(sample, Sample):
                    yield Event(calls[call], sample.text, sample.ids, sample.usage, sample)
                else:
                    failed[calls[call]] = sample
        finally:  # finished, failed or closed: leave no call behind
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
        transient = [error for error in failed.values() if isinstance(error, TransientError)]
        if transient and len(failed) == n:
            raise transient[0]  # nothing was said, so that asking again is safe
        for index in sorted(failed):
            yield Event(index, sample=Sample("", "error", error=_told(failed[index])))

    async def _call(self, asked: Any, prompt: Prompt, sampling: Sampling) -> Sample | Exception:
        """One sample, or why there is none: a call that fails harms no other."""
        given = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "stop": sampling.stop,
            "seed": sampling.seeds[0],
            "system": _system(prompt),
        }
        try:
            reply = await self.function(asked, **{name: given[name] for name in self.options})
            return self._sample(reply, prompt)
        except Exception as error:  # noqa: BLE001  a boundary: the function is not ours, its failure is a sample's
            return error

    def _asked(self, prompt: Prompt) -> Any:
        """What goes into the first parameter."""
        if self.form == "prompt":
            return prompt
        messages = [m for m in prompt.messages if m.role != "system" or "system" not in self.options]
        if self.form == "messages":
            return [{"role": m.role, "content": content(m)} for m in messages]
        return "\n".join([m.text for m in messages])

    def _sample(self, reply: Any, prompt: Prompt) -> Sample:
        """Raises ModelError for a reply that has no text."""
        if isinstance(reply, Sample):
            return (
                reply
                if reply.usage != NOTHING
                else replace(reply, usage=self._words(reply.text, reply.thought, prompt))
            )
        line = {"text": reply} if isinstance(reply, str) else _line(reply)
        if line is None:
            raise ModelError(
                f"{self.info.name} returned {type(reply).__name__}; it must return a str, or text and usage"
            )
        try:
            record = Record.of(line, f"what {self.info.name} returned")
        except OptionError as error:
            raise ModelError(str(error)) from None
        if record.error:
            raise ModelError(record.error)
        usage = self._words(record.text, record.thought, prompt)
        if record.completion_tokens is not None:
            asked = usage.prompt_tokens if record.prompt_tokens is None else record.prompt_tokens
            usage = Usage(0, asked, 0, record.completion_tokens, record.reasoning_tokens)
        return Sample(record.text, record.finish, record.ids, record.logprobs, thought=record.thought, usage=usage)

    def _words(self, text: str, reasoning: int, prompt: Prompt) -> Usage:
        """Each call reads the whole prompt again."""
        asked = len(prompt.text.split()) + len(prompt.said.split())
        return Usage(0, asked, 0, len(text.split()), len(text[:reasoning].split()))


def _is_async(function: Callable[..., Any]) -> bool:
    """Also an object whose `__call__` is."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, _CALL, None))


def _form(name: str, signature: inspect.Signature) -> Form:
    first = next(iter(signature.parameters.values()), None)
    if first is None or first.kind in (first.KEYWORD_ONLY, first.VAR_KEYWORD):
        raise OptionError(f"{name} takes nothing; its first parameter must be the prompt's text or messages")
    if _is(first.annotation, "Prompt"):
        return "prompt"
    if _is(first.annotation, "list", "List", "Sequence", "Iterable"):
        return "messages"
    return "messages" if first.name == "messages" and _is(first.annotation, "_empty") else "text"


def _options(name: str, signature: inspect.Signature) -> tuple[str, ...]:
    """The keyword parameters that we fill."""
    known, rest = (*SAMPLING, *OTHERS), [*signature.parameters.values()][1:]
    for parameter in rest:
        required = parameter.default is parameter.empty and parameter.kind.name not in ("VAR_POSITIONAL", "VAR_KEYWORD")
        if required and (parameter.name not in known or parameter.kind is parameter.POSITIONAL_ONLY):
            raise OptionError(f"{name} needs {parameter.name}, which nobody fills; there are {', '.join(known)}")
    return tuple(p.name for p in rest if p.name in known and p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD))


def _is(annotation: Any, *names: str) -> bool:
    """By the annotation's bare name, since it may be a string that cannot be evaluated."""
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    return str(text).partition("[")[0].rpartition(".")[2] in names


def _system(prompt: Prompt) -> str:
    return "\n".join([message.text for message in prompt.messages if message.role == "system"])


def _line(reply: Any) -> Mapping[str, Any] | None:
    """An object's fields as a line of a recording; None if it has no text."""
    if isinstance(reply, Mapping):
        return {**reply, "usage": _fields(reply.get("usage"))} if reply.get("usage") is not None else reply
    if not isinstance(getattr(reply, "text", None), str):
        return None
    names = ("text", "finish_reason", "reasoning", "usage")
    line = {name: value for name in names if (value := getattr(reply, name, None)) is not None}
    return {**line, "usage": _fields(line["usage"])} if "usage" in line else line


def _fields(usage: Any) -> Any:
    """Usage as a mapping, whatever a client makes of it."""
    if isinstance(usage, Mapping):
        return usage
    names = ("prompt_tokens", "completion_tokens", "reasoning_tokens")
    return {name: value for name in names if (value := getattr(usage, name, None)) is not None}


def _told(error: Exception) -> str:
    if isinstance(error, ModelError):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
