"""How the toy server writes a chat as one text, and reads such a text back."""

import re
from collections.abc import Sequence

from mullover.types import Message

QUIET = "<|quiet|>\n"  # the first line of a prompt for which thinking is turned off
REPLY = "<|assistant|>\n"  # the model goes on after the last of these

TEMPLATE = (  # jinja; the server itself renders by `rendered`, which says the same
    "{% if enable_thinking is defined and not enable_thinking %}<|quiet|>\n{% endif %}"
    "{% for message in messages %}<|{{ message.role }}|>\n{{ message.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)

_TURN = re.compile(r"<\|(system|user|assistant|tool)\|>\n(.*?)<\|end\|>\n", re.DOTALL)


def rendered(messages: Sequence[Message], quiet: bool) -> str:
    """The whole prompt up to where the assistant's turn begins."""
    turns = "".join([f"<|{message.role}|>\n{message.text}<|end|>\n" for message in messages])
    return f"{QUIET if quiet else ''}{turns}{REPLY}"


def read_chat(text: str) -> tuple[list[Message], bool, str] | None:
    """The messages, whether thinking is off, and the assistant's turn so far; None if `text` is no rendered chat."""
    head, reply, said = text.rpartition(REPLY)
    quiet = head.startswith(QUIET)
    turns = head.removeprefix(QUIET)
    found = list(_TURN.finditer(turns))
    if not reply or sum(len(turn[0]) for turn in found) != len(turns):
        return None
    return [message_of(turn[1], turn[2]) for turn in found], quiet, said


def message_of(role: object, text: str) -> Message:
    """A role that the toy does not know is the user's."""
    if role == "assistant" or role == "tool":
        return Message.of(role, text)
    return Message.of("system" if role in ("system", "developer") else "user", text)
