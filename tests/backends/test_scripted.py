"""The fake says what it is told, and costs next to nothing."""

import asyncio
import gzip
import json
from pathlib import Path

import pytest

from mullover.backends.scripted import REMEMBERED, Scripted, open_scripted
from mullover.errors import CapabilityError, ModelError, OptionError
from mullover.types import Event, Message, Prompt, Sample, Sampling, Token, Usage

PROMPT = Prompt.of("How many apples?", origin="1")


def drawn(model: Scripted, n: int = 1, prompt: Prompt = PROMPT, **fields: object) -> list[Sample]:
    return asyncio.run(model.sample(prompt, n, Sampling(**fields)))  # type: ignore[arg-type]


def texts(model: Scripted, n: int = 1, prompt: Prompt = PROMPT, **fields: object) -> list[str]:
    return [sample.text for sample in drawn(model, n, prompt, **fields)]


def events(model: Scripted, n: int = 1, prompt: Prompt = PROMPT, **fields: object) -> list[Event]:
    async def main() -> list[Event]:
        return [event async for event in model.stream(prompt, n, Sampling(**fields))]  # type: ignore[arg-type]

    return asyncio.run(main())


# Turns


def test_texts_are_said_in_turn_and_again_from_the_beginning() -> None:
    model = Scripted(["a", "b", "c"])
    assert texts(model, 2) == ["a", "b"]
    assert texts(model, 3) == ["c", "a", "b"]


def test_each_problem_has_its_own_turns_whatever_others_do() -> None:
    problems = [Prompt.of("?", origin=str(i)) for i in range(5)]

    async def main(at_once: bool) -> list[list[str]]:
        model = Scripted(["a", "b", "c"])
        calls = [model.sample(prompt, 2, Sampling()) for prompt in problems * 2]
        found = await asyncio.gather(*calls) if at_once else [await call for call in calls]
        return [[sample.text for sample in samples] for samples in found]

    assert asyncio.run(main(True)) == asyncio.run(main(False)) == [["a", "b"]] * 5 + [["c", "a"]] * 5


def test_a_call_takes_its_turns_when_it_begins() -> None:
    async def main() -> list[str]:
        model = Scripted(["a", "b", "c", "d"])
        first = model.stream(PROMPT, 2, Sampling())
        said = [(await anext(first)).text]
        said += [sample.text for sample in await model.sample(PROMPT, 2, Sampling())]
        return said + [event.text async for event in first]

    assert asyncio.run(main()) == ["a", "c", "d", "b"]


def test_only_the_latest_problems_are_remembered() -> None:
    model = Scripted(["a", "b"])

    async def main() -> None:
        for i in range(REMEMBERED + 100):
            await model.sample(Prompt.of("?", origin=str(i)), 1, Sampling())

    asyncio.run(main())
    assert len(model._turns) == REMEMBERED
    assert texts(model, prompt=Prompt.of("?", origin=str(REMEMBERED))) == ["b"]
    assert texts(model, prompt=Prompt.of("?", origin="0")) == ["a"]


def test_a_function_of_the_prompt_can_say_anything() -> None:
    model = Scripted(lambda prompt: OSError("lost") if "pears" in prompt.question else f"<{prompt.said}>")
    assert texts(model, 2, PROMPT.then("so")) == ["<so>", "<so>"]
    with pytest.raises(ModelError, match="none of 1 samples succeeded: lost"):
        drawn(model, prompt=Prompt.of("pears?"))


def test_a_fake_says_texts_exceptions_and_samples_only() -> None:
    for says in ([8], ["a", None], lambda prompt: None):
        with pytest.raises(OptionError, match="a script says texts, exceptions and samples, not"):
            drawn(Scripted(says))  # type: ignore[arg-type]
    assert texts(Scripted("abc")) == ["abc"]


def test_a_given_sample_may_have_failed() -> None:
    model = Scripted([Sample("so", "cancelled", error="left"), "8"])
    assert [event.sample.finish for event in events(model, 2) if event.sample] == ["cancelled", "eos"]
    assert drawn(model, 2)[0].usage.prompt_tokens == 3


def test_a_fake_without_anything_to_say_is_refused() -> None:
    with pytest.raises(OptionError, match="nothing to say"):
        Scripted([])


