"""What servers are asked, in their own words, and by a template."""

import asyncio
import gc
import json
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.backends.http_upstreams import rich

from mullover.backends.content import messages
from mullover.backends.http import asking
from mullover.backends.http.failures import AttemptError
from mullover.backends.http.http import Http, Patience
from mullover.backends.http.profile import Profile
from mullover.backends.http.spec import Spec
from mullover.backends.http.wire import chunk
from mullover.backends.template import LARGE, Template
from mullover.errors import CapabilityError, OptionError
from mullover.laws.upstream import Upstream
from mullover.types import Message, Prompt, Sampling, Segment

SPEC = Spec.parse("http://a:8000/v1#qwen")
PROMPT = Prompt.of("why?")


# Requests


def body(profile: Profile, sampling: Sampling = Sampling(), prompt: Prompt = PROMPT, **more: Any) -> dict[str, Any]:
    made = asking.chat("qwen", profile, prompt, sampling, more.get("n", 1))
    return dict(asking.seeded(made, profile, more.get("seed", 3)))


def test_a_plain_request_says_all_that_was_asked() -> None:
    assert body(Profile(), Sampling(0.6, 0.9, max_tokens=70)) == {
        "model": "qwen", "messages": [{"role": "user", "content": "why?"}], "stream": True, "max_tokens": 70,
        "temperature": 0.6, "top_p": 0.9, "seed": 3, "stream_options": {"include_usage": True},
    }  # fmt: skip


def test_temperature_is_always_sent_unless_the_server_refuses_it() -> None:
    assert body(Profile(), Sampling(0))["temperature"] == 0
    assert body(Profile(), Sampling())["temperature"] == 1.0
    assert not {"temperature", "top_p"} & body(Profile(temperature=False)).keys()


def test_fields_a_server_does_not_obey_are_not_sent() -> None:
    sent = body(Profile(usage=False), Sampling(top_k=5, min_p=0.1, stop=("x",)))
    assert not {"top_k", "min_p", "stop", "stream_options", "n", "return_token_ids", *asking.KEEP} & sent.keys()
    sent = body(Profile(top_k=True, min_p=True, ids=True, stops=True), Sampling(top_k=5, min_p=0.1, stop=("x",)), n=4)
    assert (sent["top_k"], sent["min_p"], sent["stop"], sent["n"]) == (5, 0.1, ["x"], 4)
    assert sent["return_token_ids"] is sent["include_stop_str_in_output"] is sent["no_stop_trim"] is True


def test_all_tokens_are_said_as_minus_1_so_that_no_default_of_the_server_stands_in() -> None:
    sent = body(Profile(top_k=True, min_p=True))
    assert (sent["top_k"], sent["min_p"]) == (asking.ALL, 0.0)


@given(st.integers(-(2**64), 2**64))
def test_seeds_fit_in_31_bits(seed: int) -> None:
    sent = body(Profile(), seed=seed)["seed"]
    assert 0 <= sent < 2**31
    assert sent == seed or not 0 <= seed < 2**31


def test_a_server_that_refuses_seeds_is_sent_none() -> None:
    assert "seed" not in body(Profile(seed=False))


def test_each_sample_has_a_seed_of_its_own() -> None:
    async def main(profile: Profile) -> list[Any]:
        async with Upstream(model=rich()) as up:
            model = Http([Spec.parse(f"{up.url}#toy")], profiles=[profile])
            await model.sample(PROMPT, 5, Sampling(seeds=(2**40 + 5, 9, 2**31 + 6, 7, 8)))
            return [one.body["seed"] for one in up.seen]

    assert sorted(asyncio.run(main(Profile(seeds=True, many=True)))) == [5, 6, 7, 8, 9]
    assert sorted(asyncio.run(main(Profile()))) == [5, 6, 7, 8, 9]
    assert asyncio.run(main(Profile(many=True))) == [5]


@pytest.mark.parametrize(
    ("thinks", "on", "off"),
    [
        ("", {}, {}),
        (
            "template",
            {"chat_template_kwargs": {"enable_thinking": True, "thinking": True}},
            {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}},
        ),
        ("effort", {"reasoning_effort": "medium"}, {"reasoning_effort": "none"}),
        ("type", {"thinking": {"type": "enabled"}}, {"thinking": {"type": "disabled"}}),
        ("reasoning", {"reasoning": {"enabled": True}}, {"reasoning": {"enabled": False}}),
    ],
)
def test_thinking_is_asked_for_in_each_servers_way(thinks: Any, on: Any, off: Any) -> None:
    plain = body(Profile())
    assert body(Profile(thinks=thinks), Sampling(thinking=True)) == {**plain, **on}
    assert body(Profile(thinks=thinks), Sampling(thinking=False)) == {**plain, **off}
    assert body(Profile(thinks=thinks)) == plain


