"""Recorded samples are said as they were recorded, and nothing else is made up."""

import asyncio
import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from mullover.backends.replay import Replay
from mullover.errors import CapabilityError, OptionError
from mullover.types import Event, Prompt, Sample, Sampling, Usage

Line = Mapping[str, Any]
ONE = Prompt.of("How many apples?", origin="1")


def written(path: Path, lines: Iterable[Line]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "recording.jsonl"


def drawn(model: Replay, n: int = 1, prompt: Prompt = ONE, **fields: Any) -> list[Sample]:
    return asyncio.run(model.sample(prompt, n, Sampling(**fields)))


def events(model: Replay, n: int = 1, **fields: Any) -> list[Event]:
    async def main() -> list[Event]:
        return [event async for event in model.stream(ONE, n, Sampling(**fields))]

    return asyncio.run(main())


# Which sample


def test_sample_i_is_the_recorded_one_after_those_asked_before(path: Path) -> None:
    lines = [{"id": i % 2, "text": f"{i}"} for i in range(10)]  # two problems in turn; ids may be numbers
    model = Replay(written(path, lines))
    assert [s.text for s in drawn(model, 5)] == ["1", "3", "5", "7", "9"]
    assert [s.text for s in drawn(model, 2, first=3)] == ["7", "9"]
    assert [s.text for s in drawn(model, 1, Prompt.of("?", origin="0"), seeds=(99,), temperature=0.7)] == ["0"]


def test_more_samples_than_recorded_are_refused_with_a_way_out(path: Path) -> None:
    model = Replay(written(path, [{"id": "1", "text": "8"}] * 3))
    why = "has 3 recorded samples of problem '1', and 2 were asked for, after 2 before; lower --n to 3 or less"
    with pytest.raises(CapabilityError, match=why):
        drawn(model, 2, first=2)
    with pytest.raises(CapabilityError, match="and 4 were asked for; lower --n"):
        drawn(model, 4)


def test_a_problem_that_was_not_recorded_is_refused_with_ids_like_it(path: Path) -> None:
    model = Replay(written(path, [{"id": f"game-{i}", "text": "8"} for i in range(900, 1000)]))
    with pytest.raises(
        CapabilityError, match="no recorded sample of problem 'game-90'; it has 100 problems, such as 'g"
    ):
        drawn(model, 1, Prompt.of("?", origin="game-90"))


def test_a_prompt_without_an_id_is_found_by_its_question(path: Path) -> None:
    lines = [{"id": "a", "question": "apples?", "text": "8"}, {"id": "p", "problem": "pears?", "text": "7"}]
    model = Replay(written(path, lines))
    assert drawn(model, 1, Prompt.of("pears?"))[0].text == "7"
    assert drawn(model, 1, Prompt.of("Q: apples?\nA: Let's think step by step."))[0].text == "8"
    with pytest.raises(CapabilityError, match="no id, and none of the recorded questions is in it"):
        drawn(model, 1, Prompt.of("plums?"))
    with pytest.raises(CapabilityError, match="no id, and the recording has no questions to match"):
        drawn(Replay(written(path, [{"id": "a", "text": "8"}])), 1, Prompt.of("plums?"))


def test_what_was_recorded_as_a_solution_is_no_verdict(path: Path) -> None:
    model = Replay(written(path, [{"id": "1", "text": "8"}]))
    assert drawn(model, role="step")
    with pytest.raises(CapabilityError, match="cannot judge; its samples were recorded to rollout, solve, step"):
        drawn(model, role="judge")
    judge = Replay(written(path, [{"id": "1", "text": "yes", "role": "judge"}]))
    assert drawn(judge, role="judge")[0].text == "yes"
    with pytest.raises(CapabilityError, match="cannot solve"):
        drawn(judge)


# What a sample carries


def test_a_finish_is_read_from_ours_or_a_servers_word(path: Path) -> None:
    words = ["stop", "length", "max_tokens", "end_turn", None]
    lines: list[Line] = [{"id": "1", "text": "8", "finish_reason": word} for word in words]
    model = Replay(written(path, lines))
    assert [s.finish for s in drawn(model, 5)] == ["eos", "length", "length", "eos", "eos"]
    model = Replay(written(path, [{"id": "1", "text": "8", "finish": word} for word in ("eos", "stop", "halted")]))
    assert [s.finish for s in drawn(model, 3)] == ["eos", "stop", "halted"]


def test_errors_and_filtered_texts_are_failed_samples(path: Path) -> None:
    lines: list[Line] = [
        {"id": "1", "error": "overloaded"},
        {"id": "1", "text": "I", "finish_reason": "content_filter"},
        {"id": "1", "text": "8", "error": None},
        {"id": "1", "text": "9", "finish": "cancelled"},
    ]
    found = {e.index: e.sample for e in events(Replay(written(path, lines)), 4) if e.sample}
    assert [(s.finish, s.error) for _, s in sorted(found.items())] == [
        ("error", "overloaded"),
        ("error", "the server's content filter cut it"),
        ("eos", ""),
        ("cancelled", "recorded as cancelled"),
    ]
    assert found[2].usage.prompt_tokens == 3  # the first that succeeded pays for the prompt


def test_reasoning_goes_before_the_text(path: Path) -> None:
    lines: list[Line] = [
        {"id": "1", "text": "It is 8", "reasoning": "3 and 5"},
        {"id": "1", "text": "It is 8", "reasoning_content": "3 and 5\n"},
        {"id": "1", "text": "<think>3 and 5</think>It is 8", "reasoning": None},
        {"id": "1", "text": "It is 8"},
    ]
    samples = drawn(Replay(written(path, lines)), 4)
    assert [s.reasoning for s in samples] == ["3 and 5\n\n", "3 and 5\n", "<think>3 and 5</think>", ""]
    assert {s.answer for s in samples} == {"It is 8"}
    assert [s.usage.reasoning_tokens for s in samples] == [3, 3, 3, 0]


def test_words_are_counted_where_tokens_were_not(path: Path) -> None:
    lines: list[Line] = [{"id": "1", "text": "so 8 it is", "completion_tokens": 9}, {"id": "1", "text": "8"}]
    model = Replay(written(path, lines))
    assert model.info.unit == "words"
    first, second = drawn(model, 2)
    assert first.usage == Usage(prompt_tokens=3, completion_tokens=4)
    assert second.usage == Usage(cached_tokens=3, completion_tokens=1)


def test_recorded_tokens_are_counted_where_every_sample_has_them(path: Path) -> None:
    usage = {"prompt_tokens": 20, "completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 4}}
    lines: list[Line] = [
        {"id": "1", "text": "so 8", "usage": usage},
        {"id": "1", "text": "8", "completion_tokens": 5, "reasoning_tokens": 1, "prompt_tokens": 20},
        {"id": "1", "text": "8", "ids": [7, 0], "logprobs": [-0.5, 0]},
        {"id": "1", "error": "lost"},
    ]
    model = Replay(written(path, lines))
    assert model.info.unit == "tokens"
    one, two, three = drawn(model, 4)
    assert one.usage == Usage(prompt_tokens=20, completion_tokens=9, reasoning_tokens=4)
    assert two.usage == Usage(cached_tokens=20, completion_tokens=5, reasoning_tokens=1)
    assert (three.ids, three.logprobs, three.usage.completion_tokens) == ((7, 0), (-0.5, 0.0), 2)


def test_logprobs_are_read_in_the_form_of_servers_too(path: Path) -> None:
    content = [{"token": "so", "logprob": -0.5}, {"token": " 8", "logprob": -1}]
    (sample,) = drawn(Replay(written(path, [{"id": "1", "text": "so 8", "logprobs": {"content": content}}])))
    assert sample.logprobs == (-0.5, -1.0)


# How it is said


@pytest.mark.parametrize(
    "text", ["", " ", "8", "a\n\nb  ", " lead", "w " * 100, "x" * 5000, "é\u2028ß " * 40, "\n" * 99]
)
def test_a_long_text_comes_in_parts_of_at_most_sixteen_words_that_add_up(path: Path, text: str) -> None:
    (*parts, last) = events(Replay(written(path, [{"id": "1", "text": text, "completion_tokens": 1000}])))
    assert "".join(e.text for e in (*parts, last)) == text
    assert all(len(e.text.split()) <= 16 and len(e.text) <= 1100 for e in (*parts, last))
    assert last.sample is not None
    assert sum((e.usage for e in (*parts, last)), Usage()) == last.sample.usage
    assert sum(e.usage.completion_tokens for e in (*parts, last)) == 1000


def test_max_tokens_cuts_nothing_so_it_is_not_claimed_and_what_was_cut_stays_cut(path: Path) -> None:
    lines = [{"id": "1", "text": "so 8 it is"}, {"id": "1", "text": "so 8 it", "finish_reason": "length"}]
    samples = drawn(Replay(written(path, lines)), 2, max_tokens=2)
    assert [(s.text, s.finish) for s in samples] == [("so 8 it is", "eos"), ("so 8 it", "length")]


def test_a_plain_recording_stays_on_disk_and_a_packed_one_is_held(path: Path) -> None:
    lines = [{"id": "1", "text": "8"}, {"id": "1", "text": "9"}]
    plain = Replay(written(path, lines))
    packed_path = path.with_suffix(".jsonl.gz")
    packed_path.write_bytes(gzip.compress(path.read_bytes()))
    packed = Replay(packed_path)
    assert plain.recording._held is None
    assert packed.recording._held is not None
    assert drawn(plain, 2) == drawn(packed, 2)
    written(path, [{"id": "other", "text": "8"}] * 2)
    with pytest.raises(OptionError, match="has changed since it was opened"):
        drawn(plain)
    path.unlink()
    with pytest.raises(OptionError, match="there is no file"):
        drawn(plain)


def test_windows_line_ends_are_fine(path: Path) -> None:
    path.write_bytes(b'{"id": "1", "text": "8"}\r\n{"id": "1", "text": "9"}\r\n')
    assert [s.text for s in drawn(Replay(path), 2)] == ["8", "9"]


# Broken files

GOOD = '{"id": "1", "text": "8"}\n'


@pytest.mark.parametrize(
    "content, why",
    [
        (GOOD + '{"id": "1", "te', "line 2 is no JSON"),
        (GOOD + "\0\0\0\0", "line 2 has null bytes"),
        (GOOD + '{"text": "8"}', "line 2 has no id"),
        (GOOD + '{"id": null, "text": "8"}', "line 2 has no id"),
        (GOOD + '{"id": "", "text": "8"}', "line 2 has no id"),
        (GOOD + '{"id": true, "text": "8"}', "line 2 has no id"),
        (GOOD + '{"id": "1"}', "line 2 has no `text` or `completion`"),
        (GOOD + '{"id": "1", "text": ["8"]}', "line 2 has no `text` or `completion`"),
        (GOOD + '"8"', "line 2 is no JSON object"),
        (GOOD + '{"id": "1", "text": "8", "finish": "done"}', "line 2 has finish 'done'"),
        (GOOD + '{"id": "1", "text": "8", "finish": ["eos"]}', "line 2 has finish"),
        (GOOD + '{"id": "1", "text": "8", "completion_tokens": -1}', "line 2: completion_tokens is -1"),
        (GOOD + '{"id": "1", "text": "8", "usage": {"prompt_tokens": "9"}}', "line 2: prompt_tokens is '9'"),
        (GOOD + '{"id": "1", "text": "8", "usage": 9}', "line 2: its usage is a number"),
        (GOOD + '{"id": "1", "text": "8", "reasoning": 9}', "line 2: its reasoning is a number"),
        (GOOD + '{"id": "1", "text": "8", "logprobs": ["x"]}', "line 2: its logprobs must be a list of numbers"),
        (GOOD + '{"id": "1", "text": "8", "ids": [1.5]}', "line 2: its ids must be"),
        (GOOD + '{"id": "1", "text": "8", "ids": [1], "logprobs": [0, 0]}', "line 2 has 1 ids and 2 logprobs"),
        ('[{"id": "1", "text": "8"}]', "line 1 begins a JSON list; .* names a converter"),
        ("", "holds no recorded sample"),
    ],
)
def test_a_broken_recording_names_the_file_and_the_line(path: Path, content: str, why: str) -> None:
    path.write_text(content)
    with pytest.raises(OptionError, match=why) as error:
        Replay(path)
    assert str(path) in str(error.value)


def test_a_packed_recording_that_is_too_large_asks_to_be_unpacked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mullover.backends.lines.UNPACKED", 1 << 20)
    path.write_bytes(gzip.compress((GOOD * 60_000).encode()))
    with pytest.raises(OptionError, match="unpacks to more than 1 MB; gunzip it first"):
        Replay(path)


def test_several_turns_segments_and_stops_are_refused(path: Path) -> None:
    model = Replay(written(path, [{"id": "1", "text": "8"}]))
    for prompt, fields, name in (
        (ONE.replied("8", "Sure?"), {}, "turns"),
        (ONE.then("so"), {}, "segments"),
        (ONE, {"stop": ("\n",)}, "stop"),
        (ONE, {"thinking": True}, "thinking"),
    ):
        with pytest.raises(CapabilityError, match=f"cannot do {name}"):
            drawn(model, 1, prompt, **fields)


def test_blank_lines_and_a_byte_order_mark_are_no_harm(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_bytes(
        b"\xef\xbb\xbf" + GOOD.encode() + b"\r\n  \n" + GOOD.replace("8", "9").encode() + b"\n"
    )
    model = Replay(tmp_path / "r.jsonl")
    samples = asyncio.run(model.sample(Prompt.of("?", origin="1"), 2, Sampling()))
    assert [sample.text for sample in samples] == ["8", "9"]


@pytest.mark.parametrize(
    "text, answer",
    [
        ("Hmm, the answer is 5.</think>\n\n**8**", "\n\n**8**"),
        ("<think>5</think>8", "8"),
        ("<thinking>5</thinking>8", "8"),
        ("<|begin_of_thought|>5<|end_of_thought|>8", "8"),
        ("So 8. No <think> here", "So 8. No <think> here"),
    ],
)
def test_reasoning_is_no_answer_also_where_the_template_had_begun_it(text: str, answer: str, tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text(json.dumps({"id": "1", "text": text}))
    (sample,) = asyncio.run(Replay(tmp_path / "r.jsonl").sample(Prompt.of("?", origin="1"), 1, Sampling()))
    assert sample.answer == answer


def test_a_role_of_a_chat_is_no_role_of_ours(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text(json.dumps({"id": "1", "text": "8", "role": "assistant"}))
    (sample,) = asyncio.run(Replay(tmp_path / "r.jsonl").sample(Prompt.of("?", origin="1"), 1, Sampling()))
    assert sample.text == "8"
