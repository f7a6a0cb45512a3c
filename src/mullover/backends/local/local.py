"""A Model from a directory: its chat template and tokenizer in front of the engine."""

import asyncio
from collections.abc import Sequence
from typing import Any

from mullover.backends.checks import check_prompt, seeds_of
from mullover.backends.content import messages
from mullover.backends.local.folder import Folder
from mullover.backends.local.load import Settings, service
from mullover.backends.signals import signal
from mullover.backends.thinking import is_open
from mullover.engine.request import Request
from mullover.engine.rules import Bias, Compiled, Forced
from mullover.errors import CapabilityError, ContextError, ModelError, OptionError
from mullover.types import Events, Force, Model, ModelInfo, Prompt, Sampling

CAN = frozenset(
    {
        "temperature", "top_p", "top_k", "min_p", "max_tokens", "stop", "top_logprobs",
        "rules", "signals", "halt", "distinct_first", "segments", "turns", "score",
    }
)  # fmt: skip
BETWEEN = 8  # events after which others get a turn


class Local(Model):
    """A Hugging Face causal language model in a directory, run by the engine of this process.

    All that open the same directory in the same way share one engine: what they ask at the same time is
    one batch, and a prefix that one of them had computed is cached for all.

    Args:
        spec: `DIRECTORY`, or `DIRECTORY;kv_memory=2GB;dtype=bfloat16;device=cuda`.

    Raises:
        OptionError: the directory is no model, or none that can be run here.
    """

    def __init__(self, spec: str) -> None:
        path, settings = Settings.parse(spec)
        self.folder = Folder.read(path)
        self.service = service(self.folder, settings)
        engine = self.service.engine
        self.words: Any = engine.vocabulary
        think = self.folder.think
        self.info = ModelInfo(
            str(path),
            CAN | ({"thinking"} if self.folder.switches and think else set()),
            context=engine.runner.context,
            think=think,
            defaults=self.folder.defaults,
            digest=self.folder.digest,
            deterministic=True,
        )

    def forget(self) -> None:
        """Let go of every prefix that nobody needs now: what comes next pays for its own prompts."""
        self.service.note(self.service.engine.clear)

    async def stream(self, prompt: Prompt, n: int, sampling: Sampling) -> Events:
        seeds = seeds_of(self.info, prompt, n, sampling)
        request = self._request(prompt, sampling)
        request.seeds = seeds
        inbox = self.service.submit(request)
        left, since = n, 0
        try:
            while left:
                for event in await inbox.get():
                    left -= event.sample is not None
                    yield event
                    since += 1
                    if since % BETWEEN == 0:
                        await asyncio.sleep(0)
                self.service.read(request)
        finally:
            if left:
                self.service.cancel(request)

    async def score(self, prompt: Prompt, texts: Sequence[str]) -> list[tuple[float, ...]]:
        """Of each token of each text; the prompt is computed once. An empty text has none."""
        found, _ = await self._read(prompt, texts, hidden=False)
        return found

    async def states(self, prompt: Prompt, texts: Sequence[str]) -> list[Any]:
        """The last hidden state after each text, a tensor (width,) on the CPU: what a value head reads.

        Raises:
            OptionError: an empty text.
        """
        if not all(texts):
            raise OptionError("an empty text has no state of its own; leave it out")
        _, states = await self._read(prompt, texts, hidden=True)
        return states

    async def _read(
        self, prompt: Prompt, texts: Sequence[str], hidden: bool
    ) -> tuple[list[tuple[float, ...]], list[Any]]:
        check_prompt(self.info, prompt)
        ids = [self.words.ids(text) for text in texts]
        asked = [i for i, one in enumerate(ids) if one]
        found: list[tuple[float, ...]] = [()] * len(texts)
        if not asked:
            return found, []
        request = self._request(prompt, Sampling())
        if (longest := len(request.ids) + max(map(len, ids))) > self.info.context:
            raise OptionError(f"prompt and text have {longest} tokens; {self.info.name} takes {self.info.context}")
        request.texts, request.hidden = tuple([ids[i] for i in asked]), hidden
        inbox = self.service.submit(request)
        left = len(asked)
        try:
            while left:
                for event in await inbox.get():
                    sample = event.sample
                    assert sample is not None
                    left -= 1
                    if sample.error:
                        raise ModelError(f"{self.info.name}: {sample.error}")
                    found[asked[event.index]] = sample.logprobs or ()
                self.service.read(request)
        finally:
            if left:
                self.service.cancel(request)
        return found, [request.states[i] for i in range(len(asked))] if hidden else []

    def _request(self, prompt: Prompt, sampling: Sampling) -> Request:
        """Raises OptionError or CapabilityError: it cannot be asked so."""
        for name in (*sampling.signals, *([sampling.halt.signal] if sampling.halt else [])):
            signal(name)  # an unknown one is refused
        said, ids = self._begun(prompt, sampling)
        if not ids:
            raise OptionError("the prompt has no token; ask something")
        if not 0 <= min(ids) <= max(ids) < self.service.engine.runner.vocabulary:
            raise OptionError(
                f"a segment has the token {max(ids)}, which {self.info.name} has not; give its text alone"
            )
        if len(ids) >= self.info.context:
            raise ContextError(
                f"the prompt has {len(ids)} tokens; {self.info.name} takes {self.info.context} with what it says"
            )
        think = self.info.think
        opened = think is not None and is_open(said, think)
        rules = [self._compiled(rule) for rule in sampling.rules]
        if think is not None and isinstance(sampling.thinking, int) and not isinstance(sampling.thinking, bool):
            rules.append(Forced(self.words.ids(think[1]), sampling.thinking, "thinking"))
        return Request(ids, sampling, _nobody, rules=tuple(rules), opened=opened, context=self.info.context)

    def _begun(self, prompt: Prompt, sampling: Sampling) -> tuple[str, tuple[int, ...]]:
        """The text and the tokens of the prompt and of the turn so far; known tokens stay as they are."""
        wish = sampling.thinking
        if isinstance(wish, str):
            raise CapabilityError(
                f"{self.info.name} has no thinking effort {wish!r}; say on, off or a budget in tokens"
            )
        if self.folder.template is None:
            text, ids = prompt.text, self.words.ids(prompt.text, special=True)
        else:
            turns = messages(prompt)
            if not all(isinstance(turn["content"], str) for turn in turns):
                raise CapabilityError(f"{self.info.name} reads text alone; leave out the other parts")
            text = self.folder.template.render(turns, wish)
            ids = self.words.ids(text)
        waiting = ""
        for segment in prompt.segments:
            if segment.ids is None:
                waiting += segment.text
                continue
            ids, waiting = (*ids, *self.words.ids(waiting), *segment.ids), ""
        return text + prompt.said, (*ids, *self.words.ids(waiting))

    def _compiled(self, rule: Any) -> Compiled:
        if isinstance(rule, Force):
            ids = self.words.ids(rule.text)
            if not ids:
                raise OptionError(f"the model has no token for the forced text {rule.text[:40]!r}")
            return Forced(ids, rule.at, rule.where)
        return Bias(self.words.begins(rule.text), rule.bias, rule.where, rule.window, rule.before)


def _nobody(request: Request, events: object) -> None:
    """Stands for the inbox until the request is submitted."""
