"""The fake server says what the toy says, and each kind has its gaps."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Coroutine
from typing import Any

import aiohttp
import pytest

from mullover.backends.table import Table
from mullover.backends.toy import APPLES, Toy
from mullover.laws.upstream import TEMPLATE, TRAITS, Upstream, in_background
from mullover.laws.upstream.template import QUIET, message_of, read_chat, rendered
from mullover.types import Prompt, Sampling, Segment

KINDS = sorted(TRAITS)
THINKS = Toy(
    Table(
        {
            "<think>|I have |3 |and 5|</think>|The answer is |8": 0.5,
            "<think>|Hmm|</think>|8": 0.2,
            "<think>|I have |3 |</think>|5": 0.2,
            "<think>|</think>|5": 0.1,
        }
    )
)
CALM = Toy(Table({"Eight": 1.0}))
QUESTION = {"role": "user", "content": "How many apples?"}


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 20))


def said(prompt: Prompt, seed: int, **fields: Any) -> Any:
    async def one() -> Any:
        (sample,) = await Toy().sample(prompt, 1, Sampling(seeds=(seed,), **fields))
        return sample

    return asyncio.run(one())


def text_of(body: Any, i: int = 0) -> str:
    choice = body["choices"][i]
    return str(choice["message"]["content"] if "message" in choice else choice["text"])


def joined(events: list[Any], field: str = "content", index: int = 0) -> str:
    choices = [c for event in events if event for c in event["choices"] if c["index"] == index]
    return "".join([c["delta"].get(field) or "" for c in choices])


def exact(kind: str) -> dict[str, Any]:
    """What makes every kind sample from the raw model."""
    return {"temperature": 1, "top_p": 1} | ({} if kind == "openai" else {"top_k": 0, "min_p": 0})


class TestEveryKind:
    @pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "openai"])
    def test_says_what_the_toy_says_with_that_seed(self, kind: str, serving: Any) -> None:
        samples = [said(Prompt.of("How many apples?"), seed) for seed in range(8)]

        async def test() -> None:
            async with serving(kind) as client:
                for seed, sample in enumerate(samples):
                    status, body = await client.chat(seed=seed, **exact(kind))
                    assert (status, text_of(body)) == (200, sample.text)
                    assert body["usage"]["completion_tokens"] == len(sample.ids)
                    assert body["usage"]["prompt_tokens"] == 3
                    assert joined(await client.events(seed=seed, **exact(kind))) == sample.text

        run(test())

    @pytest.mark.parametrize("kind", KINDS)
    def test_streams_one_chunk_a_token_then_usage_then_done(self, kind: str, serving: Any) -> None:
        async def test() -> None:
            async with serving(kind) as client:
                events = await client.events()
                assert events[-1] is None and events[-2]["choices"] == []
                assert events[-2]["usage"]["prompt_tokens"] == 3
                finishes = [c["finish_reason"] for e in events[:-2] for c in e["choices"] if c.get("finish_reason")]
                assert finishes == ["stop"]
                assert client.up.usage.completion_tokens == events[-2]["usage"]["completion_tokens"]
                (seen,) = client.up.seen
                assert seen.finished and not seen.aborted and seen.choices == 1
                assert seen.tokens == client.up.usage.completion_tokens
                without = await client.events(stream_options=None)
                assert without[-1] is None and not any("usage" in e for e in without[:-1])

        run(test())

    @pytest.mark.parametrize("kind", KINDS)
    def test_names_its_model_and_refuses_another(self, kind: str, serving: Any) -> None:
        async def test() -> None:
            async with serving(kind) as client:
                status, models = await client.get("/v1/models")
                assert status == 200
                assert [m["id"] for m in models["data"]] == ["toy"]
                assert models["data"][0]["owned_by"] == TRAITS[kind].owned_by
                status, body = await client.chat(model="gpt-99")
                assert status == 404
                assert "gpt-99" in (body["message"] if kind == "sglang" else body["error"]["message"])

        run(test())

    @pytest.mark.parametrize("kind", KINDS)
    def test_wants_its_key(self, kind: str, serving: Any) -> None:
        async def test() -> None:
            async with serving(kind, key="secret") as client:
                assert (await client.chat())[0] == 401
                good = {"Authorization": "Bearer secret"}
                body = {"model": "toy", "messages": [QUESTION]}
                assert (await client.post("/v1/chat/completions", body, good))[0] == 200
                assert (await client.get("/v1/models"))[0] == (200 if kind == "llamacpp" else 401)

        run(test())

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_length_is_told_and_a_stop_string_ends(self, kind: str, serving: Any) -> None:
        async def test() -> None:
            async with serving(kind) as client:
                _, body = await client.chat(max_tokens=1)
                assert body["choices"][0]["finish_reason"] == "length"
                assert body["usage"]["completion_tokens"] == 1
                _, body = await client.chat(stop=["answer"], **exact(kind))
                assert "answer" not in text_of(body)
                assert body["choices"][0]["finish_reason"] == "stop"

        run(test())

    @pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "openai"])
    def test_a_text_prompt_may_be_a_rendered_chat(self, kind: str, serving: Any) -> None:
        start = Prompt.of("How many apples?")
        whole, after = said(start, 5), said(start.then("3+2=5, "), 5)

        async def test() -> None:
            async with serving(kind) as client:
                text = rendered(start.messages, False)
                _, body = await client.complete(text, seed=5, max_tokens=50, **exact(kind))
                assert text_of(body) == whole.text
                _, body = await client.complete(text + "3+2=5, ", seed=5, max_tokens=50, **exact(kind))
                assert text_of(body) == after.text
                assert (await client.complete(text + "Zebra", seed=5))[0] == 400
                assert (await client.complete("Any question", max_tokens=50))[0] == 200

        run(test())

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_client_that_leaves_stops_it(self, kind: str, serving: Any, until: Any) -> None:
        async def test() -> None:
            async with serving(kind, per_token=0.5) as client:
                asked = {"model": "toy", "messages": [QUESTION]}
                got = await client.session.post(client.up.url + "/chat/completions", json={**asked, "stream": True})
                await got.content.readline()
                got.close()
                silent = asyncio.create_task(client.post("/v1/chat/completions", asked))
                await until(lambda: len(client.up.seen) == 2 and client.up.live == 1)
                silent.cancel()
                await until(lambda: not client.up.live)
                assert [(s.aborted, s.finished, s.choices) for s in client.up.seen] == [(True, False, 0)] * 2
                assert client.up.usage.tokens == 0

        run(test())

    @pytest.mark.parametrize("kind", KINDS)
    def test_reasoning_has_its_own_field(self, kind: str, serving: Any) -> None:
        field = TRAITS[kind].reasoning

        async def test() -> None:
            async with serving(kind, model=THINKS) as client:
                _, body = await client.chat(temperature=0, top_p=1)
                events = await client.events(temperature=0, top_p=1)
                assert text_of(body) == joined(events) == "The answer is 8"
                if field:
                    assert body["choices"][0]["message"][field] == joined(events, field) == "I have 3 and 5"
                    assert not {"reasoning", "reasoning_content"} - {field} & set(body["choices"][0]["message"])
                else:
                    assert set(body["choices"][0]["message"]) == {"role", "content"}
                usage = body["usage"]
                assert usage["completion_tokens"] == 8
                told = usage.get(
                    "reasoning_tokens", (usage.get("completion_tokens_details") or {}).get("reasoning_tokens")
                )
                assert told == (5 if kind in ("vllm", "sglang", "openai") else None)

        run(test())

    @pytest.mark.parametrize("kind", KINDS)
    def test_thinking_is_turned_off_where_it_can_be(self, kind: str, serving: Any) -> None:
        by_template: dict[str, Any] = {"chat_template_kwargs": {"enable_thinking": False}}

        async def test() -> None:
            async with serving(kind, model=THINKS, quiet=CALM) as client:
                assert text_of((await client.chat())[1]) != "Eight"
                assert text_of((await client.chat(reasoning_effort="none"))[1]) == "Eight"
                status, body = await client.chat(**by_template)
                if kind == "openai":
                    assert status == 400
                else:
                    assert (text_of(body) == "Eight") == (kind != "ollama")

        run(test())


class TestGaps:
    @pytest.mark.parametrize("kind", KINDS)
    def test_several_choices(self, kind: str, serving: Any) -> None:
        async def test() -> None:
            async with serving(kind) as client:
                _, body = await client.chat(n=4, **exact(kind))
                assert [c["index"] for c in body["choices"]] == ([0] if kind == "ollama" else [0, 1, 2, 3])
                if kind not in ("ollama", "openai"):
                    for i in range(4):
                        _, one = await client.chat(seed=1 + i, **exact(kind))
                        assert text_of(one) == text_of(body, i)
                    assert joined(await client.events(n=4, **exact(kind)), index=3) == text_of(body, 3)
                assert (await client.chat(n=5))[0] == (400 if kind == "llamacpp" else 200)
                assert client.up.seen[0].choices == (1 if kind == "ollama" else 4)
                assert body["usage"]["prompt_tokens"] == 3

        run(test())

    @pytest.mark.parametrize("kind", KINDS)
    def test_seeds(self, kind: str, serving: Any) -> None:
        async def test() -> None:
            async with serving(kind) as client:
                texts = [text_of((await client.chat(seed=7, **exact(kind)))[1]) for _ in range(30)]
                assert (len(set(texts)) == 1) == (kind != "openai")
                fresh = [text_of((await client.chat(seed=None, **exact(kind)))[1]) for _ in range(30)]
                assert len(set(fresh)) > 1
                cut = [text_of((await client.chat(seed=2**32 * k + 7, **exact(kind)))[1]) for k in range(30)]
                assert (len(set(cut)) == 1) == (kind == "llamacpp")
                assert (await client.chat(seed=2**63))[0] == (400 if kind in ("vllm", "sglang", "ollama") else 200)

        run(test())

    @pytest.mark.parametrize("kind", KINDS)
    def test_logprobs(self, kind: str, serving: Any) -> None:
        async def test() -> None:
            async with serving(kind) as client:
                _, body = await client.chat(logprobs=True, top_logprobs=2, **exact(kind))
                found = body["choices"][0]["logprobs"]
                if kind == "ollama":
                    assert found is None
                    return
                tokens = body["usage"]["completion_tokens"] - (kind == "openai")
                assert len(found["content"]) == tokens
                assert len(found["content"][0]["top_logprobs"]) == 2
                assert found["content"][0]["logprob"] < 0
                assert ("id" in found["content"][0]) == (kind == "llamacpp")
                ends = {"vllm": "<|end|>", "sglang": "<|end|>", "llamacpp": ""}
                assert found["content"][-1]["token"] == ends.get(kind, found["content"][-1]["token"])
                events = await client.events(logprobs=True, top_logprobs=2, **exact(kind))
                chunks = [c["logprobs"]["content"] for e in events if e for c in e["choices"] if c.get("logprobs")]
                if kind != "openai":
                    assert [entry for chunk in chunks for entry in chunk] == found["content"]
                status = (await client.chat(logprobs=True, top_logprobs=21))[0]
                assert status == (400 if kind in ("vllm", "openai") else 200)

        run(test())

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_last_turn_that_is_the_assistants(self, kind: str, serving: Any) -> None:
        flags: dict[str, Any] = {"continue_final_message": True, "add_generation_prompt": False}
        start = Prompt.of("How many apples?")
        after = said(start.then("3+2=5, "), 5).text

        async def test() -> None:
            async with serving(kind) as client:
                turns = [QUESTION, {"role": "assistant", "content": "3+2=5, "}]
                _, plain = await client.chat(messages=turns, seed=5, **exact(kind))
                assert (text_of(plain) == after) == (kind in ("llamacpp", "ollama"))
                assert plain["usage"]["prompt_tokens"] == 4
                status, flagged = await client.chat(messages=turns, seed=5, **flags, **exact(kind))
                assert status == (400 if kind == "openai" else 200)
                assert kind == "openai" or text_of(flagged) == after
                both = await client.chat(messages=turns, continue_final_message=True)
                assert both[0] == (400 if kind in ("vllm", "openai") else 200)

        run(test())

    def test_llamacpp_continues_nothing_that_could_think(self, serving: Any) -> None:
        turns = [QUESTION, {"role": "assistant", "content": "Eight"}]

        async def test() -> None:
            async with serving("llamacpp", model=THINKS, quiet=CALM) as client:
                status, body = await client.chat(messages=turns)
                assert status == 400
                assert body["error"]["message"] == "Assistant response prefill is incompatible with enable_thinking."
                off = {"enable_thinking": False}
                status, body = await client.chat(messages=turns, chat_template_kwargs=off)
                assert (status, text_of(body)) == (200, "")

        run(test())

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_stop_string(self, kind: str, serving: Any) -> None:
        traits = TRAITS[kind]

        async def test() -> None:
            async with serving(kind, model=Toy(Table({"3+5=8. So |the an|swer is |8": 1}))) as client:
                _, body = await client.chat(stop="answer")
                choice = body["choices"][0]
                assert text_of(body) == joined(await client.events(stop="answer")) == "3+5=8. So the "
                assert choice["finish_reason"] == "stop"
                assert body["usage"]["completion_tokens"] == 3
                assert [choice.get(name) for name in ("stop_reason", "matched_stop") if name in choice] == (
                    ["answer"] if traits.named_stop else []
                )
                if traits.keep_stop:
                    _, body = await client.chat(stop="answer", **{traits.keep_stop: True})
                    assert text_of(body) == "3+5=8. So the answer"  # and not the token's last word

        run(test())

    def test_openai_knows_its_fields_and_no_other(self, serving: Any) -> None:
        async def test() -> None:
            async with serving("openai") as client:
                for name in ("top_k", "min_p", "chat_template_kwargs", "return_token_ids"):
                    status, body = await client.chat(**{name: 1})
                    error = body["error"]
                    assert status == 400 and error["type"] == "invalid_request_error"
                    assert error["message"] == f"Unrecognized request argument supplied: {name}"
                assert (await client.complete("So"))[0] == 404
                assert (await client.chat(stop=list("abcde")))[0] == 400
                assert (await client.events())[0]["system_fingerprint"]

        run(test())

    def test_openai_reasoning_models_are_strict(self, serving: Any) -> None:
        async def test() -> None:
            async with serving("openai", strict_reasoning=True) as client:
                status, body = await client.chat(max_tokens=5)
                assert (status, body["error"]["code"]) == (400, "unsupported_parameter")
                assert body["error"]["message"] == (
                    "Unsupported parameter: 'max_tokens' is not supported with this model. "
                    "Use 'max_completion_tokens' instead."
                )
                status, body = await client.chat(temperature=0.5)
                assert (status, body["error"]["code"]) == (400, "unsupported_value")
                assert (await client.chat(max_completion_tokens=5, temperature=1))[0] == 200

        run(test())

    def test_ollama_ignores_top_k_and_llamacpp_has_defaults_of_its_own(self, serving: Any) -> None:
        async def test() -> None:
            async with serving("ollama") as client:
                texts = {text_of((await client.chat(seed=k, top_k=1))[1]) for k in range(20)}
                assert len(texts) > 1
            async with serving("llamacpp", model=Toy(Table({"A": 0.97, "B": 0.03}))) as client:
                silent = {text_of((await client.chat(seed=k))[1]) for k in range(200)}
                spoken = {text_of((await client.chat(seed=k, **exact("llamacpp")))[1]) for k in range(200)}
                assert (silent, spoken) == ({"A"}, {"A", "B"})

        run(test())

    def test_each_kind_tells_its_version(self, serving: Any) -> None:
        places = {
            "vllm": ("/version", "version"),
            "sglang": ("/get_server_info", "version"),
            "llamacpp": ("/props", "build_info"),
            "ollama": ("/api/version", "version"),
        }

        async def test() -> None:
            for kind in KINDS:
                async with serving(kind) as client:
                    for other, (path, field) in places.items():
                        status, body = await client.get(path)
                        assert status == (200 if kind == other else 404)
                        assert kind != other or body[field]
                    assert (await client.post("/tokenize", {"prompt": "so"}))[0] == (200 if kind == "vllm" else 404)

        run(test())

    def test_a_context_that_is_too_small(self, serving: Any) -> None:
        async def test() -> None:
            for kind in KINDS:
                async with serving(kind, context=4) as client:
                    long = [{"role": "user", "content": "one two three four five"}]
                    assert (await client.chat(messages=long))[0] == (200 if kind == "ollama" else 400)
                async with serving(kind, context=40) as client:
                    assert (await client.chat(max_tokens=40))[0] == (400 if kind in ("vllm", "sglang") else 200)

        run(test())


class TestTokens:
    """What only vLLM does."""

    def test_sampled_ids_continue_a_prompt_exactly(self, serving: Any) -> None:
        start = Prompt.of("How many apples?")
        sample = said(start, 2)
        part = sample.ids[:1]
        after = said(start.then(Segment(APPLES.decode(part), part)), 9)

        async def test() -> None:
            async with serving("vllm") as client:
                _, body = await client.chat(seed=2, return_token_ids=True)
                assert body["choices"][0]["token_ids"] == list(sample.ids)
                prompt = body["prompt_token_ids"]
                assert min(prompt) >= 1000
                _, same = await client.post("/tokenize", {"model": "toy", "messages": [QUESTION]})
                assert (same["tokens"], same["count"]) == (prompt, len(prompt))
                _, more = await client.complete([*prompt, *part], seed=9, max_tokens=50, return_token_ids=True)
                assert more["choices"][0]["token_ids"] == list(after.ids)
                assert more["usage"]["prompt_tokens"] == len(prompt) + 1
                assert (await client.complete([*prompt, 999]))[0] == 400
                assert (await client.complete([999_999]))[0] == 400
                _, back = await client.post("/detokenize", {"tokens": [*prompt, *part]})
                assert back["prompt"] == rendered(start.messages, False) + APPLES.decode(part)
                _, text = await client.post("/tokenize", {"prompt": "3+2=5, 3+5=8. "})
                assert text["tokens"] == list(APPLES.encode("3+2=5, 3+5=8. "))

        run(test())

    def test_ids_come_with_the_chunks_of_a_stream(self, serving: Any) -> None:
        sample = said(Prompt.of("How many apples?"), 1)

        async def test() -> None:
            async with serving("vllm") as client:
                events = [e for e in await client.events(return_token_ids=True) if e]
                assert [e.get("prompt_token_ids") is not None for e in events] == [True] + [False] * (len(events) - 1)
                found = [i for e in events for c in e["choices"] for i in c.get("token_ids", [])]
                assert found == list(sample.ids)
                assert events[-2]["choices"][0]["stop_reason"] is None

        run(test())

    def test_a_given_text_is_scored(self, serving: Any) -> None:
        start, text = Prompt.of("How many apples?"), "3+2=5, 3+5=8. "
        (truth,) = asyncio.run(Toy().score(start, [text]))

        async def test() -> None:
            async with serving("vllm") as client:
                prompt = rendered(start.messages, False) + text
                _, body = await client.complete(prompt, max_tokens=1, prompt_logprobs=0, return_token_ids=True)
                choice = body["choices"][0]
                ids, rows = choice["prompt_token_ids"], choice["prompt_logprobs"]
                assert rows[0] is None and len(rows) == len(ids)
                assert [rows[k][str(ids[k])]["logprob"] for k in (-2, -1)] == pytest.approx(truth)
                assert rows[-1][str(ids[-1])]["decoded_token"] == "3+5=8. "
                _, echo = await client.complete(prompt, max_tokens=0, echo=True, logprobs=1)
                columns = echo["choices"][0]["logprobs"]
                assert text_of(echo) == prompt == "".join(columns["tokens"])
                assert columns["token_logprobs"][0] is None
                assert columns["token_logprobs"][-2:] == pytest.approx(truth)
                _, dead = await client.complete(prompt + "5. ", max_tokens=1, prompt_logprobs=1)
                last = dead["choices"][0]["prompt_logprobs"][-1]
                assert last[str(APPLES.encode("5. ")[0])]["logprob"] == -9999.0
                assert (await client.complete(prompt, prompt_logprobs=1, stream=True))[0] == 400

        run(test())

    def test_a_budget_of_thinking_is_kept(self, serving: Any) -> None:
        async def test() -> None:
            async with serving("vllm", model=THINKS) as client:
                _, body = await client.chat(temperature=0, thinking_token_budget=2, return_token_ids=True)
                message = body["choices"][0]["message"]
                assert (message["reasoning"], message["content"]) == ("I have 3 ", "5")
                assert len(body["choices"][0]["token_ids"]) == body["usage"]["completion_tokens"] == 6
                _, body = await client.chat(temperature=0, thinking_token_budget=0)
                assert body["choices"][0]["message"] == {"role": "assistant", "content": "5", "reasoning": None}
                _, body = await client.chat(temperature=0, thinking_token_budget=9)
                assert body["choices"][0]["message"]["reasoning"] == "I have 3 and 5"

        run(test())

    def test_llamacpp_has_another_name_for_the_budget(self, serving: Any) -> None:
        async def test() -> None:
            for kind in ("llamacpp", "ollama"):
                async with serving(kind, model=THINKS) as client:
                    _, body = await client.chat(temperature=0, reasoning_budget_tokens=2)
                    assert text_of(body) == ("5" if kind == "llamacpp" else "The answer is 8")

        run(test())

    def test_reasoning_goes_on_where_it_was_left(self, serving: Any) -> None:
        turns = [QUESTION, {"role": "assistant", "content": "<think>I have "}]
        flags: dict[str, Any] = {"continue_final_message": True, "add_generation_prompt": False}

        async def test() -> None:
            async with serving("vllm", model=THINKS) as client:
                _, body = await client.chat(messages=turns, temperature=0, **flags)
                message = body["choices"][0]["message"]
                assert (message["reasoning"], message["content"]) == ("3 and 5", "The answer is 8")
                text = rendered([message_of("user", "How many apples?")], False)
                _, raw = await client.complete(text, temperature=0, max_tokens=50)
                assert text_of(raw) == "<think>I have 3 and 5</think>The answer is 8"

        run(test())

    def test_greedy_has_one_choice(self, serving: Any) -> None:
        async def test() -> None:
            async with serving("vllm") as client:
                status, body = await client.chat(n=2, temperature=0)
                assert status == 400
                assert body["error"]["message"] == "n must be 1 when using greedy sampling, got 2."

        run(test())


class TestServer:
    def test_slots_are_a_queue(self, serving: Any) -> None:
        async def test() -> None:
            async with serving("vllm", slots=2, latency=0.05) as client:
                started = asyncio.get_running_loop().time()
                await asyncio.gather(*[client.chat() for _ in range(6)])
                assert asyncio.get_running_loop().time() - started >= 0.15
                assert (client.up.most, client.up.live) == (2, 0)
                assert len(client.up.seen) == 6
                assert client.up.connections == 6
            assert client.up.connections == 0

        run(test())

    def test_usage_is_the_sum_of_what_was_sent(self, serving: Any) -> None:
        async def test() -> None:
            async with serving("sglang") as client:
                bodies = [await client.chat(n=3), await client.chat(n=2)]
                used = [body["usage"] for _, body in bodies]
                assert client.up.usage.prompt_tokens == 6
                assert client.up.usage.completion_tokens == sum(u["completion_tokens"] for u in used)

        run(test())

    def test_stopping_breaks_off_what_runs(self, serving: Any, until: Any) -> None:
        async def test() -> None:
            async with serving("vllm", latency=30) as client:
                waiting = asyncio.create_task(client.chat())
                await until(lambda: client.up.live)
            with pytest.raises(aiohttp.ClientError):
                await waiting
            assert not client.up.seen[0].aborted and not client.up.seen[0].finished

        run(test())

    def test_it_runs_as_a_program(self) -> None:
        words = [sys.executable, "-m", "mullover.laws.upstream", "--kind", "ollama", "--slots", "2"]
        program = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            assert program.stdout is not None
            url = program.stdout.readline().strip()

            async def test() -> None:
                async with aiohttp.ClientSession() as session, session.get(f"{url}/models") as got:
                    assert json.loads(await got.text())["data"][0]["owned_by"] == "library"

            run(test())
        finally:
            program.terminate()
            program.communicate(timeout=10)


class TestTemplate:
    def test_a_rendered_chat_is_read_back(self) -> None:
        turns = [message_of("system", "Be brief."), message_of("user", "a\n<b> | c"), message_of("assistant", "")]
        for quiet in (False, True):
            assert read_chat(rendered(turns, quiet) + "so far") == (turns, quiet, "so far")
        assert read_chat("How many?") is None
        assert read_chat("<|user|>\nHow many?") is None

    def test_jinja_renders_the_same(self) -> None:
        jinja2 = pytest.importorskip("jinja2")
        turns = [message_of("system", "Be brief."), message_of("user", "How many?")]
        given = [{"role": turn.role, "content": turn.text} for turn in turns]
        template = jinja2.Template(TEMPLATE, keep_trailing_newline=True)
        assert template.render(messages=given, add_generation_prompt=True) == rendered(turns, False)
        off = template.render(messages=given, add_generation_prompt=True, enable_thinking=False)
        assert off == rendered(turns, True) and off.startswith(QUIET)

    def test_a_quiet_prompt_is_answered_without_thinking(self, serving: Any) -> None:
        async def test() -> None:
            async with serving("vllm", model=THINKS, quiet=CALM) as client:
                off = {"enable_thinking": False}
                asked = {"messages": [QUESTION], "chat_template_kwargs": off}
                _, tokens = await client.post("/tokenize", asked)
                _, body = await client.complete(tokens["tokens"], max_tokens=50)
                assert text_of(body) == "Eight"

        run(test())


def test_a_server_outlives_the_loops_of_its_clients() -> None:
    async def ask(url: str) -> int:
        async with aiohttp.ClientSession() as session, session.get(url + "/models") as got:
            return got.status

    with in_background(Upstream("sglang", slots=1)) as up:
        assert up.url == f"http://127.0.0.1:{up.port}/v1"
        assert [asyncio.run(ask(up.url)) for _ in range(2)] == [200, 200]
        assert [seen.path for seen in up.seen] == ["/v1/models"] * 2
    with pytest.raises(aiohttp.ClientError):
        asyncio.run(ask(up.url))
