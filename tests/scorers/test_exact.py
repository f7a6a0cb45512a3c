"""The scorer that knows the answer."""

import asyncio
from collections.abc import Sequence

import pytest

from mullover.errors import OptionError
from mullover.scorers import exact as module
from mullover.scorers.close import close
from mullover.scorers.exact import exact
from mullover.types import AnswerSpec, Candidate, Prompt, Sample, Score, Scorer

NUMBER = AnswerSpec("number")
ASKED = Prompt.of("How many?", NUMBER)


def scores(scorer: Scorer, *texts: str | Candidate, prompt: Prompt = ASKED) -> list[Score]:
    candidates = [Candidate(text) if isinstance(text, str) else text for text in texts]
    return asyncio.run(scorer(prompt, candidates))


def values(scorer: Scorer, *texts: str | Candidate, prompt: Prompt = ASKED) -> list[float | None]:
    return [score.value for score in scores(scorer, *texts, prompt=prompt)]


def test_right_wrong_and_none_stated_are_three_things() -> None:
    assert values(exact("5", NUMBER), "ANSWER: 5", "ANSWER: 8", "I cannot tell.") == [1.0, 0.0, None]


def test_the_score_says_what_was_compared() -> None:
    assert scores(exact("5", NUMBER), "ANSWER: 8")[0].why == "8 against 5"


def test_one_of_several_accepted_answers_is_enough() -> None:
    text = AnswerSpec("text")
    assert values(exact(("Bern", "Berne"), text), "ANSWER: Berne", "ANSWER: Basel") == [1.0, 0.0]


def test_a_value_already_read_is_not_read_again() -> None:
    assert values(exact("5", NUMBER), Candidate("ANSWER: 8", value="5")) == [1.0]


def test_what_was_said_before_counts_too() -> None:
    said = ASKED.then("So it is five.\nANSWER:")
    assert values(exact("5", NUMBER), " 5", prompt=said) == [1.0]


def test_reasoning_states_no_answer() -> None:
    thought = "<think>ANSWER: 5</think>"
    sample = Sample(thought + "Hard to say.", "eos", thought=len(thought))
    assert values(exact("5", NUMBER), Candidate.of(sample)) == [None]


def test_an_answer_cut_by_length_is_not_taken_for_a_whole_one() -> None:
    cut = Candidate.of(Sample("It is large.\nANSWER: 51", "length"))
    whole = Candidate.of(Sample("It is large.\nANSWER: 51", "eos"))
    assert values(exact("5127", NUMBER), cut, whole) == [None, 0.0]


def test_equal_answers_are_compared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def equivalent(gold: str, value: str, spec: AnswerSpec) -> bool:
        asked.append(value)
        return False

    monkeypatch.setattr(module, "equivalent", equivalent)
    assert values(exact("5", NUMBER), *["ANSWER: 8"] * 50, *["ANSWER: 9.0"] * 50) == [0.0] * 100
    assert asked == ["8", "9.0"]


def test_without_a_truth_nothing_can_be_graded() -> None:
    with pytest.raises(OptionError, match="no truth"):
        exact((), NUMBER)


@pytest.mark.parametrize(
    "truth, right, wrong",
    [
        ("3244047.0999999996", ["3244047.1", "3,244,047.1004"], ["3244047.2", "3244047", "none"]),
        ("0.0016791648", ["0.001679", "0.00168", "0.0016791648"], ["0", "0.002", "0.0017"]),
        ("0", ["0", "0.0005"], ["0.01"]),
        ("-9867630", ["-9867630.0"], ["-9867629", "9867630"]),
    ],
)
def test_a_computed_truth_may_be_missed_by_a_thousandth(truth: str, right: Sequence[str], wrong: Sequence[str]) -> None:
    scorer = close(truth, NUMBER)
    assert values(scorer, *[Candidate("", value=text) for text in right]) == [1.0] * len(right)
    assert values(scorer, *[Candidate("", value=text) for text in wrong]) == [0.0] * len(wrong)


def test_a_number_of_absurd_size_is_refused_at_once() -> None:
    assert values(close("5", NUMBER), Candidate("", value="1e999999999")) == [0.0]


def test_closeness_to_a_word_is_refused() -> None:
    with pytest.raises(OptionError, match="is no number"):
        close("many", NUMBER)
