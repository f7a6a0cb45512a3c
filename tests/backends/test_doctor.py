"""What the doctor finds is what each kind of server does, in at most 12 requests, whatever it says of itself."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from typing import Any

import pytest
from aiohttp import web
from tests.backends.http_upstreams import rich, thoughtful

from mullover.backends.http.doctor import EFFORTS, Doctor
from mullover.backends.http.http import Http
from mullover.backends.http.probe import CALLS
from mullover.backends.http.profile import Profile, load, save
from mullover.backends.http.spec import Spec
from mullover.errors import ModelError
from mullover.laws.upstream import TRAITS, Fault, Kind, Upstream
from mullover.types import Prompt, Sampling

KINDS: tuple[Kind, ...] = ("vllm", "sglang", "llamacpp", "ollama", "openai")
Found = tuple[Profile, list[str]]


def spec(up: Upstream, name: str = "toy", more: str = "") -> Spec:
    return Spec.parse(f"{up.url}#{name}{more}")


async def looked(up: Upstream, more: str = "") -> Found:
    async with up:
        return await Doctor(spec(up, more=more)).examine(), [seen.path for seen in up.seen]


def examined(kind: Kind = "vllm", more: str = "", **given: Any) -> Profile:
    """Also: no more requests than promised have reached it."""
    up = Upstream(kind, **{"model": rich(), **given})
    profile, paths = asyncio.run(looked(up, more))
    assert len(paths) <= CALLS == 12
    return profile


def state(profile: Profile, what: str) -> str:
    return next(check.state for check in profile.checks if check.what == what)


def how(profile: Profile, what: str) -> str:
    return next(check.how for check in profile.checks if check.what == what)


# What each kind does with a toy that does not think. Five words can follow at most, so five alternatives are told.
DOES: Mapping[Kind, Mapping[str, Any]] = {
    "vllm": {
        "kind": "vllm", "version": TRAITS["vllm"].version, "context": 32768, "limit": "max_tokens", "temperature": True,
        "varied": True, "seed": True,
        "top_k": True, "min_p": True, "seeds": True, "many": True, "usage": True, "ids": True,
        "logprobs": 5, "reasoning": "", "thinks": "", "efforts": (), "budget": "", "stops": True,
        "continues": "tokens", "scores": "prompt_logprobs",
    },
    "sglang": {
        "kind": "sglang", "version": TRAITS["sglang"].version, "context": 32768, "limit": "max_tokens",
        "temperature": True, "varied": True, "seed": True,
        "top_k": True, "min_p": True, "seeds": True, "many": True, "usage": True,
        "ids": False, "logprobs": 5, "reasoning": "", "thinks": "", "efforts": (), "budget": "", "stops": True,
        "continues": "flag", "scores": "",
    },
    "llamacpp": {
        "kind": "llamacpp", "version": TRAITS["llamacpp"].version, "context": 32768, "limit": "max_tokens",
        "temperature": True, "varied": True, "seed": True,
        "top_k": True, "min_p": True, "seeds": True, "many": True, "usage": True,
        "ids": False, "logprobs": 5, "reasoning": "", "thinks": "", "efforts": (), "budget": "", "stops": False,
        "continues": "trailing", "scores": "",
    },
    "ollama": {
        "kind": "ollama", "version": TRAITS["ollama"].version, "context": 0, "limit": "max_tokens",
        "temperature": True, "varied": True, "seed": True,
        "top_k": False, "min_p": False, "seeds": True, "many": False,
        "usage": True, "ids": False, "logprobs": 0, "reasoning": "", "thinks": "", "efforts": (), "budget": "",
        "stops": False, "continues": "trailing", "scores": "",
    },
    "openai": {
        "kind": "openai", "version": "", "context": 0, "limit": "max_tokens", "temperature": True, "varied": True,
        "seed": True,
        "top_k": False, "min_p": False, "seeds": False, "many": True, "usage": True, "ids": False, "logprobs": 5,
        "reasoning": "", "thinks": "", "efforts": (), "budget": "", "stops": False, "continues": "", "scores": "",
    },
}  # fmt: skip

# What changes with a toy that thinks, and can be quiet.
THINKING: Mapping[Kind, Mapping[str, Any]] = {
    "vllm": {"reasoning": "reasoning", "thinks": "template", "budget": "thinking_token_budget"},
    "sglang": {"reasoning": "reasoning_content", "thinks": "template"},
    "llamacpp": {"reasoning": "reasoning_content", "thinks": "template", "budget": "reasoning_budget_tokens"},
    "ollama": {"reasoning": "reasoning", "thinks": "effort"},
    "openai": {"reasoning": "hidden", "thinks": "effort"},  # it is counted, and never sent
}


def facts(profile: Profile) -> dict[str, Any]:
    return {name: value for name, value in asdict(profile).items() if name not in ("checks", "seen")}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_found_is_what_each_kind_does(kind: Kind) -> None:
    profile = examined(kind)
    assert facts(profile) == DOES[kind]
    assert profile.seen > 1e9
    unknown = {check.what for check in profile.checks if check.state == "unknown"}
    assert unknown <= {"context", "min_p"}  # the last of the questions may find no call left


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("field", [name for name in DOES["vllm"] if name != "efforts"])
def test_what_is_found_of_a_model_that_thinks_or_not_is_what_each_kind_does(kind: Kind, field: str) -> None:
    profile = facts(thinker(kind))
    assert profile[field] == {**DOES[kind], **THINKING[kind]}[field]


_THINKERS: dict[Kind, Profile] = {}


def thinker(kind: Kind) -> Profile:
    if kind not in _THINKERS:
        _THINKERS[kind] = examined(kind, model=thoughtful(), quiet=rich())
    return _THINKERS[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_no_effort_is_promised_that_the_server_refuses(kind: Kind) -> None:
    taken = TRAITS[kind].efforts
    assert set(thinker(kind).efforts) <= (set(EFFORTS) if taken is None else taken)


@pytest.mark.parametrize("kind", KINDS)
def test_of_a_model_that_cannot_be_quiet_nothing_is_promised_that_its_server_lacks(kind: Kind) -> None:
    profile, does = facts(examined(kind, model=thoughtful())), DOES[kind]
    for name in ("top_k", "min_p", "seeds", "many", "ids", "stops"):
        assert profile[name] <= does[name], name
    assert profile["thinks"] == ""
    assert profile["logprobs"] <= does["logprobs"]
    assert profile["reasoning"] == (TRAITS[kind].reasoning or "hidden")


@pytest.mark.parametrize("kind", KINDS)
def test_each_claim_is_kept_when_the_backend_makes_use_of_it(kind: Kind) -> None:
    async def main() -> None:
        async with Upstream(kind, model=rich()) as up:
            profile = await Doctor(spec(up)).examine()
            model, asked = Http([spec(up)], profiles=[profile]), Prompt.of("tell")
            (greedy,) = await model.sample(asked, 1, Sampling(0))
            if profile.top_k:
                (one,) = await model.sample(asked, 1, Sampling(1.5, top_k=1))
                assert one.text == greedy.text
            if profile.continues:
                (more,) = await model.sample(asked.then("The old "), 1, Sampling(0))
                assert "The old " + more.text == greedy.text
            if profile.logprobs:
                (told,) = await model.sample(asked, 1, Sampling(1.0, top_logprobs=profile.logprobs))
                assert told.alternatives is not None
            (stopped,) = await model.sample(asked, 1, Sampling(0, stop=("fox",)))
            assert stopped.finish == "stop"
            assert "fox" in stopped.text

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_token_ids_come_with_plain_samples_where_they_are_said_to(kind: Kind) -> None:
    async def main() -> bool:
        async with Upstream(kind, model=rich()) as up:
            model = Http([spec(up)], profiles=[examined_ids])
            (greedy,) = await model.sample(Prompt.of("tell"), 1, Sampling(0))
            return greedy.ids != ()

    examined_ids = examined(kind)
    assert asyncio.run(main()) == examined_ids.ids


# Models of OpenAI that reason


def test_a_strict_model_is_asked_by_its_own_names_and_without_a_temperature() -> None:
    profile = examined("openai", strict_reasoning=True)
    assert (profile.limit, profile.temperature, profile.logprobs, profile.many) == (
        "max_completion_tokens", False, 0, True,
    )  # fmt: skip
    assert not {"temperature", "top_p", "top_logprobs", "score", "segments"} & profile.can
    assert state(profile, "temperature") == "missing"


def test_what_no_call_was_spent_on_is_unknown_and_not_missing() -> None:
    profile = examined("openai", strict_reasoning=True, model=thoughtful(), quiet=rich())
    assert profile.thinks == "effort" or state(profile, "thinking") == "unknown"


def test_a_strict_model_answers_a_request_made_from_what_was_found() -> None:
    async def main() -> None:
        async with Upstream("openai", model=rich(), strict_reasoning=True) as up:
            profile = await Doctor(spec(up)).examine()
            model = Http([spec(up)], profiles=[profile])
            assert len(await model.sample(Prompt.of("?"), 3, Sampling(0.7))) == 3

    asyncio.run(main())


# Servers that lie, or are odd


def liar(kind: Kind, claims: str, **given: Any) -> Upstream:
    up = Upstream(kind, **{"model": rich(), **given})
    up.rules = replace(up.rules, traits=replace(up.rules.traits, owned_by=claims))
    return up


@pytest.mark.parametrize(("kind", "claims"), [("ollama", "vllm"), ("vllm", "library"), ("sglang", "me")])
@pytest.mark.parametrize("field", ["top_k", "min_p", "seeds", "many", "ids", "logprobs", "stops", "usage"])
def test_behaviour_counts_and_not_what_a_server_calls_itself(kind: Kind, claims: str, field: str) -> None:
    profile, paths = asyncio.run(looked(liar(kind, claims)))
    assert len(paths) <= CALLS
    assert facts(profile)[field] == DOES[kind][field] or state(profile, field) == "unknown"


@pytest.mark.parametrize(("kind", "claims"), [("ollama", "vllm"), ("vllm", "library"), ("sglang", "me")])
def test_a_server_under_another_name_is_still_found_to_go_on_with_a_turn(kind: Kind, claims: str) -> None:
    profile, _ = asyncio.run(looked(liar(kind, claims)))
    assert profile.continues


@pytest.mark.parametrize(("kind", "claims"), [("ollama", "vllm"), ("vllm", "library"), ("sglang", "me")])
def test_a_server_under_another_name_is_still_found_to_think_on_demand(kind: Kind, claims: str) -> None:
    profile, _ = asyncio.run(looked(liar(kind, claims, model=thoughtful(), quiet=rich())))
    assert profile.thinks


class Odd:
    """A server of one answer, whatever it is asked; subclasses change the rest."""

    text = "once there was a fox who sang and then it slept"

    def __init__(self) -> None:
        self.paths: list[str] = []

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self.serve)
        return app

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.path)
        if request.method == "GET":
            return self.page(request)
        return await self.answer(request, await request.json())

    def page(self, request: web.Request) -> web.Response:
        raise web.HTTPNotFound

    async def answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if request.path != "/v1/chat/completions":
            raise web.HTTPNotFound
        message = {"role": "assistant", "content": self.text}
        choices = [{"index": i, "message": message, "finish_reason": "stop"} for i in range(body.get("n", 1))]
        return web.json_response({"choices": choices, "usage": {"prompt_tokens": 3, "completion_tokens": 11}})


@asynccontextmanager
async def serving(odd: Odd) -> AsyncIterator[str]:
    runner = web.AppRunner(odd.app(), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


def visited(odd: Odd) -> Profile:
    async def main() -> Profile:
        async with serving(odd) as url:
            return await Doctor(Spec.parse(f"{url}#m")).examine()

    profile = asyncio.run(main())
    assert len(odd.paths) <= CALLS
    return profile


def test_a_server_that_always_says_the_same_is_found_out() -> None:
    profile = visited(Odd())
    assert profile.varied is False
    assert state(profile, "temperature") == "missing"
    assert (state(profile, "seeds"), profile.seeds) == ("unknown", False)
    assert (state(profile, "top_k"), profile.top_k) == ("unknown", False)
    assert (state(profile, "n"), profile.many) == ("works", True)
    assert (profile.logprobs, profile.thinks, profile.ids) == (0, "", False)


def test_and_what_comes_in_one_piece_is_no_proof_that_a_turn_goes_on() -> None:
    assert visited(Odd()).continues == ""


def test_and_it_does_not_claim_to_obey_a_temperature() -> None:
    assert "temperature" not in visited(Odd()).can


def test_a_server_without_a_list_of_models_is_examined_all_the_same() -> None:
    profile = visited(Odd())
    assert (profile.kind, profile.version, profile.context) == ("", "", 0)
    assert state(profile, "chat") == "works"
    assert "model list" not in {check.what for check in profile.checks}


@pytest.mark.parametrize(
    "page", ["5", "[]", "null", "{", '{"data": 5}', '{"data": [5, null]}', '{"data": [{"id": 5, "meta": 5}]}', "<html>"]
)
def test_a_list_of_models_in_any_form_breaks_nothing(page: str) -> None:
    class Lists(Odd):
        def page(self, request: web.Request) -> web.Response:
            return web.Response(text=page, content_type="application/json")

    assert visited(Lists()).kind == ""


@pytest.mark.parametrize("context", ['"9"', "-5", "1.5", "true", "null", "[]"])
def test_a_context_that_is_no_number_is_untold(context: str) -> None:
    class Lists(Odd):
        def page(self, request: web.Request) -> web.Response:
            return web.Response(text='{"data": [{"id": "m", "max_model_len": ' + context + "}]}")

    assert visited(Lists()).context == 0


def test_a_server_that_obeys_temperature_but_no_top_k_is_told_apart() -> None:
    profile = examined("ollama")
    assert (profile.varied, profile.top_k, how(profile, "top_k")) == (True, False, "ignored")


def test_an_answer_that_is_always_cut_short_leaves_things_unknown_and_breaks_nothing() -> None:
    class Short(Odd):
        text = "a"

    profile = visited(Short())
    assert state(profile, "continuation") == "unknown"
    assert state(profile, "stop strings") == "emulated"


def test_a_server_that_refuses_all_extras_is_asked_for_plain_text() -> None:
    class Bare(Odd):
        async def answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
            if body.keys() - {"model", "messages", "stream", "max_tokens"}:
                return web.json_response({"detail": "extra inputs are not permitted"}, status=422)
            return await super().answer(request, body)

    profile = visited(Bare())
    assert (profile.temperature, profile.usage, profile.many, profile.logprobs) == (False, False, False, 0)
    assert state(profile, "seeds") in ("missing", "unknown")


# Failures


def failure(up: Upstream, name: str = "toy", more: str = "") -> str:
    async def main() -> str:
        async with up:
            with pytest.raises(ModelError) as failed:
                await Doctor(spec(up, name, more)).examine()
            assert len(up.seen) <= CALLS
            return str(failed.value)

    return asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_key_is_a_clear_error_that_does_not_repeat_it(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "sk-hunter2")
    said = failure(Upstream(kind, model=rich(), key="right"), more=";key=MINE")
    assert "401" in said
    assert "hunter2" not in said


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_model_is_a_clear_error(kind: Kind) -> None:
    said = failure(Upstream(kind, model=rich()), "nobody")
    assert "404" in said
    assert "nobody" in said


def test_a_server_that_is_not_there_is_a_clear_error() -> None:
    async def main() -> None:
        await Doctor(Spec.parse("http://127.0.0.1:9/v1#m")).examine()

    with pytest.raises(ModelError, match=r"cannot reach 127\.0\.0\.1:9"):
        asyncio.run(main())


@pytest.mark.parametrize("kind", ["vllm", "openai"])
@pytest.mark.parametrize("at", range(11))
@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_is_busy_for_a_moment_is_not_said_to_lack_anything(kind: Kind, at: int, status: int) -> None:
    fault = Fault("status", status=status, retry_after=0)

    async def main() -> Profile | str:
        async with Upstream(kind, model=rich(), faults=lambda i: fault if i == at else None) as up:
            try:
                return await Doctor(spec(up)).examine()
            except ModelError as error:
                return str(error)

    found = asyncio.run(main())
    if isinstance(found, str):
        assert str(status) in found
        return
    works = {check.what for check in examined(kind).checks if check.state == "works"}
    assert {what: state(found, what) for what in works if state(found, what) not in ("works", "unknown")} == {}


# Kept on disk


def test_what_was_found_is_kept_with_the_servers_version_and_used_by_the_backend() -> None:
    async def main() -> None:
        async with Upstream("sglang", model=rich()) as up:
            profile = await Doctor(spec(up)).examine()
            save(spec(up), profile)
            assert load(spec(up)) == profile
            assert load(spec(up)).version == TRAITS["sglang"].version
            info = Http([spec(up)]).info
            assert {"segments", "top_k", "top_logprobs"} <= info.can
            assert info.hint == ""

    asyncio.run(main())


def test_the_doctor_closes_its_connections() -> None:
    async def main() -> int:
        async with Upstream("vllm", model=rich()) as up:
            await Doctor(spec(up)).examine()
            await asyncio.sleep(0.01)
            return up.connections

    assert asyncio.run(main()) == 0


def test_each_step_is_told_before_it_is_taken() -> None:
    async def main() -> list[str]:
        told: list[str] = []
        async with Upstream("vllm", model=rich()) as up:
            await Doctor(spec(up)).examine(told.append)
        return told

    assert asyncio.run(main())[:3] == ["server", "chat", "thinking"]
