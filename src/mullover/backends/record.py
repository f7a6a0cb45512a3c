"""What somebody said, as JSON tells it: one line of a recording, one item of a script, one result of a function."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from mullover.backends.thinking import recorded_thought
from mullover.errors import OptionError
from mullover.types import Finish

_CUT = frozenset({"length", "max_tokens", "max_length", "model_length", "MAX_TOKENS"})
_FINISHES: Mapping[str, Finish] = {name: name for name in get_args(Finish)}


@dataclass(frozen=True, slots=True)
class Record:
    """Counts are None where they were not recorded."""

    text: str = ""
    finish: Finish = "eos"
    error: str = ""
    thought: int = 0  # characters of `text` that are reasoning
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int = 0
    ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] | None = None

    @staticmethod
    def of(line: Any, where: str) -> "Record":
        """Read `text` or `completion`; the rest is optional.

        `finish` is ours (eos, stop, length...); `finish_reason` is a server's: length and its like cut
        the text, content_filter failed it, and all others ended it. `reasoning` or
        `reasoning_content` goes before the text. Counts are read from `usage` or from the line itself.

        Raises:
            OptionError: no text, or a field of the wrong kind; `where` is what the message calls the line.
        """
        if not isinstance(line, Mapping):
            raise OptionError(f"{where} is {_kind(line)}; it must be an object with `text` or `completion`")
        finish, error = _finish(line, where)
        text = line["text"] if line.get("text") is not None else line.get("completion")
        if text is None and error:
            text = ""
        if not isinstance(text, str):
            raise OptionError(f"{where} has no `text` or `completion` that is a string")
        reasoning = next((line[key] for key in ("reasoning", "reasoning_content") if line.get(key)), "")
        if not isinstance(reasoning, str):
            raise OptionError(f"{where}: its reasoning is {_kind(reasoning)}; it must be a string")
        if reasoning and not reasoning[-1].isspace():
            reasoning += "\n\n"
        prompt, completion, thinking = _counts(line, where)
        ids = _numbers(line.get("ids"), where, "ids", whole=True)
        logprobs = _logprobs(line.get("logprobs"), where)
        if ids and logprobs is not None and len(ids) != len(logprobs):
            raise OptionError(f"{where} has {len(ids)} ids and {len(logprobs)} logprobs; they must be as many")
        if ids and completion is None:
            completion = len(ids)
        said = len(reasoning) or recorded_thought(text)
        return Record(
            reasoning + text, finish, error, said, prompt, completion, thinking,
            tuple(map(int, ids or ())), logprobs,
        )  # fmt: skip


def _finish(line: Mapping[str, Any], where: str) -> tuple[Finish, str]:
    error, reason = line.get("error"), line.get("finish_reason")
    if error:
        return "error", error if isinstance(error, str) else str(error)
    if (finish := line.get("finish")) is not None:
        if not isinstance(finish, str) or finish not in _FINISHES:
            raise OptionError(f"{where} has finish {finish!r}; it must be one of {', '.join(_FINISHES)}")
        named = _FINISHES[finish]
        return named, f"recorded as {named}" if named in ("error", "cancelled") else ""
    if reason == "content_filter":
        return "error", "the server's content filter cut it"
    return ("length" if isinstance(reason, str) and reason in _CUT else "eos"), ""


def _counts(line: Mapping[str, Any], where: str) -> tuple[int | None, int | None, int]:
    usage = line.get("usage")
    if usage is not None and not isinstance(usage, Mapping):
        raise OptionError(f"{where}: its usage is {_kind(usage)}; it must be an object")
    said = {**line, **(usage or {})}
    details = said.get("completion_tokens_details")
    if isinstance(details, Mapping):
        said = {**details, **said}

    def count(name: str) -> int | None:
        value = said.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise OptionError(f"{where}: {name} is {value!r}; it must be a whole number, 0 or more")
        return value

    return count("prompt_tokens"), count("completion_tokens"), count("reasoning_tokens") or 0


def _logprobs(value: Any, where: str) -> tuple[float, ...] | None:
    """A list of numbers, or the form of OpenAI's servers: {"content": [{"token": ..., "logprob": ...}]}."""
    if isinstance(value, Mapping):
        content = value.get("content") or []
        value = [token.get("logprob") if isinstance(token, Mapping) else None for token in content]
    return _numbers(value, where, "logprobs")


def _numbers(value: Any, where: str, name: str, whole: bool = False) -> tuple[float, ...] | None:
    if value is None:
        return None
    kinds: tuple[type, ...] = (int,) if whole else (int, float)
    if not isinstance(value, list) or not all(isinstance(v, kinds) and not isinstance(v, bool) for v in value):
        raise OptionError(f"{where}: its {name} must be a list of numbers")
    return tuple(value) if whole else tuple(map(float, value))


def _kind(value: Any) -> str:
    names = {"str": "a string", "list": "a list", "dict": "an object", "NoneType": "null", "bool": "true or false"}
    return names.get(type(value).__name__, "a number" if isinstance(value, (int, float)) else type(value).__name__)
