r"""Answers in replies as chat models write them: what `find` reads, as the key it votes with; None never votes."""

import pytest

from mullover.answers import find, key
from mullover.types import AnswerSpec, Kind

LETTERS = tuple("ABCD")

REPLIES: list[tuple[Kind, str, str | None]] = [
    # numbers in full
    ("number", "The answer is 1.2 billion.", "1200000000"),
    ("math", "The answer is 1.2 billion.", "1200000000"),
    ("number", "The answer is 3 million people.", "3000000"),
    ("number", "It costs 3 million people", "3000000"),
    ("number", "The answer is $1.2 million.", "1200000"),
    ("number", "ANSWER: -1.2 million", "-1200000"),
    ("number", "The answer is 1,200 million.", "1200000000"),
    ("number", "<answer>3 million people</answer>", "3000000"),
    ("number", "The answer is 1 000 000.", "1000000"),
    ("math", "The answer is 1 000 000.", "1000000"),
    ("number", "The total is 1 000 000 people.", "1000000"),
    ("number", "The answer is 1 000.", "1000"),
    ("number", "They are 1 2 300", "300"),
    ("number", "2½ cups", "5/2"),
    ("number", "The answer is 2½ cups.", "5/2"),
    ("number", "You need ½ a cup.", "1/2"),
    ("number", r"\boxed{½}", "1/2"),
    ("number", "The answer is 10-15.", "10-15"),
    ("number", "It takes 10-15 days.", "10-15"),
    ("number", "The answer is 10 - 7.", "3"),
    ("number", "It is -5 degrees.", "-5"),
    # no text is an answer that says there is none
    ("text", "I don't know.", None),
    ("text", "I do not know", None),
    ("text", "Sorry, I can't help with that.", None),
    ("text", "I'm sorry, but I cannot answer that.", None),
    ("text", "I am unable to answer this.", None),
    ("text", "Hmm.", None),
    ("text", "Hmm, I'm not sure.", None),
    ("text", "Not sure", None),
    ("text", "Cannot be determined", None),
    ("text", "The question cannot be answered.", None),
    ("text", "It is unclear.", None),
    ("text", "There is not enough information.", None),
    ("text", "No idea", None),
    ("text", "Paris", "paris"),
    ("text", "Not", "not"),
    ("text", "The Unclear Path", "the unclear path"),
    ("text", "Hummus", "hummus"),
    ("text", "] ]", "] ]"),
    # yes and no
    ("yes_no", "**No**, because yes would mean that it is true.", "no"),
    ("yes_no", "Yes — there's no reason otherwise.", "yes"),
    ("yes_no", "No, it's not false.", "no"),
    ("yes_no", "It's not true.", "no"),
    ("yes_no", "I have no idea.", None),
    ("yes_no", "It isn't true.", "no"),
    ("yes_no", "That is not false.", "yes"),
    ("yes_no", "The answer is not yes.", "no"),
    ("yes_no", "No one knows that. I say yes", "yes"),
    ("yes_no", "No.\n\nWait, thinking again.\n\nIt is yes.", "yes"),
    ("yes_no", "No.\nHmm.\nYes.", "yes"),
    ("yes_no", "Yes, it does. So the answer is no.", "no"),
    # choices
    ("choice", "Option B is correct because A is too small.", "B"),
    ("choice", "(B) is the correct choice, since (A) is too small.", "B"),
    ("choice", "B is correct for dogs. So the rest says C.", "C"),
    ("choice", "The answer is either A or C.", None),
    ("choice", "The answer is A or C.", None),
    ("choice", "The answer is E.", None),
    ("choice", "b", "B"),
    ("choice", "c)", "C"),
    ("choice", "(b)", "B"),
    ("choice", "[B]", "B"),
    ("choice", "B.", "B"),
    ("choice", "e", None),
    # JSON
    ("choice", '{"answer": "B"}', "B"),
    ("number", '```json\n{"answer": "20", "why": "3 steps"}\n```', "20"),
    ("number", '{"final_answer": 20, "why": "3 steps"}', "20"),
    ("number", '{"answer": -2.5e3}', "-2500"),
    ("text", '{"answer": "St. Petersburg", "n": 3}', "st. petersburg"),
    ("yes_no", '{"answer": "no", "but": "yes"}', "no"),
    ("yes_no", '{"why": "no rain", "answer": true}', "yes"),
    ("list", '{"answer": ["a", "b"], "n": [1]}', "[a,b]"),
    # what chat templates leave
    ("text", "The answer is Paris.<|im_end|>", "paris"),
    ("text", "Paris</s>", "paris"),
    ("text", "Paris<|eot_id|>\n", "paris"),
    ("text", "ANSWER: Paris<|eot_id|><|endoftext|>", "paris"),
    ("number", "ANSWER: 5<|im_end|>", "5"),
    ("choice", "ANSWER: B</s>", "B"),
    # texts
    ("text", "The answer is Dr. Smith.", "dr. smith"),
    ("text", "The answer is J. R. R. Tolkien. He wrote it.", "j. r. r. tolkien"),
    ("text", "ANSWER: St. Petersburg", "st. petersburg"),
    ("text", "The answer is B. The others are wrong.", "b"),
    ("text", "The answer is Paris. Rome is not.", "paris"),
    ("text", "東京。", "東京"),
    ("text", "ANSWER: 東京。", "東京"),
    ("text", "ANSWER: _Paris_", "paris"),
    ("text", "ANSWER: [Paris]", "paris"),
    ("text", "ANSWER: <Paris>", "paris"),
    ("text", "_Paris_", "paris"),
    ("text", "[Paris]", "paris"),
    # lists
    ("list", "ANSWER: apple, banana and cherry", "[apple,banana,cherry]"),
    ("list", "The answer is apple, banana, and cherry. Done", "[apple,banana,cherry]"),
    ("set", "ANSWER: banana, apple and cherry", "{apple,banana,cherry}"),
    ("list", "ANSWER:\n- apple\n- banana\n- cherry", "[apple,banana,cherry]"),
    ("list", "ANSWER:\n1. apple\n2. banana\n3. cherry\n", "[apple,banana,cherry]"),
    ("list", "ANSWER:\n\n* apple\n* banana\n\nDone.", "[apple,banana]"),
    ("list", "ANSWER: -1, -2", "[-1,-2]"),
    # expressions
    ("expression", r"So $ (10 - 4) \times (13 - 9) = 24 $", "(10-4)*(13-9)"),
    ("expression", "So we get (10 - 4) * (13 - 9) = 24.", "(10-4)*(13-9)"),
]


