"""Where servers are and what is known of them."""

import json
from dataclasses import replace

import pytest

from mullover.backends.http.http import Http
from mullover.backends.http.profile import BASIS, Check, Profile, common, load, path_of, save
from mullover.backends.http.spec import Spec
from mullover.errors import CapabilityError, OptionError
from mullover.types import Prompt, Sampling

SPEC = Spec.parse("http://a:8000/v1#qwen")
PROMPT = Prompt.of("why?")


# Addresses


@pytest.mark.parametrize(
    ("text", "url", "name"),
    [
        ("http://localhost:8000/v1#qwen3", "http://localhost:8000/v1", "qwen3"),
        ("http://localhost:8000#qwen3", "http://localhost:8000/v1", "qwen3"),
        ("http://localhost:8000/#qwen3", "http://localhost:8000/v1", "qwen3"),
        ("https://openrouter.ai/api/v1/#org/m:free", "https://openrouter.ai/api/v1", "org/m:free"),
        ("http://[::1]:8080/v1#m", "http://[::1]:8080/v1", "m"),
        ("http://[2001:db8::7]#m", "http://[2001:db8::7]/v1", "m"),
        ("https://API.OpenAI.com/v1# gpt ", "https://api.openai.com/v1", "gpt"),
        ("http://h/v1#a#b", "http://h/v1", "a#b"),
    ],
)
def test_an_address_is_read_with_v1_where_it_has_no_path(text: str, url: str, name: str) -> None:
    spec = Spec.parse(text)
    assert (spec.url, spec.name) == (url, name)


def test_port_0_is_refused_and_not_silently_another_port() -> None:
    with pytest.raises(OptionError):
        Spec.parse("http://localhost:0/v1#m")


def test_options_follow_the_name() -> None:
    spec = Spec.parse("http://h:1/v1#m;key=MY_KEY;template=a=b.jinja")
    assert (spec.name, spec.key_from, spec.template, spec.label) == ("m", "MY_KEY", "a=b.jinja", "m@h:1")
    assert spec.root == "http://h:1"


@pytest.mark.parametrize(
    "text",
    [
        "", "#", "http://", "http://#m", "h/v1#m", "ftp://h/v1#m", "http://h/v1", "http://h/v1#", "http://h/v1# ",
        "http://h/v1#;key=A", "http://h:99999/v1#m", "http://h:x/v1#m", "http://[::1/v1#m", "http://h /v1#m",
        "http://h/v1?a=b#m", "http://h/v1#m;", "http://h/v1#m;what=1", "http://h/v1#m;key=", "http://h/v1#m;key=a-b",
        "http://u@h/v1#m", "http://u:p@h/v1#m", "http://:p@h/v1#m",
    ],
)  # fmt: skip
def test_what_is_no_address_is_one_clear_error(text: str) -> None:
    with pytest.raises(OptionError) as refused:
        Spec.parse(text)
    assert "\n" not in str(refused.value)
    assert any(way in str(refused.value) for way in ("write ", "name its variable", "comes the name", "after "))


@pytest.mark.parametrize(
    "text",
    [
        "http://user:hunter2@h/v1#m", "http://user:hunter2@h:99999/v1#m", "http://user:hunter2@h:port/v1#m",
        "http://user:hunter2@[::1/v1#m", "ftp://user:hunter2@h#m", "http://h/v1?key=hunter2#m",
        "http://h/v1#m;key=sk-hunter2", "http://h/v1#m;sk-hunter2", "http://h/v1?key=hunter2 #m",
    ],
)  # fmt: skip
def test_no_refusal_repeats_a_secret(text: str) -> None:
    with pytest.raises(OptionError) as refused:
        Spec.parse(text)
    assert "hunter2" not in str(refused.value)


def test_the_named_variable_goes_before_the_usual_one_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "usual")
    monkeypatch.setenv("MINE", "mine")
    assert Spec.parse("https://api.openai.com/v1#m;key=MINE").key() == "mine"
    assert Spec.parse("https://api.openai.com/v1#m").key() == "usual"
    assert Spec.parse("https://API.OPENAI.COM#m").key() == "usual"
    for stranger in ("https://api.openai.com.evil.com/v1#m", "http://h/v1#m", "http://localhost:8000/v1#m"):
        assert Spec.parse(stranger).key() == ""


def test_no_usual_key_is_sent_in_the_clear_to_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "usual")
    assert Spec.parse("http://api.openai.com/v1#m").key() == ""


def test_a_local_servers_own_variable_is_read_on_this_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "local")
    assert Spec.parse("http://localhost:8000/v1#m").key() == "local"
    assert Spec.parse("http://[::1]:8000/v1#m").key() == "local"
    assert Spec.parse("http://gpu7:8000/v1#m").key() == ""


def test_a_named_variable_that_is_missing_is_an_error_and_one_that_is_empty_takes_no_other_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "usual")
    spec = Spec.parse("https://api.openai.com/v1#m;key=MINE")
    with pytest.raises(OptionError, match="MINE, which is not set"):
        spec.key()
    monkeypatch.setenv("MINE", "")
    assert spec.key() != "usual"


