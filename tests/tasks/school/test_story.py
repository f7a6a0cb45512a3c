import re
from random import Random

import pytest

from mullover.tasks.school.story import Story, Tale

FAMILY = Story()
TWO = Tale(3, (("more", 2, 0),), "total", ("Amy", "Ben"), "coins")
THREE = Tale(4, (("twice", 2, 0), ("fewer", 1, 1)), "total", ("I", "my mum", "Ben"), "pens")


def recounted(question: str) -> int:
    """The answer from the question's own words, by patterns."""
    who = r"(my \w+|[A-Z][a-z]+|I|me)"
    text = re.sub(r"\b(My|If|How)\b", lambda match: match[0].lower(), question).replace(" me", " I")
    found = re.findall(rf"{who} (?:has|have) (\d+) [a-z]+(?:[,.?]| and)", text)
    counts = {found[0][0]: int(found[0][1])}
    told = rf"{who} (?:has|have) (?:(\d+) (?:\w+ )?(more|fewer) (?:\w+ )?than|(twice) as many (?:\w+ )?as) {who}"
    for me, by, how, twice, than in re.findall(told, text):
        base = counts[than]
        counts[me] = 2 * base if twice else base + int(by) if how == "more" else base - int(by)
    last = re.search(rf"(?:do|does) {who} have", text)
    return counts[last[1]] if last and last[1] not in ("we", "they") else sum(counts.values())


def test_two_people_together() -> None:
    assert FAMILY.answer(TWO) == "8"
    assert FAMILY.chain(TWO, "short").steps == ("Ben: 3 + 2 = 5", "Total: 3 + 5 = 8")
    claim, together = FAMILY.chain(TWO, "sentences").steps
    assert re.fullmatch(r"Ben has 2 more than Amy(, so|\. So) Ben has 3 \+ 2 = 5\.", claim)
    assert together == "Together they have 3 + 5 = 8."


def test_the_asker_is_spoken_to() -> None:
    assert FAMILY.chain(THREE, "short").steps == (
        "Mum: 4 * 2 = 8",
        "Ben: 8 - 1 = 7",
        "Total: 4 + 8 = 12",
        "12 + 7 = 19",
    )
    assert FAMILY.chain(THREE, "sentences").steps[2:] == ("You and your mum have 4 + 8 = 12.", "With Ben: 12 + 7 = 19.")
    asked = {FAMILY.ask(THREE, Random(seed)) for seed in range(300)}
    assert any("1 fewer pen than my mum" in text for text in asked)
    assert any("twice as many pens as I do" in text for text in asked) and any("as me" in text for text in asked)
    assert all("do we have" in text for text in asked)


def test_names_and_things_are_no_content() -> None:
    assert FAMILY.content(TWO) == "('total', ('has', 3, False, (('more', 2, False, ()),)))"


def test_the_order_in_which_others_are_told_is_no_content() -> None:
    one, other = ((("twice", 2, 0), ("fewer", 1, 0)), (("fewer", 1, 0), ("twice", 2, 0)))
    tales = [Tale(5, relations, "total", ("Ann", "Ben", "Cal"), "nuts") for relations in (one, other)]  # type: ignore[arg-type]
    assert FAMILY.content(tales[0]) == FAMILY.content(tales[1])
    last = [Tale(5, tale.relations, "last", tale.people, "nuts") for tale in tales]
    assert len({FAMILY.content(tale) for tale in (*last, tales[0])}) == 3


@pytest.mark.parametrize("grade", (1, 2, 3, 4, 5))
def test_the_words_lead_to_the_answer_and_so_does_the_last_step(grade: int) -> None:
    rng = Random(grade)
    for _ in range(60):
        facts = FAMILY.draw(rng, grade, "train")
        question = FAMILY.ask(facts, rng)
        assert recounted(question) == int(FAMILY.answer(facts)), question
        assert len(question.split()) <= 64 and "apple" not in question
        for style in FAMILY.styles:
            assert FAMILY.chain(facts, style).steps[-1].rstrip(".").endswith(f"= {FAMILY.answer(facts)}")


def test_a_slip_leaves_everyone_with_something() -> None:
    rng = Random(5)
    for _ in range(200):
        facts = FAMILY.draw(rng, 5, "train")
        for slip in FAMILY.slips(facts, "short"):
            steps = FAMILY.chain(facts, "short", slip, slip).steps
            assert all(int(step.split("= ")[1]) > 0 for step in steps)
