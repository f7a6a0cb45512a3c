"""Find out in at most 12 tiny calls what a server really does, whatever it says of itself."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from mullover.backends.http import asking, scoring
from mullover.backends.http.failures import AttemptError, in_words
from mullover.backends.http.probe import CALLS, QUESTION, TIMEOUTS, TOKENS, Probe, Reply, SpentError
from mullover.backends.http.profile import Check, Continues, Profile, Scores, Thinks
from mullover.backends.http.spec import Spec
from mullover.backends.http.transport import Timeouts
from mullover.backends.thinking import THINK
from mullover.types import Prompt, Sampling, Segment

HOT = 1.5  # a temperature at which two answers differ
NEAR = 0.02  # nats that two log-probabilities of one token may differ by
ENOUGH = 8  # characters that must go on as they should
OWNERS = {"vllm": "vllm", "sglang": "sglang", "llamacpp": "llamacpp", "library": "ollama", "system": "openai"}
VERSIONS = {
    "vllm": ("/version", "version"),
    "sglang": ("/get_server_info", "version"),
    "llamacpp": ("/props", "build_info"),
    "ollama": ("/api/version", "version"),
}
WAYS: Mapping[str, tuple[Thinks, ...]] = {
    "vllm": ("template",),
    "sglang": ("template",),
    "llamacpp": ("template",),
    "ollama": ("effort",),
    "openai": ("effort",),
    "deepseek": ("type",),
    "openrouter": ("reasoning",),
}
BUDGETS = {
    "vllm": "thinking_token_budget",
    "llamacpp": "reasoning_budget_tokens",
    "openrouter": "reasoning.max_tokens",
}
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")

State = Literal["works", "emulated", "missing", "unknown"]


class Doctor:
    """What one server is found to do, step by step. Steps for which no call is left stay unknown."""

    def __init__(self, spec: Spec, timeouts: Timeouts = TIMEOUTS) -> None:
        self.spec, self.probe = spec, Probe(spec, timeouts)
        self.found = Profile()
        self.checks: dict[str, Check] = {}
        self.base: Reply | None = None  # the greedy answer, with thinking off if that can be
        self.hot: Reply | None = None

    async def examine(self, tell: Callable[[str], object] = lambda step: None) -> Profile:
        """
        Args:
            tell: hears of each step before it is taken.

        Raises:
            ModelError: the server cannot be reached, or refuses one plain chat.
        """
        steps: Sequence[tuple[str, Callable[[], Awaitable[None]]]] = (
            ("server", self._server),
            ("chat", self._chat),
            ("thinking", self._thinking),
            ("n and seeds", self._many),
            ("continuation", self._continuation),
            ("stop strings", self._stops),
            ("top_k", lambda: self._truncation("top_k", 1)),
            ("min_p", lambda: self._truncation("min_p", 1.0)),
            ("thinking budget", self._budget),
        )
        try:
            for name, step in steps:
                tell(name)
                try:
                    await step()
                except SpentError:
                    self._note(name, "unknown", f"no call was left of {CALLS}")
        finally:
            await self.probe.aclose()
        return replace(self.found, checks=tuple(self.checks.values()), seen=time.time())

    def _note(self, what: str, state: State, how: str = "", **found: Any) -> None:
        self.checks[what] = Check(what, state, how)
        self.found = replace(self.found, **found)

    async def _server(self) -> None:
        models = await self.probe.get(f"{self.spec.url}/models")
        listed = models.get("data") if isinstance(models, dict) else None
        rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
        mine = next((row for row in rows if row.get("id") == self.spec.name), rows[0] if len(rows) == 1 else {})
        host = self.spec.host.rpartition(":")[0] or self.spec.host
        named = next((name for name in ("deepseek", "openrouter", "openai") if f"{name}." in host), "")
        kind = OWNERS.get(str(mine.get("owned_by")), named)
        told = {**mine, **meta} if isinstance(meta := mine.get("meta"), dict) else mine
        context = next((told[name] for name in ("max_model_len", "n_ctx", "n_ctx_train") if told.get(name)), 0)
        version = ""
        if kind in VERSIONS:
            path, name = VERSIONS[kind]
            page = await self.probe.get(f"{self.spec.root}{path}")
            version = in_words(page[name]) if isinstance(page, dict) and isinstance(page.get(name), str) else ""
        context = context if type(context) is int and context > 0 else 0
        if self.spec.name not in {row.get("id") for row in rows} and rows:
            ids = in_words(", ".join(str(row.get("id")) for row in rows))
            self._note("model list", "missing", f"it lists {ids}")
        self._note("server", "works", f"{kind or 'unknown kind'} {version}".strip(), kind=kind, version=version)
        self._note(
            "context", "works" if context else "unknown", f"{context} tokens" if context else "", context=context
        )

    async def _chat(self) -> None:
        self.base = reply = await self.probe.plain()
        refused, sample = self.probe.refused, reply.sample
        self._note("chat", "works", "streamed", limit=self.probe.limit)
        taken = "temperature" not in refused
        self._note("temperature", "works" if taken else "missing", "" if taken else "refused", temperature=taken)
        self._note(
            "usage",
            "works" if reply.usage else "missing",
            "" if reply.usage else "not told in streams: tokens are counted as far as they are seen",
            usage="stream_options" not in refused,
        )
        self._note("token ids", "works" if sample.ids else "missing", ids=bool(sample.ids))
        tops = sample.alternatives or ()
        if tops and not all(
            any(top.text == token for top in at) for at, token in zip(tops, reply.tokens, strict=False)
        ):
            self._note("logprobs", "missing", "a greedy token is not among its own alternatives")
        elif top := max(map(len, tops), default=0):
            self._note("logprobs", "works", f"{min(top, 20)} alternatives", logprobs=min(top, 20))
        else:
            self._note("logprobs", "missing", "refused" if "logprobs" in refused else "not told")
        where = reply.reasoning or ("inline" if THINK[0] in reply.said else "")
        self._note(
            "reasoning", "works" if where else "missing", f"in {where}" if where else "none seen", reasoning=where
        )

    async def _thinking(self) -> None:
        """Turned off where it was seen, on where it was not: only a change that is seen counts."""
        base = self._base()
        seen = bool(self.found.reasoning)
        for way in WAYS.get(self.found.kind, ("template", "effort"))[: max(0, self.probe.left - 6)]:
            asked = asking.thinking(replace(self.found, thinks=way), not seen)
            try:
                reply = await self.probe.chat(**asked, **self.probe.wishes)
            except AttemptError:
                continue
            if thinks(reply) != seen and (reply.said or not seen):
                efforts = EFFORTS if way == "effort" else ()
                where = self.found.reasoning or reply.reasoning or "inline"
                self._note("thinking", "works", f"on and off, by {way}", thinks=way, efforts=efforts, reasoning=where)
                self.base = base if not seen else reply
                return
        self._note("thinking", "missing", "cannot be turned off" if seen else "cannot be turned on")

    async def _many(self) -> None:
        """Two choices with one seed, then one with the same seed: equal to the first, where seeds are obeyed."""
        base, hot = self._base(), self._hot()
        try:
            two = await self.probe.chat(2, **hot)
        except AttemptError:
            two = await self.probe.chat(**hot)
        many = len(two.samples) == 2
        self._note("n", "works" if many else "emulated", "" if many else "by parallel requests", many=many)
        self.hot = again = await self.probe.chat(**hot, **self._logprobs())
        texts = {sample.text for sample in two.samples}
        varied = len(texts | {base.sample.text}) > 1
        same = again.sample.text == two.sample.text
        if not varied:
            self._note(
                "temperature", "missing", "ignored: hot and greedy answers are alike, and so are votes", varied=False
            )
            self._note("seeds", "unknown", "all answers are alike, so nothing can be seen")
        elif "seed" in self.probe.refused:
            self._note("seeds", "missing", "refused")
        else:
            self._note("seeds", "works" if same else "missing", "" if same else "equal seeds, other texts", seeds=same)
        self._raw_logprobs(base, again)

    def _raw_logprobs(self, base: Reply, hot: Reply) -> None:
        """Of the model itself, they are the same at every temperature."""
        before, after = base.first, hot.first
        if self.found.logprobs and before and after:
            known = {token.text: token.logprob for token in before}
            apart = [abs(known[token.text] - token.logprob) for token in after if token.text in known]
            if apart and max(apart[:3]) > NEAR:
                self._note("logprobs", "missing", "told after temperature, not of the model itself", logprobs=0)

    async def _continuation(self) -> None:
        """Half of the greedy answer, as the assistant's turn so far, must go on as the whole did."""
        base = self._base()
        before, rest, ids = halves(base)
        if len(rest.strip()) < 2:
            self._note("continuation", "unknown", "the answer is too short to be gone on with")
            return
        ways: tuple[Continues, ...] = {
            "vllm": ("tokens", "flag"),
            "sglang": ("flag", "trailing"),
            "": ("tokens", "flag", "trailing"),
        }.get(self.found.kind, ("trailing",))  # type: ignore[assignment]
        if self.probe.endpoint.template is not None:
            ways = ("template", *ways)
        for way in ways:
            try:
                scores = await self._goes_on(way, before, rest, ids)
            except AttemptError:
                continue
            if scores is not None:
                self._note("continuation", "works", f"by {HOW[way]}", continues=way)
                self._note("scoring", "works" if scores else "missing", scores, scores=scores)
                return
        self._note("continuation", "missing", "it starts anew; a template may help: URL#name;template=FILE")
        self._note("scoring", "missing", "it tells no log-probabilities of a given text")

    async def _goes_on(self, way: Continues, before: str, rest: str, ids: tuple[int, ...]) -> Scores | None:
        """How it scores texts, "" if it does not; None if it does not go on."""
        profile = replace(self.found, continues=way)
        prompt = Prompt.of(QUESTION).then(Segment(before, ids or None))
        endpoint = self.probe.endpoint
        endpoint.profile = profile
        if way in ("flag", "trailing"):
            messages = [*asking.messages(Prompt.of(QUESTION)), {"role": "assistant", "content": before}]
            flags = {"continue_final_message": True, "add_generation_prompt": False} if way == "flag" else {}
            off = asking.thinking(profile, False) if profile.thinks else {}
            reply = await self.probe.chat(messages=messages, **flags, **off)
            return "" if goes_on(reply.said, rest) else None
        sampling = Sampling(temperature=0, max_tokens=TOKENS, thinking=False if profile.thinks else None)
        begun = await endpoint.begun(prompt, sampling)
        body = {"prompt": begun, "max_tokens": TOKENS, "temperature": 0}
        return await (self._of_ids(body, rest) if isinstance(begun, list) else self._of_text(body, before, rest))

    async def _of_ids(self, body: dict[str, Any], rest: str) -> Scores | None:
        """One raw completion of token ids that also tells the log-probabilities of its prompt, if it can."""
        url = f"{self.spec.url}/completions"
        try:
            value = await self.probe.post(url, {**body, "prompt_logprobs": 0})
        except AttemptError:
            value = await self.probe.post(url, body)
        if not goes_on(said_by(value), rest):
            return None
        try:
            return "prompt_logprobs" if scoring.of_prompt(value, body["prompt"][-1:]) else ""
        except AttemptError:
            return ""

    async def _of_text(self, body: dict[str, Any], before: str, rest: str) -> Scores | None:
        """One raw completion of a rendered text that repeats its prompt with log-probabilities, if it can."""
        url, prompt = f"{self.spec.url}/completions", str(body["prompt"])
        try:
            value = await self.probe.post(url, {**body, "echo": True, "logprobs": 1})
        except AttemptError:
            value = await self.probe.post(url, body)
        said = said_by(value)
        if not goes_on(said.removeprefix(prompt), rest):
            return None
        try:
            scored = scoring.of_echo(value, prompt.removesuffix(before), before) if said.startswith(prompt) else ()
        except AttemptError:
            scored = ()
        return "echo" if scored else ""

    async def _stops(self) -> None:
        """A piece of the greedy answer as a stop string: kept and named, or else found by ourselves."""
        said = self._base().said
        stop = next(
            (said[at : at + 3] for at in range(len(said) // 2, len(said) - 2) if said.find(said[at : at + 3]) == at), ""
        )
        if not stop:
            self._note("stop strings", "emulated", "the stream is closed where one is completed")
            return
        off = asking.thinking(self.found, False) if self.found.thinks else {}
        try:
            reply = await self.probe.chat(stop=[stop], **asking.KEEP, **off)
        except AttemptError:
            reply = None
        kept = reply is not None and reply.said.endswith(stop) and reply.drafts[0].stop == stop
        how = "kept and named" if kept else "the stream is closed where one is completed"
        self._note("stop strings", "works" if kept else "emulated", how, stops=kept)

    async def _truncation(self, name: str, value: float) -> None:
        """At a high temperature with one token left to choose from, the answer is the greedy one."""
        base, hot = self._base(), self.hot
        if hot is None or hot.sample.text == base.sample.text:
            self._note(name, "unknown", "hot and greedy answers are alike, so nothing can be seen")
            return
        try:
            reply = await self.probe.chat(**self._hot(), **{name: value})
        except AttemptError:
            self._note(name, "missing", "refused")
            return
        obeyed = alike(reply.sample.text, base.sample.text)
        self._note(name, "works" if obeyed else "missing", "" if obeyed else "ignored", **{name: obeyed})

    async def _budget(self) -> None:
        """A budget of a few tokens must end the thought early."""
        name = BUDGETS.get(self.found.kind)
        if name is None or not self.found.reasoning:
            self._note("thinking budget", "missing")
            return
        asked = dict(asking.thinking(replace(self.found, budget=name), 4))
        if self.found.thinks:
            asked |= asking.thinking(self.found, True)
        try:
            reply = await self.probe.chat(**asked)
        except AttemptError:
            reply = None
        ended = reply is not None and bool(reply.said.strip()) and bool(reply.reasoning)
        self._note(
            "thinking budget", "works" if ended else "missing", name if ended else "", budget=name if ended else ""
        )

    def _base(self) -> Reply:
        assert self.base is not None
        return self.base

    def _hot(self) -> dict[str, Any]:
        """At a high temperature, with thinking as the greedy answer had it."""
        off = asking.thinking(self.found, False) if self.found.thinks else {}
        return {"temperature": HOT, "seed": 7, **off}

    def _logprobs(self) -> dict[str, Any]:
        return {"logprobs": True, "top_logprobs": min(5, self.found.logprobs)} if self.found.logprobs else {}


HOW: Mapping[Continues, str] = {
    "tokens": "token ids and raw completions",
    "flag": "continue_final_message",
    "trailing": "a trailing assistant turn",
    "template": "our template and raw completions",
    "": "",
}


def thinks(reply: Reply) -> bool:
    """Did it reason, in a field, in tags or hidden?"""
    counted = reply.usage.reasoning_tokens if reply.usage is not None else 0
    return bool(reply.reasoning or counted or THINK[0] in reply.said)


def halves(reply: Reply) -> tuple[str, str, tuple[int, ...]]:
    """The visible answer parted between two tokens, and the ids before that where they are told."""
    pieces = [piece for piece in reply.pieces if piece.text]
    at = len(pieces) // 2
    ids = tuple([i for piece in pieces[:at] for i in piece.ids])
    known = all(piece.ids for piece in pieces[:at]) and not any(piece.reasoning for piece in reply.pieces)
    return "".join([p.text for p in pieces[:at]]), "".join([p.text for p in pieces[at:]]), ids if known else ()


def said_by(value: Any) -> str:
    """The text of a whole raw completion.

    Raises:
        AttemptError: there is none.
    """
    try:
        return str(value["choices"][0]["text"])
    except (KeyError, IndexError, TypeError):
        raise AttemptError(f"the server sent no text: {in_words(value)}") from None


def goes_on(said: str, rest: str) -> bool:
    """Does it say what comes next? White space at the seam may be lost."""
    said, rest = said.strip(), rest.strip()
    return bool(said) and said[:ENOUGH] == rest[: len(said[:ENOUGH])]


def alike(text: str, other: str) -> bool:
    """Equal for the first half: what rounding does to the rest is no matter."""
    half = max(1, min(len(text), len(other)) // 2)
    return bool(text) and text[:half] == other[:half]
