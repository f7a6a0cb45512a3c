"""Where reasoning ends and the answer begins, by delimiters in the text."""

THINK = ("<think>", "</think>")

RECORDED = (THINK, ("<thinking>", "</thinking>"), ("<|begin_of_thought|>", "<|end_of_thought|>"))


def recorded_thought(text: str) -> int:
    """`thought` of a text whose delimiters nobody told, or whose opening one the chat template had said already."""
    for think in RECORDED:
        if begun := thought(text, think):
            return begun
        end = text.find(think[1])
        if end >= 0 and think[0] not in text[:end]:
            return end + len(think[1])
    return 0


def is_open(said: str, think: tuple[str, str]) -> bool:
    """Was reasoning begun and not yet ended? True for "<think>so", False for "" and "<think>so</think> 8"."""
    opener, closer = think
    return opener in said and said.rfind(opener) > said.rfind(closer)


def thought(text: str, think: tuple[str, str], opened: bool = False) -> int:
    """How many of the first characters of `text` are reasoning, delimiters included.

    0 unless the text begins with the opening delimiter (white space before it is reasoning too) or
    `opened` says that what came before it did; all of the text if reasoning never ends.
    """
    opener, closer = think
    if not opened and not text.lstrip().startswith(opener):
        return 0
    at = text.find(closer)
    return len(text) if at < 0 else at + len(closer)
