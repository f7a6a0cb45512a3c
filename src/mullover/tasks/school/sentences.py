"""A small grammar: sentences that have what is wished. All its words go with the article a."""

from dataclasses import dataclass
from itertools import product
from random import Random


def listed(words: str) -> tuple[str, ...]:
    return tuple(words.split())


LEXICON = {
    "opener": listed("Today Now Soon Once Often Sometimes Maybe"),
    "det": listed("the a the a one this that every my her his our"),
    "adjective": listed(
        "big small red blue green old new young long short tall round soft hard warm cold wet dry clean dirty loud "
        "quiet happy sad brave clever kind lazy rich poor strong weak sweet bright dark heavy light pretty funny "
        "golden"
    ),
    "noun": listed(
        "river lamp dog cat bird fish horse cow sheep goat mouse rabbit duck hen frog bear lion tiger boy girl king "
        "queen farmer baker doctor teacher singer sailor painter boat ship train car bike tree flower leaf stone hill "
        "lake house door window table chair bed clock book letter song picture ball doll box bag cup plate spoon "
        "knife basket ladder bell coat hat shoe ring garden road bridge kitchen school tower"
    ),
    "verb": listed(
        "sees finds holds likes loves wants takes brings carries paints draws cleans washes watches follows helps "
        "hears knows meets misses moves needs pulls pushes reaches sells buys shows touches visits keeps hides drops "
        "lifts passes"
    ),
    "prep": listed("near behind beside by under"),
    "adverb": listed("slowly quickly gladly quietly softly again today alone often here gently daily"),
}
TAG = {word: tag for tag in ("adjective", "noun", "verb") for word in LEXICON[tag]}
SHORT = 8  # words of a sentence, at most, where no length is wished
Slots = list[tuple[str, str | None]]  # what kind of word stands there, and which one if that is given


@dataclass(frozen=True, slots=True)
class Wish:
    """What a sentence must have; None is no wish."""

    words: tuple[str, ...]
    length: int | None = None
    first: str | None = None
    last: str | None = None
    without: str | None = None

    def values(self) -> tuple[int | str | None, ...]:
        return self.length, self.first, self.last, self.without


def skeleton(wish: Wish, rng: Random) -> Slots:
    """The slots of a sentence, with the given words in theirs."""
    words, length, first, last = wish.words, wish.length, wish.first, wish.last
    opener, named = first in LEXICON["opener"], first is not None and first not in LEXICON["opener"]
    given = [TAG[word] for word in words]
    fits = list[tuple[int, int, int]]()
    for place, adverb in product((0, 1), (0, 1)):
        nouns = 2 - named + place
        if nouns < given.count("noun") + (last in LEXICON["noun"]):
            continue
        if last is not None and adverb != (last in LEXICON["adverb"]):
            continue
        for adjectives in range(given.count("adjective"), 2 * nouns + 1):
            size = opener + named + 1 + 2 * nouns + place + adverb + adjectives
            if size == length or (length is None and size <= SHORT):
                fits.append((place, adverb, adjectives))
    place, adverb, adjectives = rng.choice(fits)
    spread = rng.sample([phrase for phrase in range(named, 3 - (not place)) for _ in range(2)], adjectives)
    phrases = [["det", *["adjective"] * spread.count(i), "noun"] for i in range(3)]
    subject = ["name"] if named else phrases[0]
    tags = ["opener"] * opener + subject + ["verb"] + phrases[1]
    tags += ["prep", *phrases[2]] * place + ["adverb"] * adverb
    return placed(tags, wish, rng)


def placed(tags: list[str], wish: Wish, rng: Random) -> Slots:
    slots: Slots = [(tag, None) for tag in tags]
    if wish.first is not None:
        slots[0] = tags[0], wish.first
    if wish.last is not None:
        slots[-1] = tags[-1], wish.last
    for word in wish.words:
        at = rng.choice([i for i, slot in enumerate(slots) if slot == (TAG[word], None)])
        slots[at] = TAG[word], word
    return slots


def filled(slots: Slots, avoided: tuple[str | None, ...], rng: Random) -> list[str]:
    """Words for all slots; none but articles and the like stands there twice."""
    used = {word for _, word in slots} | set(avoided)
    found = list[str]()
    for tag, given in slots:
        word = given or rng.choice([word for word in LEXICON[tag] if word not in used])
        used.add(None if tag == "det" else word)
        found.append(word)
    return [found[0][0].upper() + found[0][1:], *found[1:]]


def rubric(facts: Wish, text: str) -> tuple[tuple[str, bool], ...]:
    """What is asked of a sentence, point by point, and whether it holds."""
    text = text.strip()
    words = [word for word in (part.strip(".,;:!?\"'()").casefold() for part in text.split()) if word]
    whole = text[:1].isupper() and text.endswith(".") and not any(mark in text[:-1] for mark in ".!?")
    points = [("one sentence with a capital and a full stop", whole)]
    points += [(word, word in words) for word in facts.words]
    if facts.length is not None:
        points.append((f"{facts.length} words", len(words) == facts.length))
    if facts.first is not None:
        points.append((f"begins with {facts.first}", words[:1] == [facts.first.casefold()]))
    if facts.last is not None:
        points.append((f"ends with {facts.last}", words[-1:] == [facts.last.casefold()]))
    if facts.without is not None:
        points.append((f"without {facts.without}", facts.without not in words))
    return tuple(points)