# Tokens


def test_a_word_and_its_following_space_are_one_token_and_the_end_is_one_more() -> None:
    (sample,) = drawn(Scripted(["  The answer\n\nis 8"]))
    assert sample.text == "  The answer\n\nis 8"
    assert len(sample.ids) == 6  # the leading space is a token
    assert sample.ids[-1] == 0
    assert 0 not in sample.ids[:-1]
    assert sample.finish == "eos"


def test_a_word_has_the_same_id_in_every_model() -> None:
    (one,), (other,) = drawn(Scripted(["eight apples"])), drawn(Scripted(["red", "apples"]), 2)[1:]
    assert one.ids[1:] == other.ids


def test_a_short_text_is_one_event_and_a_long_one_comes_in_parts_of_sixteen_words() -> None:
    assert [len(event.ids) for event in events(Scripted(["a b c"]), 2)] == [4, 4]
    assert [len(event.ids) for event in events(Scripted(["word " * 40]))] == [16, 16, 9]


def test_an_empty_text_is_a_sample_that_ends_at_once() -> None:
    (sample,) = drawn(Scripted([""]))
    assert (sample.text, sample.finish, sample.ids) == ("", "eos", (0,))


def test_the_first_sample_pays_for_the_prompt_and_the_others_read_it() -> None:
    first, second = drawn(Scripted(["a b"]), 2, PROMPT.then("It is"))
    assert first.usage == Usage(prompt_tokens=5, completion_tokens=3)
    assert second.usage == Usage(cached_tokens=5, completion_tokens=3)


def test_a_failed_sample_does_not_pay_for_the_prompt() -> None:
    (sample,) = drawn(Scripted([OSError("lost"), "a"]), 2)
    assert sample.usage == Usage(prompt_tokens=3, completion_tokens=2)


# Ends


@pytest.mark.parametrize(
    "stop, most, text, finish",
    [
        (("\n",), 99, "one\n", "stop"),
        (("wo",), 99, "one\ntwo ", "stop"),  # with the token that completes it
        (("zz", "three"), 99, "one\ntwo three", "stop"),  # which may be the last
        (("zz",), 99, "one\ntwo three", "eos"),
        ((), 2, "one\ntwo ", "length"),
        ((), 3, "one\ntwo three", "length"),  # the end is a token too
        ((), 4, "one\ntwo three", "eos"),
        (("two",), 2, "one\ntwo ", "stop"),
        (("three",), 2, "one\ntwo ", "length"),
    ],
)
def test_stop_strings_and_length_cut_a_text(stop: tuple[str, ...], most: int, text: str, finish: str) -> None:
    (sample,) = drawn(Scripted(["one\ntwo three"]), stop=stop, max_tokens=most)
    assert (sample.text, sample.finish) == (text, finish)
    assert len(sample.ids) == len(text.split()) + (finish == "eos")


def test_an_empty_stop_string_is_refused() -> None:
    with pytest.raises(OptionError, match="empty stop"):
        drawn(Scripted(["a"]), stop=("",))


# Reasoning


def test_text_between_think_marks_at_the_beginning_is_reasoning() -> None:
    (sample,) = drawn(Scripted(["<think>3 and 5</think> It is 8"]))
    assert sample.reasoning == "<think>3 and 5</think>"
    assert sample.answer == " It is 8"
    assert sample.usage.reasoning_tokens == 5
    assert sample.usage.completion_tokens == 9


def test_reasoning_that_is_cut_has_no_answer() -> None:
    (sample,) = drawn(Scripted(["<think>3 and 5</think> It is 8"]), max_tokens=3)
    assert (sample.reasoning, sample.answer, sample.usage.reasoning_tokens) == ("<think>3 and ", "", 3)


def test_reasoning_that_was_begun_goes_on() -> None:
    begun = PROMPT.then("<think>3 and")
    (sample,) = drawn(Scripted([" 5</think> It is 8"]), prompt=begun)
    assert (sample.reasoning, sample.answer) == (" 5</think>", " It is 8")
    (sample,) = drawn(Scripted([" It is 8"]), prompt=begun.then(" 5</think>"))
    assert sample.thought == 0


