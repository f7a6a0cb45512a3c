"""One model of one server, as one event loop sees it: its connections, its gate, what it can do."""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from mullover.backends.content import messages
from mullover.backends.http import asking
from mullover.backends.http.failures import AttemptError, in_words
from mullover.backends.http.gate import MOST, Gate
from mullover.backends.http.profile import Profile
from mullover.backends.http.spec import Spec
from mullover.backends.http.sse import DONE
from mullover.backends.http.transport import Timeouts, Transport
from mullover.backends.http.wire import Chunk, Piece, chunk
from mullover.backends.template import Template
from mullover.types import Prompt, Sampling, Segment

Take = Callable[[list[Chunk]], Awaitable[bool]]
REMEMBERED = 256  # prompts whose token ids are kept


class Endpoint:
    """Made and used inside one event loop."""

    def __init__(
        self, spec: Spec, profile: Profile, timeouts: Timeouts, transport: Transport | None = None, room: int = MOST
    ) -> None:
        """
        Raises:
            OptionError: the key's variable is not set, or the template cannot be read.
        """
        self.spec, self.profile = spec, profile
        self.transport = transport or Transport(spec, timeouts)
        self.template = Template.read(spec.template) if spec.template else None
        self.gate = Gate(spec.label, room)
        self.seconds = 0.0  # that an answer took lately
        self._ids: OrderedDict[str, list[int]] = OrderedDict()

    def load(self, usual: float) -> float:
        """Seconds until one more request would be answered, roughly; `usual` for one that has answered none."""
        return self.gate.pause + (self.gate.live + len(self.gate.waiting) + 1) * (self.seconds or usual)

    async def ask(
        self, prompt: Prompt, sampling: Sampling, n: int, seed: int, take: Take, made: dict[Any, tuple[str, Any]]
    ) -> None:
        """One request. `take` gets what it answers as it comes, a read at a time, until it wants no more.

        Args:
            made: the requests made before from this prompt and sampling; they differ in the seed alone.

        Raises:
            AttemptError: this attempt failed; the gate has heard of it.
        """
        sent, waited, ended, enough, spoke = time.monotonic(), 0.0, False, False, False
        try:
            if (self, n) not in made:
                made[self, n] = await self.request(prompt, sampling, n)
            url, body = made[self, n]
            async with self.transport.stream(url, asking.seeded(body, self.profile, seed)) as stream:
                while found := await stream.read():
                    waited = waited or time.monotonic() - sent
                    chunks, broken = read_until_error(found)
                    ended = ended or any(piece.finish for one in chunks for piece in one.pieces)
                    spoke = spoke or any(piece.text for one in chunks for piece in one.pieces)
                    if spoke and not ended and broken is None and DONE in found:  # some servers never say why
                        ended = True
                        chunks.append(Chunk([Piece(i, finish="stop") for i in range(n)]))
                    enough = not await take(chunks)
                    if broken is not None:
                        raise broken
                    if enough:
                        break
            if not ended and not enough:
                raise AttemptError(f"{self.spec.host} ended an answer in its middle", "down")
        except AttemptError as failure:
            self.failed(failure, sent)
            raise
        took = time.monotonic() - sent
        self.seconds = took if not self.seconds else 0.8 * self.seconds + 0.2 * took
        self.gate.well(sent, waited)

    def failed(self, failure: AttemptError, sent: float) -> None:
        """Tell the gate."""
        if failure.again == "busy":
            self.gate.busy(sent, failure.after)
        elif failure.again == "down":
            self.gate.down(str(failure), failure.after, sent)
        elif failure.status:
            self.gate.well(sent, None)  # it answers, if only to refuse

    async def request(self, prompt: Prompt, sampling: Sampling, n: int) -> tuple[str, dict[str, Any]]:
        """Where to, and what, but for the seed."""
        name, profile = self.spec.name, self.profile
        if not prompt.segments or profile.continues in ("", "flag", "trailing"):
            return f"{self.spec.url}/chat/completions", asking.chat(name, profile, prompt, sampling, n)
        begun = await self.begun(prompt, sampling)
        return f"{self.spec.url}/completions", asking.raw(name, profile, begun, sampling, n)

    async def begun(self, prompt: Prompt, sampling: Sampling) -> str | list[int]:
        """All that the model reads before it goes on: in token ids where the server takes them."""
        if self.profile.continues == "template" and self.template is not None:
            return self.template.render(messages(prompt), sampling.thinking) + prompt.said
        ids = [*await self._asked_ids(prompt, sampling)]
        for segment in prompt.segments:
            ids += segment.ids if segment.ids is not None else await self.ids_of(segment)
        return ids

    async def _asked_ids(self, prompt: Prompt, sampling: Sampling) -> list[int]:
        body = {"messages": messages(prompt), "add_generation_prompt": True}
        return await self._tokenized(body | dict(asking.thinking(self.profile, sampling.thinking)))

    async def ids_of(self, segment: Segment | str) -> list[int]:
        """Of a text that follows others: no token is put before it."""
        text = segment if isinstance(segment, str) else segment.text
        return await self._tokenized({"prompt": text, "add_special_tokens": False}) if text else []

    async def _tokenized(self, body: dict[str, Any]) -> list[int]:
        key = repr(body)
        if key in self._ids:
            self._ids.move_to_end(key)
            return self._ids[key]
        value = await self.transport.json("POST", f"{self.spec.root}/tokenize", {"model": self.spec.name, **body})
        tokens = value.get("tokens") if isinstance(value, dict) else None
        if not isinstance(tokens, list) or not all(type(i) is int for i in tokens):
            raise AttemptError(f"{self.spec.host} tokenised a text as {in_words(value)}")
        self._ids[key] = tokens
        if len(self._ids) > REMEMBERED:
            self._ids.popitem(last=False)
        return tokens


def read_until_error(found: Sequence[bytes]) -> tuple[list[Chunk], AttemptError | None]:
    """What came before an event that is an error, or makes no sense, is counted all the same."""
    chunks: list[Chunk] = []
    for data in found:
        if data != DONE:
            try:
                chunks.append(chunk(data))
            except AttemptError as error:
                return chunks, error
    return chunks, None
