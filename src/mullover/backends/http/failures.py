"""Why a request failed, and whether asking again may help."""

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import orjson

from mullover.errors import ModelError

AGAIN = frozenset({408, 409, 429})  # and all from 500 on
LONG = 300  # characters of a server's own words that we repeat

Why = Literal["no", "busy", "down", "moved"]


class AttemptError(ModelError):
    """One attempt failed.

    again: "no": asking again would not help. "busy": the server has too much to do. "down": it broke, or the
        way to it did. "moved": it was not asked at all, since its endpoint went out of use.
    after: seconds it asked us to wait, or None.
    status: of HTTP; 0 where there was none.
    """

    def __init__(self, message: str, again: Why = "no", after: float | None = None, status: int = 0) -> None:
        super().__init__(message)
        self.again, self.after, self.status = again, after, status


SECRETS: set[str] = set()  # keys in use: some servers repeat them in their refusals


def in_words(value: Any) -> str:
    """The beginning of what a server sent, on one line, safe to show."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    for secret in SECRETS:
        text = text.replace(secret, "[key]")
    line = " ".join(text[: LONG * 4].split())
    line = "".join(c if c.isprintable() else "?" for c in line)
    return line if len(line) <= LONG else f"{line[:LONG]}..."


def of_status(status: int, headers: Mapping[str, str], body: bytes) -> AttemptError:
    """An answer that is not 200."""
    message = f"status {status}"
    if told := _message(body):
        message += f": {told}"
    if status == 429 and b"insufficient_quota" not in body:  # no waiting brings money
        return AttemptError(message, "busy", _after(headers), status)
    if status == 429:
        return AttemptError(message, "no", None, status)
    if status in (503, 529):  # a full queue, at Ollama and others
        return AttemptError(message, "busy", _after(headers), status)
    if status in AGAIN or status >= 500:
        return AttemptError(message, "down", _after(headers), status)
    return AttemptError(message, "no", None, status)


def of_error(value: Mapping[str, Any]) -> AttemptError:
    """An error that came as an event of a stream, or as a body with status 200."""
    error = value.get("error") or value
    code = error.get("code") if isinstance(error, Mapping) else None
    status = int(code) if isinstance(code, (int, str)) and re.fullmatch("[1-5][0-9][0-9]", str(code)) else 0
    kind = error.get("type") if isinstance(error, Mapping) else ""
    message = f"the server reports an error: {_told(error)}"
    if status in (429, 503, 529) or "rate_limit" in f"{kind} {code}" or "overloaded" in f"{kind} {code}":
        return AttemptError(message, "busy", None, status)
    if status in AGAIN or status >= 500 or "server_error" in f"{kind} {code}".lower():
        return AttemptError(message, "down", None, status)
    return AttemptError(message, "no", None, status)


def _message(body: bytes) -> str:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return in_words(body)
    if isinstance(value, dict):
        return _told(value.get("error") or value.get("detail") or value)
    return in_words(body)


def _told(error: Any) -> str:
    if isinstance(error, Mapping) and isinstance(error.get("message"), str):
        inner = error.get("metadata")
        raw = inner.get("raw") if isinstance(inner, Mapping) else None  # what the server behind a router said
        return in_words(f"{error['message']}: {raw}" if isinstance(raw, str) else error["message"])
    return in_words(error)


def _after(headers: Mapping[str, str]) -> float | None:
    """Seconds of Retry-After, a number or a date; retry-after-ms goes first."""
    try:
        if (milliseconds := headers.get("retry-after-ms")) is not None:
            seconds = float(milliseconds) / 1000
        elif (told := headers.get("retry-after")) is None:
            return None
        elif told.strip().replace(".", "", 1).isdigit():
            seconds = float(told)
        else:
            seconds = parsedate_to_datetime(told).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, seconds) if seconds == seconds else None
