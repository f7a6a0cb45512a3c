"""What servers say, in one form: chat and raw completions, whole or in chunks, under all their names.

A server's words are data from outside: a field of the wrong kind is an error or is taken as not given,
and never reaches further.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from mullover.backends.http.failures import AttemptError, in_words, of_error
from mullover.types import UNTOLD, Token, Usage

ID = "token_id:"  # what vLLM may write for a token's text
MANY = 1 << 40  # no count of tokens is so large


@dataclass(slots=True)
class Piece:
    """What one choice grew by. Tuples hold one entry a token; those that the server does not tell are empty."""

    index: int = 0
    text: str = ""
    reasoning: str = ""
    ids: tuple[int, ...] = ()
    tokens: tuple[str, ...] = ()  # their texts, where logprobs come with them
    logprobs: tuple[float, ...] = ()
    alternatives: tuple[tuple[Token, ...], ...] = ()
    finish: str = ""  # in the server's word
    stop: str | None = None  # the stop string it names


@dataclass(slots=True)
class Chunk:
    pieces: list[Piece]
    usage: Usage | None = None


def parsed(data: bytes) -> dict[str, Any]:
    """One JSON object; NaN and Infinity, which some servers write, are numbers here.

    Raises:
        AttemptError: it is none, or it is the server's report of an error.
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            raise AttemptError(f"the server sent what is no JSON: {in_words(data)}") from None
    if not isinstance(value, dict):
        raise AttemptError(f"the server sent {in_words(data)} instead of a JSON object")
    if value.get("error") or value.get("object") == "error":
        raise of_error(value)
    return value


def chunk(data: bytes) -> Chunk:
    """One event of a stream, or a whole body.

    Raises:
        AttemptError: it is no JSON, not of this form, or reports an error.
    """
    value = parsed(data)
    choices = value.get("choices")
    if (plain := _plain(choices, value)) is not None:
        return plain
    if choices is None:  # usage alone, a ping, or whatever else is no part of the answer
        choices = []
    if not isinstance(choices, list):
        raise AttemptError(f"the server sent no choices: {in_words(data)}")
    read = [_piece(choice) for choice in choices]
    spent = usage(value.get("usage"))
    if spent is not None and not spent.cached_tokens and isinstance(timings := value.get("timings"), dict):
        cached = min(_count(timings.get("cache_n")) or 0, spent.prompt_tokens)  # llama.cpp's place
        spent = replace(spent, prompt_tokens=spent.prompt_tokens - cached, cached_tokens=cached)
    return Chunk(read, spent)


def _plain(choices: Any, value: dict[str, Any]) -> Chunk | None:
    """The usual chunk, of some words of one choice and nothing else, by the short way; None: it is another."""
    try:
        (choice,) = choices
        index, delta, finish = choice["index"], choice["delta"], choice.get("finish_reason")
        text = delta["content"]
    except (TypeError, KeyError, ValueError, AttributeError):
        return None
    if len(delta) != 1 or type(text) is not str or type(index) is not int or index < 0 or value.get("usage"):
        return None
    if (len(choice) > 3 and not choice.keys() <= USUAL) or choice.get("logprobs"):
        return None
    if finish is not None and type(finish) is not str:
        return None
    return Chunk([Piece(index, text, "", (), (), (), (), finish or "")])


USUAL = frozenset({"index", "delta", "finish_reason", "logprobs"})


def _piece(choice: Any) -> Piece:
    if not isinstance(choice, dict):
        raise AttemptError(f"the server sent a choice that is no object: {in_words(choice)}")
    index = choice.get("index") or 0
    if type(index) is not int or index < 0:
        raise AttemptError(f"the server sent a choice of index {in_words(index)}")
    said = choice.get("delta")
    if said is None:
        said = choice.get("message")
    piece = Piece(index)
    if said is None:  # a raw completion
        piece.text = _text(choice.get("text"), "text")
    elif isinstance(said, dict):
        piece.text = _text(said.get("content") or said.get("refusal"), "content")
        if len(said) > 1 or not piece.text:
            piece.reasoning = reasoning(said)
    else:
        raise AttemptError(f"the server sent a choice without text: {in_words(choice)}")
    finish, stop = choice.get("finish_reason"), choice.get("stop_reason", choice.get("matched_stop"))
    piece.finish = finish if isinstance(finish, str) else ""
    piece.stop = stop if isinstance(stop, str) else None
    if ids := choice.get("token_ids") or choice.get("output_token_ids"):
        piece.ids = _ids(ids)
    if logprobs := choice.get("logprobs"):
        try:
            _with_logprobs(piece, logprobs)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise AttemptError(f"the server sent logprobs in no known form: {in_words(logprobs)}") from None
    return piece


