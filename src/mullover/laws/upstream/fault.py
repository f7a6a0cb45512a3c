"""What can be made to go wrong with an answer, and which request it befalls."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

FaultKind = Literal[
    "status", "redirect", "reset_before", "not_http", "hang", "huge", "huge_error",  # instead of an answer
    "reset_after", "hang_after", "slow", "broken_json", "error_event", "no_done", "keepalive_comments",  # on its way
    "wrong_n", "null_content", "no_usage", "nan_logprobs", "duplicate_finish", "garbage_index", "wrong_types",  # in it
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong with one answer; only the numbers its kind speaks of count.

    status: `status` with `retry_after` and a `body`. redirect: `status` (307 unless 3xx) to `location`.
    reset_before: the connection is reset before any byte. not_http: bytes that are no HTTP. hang: no
    byte ever. huge: an answer of `size` bytes in one line. huge_error: the same with `status`.
    reset_after, hang_after, broken_json, error_event: a reset, silence, one event of cut JSON, or an
    error event and the end, each after `after` events, or half of a body that is not streamed.
    slow: `seconds` between single bytes. no_done: neither finish_reason nor [DONE].
    keepalive_comments: comments and CRLF, which is valid. wrong_n: `by` choices more than asked.
    null_content: content is null everywhere, with finish_reason "stop". no_usage: it is left out.
    nan_logprobs: every log-probability is the literal NaN. duplicate_finish: every choice ends twice.
    garbage_index: every choice's index is `index`. wrong_types: texts are numbers and numbers are texts.
    """

    kind: FaultKind
    status: int = 500
    retry_after: float | str | None = None  # seconds, or an HTTP date
    body: Literal["json", "html"] = "json"
    location: str = "/"
    after: int = 2
    seconds: float = 0.005
    size: int = 1 << 30
    by: int = -1
    index: int | str = 99


Faults = Iterable[Fault | None] | Callable[[int], Fault | None]


def taker(faults: Faults) -> Callable[[int], Fault | None]:
    """What befalls the i-th POST request; requests ask in order of arrival."""
    if callable(faults):
        return faults
    if isinstance(faults, Sequence):
        some = tuple(faults)
        return lambda i: some[i] if i < len(some) else None
    return _next_of(iter(faults))


def _next_of(faults: Iterator[Fault | None]) -> Callable[[int], Fault | None]:
    return lambda i: next(faults, None)