@pytest.mark.parametrize(
    "thinking, text",
    [
        (False, "It is 8"),
        (True, "<think>3 and 5</think> It is 8"),
        ("high", "<think>3 and 5</think> It is 8"),
        (2, "<think>3 and </think> It is 8"),
        (9, "<think>3 and 5</think> It is 8"),
    ],
)
def test_reasoning_can_be_left_out_or_kept_short(thinking: bool | str | int, text: str) -> None:
    assert texts(Scripted(["<think>3 and 5</think> It is 8"]), thinking=thinking) == [text]
    assert texts(Scripted(["It is 8"]), thinking=thinking) == ["It is 8"]


# Given samples


def test_a_given_sample_is_said_as_it_is_with_what_it_lacks() -> None:
    given = Sample("so 8", "halted", logprobs=None)
    (sample,) = drawn(Scripted([given]))
    assert (sample.text, sample.finish, len(sample.ids)) == ("so 8", "halted", 2)
    assert sample.usage == Usage(prompt_tokens=3, completion_tokens=2)
    own = Sample("so 8", "eos", (4, 5, 0), (-1.0, -2.0, 0.0), usage=Usage(completion_tokens=3))
    assert drawn(Scripted([own])) == [own]


def test_what_every_given_sample_carries_can_be_asked_for() -> None:
    rich = Sample("8", "eos", (4,), (-1.0,), alternatives=((Token(4, "8", -1.0),),), signals={"entropy": (0.5,)})
    assert drawn(Scripted([rich]), top_logprobs=1, signals=("entropy",))[0].alternatives == rich.alternatives
    with pytest.raises(CapabilityError, match="scripted cannot do top_logprobs"):
        drawn(Scripted([rich, "8"]), top_logprobs=1)


def test_several_turns_are_fine() -> None:
    assert texts(Scripted(["yes"]), prompt=PROMPT.replied("8", "Sure?")) == ["yes"]
    assert drawn(Scripted(["yes"]), prompt=Prompt((Message.of("system", "Be brief"),)))[0].usage.prompt_tokens == 2


# Files


def test_a_script_can_be_a_json_list_or_lines_plain_or_packed(tmp_path: Path) -> None:
    items = ["a", {"text": "b"}, {"completion": "c c", "finish_reason": "length"}, {"error": "lost"}]
    listed, lines, packed = (tmp_path / name for name in ("s.json", "s.jsonl", "s.jsonl.gz"))
    listed.write_text(json.dumps(items, indent=1))
    lines.write_text("\n".join(map(json.dumps, items)))
    packed.write_bytes(gzip.compress(lines.read_bytes()))
    for path in (listed, lines, packed):
        samples = drawn(open_scripted(path), 4)
        assert [(s.text, s.finish, len(s.ids)) for s in samples] == [
            ("a", "eos", 2),
            ("b", "eos", 2),
            ("c c", "length", 2),
        ]


@pytest.mark.parametrize(
    "content, why",
    [
        ('"a"\n{"txt": "b"}', "line 2 has no `text`"),
        ('"a"\n{"text": ', "line 2 is no JSON"),
        ('"a"\n\0\0\0', "line 2 has null bytes"),
        ('"a"\n8', "line 2 is a number"),
        ('["a", 8]', "item 2 is a number"),
        ('["a"', "is no JSON"),
        ("[]", "nothing to say"),
        ("", "nothing to say"),
        ('{"text": "a", "finish": "done"}', "line 1 has finish 'done'; it must be one of eos"),
        ('{"text": 8}', "line 1 has no `text`"),
    ],
)
def test_a_broken_script_names_the_file_and_the_line(tmp_path: Path, content: str, why: str) -> None:
    path = tmp_path / "script.jsonl"
    path.write_text(content)
    with pytest.raises(OptionError, match=why) as error:
        open_scripted(path)
    assert str(path) in str(error.value)


def test_a_script_that_is_not_there_or_damaged_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="there is no file"):
        open_scripted(tmp_path / "none.jsonl")
    with pytest.raises(OptionError, match="cannot read"):
        open_scripted(tmp_path)
    half = tmp_path / "half.jsonl.gz"
    half.write_bytes(gzip.compress(b'"a"\n' * 1000)[:20])
    with pytest.raises(OptionError, match="cannot read"):
        open_scripted(half)