def reasoning(said: Mapping[str, Any]) -> str:
    """Under the first of its names that has any."""
    for name in ("reasoning", "reasoning_content"):
        if value := said.get(name):
            return _text(value, name)
    details = said.get("reasoning_details")
    parts = [d for d in details if isinstance(d, dict)] if isinstance(details, list) else []
    if told := "".join([_text(part.get("text") or part.get("summary"), "reasoning_details") for part in parts]):
        return told
    return _text(said.get("thinking"), "thinking")


def _text(value: Any, name: str) -> str:
    """Text, or the texts of a list of content parts; null is none."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(part, dict) for part in value):
        return "".join([_text(part.get("text"), name) for part in value])
    raise AttemptError(f"the server sent a {name} that is no text: {in_words(value)}")


def _ids(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(i) is int and 0 <= i < MANY for i in value):
        raise AttemptError(f"the server sent token ids that are none: {in_words(value)}")
    return tuple(value)


def _with_logprobs(piece: Piece, logprobs: Any) -> None:
    """Of a chat ({"content": [...]}) or of a raw completion ({"tokens": [...], "token_logprobs": [...]})."""
    if not isinstance(logprobs, dict):
        raise AttemptError(f"the server sent logprobs that are none: {in_words(logprobs)}")
    if isinstance(content := logprobs.get("content"), list):
        piece.tokens = tuple([_text(at.get("token"), "token") for at in content])
        piece.logprobs = tuple([_logprob(at.get("logprob")) for at in content])
        piece.alternatives = tuple([_ranked([_token(top) for top in at.get("top_logprobs") or ()]) for at in content])
        if not piece.ids and all(type(at.get("id")) is int for at in content):  # llama.cpp's way to tell ids
            piece.ids = tuple([at["id"] for at in content])
    elif isinstance(tokens := logprobs.get("tokens"), list):
        piece.tokens = tuple([_text(token, "token") for token in tokens])
        # The first token of an echoed prompt has no logprob: it follows nothing.
        piece.logprobs = tuple([math.nan if p is None else _logprob(p) for p in logprobs.get("token_logprobs") or ()])
        if not piece.ids and tokens and all(token.startswith(ID) for token in piece.tokens):
            piece.ids = tuple([int(token[len(ID) :]) for token in piece.tokens if token[len(ID) :].isdecimal()])
        tops = logprobs.get("top_logprobs") or ()
        piece.alternatives = tuple(
            [_ranked([Token(UNTOLD, token, _logprob(p)) for token, p in (top or {}).items()]) for top in tops]
        )


def _token(top: Any) -> Token:
    number = top.get("id")
    return Token(number if type(number) is int else UNTOLD, _text(top.get("token"), "token"), _logprob(top["logprob"]))


def _ranked(tokens: list[Token]) -> tuple[Token, ...]:
    return tuple(sorted(tokens, key=lambda token: -token.logprob))


def _logprob(value: Any) -> float:
    """At most 0: a sampler's rounding may leave it a little above. NaN stays, for the caller to refuse."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise AttemptError(f"the server sent a logprob that is no number: {in_words(value)}")
    return min(0.0, float(value)) if value == value else math.nan


def usage(value: Any) -> Usage | None:
    """None where it was not told, or in numbers that are none."""
    if not isinstance(value, dict):
        return None
    inner, outer = value.get("prompt_tokens_details"), value.get("completion_tokens_details")
    prompt, completion = _count(value.get("prompt_tokens")), _count(value.get("completion_tokens", 0))
    cached = _count(inner.get("cached_tokens")) if isinstance(inner, dict) else None
    if cached is None:
        cached = _count(value.get("prompt_cache_hit_tokens"))  # DeepSeek's name
    thought = _count(outer.get("reasoning_tokens")) if isinstance(outer, dict) else None
    if not thought:
        thought = _count(value.get("reasoning_tokens"))  # SGLang's place
    if prompt is None or completion is None:
        return None
    cached = min(cached or 0, prompt)
    return Usage(0, prompt - cached, cached, completion, min(thought or 0, completion))


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < MANY else None
