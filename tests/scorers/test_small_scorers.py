"""Table, likelihood and oracle."""

import asyncio
import math

from mullover.scorers.likelihood import likelihood
from mullover.scorers.oracle import Oracle
from mullover.scorers.table import table
from mullover.types import Candidate, Prompt, Sample, Scorer

ASKED = Prompt.of("Which way?")


def values(scorer: Scorer, *candidates: Candidate, prompt: Prompt = ASKED) -> list[float | None]:
    return [score.value for score in asyncio.run(scorer(prompt, candidates))]


def test_the_longest_listed_beginning_decides() -> None:
    scorer = table({"left": 0.2, "left, left": 0.9, "back": None})
    texts = ("left", "left, right", "left, left, left", "back", "up")
    assert values(scorer, *map(Candidate, texts)) == [0.2, 0.2, 0.9, None, None]


def test_the_steps_so_far_belong_to_the_beginning() -> None:
    assert values(table({"left, left": 0.9}), Candidate("left"), prompt=ASKED.then("left, ")) == [0.9]


def test_likelihood_is_the_mean_over_all_tokens() -> None:
    sample = Sample("ab", "eos", ids=(1, 2, 0), logprobs=(-1.0, -2.0, -0.3))
    (value,) = values(likelihood(), Candidate.of(sample))
    assert value is not None and math.isclose(value, -1.1)


def test_likelihood_is_none_where_the_model_gave_none() -> None:
    infinite = Sample("a", "eos", ids=(1,), logprobs=(-math.inf,))
    samples = (Sample("a", "eos"), Sample("", "eos", logprobs=()), infinite)
    assert values(likelihood(), *map(Candidate.of, samples), Candidate("a")) == [None] * 4


def test_an_oracle_changes_no_score_but_says_what_it_is() -> None:
    oracle = Oracle(table({"left": 0.2}))
    assert oracle.oracle and values(oracle, Candidate("left")) == [0.2]
