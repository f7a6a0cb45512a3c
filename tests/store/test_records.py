"""What was written can be read: every field, every text, every number."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mullover.errors import StoreError
from mullover.running import Mark, Run
from mullover.store import Done, canonical, decode, encode
from mullover.types import (
    NOTHING,
    Answer,
    AnswerSpec,
    Candidate,
    Force,
    Halt,
    Message,
    Prompt,
    Rule,
    Sample,
    Sampling,
    Score,
    Segment,
    Token,
    Usage,
)
from mullover.wrappers import Call

INF = float("inf")
counts = st.integers(0, 1 << 40)
reals = st.floats()
some_reals = st.lists(reals, max_size=3).map(tuple)
seconds = st.floats(0, 1e6).map(lambda s: s + 0.0)
usages = st.just(NOTHING) | st.builds(Usage, *[counts] * 7, *[seconds] * 3, counts)
tokens = st.builds(Token, counts, st.text(max_size=3), reals)
samples = st.builds(
    Sample,
    text=st.text(),
    finish=st.sampled_from(["eos", "stop", "length", "halted", "cancelled", "error"]),
    ids=st.lists(counts, max_size=3).map(tuple),
    logprobs=st.none() | some_reals,
    sampling_logprobs=st.none() | some_reals,
    alternatives=st.none() | st.lists(st.lists(tokens, max_size=2).map(tuple), max_size=2).map(tuple),
    signals=st.none() | st.dictionaries(st.text(max_size=5), some_reals, max_size=2),
    offsets=st.none() | st.lists(counts, max_size=3).map(tuple),
    thought=counts,
    usage=usages,
    error=st.text(max_size=5),
)
scores = st.builds(
    Score, st.none() | reals, st.lists(st.none() | reals, max_size=3).map(tuple), st.text(max_size=5), usages
)
messages = st.builds(Message.of, st.sampled_from(["system", "user", "assistant", "tool"]), st.text()) | st.just(
    Message("user", ({"type": "image", "url": "x"}, {"type": "text", "text": "look"}))
)
expects = st.builds(
    AnswerSpec,
    st.sampled_from(["number", "text", "choice"]),
    st.lists(st.text(max_size=2), max_size=2).map(tuple),
    st.text(max_size=3),
)
segments = st.builds(Segment, st.text(max_size=5), st.none() | st.lists(counts, max_size=2).map(tuple))
prompts = st.builds(
    Prompt,
    st.lists(messages, max_size=2).map(tuple),
    st.lists(segments, max_size=3).map(tuple),
    expects,
    st.sampled_from(["p1", "", "another"]),
)
SAMPLINGS = [
    Sampling(),
    Sampling(temperature=0.0, stop=("\n", "END"), signals=("entropy",), thinking="high", max_tokens=5),
    Sampling(rules=(Rule("Wait", -INF), Rule("a", 1.5, "answer")), halt=Halt("confidence", -INF, 4), thinking=False),
    Sampling(rules=(Rule("", -INF, before=9), Force("Wait", 7, "thinking"), Rule("So", -3.0, "thinking", 600))),
    Sampling(distinct_first=True),
]


@st.composite
def calls(draw: st.DrawFn) -> Call:
    role: Any = draw(st.sampled_from(["solve", "judge", "score"]))
    ended = tuple(draw(st.lists(samples, max_size=3)))
    seeds = st.lists(st.integers(0, (1 << 63) - 1), min_size=len(ended), max_size=len(ended)).map(tuple)
    own = draw(seeds | st.just(()))
    drawn = draw(st.just(own) | seeds | st.just((5, 6, 7, 8)))
    sampling = draw(st.none() | st.sampled_from(SAMPLINGS))
    if sampling is not None:
        sampling = replace(sampling, role=role, seeds=drawn, first=draw(counts))
    n, model, error = draw(counts), draw(st.sampled_from(["", "a", "b"])), draw(st.text(max_size=3))
    judged = tuple(draw(st.lists(scores, max_size=2)))
    return Call(role, draw(prompts), n, sampling, ended, draw(usages), model, error, judged, own)


@st.composite
def runs(draw: st.DrawFn) -> Run:
    asked = tuple(draw(st.lists(calls(), max_size=3)))
    there = [sample for call in asked for sample in call.samples]
    candidates = []
    for i in range(draw(st.integers(0, 4))):
        sample = draw(st.none() | samples | (st.sampled_from(there) if there else st.none()))
        text = sample.text if sample is not None and draw(st.booleans()) else draw(st.text(max_size=5))
        candidate = Candidate(
            text,
            tuple(range(draw(st.integers(0, i)))),
            draw(st.sampled_from(["sample", "step", "edit"])),
            draw(st.sampled_from(["open", "finished", "pruned", "selected"])),
            draw(st.none() | scores),
            draw(st.dictionaries(st.text(max_size=3), reals, max_size=2)),
            sample,
            draw(st.none() | st.text(max_size=3)),
        )
        candidates.append(candidate)
    text = draw(st.text() | (st.sampled_from([s.text for s in there]) if there else st.just("")))
    value, why, complete = draw(st.none() | st.text()), draw(st.text(max_size=3)), draw(st.booleans())
    trail = draw(st.lists(st.builds(Mark, st.none() | st.text(max_size=3), usages), max_size=3))
    return Run(Answer(value, text, tuple(candidates), why, complete), asked, draw(st.booleans()), tuple(trail))


def written(run: Run, **more: Any) -> bytes:
    told: dict[str, Any] = {"gold": None, "correct": None, "grades": None, "seconds": 0.0, "started": 0.0}
    return encode("p1", run, **{**told, **more})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(runs())
def test_a_run_that_was_stored_is_read_again_exactly(run: Run) -> None:
    # By repr: it also shows what equality leaves out (seeds, seconds, origins), and nan like nan.
    assert repr(decode(written(run)).run) == repr(run)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.text(),
    st.text(),
    st.none() | st.booleans(),
    st.lists(st.none() | st.booleans(), max_size=3),
    st.text(max_size=4),
)
def test_what_is_said_about_a_run_is_read_again(
    name: str, gold: str, correct: bool | None, grades: list[bool | None], error: str
) -> None:
    run = Run(Answer("1"), ())
    line = encode(name, run, gold=gold, correct=correct, grades=grades, seconds=0.1, started=2.5, error=error)
    stored = decode(line)
    assert (stored.id, stored.gold, stored.correct, stored.error) == (name, gold, correct, error)
    assert (stored.grades, stored.seconds, stored.started) == (tuple(grades), 0.1, 2.5)
    assert Done.read(orjson.loads(line)) == Done.of(name, run, correct, grades, seconds=0.1, error=error)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(runs())
def test_a_line_is_one_line_of_json_and_its_canonical_form_too(run: Run) -> None:
    line = written(run)
    for each in (line, canonical(line)):
        assert each.count(b"\n") == 1
        assert each.endswith(b"\n")
        assert orjson.loads(each)["id"] == "p1"


def test_a_lone_surrogate_is_replaced_and_moves_nothing() -> None:
    sample = Sample("a\ud83d\ude00b\udfff", "eos", offsets=(0, 4), thought=3)
    call = Call("solve", Prompt.of("\ud800?"), 1, Sampling(), (sample,), NOTHING)
    stored = decode(written(Run(Answer("\udc00", sample.text), (call,)))).run
    assert stored.calls[0].samples[0].text == "a\ufffd\ufffdb\ufffd"
    assert stored.calls[0].samples[0].offsets == (0, 4)
    assert stored.calls[0].prompt.question == "\ufffd?"
    assert stored.answer.value == "\ufffd"
    assert stored.answer.text == "a\ufffd\ufffdb\ufffd"


def test_what_json_has_no_word_for_is_written_as_text_and_never_refused() -> None:
    parts: Any = ({"type": "image", "data": b"\x00\xff", 3: {1}, "big": 1 << 70, "object": INF},)
    prompt = Prompt((Message("user", parts),))
    stored = decode(written(Run(Answer(None), (Call("solve", prompt, 1, None, (), NOTHING),)))).run
    part = stored.calls[0].prompt.messages[0].parts[0]
    assert part == {"type": "image", "data": "AP8=", "3": [1], "big": str(1 << 70), "object": "inf"}


def test_prompts_and_texts_are_written_once(vote: Callable[..., Run]) -> None:
    run = vote(7, 16)
    run = replace(run, calls=(run.calls[0], *[replace(vote(7, 2).calls[0], role="judge") for _ in range(4)]))
    line = written(run)
    assert line.count(b"What is 7 + 1?") == 1
    assert line.count(b"step 3") == 1  # of 16 samples, 16 candidates and an answer


def test_a_sample_that_two_calls_share_is_written_out_where_it_is_used(vote: Callable[..., Run]) -> None:
    run = vote(7)
    twice = replace(run, calls=run.calls * 2)
    assert decode(written(twice)).run == twice
    assert b'"at"' not in written(twice)


def test_candidates_hold_the_very_samples_of_the_calls(vote: Callable[..., Run]) -> None:
    same = tuple(Sample("ANSWER: 8", "eos") for _ in range(3))
    call = replace(vote(7).calls[0], samples=same)
    candidates = tuple(map(Candidate.of, (same[2], same[0], same[1])))
    stored = decode(written(Run(Answer("8", "", candidates), (call,)))).run
    assert [stored.calls[0].samples.index(c.sample) for c in stored.answer.candidates if c.sample] == [0, 0, 0]  # equal
    assert [[c.sample is s for s in stored.calls[0].samples].index(True) for c in stored.answer.candidates] == [2, 0, 1]


def test_every_sample_has_its_own_seed_also_where_another_never_ended(vote: Callable[..., Run]) -> None:
    call = vote(7).calls[0]
    cut = replace(call, samples=call.samples[1:], seeds=call.seeds[1:])
    assert decode(written(Run(Answer(None), (cut,)))).run.calls[0].seeds == (101, 102)
    assert decode(written(Run(Answer(None), (cut,)))).run.calls[0] == cut


def test_grades_speak_of_whole_samples_only(vote: Callable[..., Run]) -> None:
    run = vote(1)
    critique = Candidate("hm", (0,), "critique")
    run = replace(run, answer=replace(run.answer, candidates=(critique, *run.answer.candidates)))
    assert decode(written(run, grades=[True, None, False])).right == {1: True, 2: None, 3: False}


class TestCanonical:
    def test_clocks_are_left_out(self, record: Callable[..., tuple[bytes, Done]]) -> None:
        (fast, _), (slow, _) = record(1, 0.1), record(1, 9.9)
        assert fast != slow
        assert canonical(fast) == canonical(slow)
        assert b"seconds" not in canonical(slow)
        assert b"clock" not in canonical(slow)

    def test_seconds_of_single_samples_and_scores_are_clocks_too(self) -> None:
        def run(spent: float) -> Run:
            usage = Usage(completion_tokens=3, seconds=spent)
            sample = Sample("a", "eos", usage=usage)
            call = Call("solve", Prompt.of("?"), 1, Sampling(), (sample,), usage, "m", "", (Score(1.0, usage=usage),))
            candidate = Candidate("b", score=Score(2.0, usage=usage), sample=Sample("b", "eos", usage=usage))
            return Run(Answer("a", "b", (candidate,)), (call,))

        assert canonical(written(run(0.5))) == canonical(written(run(0.0)))

    def test_the_order_in_which_calls_ended_is_a_clock_too(self) -> None:
        def call(k: int) -> Call:
            prompt = Prompt.of(f"question {k}").then(Segment(f"so far {k}"))
            usage = Usage(1, money=0.1 * k)
            model = "judge" if k == 2 else "solver"
            sample = Sample("the same words", "eos")
            return Call("judge", prompt, 1, Sampling(seeds=(k,)), (sample,), usage, model, seeds=(k,))

        def run(*order: int) -> Run:
            calls = {k: call(k) for k in order}
            candidates = tuple(Candidate.of(calls[k].samples[0]) for k in (1, 2, 3))
            return Run(Answer("1", "the same words", candidates), tuple(calls.values()))

        one, other = canonical(written(run(1, 2, 3))), canonical(written(run(3, 2, 1)))
        assert one == other
        shown = orjson.loads(one)
        places = [shown["calls"][c]["samples"][s]["seed"] for c, s in (row["at"] for row in shown["candidates"])]
        assert places == [1, 2, 3]

    def test_everything_else_stays(self, record: Callable[..., tuple[bytes, Done]]) -> None:
        shown = orjson.loads(canonical(record(1)[0]))
        assert [sample["seed"] for sample in shown["calls"][0]["samples"]] == [100, 101, 102]
        assert [candidate["at"] for candidate in shown["candidates"]] == [[0, 0], [0, 1], [0, 2]]
        assert shown["text"] == shown["calls"][0]["samples"][0]["text"]
        assert shown["usage"] == {"solve": {"calls": 1, "prompt_tokens": 11, "completion_tokens": 21}}


@pytest.mark.parametrize(
    "line", [b"", b"[1]", b'{"v":1}', b'{"v":2,"id":"a"}', b"\x00\x00", b'{"v":1,"id":"a","calls":[{"prompt":3}]}']
)
def test_what_is_no_record_is_refused(line: bytes) -> None:
    with pytest.raises(StoreError):
        decode(line)


KNOWN = {
    Run: "answer calls oracle trail",
    Mark: "value spent",
    Answer: "value text candidates why complete",
    Candidate: "text parents kind status score numbers sample value",
    Score: "value steps why usage",
    Call: "role prompt n sampling samples usage model error scores seeds",
    Prompt: "messages segments expects origin",
    Message: "role parts",
    Segment: "text ids",
    AnswerSpec: "kind choices instruction",
    Sample: "text finish ids logprobs sampling_logprobs alternatives signals offsets thought usage error",
    Usage: "calls prompt_tokens cached_tokens completion_tokens reasoning_tokens retries partial seconds flops money "
    "sandbox_runs",
    Rule: "text bias where window before",
    Force: "text at where",
    Halt: "signal below window",
    Sampling: "temperature top_p top_k min_p max_tokens stop top_logprobs thinking rules signals halt distinct_first "
    "role seeds first",
}


@pytest.mark.parametrize("kind", KNOWN, ids=lambda kind: kind.__name__)
def test_no_field_is_forgotten(kind: Any) -> None:
    """A new field fails here until records.py writes it and stored.py reads it."""
    assert " ".join(field.name for field in fields(kind)) == KNOWN[kind]
