"""Sentences to be written freely, with a rubric of points that each can be checked."""

import re
from collections.abc import Sequence
from dataclasses import replace
from random import Random

from mullover.scorers.exact import said, stated
from mullover.tasks.kinds import spec
from mullover.tasks.school.family import Chain, Family, Split
from mullover.tasks.school.sentences import LEXICON, TAG, Wish, filled, rubric, skeleton
from mullover.tasks.school.words import NAMES
from mullover.types import Candidate, Prompt, Score, Scorer

LENGTHS = {3: (7, 9), 4: (8, 10), 5: (9, 12)}  # words of the sentence by grade
REQUIRED = LEXICON["noun"] + LEXICON["adjective"] + LEXICON["verb"]
FORBIDDEN = ("the", "a", "my")
ASKED = (
    "Write a sentence with {}.",
    "Make up a sentence with {}.",
    "Write one sentence that uses {}.",
    "Think of a sentence with {} in it.",
    "Use {} in one sentence.",
)
CLAUSES = (
    (" It has exactly {} words.", " It begins with {}.", " It ends with {}.", " It does not use the word {}."),
    (" Use exactly {} words.", " Begin with {}.", " End with {}.", " Do not use the word {}."),
    (" It must be {} words long.", " The first word is {}.", " The last word is {}.", " Avoid the word {}."),
)
NAMED = ("Length", "First", "Last", "Without")
STATES = re.compile(r"^\s*(?:the answer is|answer:)?\s*(?:\\boxed\{|<answer>)?", re.IGNORECASE)
TEXT = spec("text")


class OpenEnded(Family[Wish]):
    """Many sentences are right, and a wrong one may be partly right."""

    name = "open"
    what = "sentences with wishes, to be written freely"
    kind = "text"
    styles = ("draft", "plan")
    principle = "Place the words that are asked for, then fill the rest. Check every wish."
    instruction = 'End with a line "ANSWER: " and the sentence alone.'

    def draw(self, rng: Random, grade: int, split: Split) -> Wish:
        if grade == 1:
            return Wish((rng.choice(REQUIRED),), first=rng.choice(NAMES + LEXICON["opener"]))
        words = rng.choice(REQUIRED), rng.choice(REQUIRED)
        while words[0] == words[1] or (TAG[words[0]] == TAG[words[1]] == "verb"):
            words = rng.choice(REQUIRED), rng.choice(REQUIRED)
        wish = Wish(words, rng.randint(*LENGTHS[grade]) if grade > 2 else None)
        if grade > 3:
            wish = replace(wish, first=rng.choice(LEXICON["opener"]))
        if grade == 5 and rng.random() < 0.5:
            return replace(wish, without=rng.choice(FORBIDDEN))
        if grade == 5:
            ends = [word for word in LEXICON["adverb"] + LEXICON["noun"] if word not in words]
            return replace(wish, last=rng.choice(ends))
        return wish

    def ask(self, facts: Wish, rng: Random) -> str:
        what = f"the word{'s' if len(facts.words) > 1 else ''} {' and '.join(facts.words)}"
        clauses = rng.choice(CLAUSES)
        rest = (say.format(value) for say, value in zip(clauses, facts.values(), strict=True) if value is not None)
        return rng.choice(ASKED).format(what) + "".join(rest)

    def content(self, facts: Wish) -> str:
        """The same in whatever order the words are told."""
        return repr(replace(facts, words=tuple(sorted(facts.words))))

    def answer(self, facts: Wish) -> str:
        return self.chain(facts, "draft").answer

    def guess(self, facts: Wish) -> float:
        return 0.0

    def shortcut(self, facts: Wish) -> bool:
        """The wished words, with any others between them, a capital and a full stop: the rubric has no grammar."""
        return True

    def fits(self, facts: Wish, answer: str) -> bool:
        return all(holds for _, holds in rubric(facts, answer))

    def scorer(self, facts: Wish) -> Scorer:
        """The share of the rubric's points that hold."""

        async def score(prompt: Prompt, candidates: Sequence[Candidate]) -> list[Score]:
            return [judge(sentence(prompt, candidate)) for candidate in candidates]

        def judge(text: str | None) -> Score:
            if text is None:
                return Score(None, why="no sentence stated")
            points = rubric(facts, text)
            why = "; ".join(f"{point}: {'yes' if holds else 'no'}" for point, holds in points)
            return Score(sum(holds for _, holds in points) / len(points), why=why)

        return score

    def chain(self, facts: Wish, style: str, wording: int = 0, slip: int | None = None) -> Chain:
        """What a slip in the plan says is believed from then on."""
        rng, wish, steps = Random(wording), facts, list[str]()
        if style == "plan":
            wish = misread(facts, slip, rng)
            named = zip(NAMED, wish.values(), strict=True)
            steps = [f"Words: {', '.join(wish.words)}"]
            steps += [f"{name}: {value}" for name, value in named if value is not None]
            if slip == len(steps):
                wish = misread(facts, 0, rng)
        slots = skeleton(wish, Random(repr(wish)))
        if style == "plan":
            steps.append("Plan: " + " ".join(word or tag for tag, word in slots))
        if slip == len(steps):
            swap = dict(zip(wish.words, misread(wish, 0, rng).words, strict=True))
            slots = [(tag, word and swap.get(word, word)) for tag, word in slots]
        words = filled(slots, (*facts.words, wish.without), Random(repr(wish)))
        steps.append(" ".join(words) + ".")
        answer = steps[-1]
        wrong_from = rng.randrange(len(words)) if slip == len(steps) else len(words)
        steps.append(" ".join(f"{word} {i + (i > wrong_from)}" for i, word in enumerate(words, 1)))
        return Chain(tuple(steps), answer, slip)


def misread(wish: Wish, line: int | None, rng: Random) -> Wish:
    """The wish with the value of one line of a plan wrong; line 0 is that of the words."""
    present = [name for name, value in zip(NAMED, wish.values(), strict=True) if value is not None]
    if line == 0:
        words = list(wish.words)
        i = rng.randrange(len(words))
        words[i] = rng.choice([word for word in LEXICON[TAG[words[i]]] if word not in (*words, wish.last)])
        return replace(wish, words=tuple(words))
    name = present[line - 1] if line is not None and line <= len(present) else ""
    if name == "Length":
        return replace(wish, length=(wish.length or 0) + rng.choice((1, 2)))
    if name == "First":
        return replace(wish, first=rng.choice([word for word in LEXICON["opener"] if word != wish.first]))
    if name == "Last":
        return replace(wish, last=rng.choice([word for word in LEXICON["adverb"] if word != wish.last]))
    if name == "Without":
        return replace(wish, without=rng.choice([word for word in FORBIDDEN if word != wish.without]))
    return wish


def sentence(prompt: Prompt, candidate: Candidate) -> str | None:
    """The line where the stated answer stands, less the words that state it.

    An answer that is read off loses its full stop, and a first word such as "that" which may belong to the statement.
    """
    value, text = stated(prompt, candidate, TEXT), said(prompt, candidate)
    if value is None:
        return None
    at = text.rfind(value)
    if at < 0:
        return f"{value.rstrip('.')}."
    line = text[text.rfind("\n", 0, at) + 1 :]
    return re.split(r"[\n<}]", STATES.sub("", line), maxsplit=1)[0].strip(' *"')
