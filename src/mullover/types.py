"""The nouns: frozen values that flow prompt -> samples -> scores -> answer, and the two ports.

Imports only level 0 and the standard library, so every other module may import it.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, runtime_checkable

from mullover.errors import CapabilityError, ModelError, OptionError
from mullover.sampling import Force as Force
from mullover.sampling import Halt as Halt
from mullover.sampling import Role as Role
from mullover.sampling import Rule as Rule
from mullover.sampling import Sampling as Sampling
from mullover.sampling import Where as Where
from mullover.seeds import changed

Finish = Literal["eos", "stop", "length", "halted", "cancelled", "error"]
Kind = Literal["number", "math", "choice", "yes_no", "text", "list", "set", "code", "expression"]
NodeKind = Literal["sample", "step", "critique", "edit", "verdict"]
Status = Literal["open", "finished", "pruned", "selected"]
Part = Mapping[str, Any]  # opaque: text, image, tool call; only a backend looks inside


@dataclass(frozen=True, slots=True)
class Message:
    role: Literal["system", "user", "assistant", "tool"]
    parts: tuple[Part, ...]

    @staticmethod
    def of(role: Literal["system", "user", "assistant", "tool"], text: str) -> Message:
        return Message(role, ({"type": "text", "text": text},))

    @property
    def text(self) -> str:
        return "\n".join(part["text"] for part in self.parts if part.get("type") == "text")


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of the assistant's turn so far. Known ids are what the model sees; text is for us."""

    text: str
    ids: tuple[int, ...] | None = None  # None: only the text is known, a backend may tokenise it


@dataclass(frozen=True, slots=True)
class AnswerSpec:
    """What a short answer looks like; it says nothing about which one is right."""

    kind: Kind = "text"
    choices: tuple[str, ...] = ()  # of kind choice: letters, or the texts themselves
    instruction: str = ""  # how to state the answer; a style puts it after the question


@dataclass(frozen=True, slots=True)
class Prompt:
    messages: tuple[Message, ...]
    segments: tuple[Segment, ...] = ()
    expects: AnswerSpec = AnswerSpec()
    origin: str = field(default="", compare=False)  # the problem's id: no part of what is asked

    @staticmethod
    def of(text: str, expects: AnswerSpec = AnswerSpec(), origin: str = "", system: str = "") -> Prompt:
        user = Message.of("user", text)
        return Prompt((Message.of("system", system), user) if system else (user,), (), expects, origin)

    @property
    def text(self) -> str:
        """All text parts of all messages, for backends without a chat template."""
        return "\n".join([message.text for message in self.messages])

    @property
    def question(self) -> str:
        """The text of the last user turn."""
        return next((m.text for m in reversed(self.messages) if m.role == "user"), "")

    @property
    def said(self) -> str:
        """The assistant's turn so far."""
        return "".join([segment.text for segment in self.segments])

    def then(self, more: Sample | Segment | str) -> Prompt:
        """Continue the assistant's turn. Sampled ids are kept, less a final end token."""
        if isinstance(more, Sample):
            more = Segment(more.text, (more.ids[:-1] if more.finish == "eos" else more.ids) or None)
        return replace(self, segments=(*self.segments, Segment(more) if isinstance(more, str) else more))

    def asking(self, text: str) -> Prompt:
        """The last user turn in other words; its parts that are no text stay."""
        at = max((i for i, m in enumerate(self.messages) if m.role == "user"), default=None)
        if at is None:
            raise OptionError("the prompt has no user turn; give it one, with the question")
        kept = tuple(part for part in self.messages[at].parts if part.get("type") != "text")
        asked = Message("user", (*kept, {"type": "text", "text": text}))
        messages = (*self.messages[:at], asked, *self.messages[at + 1 :])
        return Prompt(messages, self.segments, self.expects, self.origin)

    def replied(self, text: str, then_asked: str) -> Prompt:
        """A turn later: the assistant said `text`, and the user goes on with `then_asked`."""
        turns = (Message.of("assistant", self.said + text), Message.of("user", then_asked))
        return replace(self, messages=(*self.messages, *turns), segments=())


