"""Rules as state machines say what the toy's rules say, which follow `mullover.sampling` to the letter."""

import math
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from mullover.backends.rules import Ruled, Rules
from mullover.backends.table import Table
from mullover.engine.rules import Bias, Compiled, Forced, RuleState
from mullover.types import Force, Rule, Where

WORDS = "abcd"
TABLE = Table({"|".join((a, b, c)): 1.0 for a in WORDS for b in WORDS for c in WORDS})
WHERE = st.sampled_from(["always", "thinking", "answer"])
BIASES = st.builds(
    Rule, st.sampled_from(WORDS), st.sampled_from([-math.inf, -1.0, 2.0]), WHERE, st.integers(0, 4), st.integers(0, 6)
)
FORCES = st.builds(Force, st.text(WORDS, min_size=1, max_size=3), st.integers(0, 6), WHERE)


def compiled(rule: Rule | Force) -> Compiled:
    if isinstance(rule, Force):
        return Forced(tuple(TABLE.encode(rule.text)), rule.at, rule.where)
    return Bias(frozenset(TABLE.begins(rule.text)), rule.bias, rule.where, rule.window, rule.before)


def held(state: RuleState, rules: Sequence[Compiled], inside: bool = False) -> list[int]:
    """Which of the rules hold, by their number."""
    return [rules.index(rule) for rule in state.holding(inside)]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.one_of(BIASES, FORCES), max_size=5),
    st.lists(st.tuples(st.sampled_from(WORDS), st.booleans()), max_size=14),
)
def test_they_hold_and_force_what_those_of_the_toy_do(rules: list[Rule | Force], said: list[tuple[str, bool]]) -> None:
    toy, own = Rules(rules, TABLE), [compiled(rule) for rule in rules]
    ruled, state = Ruled(toy), RuleState(own)
    biases = [one for one in own if isinstance(one, Bias)]
    for word, inside in said:
        assert [biases.index(rule) for rule in state.holding(inside)] == list(ruled.holding(inside))
        forced = ruled.forced(inside)
        assert state.forced(inside) == forced == state.forced(inside)
        (token,) = TABLE.encode(word)
        for one in (state, ruled):
            one.drew(token if forced is None else forced, inside)


def test_a_window_begins_with_the_sample_and_anew_with_each_token_of_the_rule() -> None:
    rule = Bias(frozenset([7]), -1.0, window=3)
    state, seen = RuleState([rule]), []
    for token in (1, 1, 1, 1, 7, 1, 1, 1, 7, 7, 1, 1, 1):
        seen.append(bool(state.holding(False)))
        state.drew(token, False)
    # one at position 4 holds at 5 and 6; those at 8 and 9 hold at 9, 10 and 11
    assert [i for i, holds in enumerate(seen) if holds] == [0, 1, 2, 5, 6, 9, 10, 11]


def test_before_where_and_window_must_all_let_it() -> None:
    rules: list[Compiled] = [
        Bias(frozenset([7]), -1.0, before=2),
        Bias(frozenset([7]), -1.0, "thinking"),
        Bias(frozenset([7]), -1.0, "answer", window=1),
        Bias(frozenset([7]), -1.0, "thinking", before=3),
    ]
    state = RuleState(rules)
    found = []
    for inside in (True, True, False, False, True):
        found.append(held(state, rules, inside))
        state.drew(0, inside)
    assert found == [[0, 1, 3], [0, 1, 3], [], [], [1]]


def test_a_forced_text_comes_once_to_its_end_and_the_first_of_two_first() -> None:
    state = RuleState([Forced((5, 6), 2), Forced((8,), 1), Forced((9,), 1)])
    said = []
    for _ in range(9):
        token = state.forced(False)
        said.append(0 if token is None else token)
        state.drew(said[-1], False)
    assert said == [0, 8, 5, 6, 9, 0, 0, 0, 0]


def test_a_forced_text_counts_the_tokens_of_its_place_and_waits_for_it() -> None:
    state = RuleState([Forced((5, 6), 2, "answer")])
    said = []
    for inside in (True, True, True, False, False, True, False, False):
        token = state.forced(inside)
        said.append(0 if token is None else token)
        state.drew(said[-1], inside)
    assert said == [0, 0, 0, 0, 0, 0, 5, 6]


def test_a_begun_text_goes_on_though_the_place_changes() -> None:
    state = RuleState([Forced((5, 6, 7), 0, "thinking")])
    said = []
    for inside in (True, False, False, True):
        token = state.forced(inside)
        said.append(token)
        state.drew(token or 0, inside)
    assert said == [5, 6, 7, None]


def test_an_empty_forced_text_hides_no_other() -> None:
    state = RuleState([Forced((), 0), Forced((5, 6), 0)])
    said = []
    for _ in range(3):
        token = state.forced(False)
        assert state.forced(False) == token
        said.append(token)
        state.drew(token or 0, False)
    assert said == [5, 6, None]


def test_places_are_those_of_sampling() -> None:
    from typing import get_args

    from mullover import sampling

    assert get_args(Where) == get_args(sampling.Where)
