"""Find out in at most 12 tiny calls what a server really does, whatever it says of itself."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from mullover.backends.http import asking, scoring
from mullover.backends.http.evidence import alike, goes_on, halves, if_refused, said_by, thinks
from mullover.backends.http.failures import AttemptError, in_words
from mullover.backends.http.probe import CALLS, QUESTION, TIMEOUTS, TOKENS, Probe, Reply, SpentError
from mullover.backends.http.profile import Check, Continues, Profile, Scores, Thinks
from mullover.backends.http.spec import Spec
from mullover.backends.http.transport import Timeouts
from mullover.backends.thinking import THINK
from mullover.types import Prompt, Sampling, Segment

HOT = 1.5  # a temperature at which two answers differ
NEAR = 0.02  # nats that two log-probabilities of one token may differ by
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
ANY: tuple[Thinks, ...] = ("template", "effort")
BUDGETS = {
    "vllm": "thinking_token_budget",
    "llamacpp": "reasoning_budget_tokens",
    "openrouter": "reasoning.max_tokens",
}
EFFORTS = ("none", "low", "medium", "high")  # those that every server with efforts takes

State = Literal["works", "emulated", "missing", "unknown"]


class Doctor:
    """What one server is found to do, step by step. Steps for which no call is left stay unknown.

    Made inside the event loop in which it examines.
    """

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
                except AttemptError as error:
                    if name in ("server", "chat"):
                        raise
                    self._note(name, "unknown", str(error))
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
        self._note("context", "works" if context else "unknown", f"{context} tokens" if context else "")
        self.found = replace(self.found, context=context)

    async def _chat(self) -> None:
        self.base = reply = await self.probe.plain()
        refused = self.probe.refused
        self._note("chat", "works", "streamed", limit=self.probe.limit, seed="seed" not in refused)
        taken = "temperature" not in refused
        self._note("temperature", "works" if taken else "missing", "" if taken else "refused", temperature=taken)
        told = "" if reply.usage else "not told in streams: tokens are counted as far as they are seen"
        self._note("usage", "works" if reply.usage else "missing", told, usage="stream_options" not in refused)
        self._logprobs_of(reply)
        where = reply.reasoning or ("inline" if THINK[0] in reply.said else "hidden" if thinks(reply) else "")
        how = {"": "none seen", "hidden": "counted, not shown"}.get(where, f"in {where}")
        self._note("reasoning", "works" if where else "missing", how, reasoning=where)

    def _logprobs_of(self, greedy: Reply) -> None:
        tops = greedy.sample.alternatives or ()
        top = min(20, max(map(len, tops), default=0))
        if not top:
            self._note("logprobs", "missing", "refused" if "logprobs" in self.probe.refused else "not told")
        elif all(token in {top.text for top in at} for at, token in zip(tops, greedy.tokens, strict=False)):
            self._note("logprobs", "works", f"{top} alternatives", logprobs=top)
        else:
            self._note("logprobs", "missing", "a greedy token is not among its own alternatives")

    async def _thinking(self) -> None:
        """Turned off where it was seen, on where it was not: only a change that is seen counts."""
        base = self._base()
        seen = thinks(base)
        hinted = WAYS.get(self.found.kind, ())
        ways = [*hinted, *(way for way in ANY if way not in hinted)]
        tried = 0
        for way in ways[: max(self.probe.left > 4, self.probe.left - 6)]:
            asked = asking.thinking(replace(self.found, thinks=way), not seen)
            tried += 1
            try:
                reply = await self.probe.chat(**asked, **self.probe.wishes)
            except AttemptError as error:
                if_refused(error)
                continue
            if thinks(reply) != seen and (reply.said or not seen):
                efforts = EFFORTS if way == "effort" else ()
                where = self.found.reasoning or reply.reasoning or "inline"
                self._note("thinking", "works", f"on and off, by {way}", thinks=way, efforts=efforts, reasoning=where)
                self.base = base if not seen else reply
                return
        why = "cannot be turned off" if seen else "cannot be turned on"
        self._note("thinking", "missing" if tried else "unknown", why if tried else "no call was left")

    async def _many(self) -> None:
        """Two choices with one seed, then one with the same seed: equal to the first, where seeds are obeyed."""
        base, hot = self._base(), self._hot()
        try:
            two = await self.probe.chat(2, **hot)
        except AttemptError as error:
            if_refused(error)
            two = await self.probe.chat(**hot)
        many = len(two.samples) == 2
        self._note("n", "works" if many else "emulated", "" if many else "by parallel requests", many=many)
        self._note("token ids", "works" if two.sample.ids else "missing", ids=bool(two.sample.ids))
        told = {"logprobs": True, "top_logprobs": min(5, self.found.logprobs)} if self.found.logprobs else {}
        self.hot = again = await self.probe.chat(**hot, **told)
        differ = {sample.text for sample in (*two.samples, again.sample)} - {base.sample.text}
        if not differ:  # one hot answer may be the greedy one by chance
            self.hot = await self.probe.chat(**{**hot, "seed": 8})
        varied = bool(differ) or self.hot.sample.text != base.sample.text
        same = again.sample.text == two.sample.text
        if not varied:
            why = "ignored: hot and greedy answers are alike, so a vote would count one answer again and again"
            self._note("temperature", "missing", why, varied=False)
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
        if not before.strip() or len(rest.strip()) < 2:
            self._note("continuation", "unknown", "the answer came in one piece, or was too short, to be gone on with")
            return
        hinted = CONTINUING.get(self.found.kind, ())
        ways: list[Continues] = [*hinted, *(way for way in CONTINUING[""] if way not in hinted)]
        if self.probe.endpoint.template is not None:
            ways.insert(0, "template")
        for way in ways:
            try:
                scores = await self._goes_on(way, before, rest, ids)
            except AttemptError as error:
                if_refused(error)
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
            reply = await self.probe.chat(**asking.turn(profile, prompt, None))  # as a sample would be asked for
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
        except AttemptError as error:
            if_refused(error)
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
        except AttemptError as error:
            if_refused(error)
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
        said, ours = self._base().said, "the stream is closed where one is completed"
        self._note("stop strings", "emulated", ours)
        later = [said[at : at + 3] for at in range(len(said) // 2, len(said) - 2) if said.find(said[at : at + 3]) == at]
        if not later:
            return
        try:
            reply = await self.probe.chat(stop=later[:1], **asking.KEEP, **self._quiet())
        except AttemptError as error:
            if_refused(error)
            return
        if reply.said.endswith(later[0]) and reply.drafts[0].stop == later[0]:
            self._note("stop strings", "works", "kept and named", stops=True)

    async def _truncation(self, name: str, value: float) -> None:
        """At a high temperature with one token left to choose from, the answer is the greedy one."""
        base, hot = self._base(), self.hot
        if hot is None or not base.said or alike(hot.said, base.said):
            self._note(name, "unknown", "hot and greedy answers are alike, so nothing can be seen")
            return
        try:
            reply = await self.probe.chat(**self._hot(), **{name: value})
        except AttemptError as error:
            if_refused(error)
            self._note(name, "missing", "refused")
            return
        obeyed = alike(reply.said, base.said)
        self._note(name, "works" if obeyed else "missing", "" if obeyed else "ignored", **{name: obeyed})

    async def _budget(self) -> None:
        """A budget of a few tokens must end the thought early."""
        name = BUDGETS.get(self.found.kind, "")
        self._note("thinking budget", "missing")
        if not name or self.found.reasoning in ("", "hidden"):
            return
        asked = dict(asking.thinking(replace(self.found, budget=name), 4))
        if self.found.thinks:
            asked |= asking.thinking(self.found, True)
        try:
            reply = await self.probe.chat(**asked)
        except AttemptError as error:
            if_refused(error)
            return
        if reply.said.strip() and reply.reasoning:
            self._note("thinking budget", "works", name, budget=name)

    def _base(self) -> Reply:
        if self.base is None:
            raise SpentError
        return self.base

    def _quiet(self) -> Mapping[str, Any]:
        """Thinking off, where that can be: as it was for the greedy answer."""
        return asking.thinking(self.found, False) if self.found.thinks else {}

    def _hot(self) -> dict[str, Any]:
        """At a high temperature."""
        return {"temperature": HOT, "seed": 7, "return_token_ids": True, **self._quiet()}


CONTINUING: Mapping[str, tuple[Continues, ...]] = {
    "": ("tokens", "flag", "trailing"),
    "sglang": ("flag",),
    "llamacpp": ("trailing",),
    "ollama": ("trailing",),
    "openai": ("trailing",),
}
HOW: Mapping[Continues, str] = {
    "tokens": "token ids and raw completions",
    "flag": "continue_final_message",
    "trailing": "a trailing assistant turn",
    "template": "our template and raw completions",
    "": "",
}