@dataclass(frozen=True, slots=True)
class Usage:
    """What was spent."""

    calls: int = 0
    prompt_tokens: int = 0  # computed
    cached_tokens: int = 0  # prompt tokens read from a cache, not in `prompt_tokens`
    completion_tokens: int = 0  # generated, reasoning among them
    reasoning_tokens: int = 0  # those of `completion_tokens` that are reasoning, where the model says so
    retries: int = 0  # attempts that failed and were made again
    partial: int = 0  # attempts whose usage nobody told: of their tokens those seen are counted, a lower bound
    seconds: float = field(default=0.0, compare=False)  # from the start to the end of the call; calls may overlap
    flops: float = 0.0  # estimated; 0 where the model's size is unknown
    money: float = 0.0  # in the unit of the model's price; 0 where it has none
    sandbox_runs: int = 0  # of code that a model wrote

    @property
    def tokens(self) -> int:
        """What a budget counts."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.cached_tokens + other.cached_tokens,
            self.completion_tokens + other.completion_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.retries + other.retries,
            self.partial + other.partial,
            self.seconds + other.seconds,
            self.flops + other.flops,
            self.money + other.money,
            self.sandbox_runs + other.sandbox_runs,
        )


NOTHING = Usage()


UNTOLD = -1  # the id of a token of which a server tells the text alone


@dataclass(frozen=True, slots=True)
class Token:
    id: int
    text: str
    logprob: float  # nats, of the raw model


@dataclass(frozen=True, slots=True)
class Sample:
    text: str
    finish: Finish
    ids: tuple[int, ...] = ()  # with the end token if finish is "eos", so that logprobs sum to log P(sample)
    logprobs: tuple[float, ...] | None = None  # raw model, temperature 1; one per id, also where ids are not told
    sampling_logprobs: tuple[float, ...] | None = None  # of the distribution sampled from; one per id
    alternatives: tuple[tuple[Token, ...], ...] | None = None  # one tuple per id
    signals: Mapping[str, Sequence[float]] | None = None  # by name, one number per id
    offsets: tuple[int, ...] | None = None  # where each id's text begins in `text`, characters; one per id
    thought: int = 0  # characters of `text` that are reasoning, delimiters included
    usage: Usage = NOTHING
    error: str = ""

    @property
    def reasoning(self) -> str:
        return self.text[: self.thought]

    @property
    def answer(self) -> str:
        return self.text[self.thought :]


@dataclass(frozen=True, slots=True)
class Score:
    value: float | None  # any real, higher is better; None: could not judge, which is never 0
    steps: tuple[float | None, ...] = ()
    why: str = ""
    usage: Usage = NOTHING  # computed by the scorer itself; what it asks of a Model is counted there


@dataclass(frozen=True, slots=True)
class Candidate:
    """One node. `parents` index into the same tuple: a vote is a list, a search a forest, a refinement a graph."""

    text: str  # its own text only; `path` gives the rest
    parents: tuple[int, ...] = ()
    kind: NodeKind = "sample"
    status: Status = "open"
    score: Score | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    sample: Sample | None = None
    value: str | None = None  # the short answer its text states, where one was looked for and found

    @staticmethod
    def of(
        sample: Sample, parents: tuple[int, ...] = (), kind: NodeKind = "sample", value: str | None = None
    ) -> Candidate:
        """A stop string ends a step but finishes a sample; a cut by length finishes neither."""
        ended = sample.finish == "eos" or (sample.finish == "stop" and kind == "sample")
        return Candidate(sample.text, parents, kind, "finished" if ended else "open", None, {}, sample, value)

    @property
    def rank(self) -> float:
        """For comparing: what nobody could judge comes after everything judged, however low."""
        return -math.inf if self.score is None or self.score.value is None else self.score.value


def path(candidates: Sequence[Candidate], i: int) -> list[Candidate]:
    """From a root to candidate i, along first parents."""
    nodes = [candidates[i]]
    while nodes[-1].parents:
        nodes.append(candidates[nodes[-1].parents[0]])
    return nodes[::-1]


@dataclass(frozen=True, slots=True)
class Answer:
    value: str | None  # the short answer; None when nothing could be extracted
    text: str = ""  # the full text it was read from
    candidates: tuple[Candidate, ...] = ()
    why: str = ""
    complete: bool = True  # False: the budget or the caller ended the run first


@dataclass(frozen=True, slots=True)
class Event:
    """What just happened, and what it cost: a sample grew by some tokens, or it finished."""

    index: int = 0  # which sample of its call
    text: str = ""
    ids: tuple[int, ...] = ()
    usage: Usage = NOTHING
    sample: Sample | None = None  # set on a sample's last event
    void: bool = False  # its attempt failed, and it is asked again: what it said until now is taken back


Events = AsyncGenerator[Event, None]
Answers = AsyncGenerator[Answer, None]
Strategy = Callable[..., Answers]


@dataclass(frozen=True, slots=True)
class Price:
    """Money for one token, in any one currency."""

    prompt: float = 0.0
    cached: float = 0.0
    completion: float = 0.0

    def of(self, usage: Usage) -> float:
        return (
            self.prompt * usage.prompt_tokens
            + self.cached * usage.cached_tokens
            + self.completion * usage.completion_tokens
        )


LENIENT = frozenset({"temperature", "top_p", "top_k", "min_p", "max_tokens"})


@dataclass(frozen=True, slots=True)
class ModelInfo:
    name: str
    can: frozenset[str] = frozenset()  # names of Sampling fields it obeys; also "segments", "turns", "score"
    context: int = 1 << 20  # tokens
    think: tuple[str, str] | None = None  # delimiters of its reasoning
    defaults: Mapping[str, Any] = field(default_factory=dict)  # its own generation config
    metered: Literal["live", "call"] = "live"  # does usage come with each event, or with the end of a sample?
    prompt_each: bool = False  # each sample of a call pays for the prompt again
    unit: Literal["tokens", "words"] = "tokens"  # what its usage counts
    price: Price | None = None
    deterministic: bool = True  # equal requests with equal seeds give equal samples
    digest: str = ""  # of what it says, where that is a file: another file is another model
    hint: str = ""  # what else to do about something it cannot do

    def check(self, prompt: Prompt, sampling: Sampling) -> None:
        """Refuse a request that would otherwise be obeyed in part.

        Fields of LENIENT pass: they have a value in every strategy, which a model may not know how to take.
        That the user's own words are obeyed is checked by `run`.
        """
        missing = changed(sampling).keys() - self.can - LENIENT
        if prompt.segments and "segments" not in self.can:
            missing = {*missing, "segments"}
        if missing:
            way_out = self.hint or "take a model that can, or leave it out"
            raise CapabilityError(f"{self.name} cannot do {', '.join(sorted(missing))}; {way_out}")


@dataclass(frozen=True, slots=True)
class Needs:
    """What a strategy must have, beside it as NEEDS; checked before the first call."""

    can: frozenset[str] = frozenset()  # of ModelInfo.can
    sampling: Mapping[str, Any] = field(default_factory=dict)  # fields it fixes; a contrary wish is an error
    why: str = ""


@runtime_checkable
class Model(Protocol):
    """The port to every model. A backend writes `stream` (and `score` if it can); the rest follows."""

    info: ModelInfo

    def stream(self, prompt: Prompt, n: int, sampling: Sampling) -> Events:
        """Growth and ends of n samples, as they come. Closing it cancels what still runs."""
        ...

    async def growing(self, prompt: Prompt, n: int, sampling: Sampling) -> AsyncGenerator[tuple[int, Sample], None]:
        """(index, sample) of each sample that succeeds, as it ends. Raises ModelError if none does."""
        errors: list[str] = []
        good = 0
        async with aclosing(self.stream(prompt, n, sampling)) as events:
            async for event in events:
                sample = event.sample
                if sample is None:
                    continue
                if sample.finish == "error" or sample.finish == "cancelled":
                    errors.append(sample.error)
                    continue
                good += 1
                yield event.index, sample
        if not good:
            why = "; ".join(dict.fromkeys(errors)) or "it ended without a word"
            raise ModelError(f"{self.info.name}: none of {n} samples succeeded: {why}")

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> list[Sample]:
        """The samples that succeeded, in index order. Raises ModelError if none did."""
        done: dict[int, Sample] = {}
        async with aclosing(self.growing(prompt, n, sampling)) as ended:
            async for i, sample in ended:
                done[i] = sample
        return [done[i] for i in sorted(done)]

    async def score(self, prompt: Prompt, texts: Sequence[str]) -> list[tuple[float, ...]]:
        """Log-probability of each token of each text as the continuation of `prompt`, nats."""
        raise CapabilityError(f"{self.info.name} cannot score given texts; take a model that can")


@runtime_checkable
class Scorer(Protocol):
    """Judges candidates as continuations of `prompt`: one score each, in order.

    In a search `prompt` already holds the steps so far and each candidate is one next step.
    A scorer that asks a model is a dataclass with that model as a field, so that `run` can wrap it.
    """

    async def __call__(self, prompt: Prompt, candidates: Sequence[Candidate]) -> list[Score]: ...