@pytest.mark.parametrize(
    ("field", "sent"),
    [
        ("thinking_token_budget", {"thinking_token_budget": 64}),
        ("reasoning_budget_tokens", {"reasoning_budget_tokens": 64}),
        ("reasoning.max_tokens", {"reasoning": {"max_tokens": 64}}),
    ],
)
def test_a_budget_of_thinking_goes_into_the_servers_field(field: str, sent: Any) -> None:
    assert body(Profile(budget=field), Sampling(thinking=64)) == {**body(Profile()), **sent}
    assert body(Profile(efforts=("low",)), Sampling(thinking="low"))["reasoning_effort"] == "low"


def test_a_way_of_thinking_that_is_not_taken_is_refused_by_name() -> None:
    profile = Profile(thinks="effort", efforts=("low",), logprobs=5, seen=1.0)
    info = profile.info("qwen@a", None)
    for good in (True, False, "low", None):
        asking.check(info, profile, Sampling(thinking=good))
    for bad, part in ((64, "budget"), ("high", "'high'; it takes low")):
        with pytest.raises(CapabilityError, match=part):
            asking.check(info, profile, Sampling(thinking=cast(Any, bad)))
    with pytest.raises(CapabilityError, match="on or off"):
        asking.check(info, Profile(efforts=("low",)), Sampling(thinking=True))
    with pytest.raises(CapabilityError, match="top_logprobs 6; it tells 5"):
        asking.check(info, profile, Sampling(top_logprobs=6))


def test_a_turn_that_was_begun_goes_on_in_the_servers_way() -> None:
    begun = PROMPT.then("so ").then(Segment("far", (1,)))
    turn = {"role": "assistant", "content": "so far"}
    flag, trailing = body(Profile(continues="flag"), prompt=begun), body(Profile(continues="trailing"), prompt=begun)
    assert flag["messages"][-1] == trailing["messages"][-1] == turn
    assert flag["continue_final_message"] is True
    assert flag["add_generation_prompt"] is False
    assert not {"continue_final_message", "add_generation_prompt"} & trailing.keys()
    quiet = body(Profile(continues="trailing", thinks="effort"), prompt=begun)
    assert quiet["reasoning_effort"] == "none"


def test_the_limit_has_the_servers_name_and_a_raw_completion_its_own() -> None:
    late = Profile(limit="max_completion_tokens")
    assert body(late, Sampling(max_tokens=7))["max_completion_tokens"] == 7
    assert "max_tokens" not in body(late)
    raw = asking.raw("qwen", late, [1, 2], Sampling(max_tokens=7), 1)
    assert (raw["max_tokens"], raw["prompt"], "max_completion_tokens" in raw) == (7, [1, 2], False)


def test_logprobs_are_asked_for_in_the_words_of_chats_and_of_raw_completions() -> None:
    asked = Sampling(top_logprobs=4)
    chat, raw = body(Profile(), asked), asking.raw("qwen", Profile(), "text", asked, 1)
    assert (chat["logprobs"], chat["top_logprobs"]) == (True, 4)
    assert (raw["logprobs"], "top_logprobs" in raw, "messages" in raw) == (4, False, False)


def test_images_and_tool_turns_pass_as_parts() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    user = Message("user", ({"type": "text", "text": "what?"}, image))
    sent = body(Profile(), prompt=Prompt((Message.of("system", "s"), user, Message.of("tool", "8"))))["messages"]
    assert sent[0] == {"role": "system", "content": "s"}
    assert sent[1] == {"role": "user", "content": [{"type": "text", "text": "what?"}, image]}
    assert sent[2]["role"] == "tool"


def test_a_budget_of_thinking_is_not_dropped_where_a_turn_goes_on_by_token_ids() -> None:
    profile = Profile(continues="tokens", budget="thinking_token_budget", seen=1.0)
    prompt, sampling = PROMPT.then("<think>so"), Sampling(thinking=64)

    async def main() -> list[Any]:
        async with Upstream(model=rich()) as up:
            model = Http([Spec.parse(f"{up.url}#toy")], patience=Patience(1), profiles=[profile])
            try:
                await model.sample(prompt, 1, sampling)
            except CapabilityError:
                return [{"thinking_token_budget": "refused by name"}]
            except Exception:  # noqa: BLE001  what the toy makes of it is no matter
                pass
            return [one.body for one in up.seen if one.path == "/v1/completions"]

    asked = asyncio.run(main())
    assert all("thinking_token_budget" in one for one in asked)


# Answers


@pytest.mark.parametrize(
    "logprobs",
    [
        '{"content": [5]}',
        '{"content": [{"token": "a", "logprob": -1, "top_logprobs": 5}]}',
        '{"content": [{"token": "a", "logprob": -1, "top_logprobs": [5]}]}',
        '{"content": [{"token": "a", "logprob": -1, "top_logprobs": [{"token": "b"}]}]}',
        '{"tokens": ["a"], "token_logprobs": 5}',
        '{"tokens": ["a"], "token_logprobs": [-1], "top_logprobs": [["a"]]}',
    ],
)
def test_logprobs_in_a_form_of_their_own_are_one_clear_error(logprobs: str) -> None:
    told = '{"choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": ' + logprobs + "}]}"
    with pytest.raises(AttemptError, match="the server sent"):
        chunk(told.encode())


# Templates

CHAT = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[me]{% endif %}"


