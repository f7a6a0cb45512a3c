r"""Where an answer is stated in a text; the errors other tools make are listed here one by one."""

import pytest

from mullover.answers import find
from mullover.types import AnswerSpec, Kind

LETTERS = tuple("ABCDE")

STATED: list[tuple[Kind, str, str]] = [
    # boxes
    ("number", r"so \boxed{42}", "42"),
    ("number", r"so \boxed {42}.", "42"),
    ("number", r"so \boxed 7.", "7"),
    ("number", r"\fbox{42} and 7", "42"),
    ("math", r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
    ("math", r"\boxed{\frac{\sqrt{\frac{1}{2}}}{3}}", r"\frac{\sqrt{\frac{1}{2}}}{3}"),
    ("math", r"\boxed{\{1,2\}}", r"\{1,2\}"),
    ("math", r"\boxed{\left\{1, 2\right\}} ok", r"\left\{1, 2\right\}"),
    ("math", "\\boxed{\n\\frac{1}{2}\n}", r"\frac{1}{2}"),
    ("math", r"first \boxed{1}, then \boxed{2}", "2"),
    ("math", r"\boxed{\boxed{5}}", "5"),
    ("math", r"\boxed{3} and then \boxed{4", "3"),
    ("number", r"\boxed{}, so \boxed{3}, then \boxed{}", "3"),
    ("number", r"\boxed{3}. Put your final answer in \boxed{answer}.", "3"),
    ("number", r"\boxed{x = 5}", "5"),
    ("math", r"\boxed{x = 5}", "5"),
    ("math", r"\boxed{x^2 + y^2 = 13}", "x^2 + y^2 = 13"),
    ("math", r"\boxed{x = 1, y = 2}", "x = 1, y = 2"),
    ("number", r"\boxed{\text{The total is } 18}", "18"),
    ("number", r"\boxed{\frac{1}{\ell} = 650.}", "650"),
    ("expression", r"\boxed{(10 - 4) \times (5 - 1) = 24}", r"(10 - 4) \times (5 - 1)"),
    ("choice", r"\boxed{\text{B}}", "B"),
    ("choice", r"\boxed{\textbf{(B)}\ 12}", "B"),
    # tags
    ("number", "<answer>42</answer>", "42"),
    ("number", "<answer>\n 42 \n</answer> and 7 more", "42"),
    ("number", "<ANSWER>42</ANSWER>", "42"),
    ("text", "[ANSWER]'ab'[/ANSWER]", "ab"),
    ("number", "<answer>42", "42"),
    ("number", r"<answer>\boxed{42}</answer>", "42"),
    ("number", "<answer>The total is 42 dollars.</answer>", "42"),
    # colons and headings
    ("number", "ANSWER: 42", "42"),
    ("number", "Answer: 42", "42"),
    ("number", "**Answer:** 42", "42"),
    ("number", "**Answer**: 42", "42"),
    ("number", "**Answer: 42**", "42"),
    ("number", "Final Answer: 42", "42"),
    ("number", "**Final Answer:** $42$", "42"),
    ("number", "### Final Answer\n\n42", "42"),
    ("number", "**Final Answer**\n\n\\[ 42 \\]", "42"),
    ("number", "Answer - 42", "42"),
    ("number", "answer = 42", "42"),
    ("number", "Final Answer: The final answer is $42$. I hope it is correct.", "42"),
    ("expression", "Answer: (10 - 4) * (5 - 1) = 24", "(10 - 4) * (5 - 1)"),
    ("code", "Answer:\n```python\nx = 1\n```", "x = 1\n"),
    # sentences
    ("number", "The answer is 42 apples, since 3 + 4 = 7.", "42"),
    ("number", "the answer is 3.5. Done", "3.5"),
    ("choice", "The answer is (B) because A is not", "B"),
    ("number", "the final answer is 42", "42"),
    ("number", "THE CORRECT ANSWER IS: 42.", "42"),
    ("number", "Therefore, the answer (arabic numerals) is 42.", "42"),
    ("number", "The answer to the question is 42.", "42"),
    ("number", "The answer, in simplest form, is 42.", "42"),
    ("number", "The answer must be 42.", "42"),
    ("number", "the answer is:\n\n42", "42"),
    ("math", "the answer is:\n$$\\frac{1}{2}$$", r"\frac{1}{2}"),
    ("math", r"the answer is \(\frac{1}{2}\)", r"\frac{1}{2}"),
    ("math", "the answer is\n\\[\n\\frac{1}{2}\n\\]", r"\frac{1}{2}"),
    ("math", "the answer is **1/2**.", "1/2"),
    ("math", "the answer is $x = 5$.", "5"),
    ("math", r"The answer is \frac{14}{3}.", r"\frac{14}{3}"),
    ("math", "The answer is x^2 - 7x + 12.", "x^2 - 7x + 12"),
    ("math", "The answer is $8$,$4$.", "$8$,$4$"),
    ("math", "The answer is $3$ and $4$.", "$3$ and $4$"),
    ("math", "The answer is that the area equals $5\\pi$ square units.", r"5\pi"),
    ("number", "The answer is $18.", "18"),
    ("number", "The answer is $18 and not $19.", "18"),
    ("number", "The answer is -$0.50.", "-$0.50"),
    ("number", "The answer is 3 + 4 = 7.", "7"),
    ("number", "The answer is approximately 3.14", "3.14"),
    ("number", "The answer is 2^{10}.", "2^{10}"),
    ("number", "The answer is five.", "five"),
    ("number", "The answer is 1,080.", "1,080"),
    ("number", "The answer is that she has 42 apples left.", "42"),
    ("math", "The answer is 7 - that is all", "7"),
    ("math", r"The answer is 7 since $2^3 = 8$.", "7"),
    ("yes_no", "So the answer is yes.", "yes"),
    ("yes_no", "So the answer is: No, because it is true that", "No"),
    ("text", 'The answer is "yajo".', "yajo"),
    ("text", "the answer is yajo because of the letters", "yajo"),
    ("text", "The answer is 'o'connell'.", "o'connell"),
    ("text", "ANSWER: above big broken", "above big broken"),
    ("text", "ANSWER: ] ]", "] ]"),
    ("list", "ANSWER: [1, 2, 3]", "[1, 2, 3]"),
    ("list", "The answer is 1, 2, 3.", "1, 2, 3"),
    ("set", r"The answer is $\{1, 2\}$.", r"\{1, 2\}"),
    ("choice", "The answer is B", "B"),
    ("choice", "The answer is B.", "B"),
    ("choice", "The answer is option (B).", "B"),
    ("choice", "The correct answer choice is **B**", "B"),
    ("choice", "The answer is B) 6000", "B"),
    ("choice", "The correct option is (B). A dog", "B"),
    ("number", "The answer is minus 42.", "minus 42"),
    ("math", "The answers are $x = 1$ and $x = 2$.", "$x = 1$ and $x = 2$"),
    ("math", r"The answer is $\frac{1}{2}$ or $0.5$.", r"$\frac{1}{2}$ or $0.5$"),
    # GSM8K
    ("number", "She has 3.\n#### 18", "18"),
    ("number", "She has 3.\n#### $1,080", "1,080"),
    # the last statement wins, of any form
    ("number", r"\boxed{41}. Wait. ANSWER: 42", "42"),
    ("number", r"ANSWER: 42. No: \boxed{43}", "43"),
    ("number", "<answer>1</answer> The answer is 2", "2"),
    ("number", "The answer is 1.\n#### 2", "2"),
    ("math", r"The answer is $\boxed{42}$, i.e. 42 apples.", "42"),
    ("math", r"The answer is 6 times 7, which is \boxed{42}.", "42"),
    # what holds nothing readable is no statement
    ("number", "The answer is 5. Hence the answer is unclear.", "5"),
    ("number", "The answer is 5. The answer is not 6.", "5"),
    ("number", "The answer is 5. The answer is an integer between 000 and 999.", "5"),
    ("number", "The answer is 5. I wonder whether the answer is 6.", "5"),
    ("number", "The answer is 5. See the answer choices: 1, 2.", "5"),
    ("number", "The answer is 5.\n#### Step 4: check", "5"),
    ("yes_no", "The answer is yes. The answer is obvious.", "yes"),
    ("choice", "The answer is (C). The answer is a dog.", "C"),
]


@pytest.mark.parametrize(("kind", "text", "value"), STATED)
def test_a_stated_answer_is_found(kind: Kind, text: str, value: str) -> None:
    found = find(text, AnswerSpec(kind, choices=LETTERS if kind == "choice" else ()))
    assert found is not None
    assert (found.value, found.stated) == (value, True)
    assert text[found.start : found.end] == found.value


SUGGESTED: list[tuple[Kind, str, str | None]] = [
    ("number", "She has 3 + 4 and so 7 remain.", "7"),
    ("number", "It costs $1,080.", "1,080"),
    ("number", "no digits here", None),
    ("number", "[invalid]", None),
    ("number", "", None),
    ("math", r"Thus $x = \frac{1}{2}$.", r"\frac{1}{2}"),
    ("math", "so \\[ y = 2x \\] holds", "2x"),
    ("math", "$x$ equals 5 apples", "5"),
    ("choice", "It cannot be (A), so it is (B).", "B"),
    ("choice", "I think that A dog is here. So B.", "B"),
    ("choice", "A dog is a dog", None),
    ("yes_no", "Is it? Yes. No, wait: yes", "yes"),
    ("yes_no", "It is a nose", None),
    ("list", "first [1], then [1, [2]] done", "[1, [2]]"),
    ("set", r"it is \{1, 2\}", r"\{1, 2\}"),
    ("code", "```python\nx = 1\n```\nor\n```\ny = 2\n```\n", "y = 2\n"),
    ("code", "```python\nx = 1", "x = 1"),
    ("code", "no code", None),
    ("code", "[(4, 1), (2, 3)]\n", "[(4, 1), (2, 3)]"),
    ("code", "'bcksrutq'", "'bcksrutq'"),
    ("code", "{1: None}", "{1: None}"),
    ("code", "-1.5", "-1.5"),
    ("code", "True", "True"),
    ("code", "It is True", None),
    ("code", "[1] or [2], who knows", None),
    ("code", "[1,\n2]", None),
    ("expression", "Steps:\n6 - 4 = 2 (left: 2 5)\n2 * 5 = 10 (left: 10)\nThere is no solution.", None),
    ("expression", "Answer: (13 - 8) * (5 - 1) ≠ 24", None),
    ("expression", "Answer: (13 - 8) * (5 - 1) is not 24", None),
    ("expression", "Steps:\n10 - 4 = 6 (left: 5 6 6)\nAnswer: None", None),
    ("number", "She had 3, then 4.\nAnswer: none of this is possible.", None),
    ("number", "Answer: First there are 15 trees, and after some time and a lot of work we have planted 6", "6"),
    ("math", "x^2+1", "x^2+1"),
    ("math", r"\text{Evelyn}", r"\text{Evelyn}"),
    ("math", "Thus $f(x) = x^2$ for all $x$.", "x^2"),
    ("expression", "Steps:\n10 - 4 = 6\n6 * (5 - 1) = 24\nDone.", "6 * (5 - 1)"),
    ("text", "yajo", "yajo"),
    ("text", "yajo\nand more", None),
    ("text", "[invalid]", None),
    ("text", "word " * 60, None),
]


@pytest.mark.parametrize(("kind", "text", "value"), SUGGESTED)
def test_without_a_statement_the_last_thing_of_the_kind_is_found_and_says_so(
    kind: Kind, text: str, value: str | None
) -> None:
    found = find(text, AnswerSpec(kind, choices=LETTERS if kind == "choice" else ()))
    assert (found and found.value) == value
    assert found is None or (not found.stated and text[found.start : found.end] == found.value)


def test_a_choice_is_found_by_its_text() -> None:
    spec = AnswerSpec("choice", choices=("05/01/2021", "02/23/2021"))
    for text in (
        "The answer is 02/23/2021.",
        "Hence it was 02/23/2021 then.",
        "The answer is (B).",
        "ANSWER: B) 02/23/2021",
    ):
        found = find(text, spec)
        assert found is not None and found.key == "B", text


def test_a_choice_text_inside_another_is_not_taken_for_it() -> None:
    spec = AnswerSpec("choice", choices=("valid", "invalid"))
    found = find("So the answer is invalid.", spec)
    assert found is not None and (found.value, found.key) == ("invalid", "B")


# Errors of other tools, one test each


def test_nested_braces_are_matched() -> None:
    found = find(r"\boxed{\frac{1}{\sqrt{2}}}", AnswerSpec("math"))
    assert found is not None and found.key == "1/2*2^(1/2)"


def test_the_placeholder_of_a_failed_extraction_never_votes() -> None:
    for kind in ("number", "math", "text", "choice", "yes_no", "list"):
        assert find("[invalid]", AnswerSpec(kind)) is None
        assert find("ANSWER: [invalid]", AnswerSpec(kind)) is None or kind == "text"


def test_a_thought_that_was_cut_is_not_an_answer() -> None:
    text = "Let me think. First 12, then 15, so 27 and"
    assert find(text, AnswerSpec("number"), truncated=True) is None
    assert find(text, AnswerSpec("number")) is not None


def test_in_a_cut_text_only_statements_that_are_complete_count() -> None:
    spec = AnswerSpec("number")
    for text, value in (
        ("the answer is 4", None),  # 42 may have been meant
        ("ANSWER: 4", None),
        ("#### 4", None),
        (r"\boxed{4", None),
        ("<answer>4", None),
        (r"so \boxed{42}", "42"),
        ("<answer>42</answer>", "42"),
        ("the answer is **42**", "42"),
        ("the answer is 42. Let me check", "42"),
        ("ANSWER: 42\nLet me", "42"),
        (r"\boxed{41}, no, the answer is 4", "41"),
    ):
        found = find(text, spec, truncated=True)
        assert (found and found.value) == value, text


def test_a_hedge_is_equal_to_neither_of_its_answers() -> None:
    for kind in ("number", "math"):
        for text in (
            "The answer is 7 or maybe 8",
            "ANSWER: 7 or 8",
            r"\boxed{7 \text{ or } 8}",
            "<answer>7 or maybe 8</answer>",
        ):
            found = find(text, AnswerSpec(kind))
            assert found is not None and found.key not in ("7", "8"), text


def test_an_answer_that_is_code_stays_text() -> None:
    found = find("ANSWER: __import__('os').system('touch X')", AnswerSpec("text"))
    assert found is not None and found.value == "__import__('os').system('touch X')"
    assert find("ANSWER: __import__('os').system('touch X')", AnswerSpec("number")) is None


def test_the_position_counts_from_the_start_of_the_whole_text() -> None:
    text = "x" * 1_500_000 + " ANSWER: 42"
    found = find(text, AnswerSpec("number"))
    assert found is not None and text[found.start : found.end] == "42"


def test_an_answer_longer_than_the_limit_is_none() -> None:
    assert find("\\boxed{" + "7" * 2_001 + "}", AnswerSpec("number")) is None
    assert find("\\boxed{" + "7" * 2_000 + "}", AnswerSpec("number")) is not None
