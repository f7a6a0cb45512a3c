"""What the tests of the HTTP backend ask: toys that say much, and servers in the background that serve them."""

import itertools
from collections.abc import Mapping, Sequence
from functools import cache

from mullover.backends.table import Table
from mullover.backends.toy import Toy

WORDS: Sequence[Sequence[str]] = (
    ("The ", "A ", "One ", "Some "),
    ("old ", "red ", "small ", "wise ", "shy "),
    ("fox ", "owl ", "hare ", "bear "),
    ("slept ", "sang ", "ran ", "hid "),
    ("and ", "but ", "so "),
    ("so 8 it is.", "we have 5.", "it is 7."),
)


@cache
def stories() -> Mapping[str, float]:
    """2880 short stories, the first words of each list the likeliest."""
    chances = (0.4, 0.25, 0.2, 0.1, 0.05)
    paths = {}
    for chosen in itertools.product(*(range(len(words)) for words in WORDS)):
        weight = 1.0
        for place, at in enumerate(chosen):
            weight *= chances[at] + 0.01 * place
        paths["|".join(WORDS[place][at] for place, at in enumerate(chosen))] = weight
    return paths


@cache
def rich() -> Toy:
    """Its hot and greedy answers differ."""
    return Toy(Table(stories()))


@cache
def thoughtful() -> Toy:
    """It thinks before it tells the same stories."""
    return Toy(Table({f"<think>|Hmm, |{p.partition('|')[0]}|then.|</think>|{p}": w for p, w in stories().items()}))