def template(tmp_path: Path, text: str, name: str = "t.jinja") -> Template:
    (tmp_path / name).write_text(text)
    return Template.read(str(tmp_path / name))


def rendered(tmp_path: Path, text: str, thinking: Any = None, name: str = "t.jinja") -> str:
    return template(tmp_path, text, name).render(messages(PROMPT), thinking)


def test_a_template_renders_up_to_where_the_assistant_speaks(tmp_path: Path) -> None:
    assert rendered(tmp_path, CHAT) == "[user]why?[me]"
    says = "{{ enable_thinking is defined }}{{ thinking }}"
    assert rendered(tmp_path, says) == "False"
    assert rendered(tmp_path, says, False) == "TrueFalse"
    assert rendered(tmp_path, says, 64) == "TrueTrue"
    assert rendered(tmp_path, '{{ messages | tojson }}{{ "é" | tojson }}').endswith('"é"')


@pytest.mark.parametrize("several", [False, True])
def test_a_tokenizers_config_holds_a_template_as_text_or_in_a_list(tmp_path: Path, several: bool) -> None:
    text: Any = "{{ bos_token }}{{ eos_token }}" + CHAT
    if several:
        text = [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": text}]
    config = {"chat_template": text, "bos_token": "<s>", "eos_token": {"content": "</s>"}, "pad_token": None}
    assert rendered(tmp_path, json.dumps(config), name="tokenizer_config.json") == "<s></s>[user]why?[me]"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.jinja", "{% for %}"), ("t.jinja", "{{ x"), ("t.jinja", "{% nonsense %}"), ("t.jinja", "x" * (LARGE + 1)),
        ("t.json", "{"), ("t.json", "[]"), ("t.json", "{}"), ("t.json", '{"chat_template": [{"name": "rag"}]}'),
        ("t.json", '{"chat_template": [5]}'), ("t.jinja", "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}"),
    ],
)  # fmt: skip
def test_what_is_no_template_is_one_clear_error(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(OptionError, match=r"t\.json|t\.jinja"):
        template(tmp_path, text, name)


def test_a_template_that_is_missing_is_one_clear_error() -> None:
    with pytest.raises(OptionError, match=r"cannot read the chat template /no/such\.jinja"):
        Template.read("/no/such.jinja")


def complaints(use: Callable[[], Awaitable[object]]) -> list[str]:
    """What is said of things left open, by the loop and in warnings, once what was used is gone."""
    told = list[str]()

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, said: told.append(str(said["message"])))
        await use()
        gc.collect()
        await asyncio.sleep(0.01)

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        asyncio.run(main())
        gc.collect()
    return [*told, *[str(warning.message) for warning in warned]]


def test_a_template_that_is_missing_leaves_no_connection_open() -> None:
    async def use() -> None:
        with pytest.raises(OptionError, match=r"/no/such\.jinja"):
            await Http([Spec.parse("http://h/v1#m;template=/no/such.jinja")]).sample(PROMPT, 1, Sampling())

    assert complaints(use) == []


def test_a_model_that_is_dropped_before_its_loop_ends_is_dropped_in_silence() -> None:
    async def use() -> None:
        async with Upstream(model=rich()) as up:
            await Http([Spec.parse(f"{up.url}#toy")]).sample(PROMPT, 1, Sampling())
            gc.collect()
            await asyncio.sleep(0.01)

    assert complaints(use) == []


def test_a_template_may_refuse_messages_in_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="roles must alternate"):
        rendered(tmp_path, "{{ raise_exception('roles must alternate') }}")


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ ''['__class__'] }}{{ (''|attr('__class__')).x }}", "{{ cycler.__init__.__globals__.os.popen('id') }}",
        "{{ '{0.__class__.__mro__}'.format(messages) }}",
        "{% include '/etc/passwd' %}", "{% import 'os' as os %}", "{% extends 'x' %}", "{{ messages.append(1) }}",
        "{{ messages[0].update({'role': 'x'}) }}",
        "{% for i in range(1000000000) %}x{% endfor %}", "{{ 1 / 0 }}", "{{ nothing.at.all }}", "{{ 'a' + 1 }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ 'x' * 100000000000000 }}",
    ],
)  # fmt: skip
def test_a_template_gets_at_nothing_but_its_messages(tmp_path: Path, text: str) -> None:
    with pytest.raises(OptionError, match="the chat template refuses"):
        rendered(tmp_path, text)


@pytest.mark.parametrize(
    "name", ["''.__class__", "messages.__class__", "raise_exception.__globals__", "''['__class__']"]
)
def test_what_is_pythons_own_is_undefined_in_a_template(tmp_path: Path, name: str) -> None:
    assert rendered(tmp_path, "{{ " + name + " }}{{ " + name + " is defined }}") == "False"


def test_what_a_template_renders_is_bounded(tmp_path: Path) -> None:
    with pytest.raises(OptionError):
        rendered(tmp_path, "{{ 'x' * 4000000 }}")


def test_thinking_by_the_effort_none_is_thinking_off(tmp_path: Path) -> None:
    assert rendered(tmp_path, "{{ enable_thinking }}", "none") == "False"
