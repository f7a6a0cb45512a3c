"""How often a letter stands in a word, or in two."""

from collections import Counter
from functools import cache
from random import Random
from string import ascii_lowercase

from mullover.tasks.school.family import Chain, Family, Split
from mullover.tasks.school.words import common, fit, split_of_word, syllable

Facts = tuple[tuple[str, ...], str]  # the words, the letter
LENGTHS = {1: (3, 4), 2: (5, 6), 3: (7, 8), 4: (9, 12), 5: (6, 9)}  # letters of a word by grade
WANTED = {1: (0, 1, 2), 2: (0, 1, 2), 3: (0, 1, 2, 3), 4: (0, 1, 2, 3), 5: (0, 1, 2, 3, 4)}  # counts by grade
TRIES = 30  # words, until one has a letter that stands in it as often as wanted
MADE_UP = 0.6  # of the words for training: they repeat letters more often than common ones do
ASKED = (
    "How many {letter}'s are in {quoted}?",
    "How often does the letter {letter} occur in {plain}?",
    "Count the letter {letter} in {quoted}.",
    "How many times does {letter} appear in {quoted}?",
    "In {plain}, how many letters are {letter}?",
    "Find the number of {letter}'s in {quoted}.",
)
SAY = (("{} at {}", "that is {}"), ("{} stands at {}", "so {}"), ("{}: places {}", "count {}"))


class LetterCount(Family[Facts]):
    """The letters are made visible, for a model reads pieces of words."""

    name = "letter_count"
    what = "how often a letter stands in a word"
    kind = "number"
    styles = ("positions", "tally")
    principle = "Spell the word letter by letter. Count the letters that are the one asked for."

    def draw(self, rng: Random, grade: int, split: Split) -> Facts:
        low, high = LENGTHS[grade]
        wanted = rng.choice(WANTED[grade])
        for _ in range(TRIES):
            words = tuple(sized(rng, split, low, high) for _ in range(2 if grade == 5 else 1))
            counts = Counter("".join(words))
            if not wanted or wanted in counts.values():
                break
        if wanted == 0:
            return words, rng.choice([letter for letter in ascii_lowercase if letter not in counts])
        nearest = min(counts.values(), key=lambda count: abs(count - wanted))
        return words, rng.choice([letter for letter, count in counts.items() if count == nearest])

    def ask(self, facts: Facts, rng: Random) -> str:
        words, letter = facts
        plain = f"the word{'s' if len(words) > 1 else ''} {' and '.join(words)}"
        quoted = " and ".join(f'"{word}"' for word in words)
        together = " together" if len(words) > 1 else ""
        return rng.choice(ASKED).format(letter=letter, plain=plain + together, quoted=quoted + together)

    def answer(self, facts: Facts) -> str:
        words, letter = facts
        return str("".join(words).count(letter))

    def content(self, facts: Facts) -> str:
        """Its words: few letters stand in a word, so that more problems of one would mostly ask for others."""
        return " ".join(sorted(facts[0]))

    def split(self, facts: Facts) -> Split:
        """That of its words: a word is in one only."""
        return split_of_word(facts[0][0])

    def guess(self, facts: Facts) -> float:
        """By saying the count that is commonest for words of such length in the tasks of dev and test."""
        words, _ = facts
        return 0.25 if len(words) > 1 else 0.5 if len(words[0]) < 5 else 0.4

    def chain(self, facts: Facts, style: str, wording: int = 0, slip: int | None = None) -> Chain:
        return (positions if style == "positions" else tally)(facts, Random(wording), slip)


def sized(rng: Random, split: Split, low: int, high: int) -> str:
    """A word of so many letters; made-up ones repeat their syllables."""
    if split != "train" or rng.random() > MADE_UP:
        return rng.choice(of_length(split, low, high))
    while True:
        size, found = rng.randint(low, high), ""
        pool = [syllable(rng) for _ in range(rng.choice((1, 2, 2, 3)))]
        while len(found) < size:
            found += rng.choice(pool)
        if fit(found[:size]):
            return found[:size]


@cache
def of_length(split: Split, low: int, high: int) -> tuple[str, ...]:
    return tuple(word for word in common()[split] if low <= len(word) <= high)


def positions(facts: Facts, rng: Random, slip: int | None) -> Chain:
    """Three lines a word: its letters, the places, their number; then the sum."""
    words, letter = facts
    (places_are, count_is), steps, counts = rng.choice(SAY), list[str](), list[int]()
    for word in words:
        spelled = misspelled(word, letter, rng) if slip == len(steps) else word
        steps.append(" ".join(spelled))
        at = [place for place, each in enumerate(spelled, 1) if each == letter]
        if slip == len(steps):
            at = misplaced(at, len(spelled), rng)
        steps.append(places_are.format(letter, ", ".join(map(str, at))) if at else f"no {letter}")
        counts.append(off_by_little(len(at), rng) if slip == len(steps) else len(at))
        steps.append(count_is.format(counts[-1]))
    total = sum(counts)
    if len(words) > 1:
        total = off_by_little(total, rng) if slip == len(steps) else total
        steps.append(f"{' + '.join(map(str, counts))} = {total}")
    return Chain(tuple(steps), str(total), slip)


def tally(facts: Facts, rng: Random, slip: int | None) -> Chain:
    """A letter a line, with the count so far."""
    words, letter = facts
    letters, count, steps = "".join(words), 0, list[str]()
    miscount = rng.random() < 0.6
    if slip is not None and not miscount:
        right = letters[slip]
        wrong = [letters[:slip] + letters[slip + 1 :]] if letters[slip + 1 : slip + 2] not in ("", right) else []
        if slip and letters[slip - 1] != right:
            wrong.append(letters[:slip] + letters[slip - 1 :])
        letters, miscount = (rng.choice(wrong), False) if wrong else (letters, True)
    for i, each in enumerate(letters):
        count += (each == letter) != (slip == i and miscount)
        steps.append(f"{each} {count}")
    return Chain(tuple(steps), str(count), slip)


def misspelled(word: str, letter: str, rng: Random) -> str:
    """A letter is left out or doubled; mostly one that counts."""
    at = [i for i, each in enumerate(word) if each == letter]
    i = rng.choice(at) if at and rng.random() < 0.7 else rng.randrange(len(word))
    return word[:i] + word[i + 1 :] if rng.random() < 0.5 else word[: i + 1] + word[i:]


def misplaced(at: list[int], size: int, rng: Random) -> list[int]:
    """A place is missed, or one too many is given."""
    others = [place for place in range(1, size + 1) if place not in at]
    if at and (not others or rng.random() < 0.5):
        missed = rng.choice(at)
        return [place for place in at if place != missed]
    return sorted([*at, rng.choice(others)])


def off_by_little(count: int, rng: Random) -> int:
    return rng.choice([n for n in (count - 1, count + 1, count + 2) if n >= 0])
