"""Which of several known questions a prompt asks."""

from collections.abc import Collection

from mullover.types import Prompt


def asked(prompt: Prompt, questions: Collection[str]) -> str | None:
    """The known question that is the last user turn, or else the one that stands last in it.

    A style puts words around a question and worked examples before it, so the one that ends last is
    the one that is asked; of two that end together it is the longer. None if there is none.
    """
    text = prompt.question
    if text in questions:
        return text
    held = [(text.rfind(one) + len(one), len(one), one) for one in questions if one in text]
    return max(held)[2] if held else None
