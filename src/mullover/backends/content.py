"""A message's parts as servers and functions take them."""

from typing import Any

from mullover.types import Message, Prompt


def content(message: Message) -> str | list[dict[str, Any]]:
    """The text, or all parts where some are no text."""
    if all(part.get("type") == "text" for part in message.parts):
        return message.text
    return [dict(part) for part in message.parts]


def messages(prompt: Prompt) -> list[dict[str, Any]]:
    """The turns as chat templates and servers take them."""
    return [{"role": message.role, "content": content(message)} for message in prompt.messages]
