"""Words that problems are made of: common ones, and made-up ones without end."""

import re
from functools import cache
from pathlib import Path
from random import Random

from mullover.tasks.school.family import Split, split_of

NAMES = (
    "Amy", "Ben", "Cal", "Dan", "Eve", "Fay", "Gus", "Ida", "Jim", "Kim", "Leo", "Max", "Ned", "Ola", "Pam", "Ray",
    "Sam", "Tom", "Uma", "Vic", "Zoe", "Ann", "Bob", "Joe",
)  # fmt: skip
RUDE = re.compile(
    "shit|cunt|fag|coon|fuck|cock|dick|twat|slut|whor|nig|spic|chink|gook|kike|tit|anal|anus|arse|cum|poo|pee|wank|rap|"
    "nazi|homo|dyke|piss|crap|turd|puss|pric|perv|porn|sex|jew|paki|wop|dago|heeb|gyp|tard|slag|bitc|damn|kil|ass|jap"
)
HELD = frozenset({"artificial", "intelligence", "strawberry"})  # the lecture's: never trained on
STARTS = (
    "b", "bl", "br", "c", "ch", "cl", "cr", "d", "dr", "f", "fl", "fr", "g", "gl", "gr", "h", "j", "k", "l", "m",
    "n", "p", "pl", "pr", "qu", "r", "s", "sh", "sl", "sm", "sn", "sp", "st", "t", "th", "tr", "v", "w", "wh", "y",
    "z",
)  # fmt: skip
MIDDLES = ["a", "e", "i", "o", "u", "ai", "ea", "ee", "oa", "oo", "ou"]
ENDS = (
    "b", "ck", "d", "ft", "g", "k", "l", "ll", "lt", "m", "mp", "n", "nd", "ng", "nt", "p", "r", "rd", "rk", "rm",
    "rn", "s", "ss", "st", "t", "th", "ve", "w", "x", "y",
)  # fmt: skip


@cache
def common() -> dict[Split, tuple[str, ...]]:
    """The words of `words.txt` by split: a word of one is in no other."""
    parts: dict[Split, list[str]] = {"train": [], "dev": [], "test": []}
    for word in (Path(__file__).parent / "words.txt").read_text(encoding="utf-8").split():
        parts[split_of_word(word)].append(word)
    return {split: tuple(words) for split, words in parts.items()}


def split_of_word(word: str) -> Split:
    return "test" if word in HELD else split_of(f"word:{word}")


def word(rng: Random, split: Split, made_up: float = 0.5) -> str:
    """A word of that split: made up with that probability, where the split is train; else always a common one."""
    if split == "train" and rng.random() < made_up:
        while True:
            found = "".join(syllable(rng) for _ in range(rng.choice((1, 2, 2, 3))))
            if fit(found):
                return found
    return rng.choice(common()[split])


def fit(made_up: str) -> bool:
    """May it be trained on?"""
    return split_of_word(made_up) == "train" and not RUDE.search(made_up)


def syllable(rng: Random) -> str:
    return rng.choice(STARTS) + rng.choice(MIDDLES) + (rng.choice(ENDS) if rng.random() < 0.7 else "")
