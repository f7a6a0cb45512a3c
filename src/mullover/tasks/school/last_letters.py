"""The last letters of several words, joined."""

from math import prod
from random import Random

from mullover.tasks.school.family import Chain, Family, Split
from mullover.tasks.school.words import split_of_word, word

Words = tuple[str, ...]
SIZES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6}  # how many words by grade
COMMONEST = 0.25  # the share of the words of dev and test that end with s
LONGEST = 12  # letters of a word, so that a spelled line stays short
ASKED = (
    'Take the last letters of the words "{}" and join them.',
    'Join the last letters of the words in "{}".',
    'What do you get by concatenating the last letter of each word of "{}"?',
    'Which letters do the words "{}" end with? Write them as one word.',
    'Write the last letter of each word in "{}", one after the other.',
    'Put the final letters of "{}" together.',
)
ASKED_ONE = (
    'What is the last letter of "{}"?',
    'Which letter does the word "{}" end with?',
    'Write the last letter of the word "{}".',
    'Take the last letter of "{}".',
)
JOINED = ("so far", "now", "joined")


class LastLetters(Family[Words]):
    """The letters are made visible, for a model reads pieces of words."""

    name = "last_letters"
    what = "the last letters of words, joined"
    kind = "text"
    styles = ("short", "spelled")
    principle = "Go from word to word. Take the last letter of each and write it behind those before."
    instruction = 'End with "ANSWER: " and the letters alone, without spaces between them.'

    def draw(self, rng: Random, grade: int, split: Split) -> Words:
        found = list[str]()
        while len(found) < SIZES[grade]:
            new = word(rng, split)
            if len(new) <= LONGEST and new not in found:
                found.append(new)
        return tuple(found)

    def ask(self, facts: Words, rng: Random) -> str:
        return rng.choice(ASKED if len(facts) > 1 else ASKED_ONE).format(" ".join(facts))

    def answer(self, facts: Words) -> str:
        return "".join(each[-1] for each in facts)

    def split(self, facts: Words) -> Split:
        """That of its words: a word is in one only."""
        return split_of_word(facts[0])

    def accepted(self, facts: Words) -> tuple[str, ...]:
        return (" ".join(self.answer(facts)),)

    def guess(self, facts: Words) -> float:
        """Among the letters of each word, or by the commonest end."""
        return prod(max(COMMONEST, 1 / len(set(each))) for each in facts)

    def chain(self, facts: Words, style: str, wording: int = 0, slip: int | None = None) -> Chain:
        rng = Random(wording)
        growing, joined, steps = rng.choice(JOINED), "", list[str]()
        for i, each in enumerate(facts):
            letters = each
            letter = wrong_letter(each, rng) if slip == i else each[-1]
            if slip == i and style == "spelled" and each[-2] != each[-1] and rng.random() < 0.3:
                letters, letter = each[:-1], each[-2]
            joined += letter
            step = f"{each}: {letter}" if style == "short" else f"{each} is {' '.join(letters)}, last {letter}"
            steps.append(f"{step}, {growing} {joined}" if i else step)
        before = " ".join(joined)
        if slip == len(facts):
            joined = wrong_join(joined, facts, rng)
        steps.append(f"Together: {joined}" if style == "short" else f"{before} together is {joined}")
        return Chain(tuple(steps), joined, slip)


def wrong_letter(each: str, rng: Random) -> str:
    """Its first letter, the one before the last, or any; never the last one."""
    others = [letter for letter in (each[0], each[-2], rng.choice(each)) if letter != each[-1]]
    return rng.choice(others or sorted(set(each) - {each[-1]}))


def wrong_join(joined: str, facts: Words, rng: Random) -> str:
    """A letter is lost, or it is another one of its word."""
    i = rng.randrange(len(joined))
    new = wrong_letter(facts[i], rng) if len(joined) == 1 or rng.random() < 0.5 else ""
    return joined[:i] + new + joined[i + 1 :]
