"""Any async function is a model."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from mullover.backends.called import called
from mullover.errors import BudgetSpent, CapabilityError, ModelError, OptionError, TransientError
from mullover.types import Model, Price, Prompt, Sample, Sampling, Usage

PROMPT = Prompt.of("How many apples?", system="Be brief")


def drawn(model: Model, n: int = 1, prompt: Prompt = PROMPT, **fields: Any) -> list[Sample]:
    return asyncio.run(model.sample(prompt, n, Sampling(**fields)))


def texts(model: Model, n: int = 1, prompt: Prompt = PROMPT, **fields: Any) -> list[str]:
    return [sample.text for sample in drawn(model, n, prompt, **fields)]


# What the function gets


def test_a_function_gets_the_text_the_messages_or_the_prompt() -> None:
    async def text(question: str) -> str:
        return question

    async def messages(messages) -> str:  # type: ignore[no-untyped-def]
        return repr(messages)

    async def listed(turns: list[dict[str, str]]) -> str:
        return turns[-1]["content"]

    async def sequence(turns: Sequence[Any]) -> str:
        return str(turns[0]["role"])

    async def prompt(asked: Prompt) -> str:
        return asked.question + asked.said

    assert texts(called(text)) == ["Be brief\nHow many apples?"]
    expected = "[{'role': 'system', 'content': 'Be brief'}, {'role': 'user', 'content': 'How many apples?'}]"
    assert texts(called(messages)) == [expected]
    assert texts(called(listed)) == ["How many apples?"]
    assert texts(called(sequence)) == ["system"]
    assert texts(called(prompt), prompt=PROMPT.then(" So")) == ["How many apples? So"]


def test_an_annotation_may_be_a_string() -> None:
    async def asked(asked: "Prompt") -> "str":
        return asked.question

    async def listed(turns: "list[Any]", nothing: "Unknown" = None) -> "str":  # type: ignore[name-defined]  # noqa: F821
        return str(len(turns))

    assert texts(called(asked)) == ["How many apples?"]
    assert texts(called(listed)) == ["2"]


def test_a_function_gets_the_options_it_names_and_can_do_no_others() -> None:
    async def ask(text: str, temperature: float, *, max_tokens: int = 9, seed: int, system: str, spare: int = 3) -> str:
        return f"{text}|{temperature}|{max_tokens}|{seed}|{system}|{spare}"

    model = called(ask)
    assert model.info.can == {"temperature", "max_tokens"}
    assert texts(model, 2, temperature=0.5, seeds=(7, 8)) == [
        "How many apples?|0.5|2048|7|Be brief|3",
        "How many apples?|0.5|2048|8|Be brief|3",
    ]
    assert model.info.deterministic
    for fields, name in (
        ({"stop": ("a",)}, "stop"),
        ({"top_logprobs": 1}, "top_logprobs"),
        ({"thinking": 1}, "thinking"),
    ):
        with pytest.raises(CapabilityError, match=f"ask cannot do {name}"):
            drawn(model, 1, **fields)


def test_only_messages_and_prompts_can_hold_turns_and_only_prompts_segments() -> None:
    async def text(text: str) -> str:
        return text

    async def messages(messages: list[Any]) -> str:
        return str([m["role"] for m in messages])

    later = Prompt.of("8?").replied("8", "Sure?")
    assert texts(called(messages), prompt=later) == ["['user', 'assistant', 'user']"]
    with pytest.raises(CapabilityError, match="text cannot do turns"):
        drawn(called(text), 1, later)
    with pytest.raises(CapabilityError, match="messages cannot do segments"):
        drawn(called(messages), 1, PROMPT.then("so"))


def test_parts_that_are_no_text_reach_a_function_of_messages() -> None:
    async def ask(messages: list[Any]) -> str:
        return str(messages[0]["content"][0]["type"])

    image = Prompt.of("What is it?")
    (message,) = image.messages
    parts = ({"type": "image_url", "image_url": {"url": "data:"}}, *message.parts)
    assert texts(called(ask), prompt=Prompt((type(message)("user", parts),))) == ["image_url"]


# What the function returns


@dataclass
class Counts:
    prompt_tokens: int = 11
    completion_tokens: int = 5


@dataclass
class Reply:
    text: str
    usage: Counts
    finish_reason: str = "length"


@pytest.mark.parametrize(
    "reply, expected",
    [
        ("so 8", Sample("so 8", "eos", usage=Usage(prompt_tokens=5, completion_tokens=2))),
        ({"text": "so 8"}, Sample("so 8", "eos", usage=Usage(prompt_tokens=5, completion_tokens=2))),
        (Reply("8", Counts()), Sample("8", "length", usage=Usage(prompt_tokens=11, completion_tokens=5))),
        (
            {"text": "8", "usage": Counts(), "reasoning": "3 and 5"},
            Sample("3 and 5\n\n8", "eos", thought=9, usage=Usage(prompt_tokens=11, completion_tokens=5)),
        ),
        (
            "<think>3 and 5</think>8",
            Sample(
                "<think>3 and 5</think>8",
                "eos",
                thought=22,
                usage=Usage(prompt_tokens=5, completion_tokens=3, reasoning_tokens=3),
            ),
        ),
        (Sample("8", "stop"), Sample("8", "stop", usage=Usage(prompt_tokens=5, completion_tokens=1))),
        (Sample("8", "eos", usage=Usage(7)), Sample("8", "eos", usage=Usage(7))),
    ],
    ids=str,
)
def test_a_reply_is_a_text_a_sample_or_text_with_usage(reply: Any, expected: Sample) -> None:
    async def ask(text: str) -> Any:
        return reply

    assert drawn(called(ask)) == [expected]


@pytest.mark.parametrize(
    "reply, why",
    [
        (None, "ask returned NoneType; it must return a str"),
        (8, "ask returned int"),
        ({"txt": "8"}, "what ask returned has no `text`"),
        ({"text": "8", "usage": {"completion_tokens": -1}}, "completion_tokens is -1"),
        ({"error": "overloaded"}, "overloaded"),
    ],
)
def test_a_reply_without_a_text_is_a_model_error(reply: Any, why: str) -> None:
    async def ask(text: str) -> Any:
        return reply

    with pytest.raises(ModelError, match=why):
        drawn(called(ask), 2)


def test_words_are_the_unit_unless_the_function_tells_more() -> None:
    async def plain(text):  # type: ignore[no-untyped-def]
        return text

    async def text(text: str) -> str:
        return text

    async def more(text: str) -> dict[str, Any]:
        return {"text": text}

    price = Price(1, 1, 2)
    assert called(plain).info.unit == called(text).info.unit == "words"
    assert called(more, price=price).info.unit == "tokens"
    assert called(more, price=price).info.price == price
    assert called(more).info.metered == "call"


# Failures


def test_a_failed_call_harms_no_other() -> None:
    async def ask(text: str, *, seed: int) -> str:
        if seed == 1:
            raise OSError("lost")
        return str(seed)

    assert texts(called(ask), 3) == ["0", "2"]


def test_a_call_that_cancels_itself_is_a_failed_sample() -> None:
    async def ask(text: str, *, seed: int) -> str:
        if seed:
            raise asyncio.CancelledError
        return "8"

    assert texts(called(ask), 3) == ["8"]


def test_only_when_all_calls_fail_the_model_failed() -> None:
    async def ask(text: str) -> str:
        raise OSError("lost")

    async def busy(text: str, *, seed: int) -> str:
        raise TransientError("busy", after=3.0) if seed else OSError("lost")

    with pytest.raises(ModelError, match="ask: none of 2 samples succeeded: OSError: lost"):
        drawn(called(ask), 2)
    with pytest.raises(TransientError, match="busy") as error:
        drawn(called(busy), 2)  # asking again may help
    assert error.value.after == 3.0


def test_a_spent_budget_within_the_function_is_no_failed_sample() -> None:
    async def ask(text: str) -> str:
        raise BudgetSpent("gone")

    async def main() -> str:
        try:
            await called(ask).sample(PROMPT, 2, Sampling())
        except BudgetSpent as spent:
            return str(spent)
        return ""

    assert asyncio.run(main()) == "gone"


def test_samples_come_as_they_end_and_leaving_cancels_the_rest() -> None:
    cancelled = []

    async def ask(text: str, *, seed: int) -> str:
        try:
            await asyncio.sleep(0.001 if seed == 2 else 60)
        except asyncio.CancelledError:
            cancelled.append(seed)
            raise
        return str(seed)

    async def main() -> str:
        stream = called(ask).stream(PROMPT, 4, Sampling())
        first = (await anext(stream)).text
        await stream.aclose()
        return first

    assert asyncio.run(main()) == "2"
    assert sorted(cancelled) == [0, 1, 3]


# What is no model


class Client:
    async def __call__(self, text: str) -> str:
        return "8"

    async def ask(self, text: str, *, temperature: float = 1) -> str:
        return f"{temperature}"


async def two(text: str, suffix: str) -> str:
    return text + suffix


def test_methods_partials_and_callable_objects_are_fine() -> None:
    assert texts(called(Client())) == ["8"]
    assert called(Client()).info.name == "Client"
    assert called(Client().ask).info.can == {"temperature"}
    assert texts(called(partial(two, suffix="!"), name="two"), prompt=Prompt.of("8")) == ["8!"]


def test_what_is_not_async_or_needs_more_than_there_is_is_refused() -> None:
    def plain(text: str) -> str:
        return text

    async def nothing() -> str:
        return ""

    for function, why in (
        (plain, "plain is not async; write `async def`"),
        ("gpt", "str is not async"),
        (nothing, "nothing takes nothing"),
        (two, "two needs suffix, which nobody fills; there are temperature"),
    ):
        with pytest.raises(OptionError, match=why):
            called(function)  # type: ignore[arg-type]