@pytest.mark.parametrize(("kind", "text", "own"), REPLIES)
def test_a_reply_votes_with_what_it_means(kind: Kind, text: str, own: str | None) -> None:
    spec = AnswerSpec(kind, choices=LETTERS if kind == "choice" else ())
    found = find(text, spec)
    assert (found and found.key) == own
    if found is not None:
        assert text[found.start : found.end] == found.value
        assert key(found.value, spec) == key(found.key, spec) == found.key


def test_json_that_was_cut_states_nothing() -> None:
    assert find('{"answer": 4', AnswerSpec("number"), truncated=True) is None
    found = find('{"answer": "42"', AnswerSpec("number"), truncated=True)
    assert found is not None and found.key == "42"


KEYS: list[tuple[Kind, str, str, bool]] = [
    ("number", "1 2", "12", False),
    ("math", "1 2", "12", False),
    ("number", "1 00", "100", False),
    ("number", "1 000 000", "1000000", True),
    ("number", "10-15", "-5", False),
    ("number", "10–15 days", "10-15", True),
    ("number", "10-15 million", "10-15", False),
    ("number", "3 million people", "3000000", True),
    ("number", "3 million or 4 million", "3000000", False),
    ("list", "apple, banana and cherry", "apple, banana, cherry", True),
    ("list", "[a, b and c]", "a, b, c", False),
    ("list", "- apple\n- banana", "apple, banana", True),
    ("list", "1. apple\n2. banana", "apple, banana", True),
    ("list", "1.5\n2.5", "1.5, 2.5", True),
    ("text", "東京。", "東京", True),
    ("text", "_Paris_", "paris", True),
    ("yes_no", "not true", "no", True),
]


@pytest.mark.parametrize(("kind", "a", "b", "same"), KEYS)
def test_keys_of_replies(kind: Kind, a: str, b: str, same: bool) -> None:
    spec = AnswerSpec(kind)
    assert (key(a, spec) == key(b, spec)) is same
    assert key(key(a, spec), spec) == key(a, spec)