@pytest.mark.parametrize("key", ["a\nb", "ключ", "a\x00b"])
def test_a_key_that_no_header_carries_is_an_error_that_does_not_repeat_it(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "\x00" in key:
        monkeypatch.setattr("mullover.backends.http.spec.os.environ", {"MINE": key})
    else:
        monkeypatch.setenv("MINE", key)
    with pytest.raises(OptionError, match="no header can carry") as refused:
        Spec.parse("http://h/v1#m;key=MINE").key()
    assert key not in str(refused.value)


def test_the_key_is_in_no_text_of_the_spec_or_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "sk-hunter2")
    spec = Spec.parse("http://h/v1#m;key=MINE")
    model = Http([spec])
    for thing in (spec, str(spec), spec.label, model.info, model.specs, path_of(spec)):
        assert "hunter2" not in repr(thing)


# Profiles

FULL = Profile(
    kind="vllm", version="1", context=9, limit="max_completion_tokens", temperature=False, varied=False, top_k=True,
    min_p=True, seeds=True, many=True, usage=False, ids=True, logprobs=7, reasoning="inline", thinks="effort",
    efforts=("low", "high"), budget="b", stops=True, continues="flag", scores="echo",
    checks=(Check("n", "works", "how"), Check("x", "missing")), seen=1.5,
)  # fmt: skip


def test_a_profile_is_read_back_as_it_was_kept_and_belongs_to_its_address() -> None:
    assert load(SPEC) == Profile()
    assert json.loads(save(SPEC, FULL).read_text())["version"] == "1"
    assert load(SPEC) == FULL
    for other in ("http://a:8001/v1#qwen", "http://a:8000/v1#qwen2", "http://a:8000/v1#qwen;template=x"):
        assert load(Spec.parse(other)) == Profile()
    assert load(Spec.parse("http://a:8000/v1#qwen;key=K")) == FULL


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "5", "null", '"seen"', "\x00", '{"seen": "soon"}', '{"seen": 1e99}', '{"context": "9"}',
        '{"context": true}', '{"continues": "by magic"}', '{"thinks": ["effort"]}', '{"scores": "x"}',
        '{"limit": "max"}', '{"checks": 5}', '{"checks": [{"wrong": 1}]}', '{"efforts": 5}', '{"other": 1}',
        "[" * 100_000, '{"seen": 1' + "0" * 400 + "}",
    ],
)  # fmt: skip
def test_a_damaged_or_foreign_file_gives_the_defaults(text: str) -> None:
    path = save(SPEC, FULL)
    path.write_text(text)
    assert load(SPEC) == Profile()


def test_bytes_that_are_no_text_or_a_folder_in_its_place_give_the_defaults() -> None:
    path = save(SPEC, FULL)
    path.write_bytes(b"\xff\xfe\x00")
    assert load(SPEC) == Profile()
    path.unlink()
    path.mkdir()
    assert load(SPEC) == Profile()


def test_a_pool_promises_what_all_of_it_can() -> None:
    assert common([FULL]) == FULL
    assert common([FULL, FULL]) == FULL
    less = replace(FULL, context=0, top_k=False, logprobs=3, efforts=("high", "max"), continues="", scores="", seen=0)
    for both in (common([FULL, less]), common([less, FULL])):
        assert (both.top_k, both.min_p, both.logprobs, both.efforts) == (False, True, 3, ("high",))
        assert (both.context, both.continues, both.scores, both.seen) == (9, "", "", 0)
        assert both.can == {"max_tokens", "stop", "turns", "min_p", "top_logprobs", "thinking"}


def test_endpoints_that_share_no_effort_promise_no_effort() -> None:
    one, two = replace(Profile(), efforts=("low",)), replace(Profile(), efforts=("high",))
    assert "thinking" not in common([one, two]).can


@pytest.mark.parametrize(
    ("prompt", "sampling", "named"),
    [
        (PROMPT, Sampling(top_logprobs=3), "top_logprobs"),
        (PROMPT, Sampling(thinking=False), "thinking"),
        (PROMPT.then("so"), Sampling(), "segments"),
    ],
)
def test_where_nobody_looked_a_refusal_names_the_doctor(prompt: Prompt, sampling: Sampling, named: str) -> None:
    with pytest.raises(CapabilityError, match=f"{named}.*`mull doctor --model"):
        Profile().info("qwen@a", None).check(prompt, sampling)
    with pytest.raises(CapabilityError) as told:
        Profile(seen=5.0).info("qwen@a", None).check(prompt, sampling)
    assert "doctor" not in str(told.value)


def test_what_may_be_assumed_of_any_server_is_the_basis() -> None:
    assert Profile().can == BASIS
    assert Profile().info("m", None).deterministic is False


def test_a_server_that_ignores_temperature_does_not_claim_to_obey_it() -> None:
    assert "temperature" not in Profile(varied=False).can
