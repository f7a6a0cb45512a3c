"""What several strategies share: chains of thought in a style, and the vote over them."""

from bisect import bisect_left
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace

from mullover.aio import each
from mullover.answers import Found, find, merge
from mullover.prompts import Style
from mullover.types import Answer, AnswerSpec, Candidate, Model, Prompt, Sample, Sampling

EXTRACTION = Sampling(temperature=0, max_tokens=64)


def chains(
    model: Model, prompt: Prompt, n: int, style: Style, sampling: Sampling
) -> AsyncGenerator[tuple[int, Sample], None]:
    """(index, sample) of each chain as it ends; a style of two stages asks each for its answer.

    The second stage is greedy, and its question and reply become the end of the chain's text.

    Source: Kojima et al. 2022, arXiv:2205.11916, section 3 (two-stage prompting).
    """
    begun = model.growing(style.ask(prompt), n, sampling)
    if not style.extract:
        return begun

    async def conclude(chain: tuple[int, Sample]) -> tuple[int, Sample]:
        return chain[0], await concluded(model, prompt, style, chain[1], sampling)

    return each(begun, conclude)


async def concluded(model: Model, prompt: Prompt, style: Style, chain: Sample, sampling: Sampling) -> Sample:
    """The chain with the answer its second stage gave."""
    asked, words = style.again(style.ask(prompt), chain.text)
    (reply,) = await model.sample(asked, 1, replace(EXTRACTION, role=sampling.role))
    text = f"{chain.text.rstrip()}\n{words} {reply.answer.strip()}"
    return Sample(text, reply.finish, thought=chain.thought, usage=chain.usage + reply.usage)


def read(sample: Sample, spec: AnswerSpec) -> Found | None:
    """The answer a sample states. One that was cut short must state it; its last number is not an answer."""
    return find(sample.answer, spec, truncated=sample.finish not in ("eos", "stop"))


@dataclass(slots=True)
class Group:
    """Equal answers."""

    head: Found  # the answer as its first sample wrote it
    first: int  # that sample's index
    size: int = 0
    weight: float = 0.0

    def before(self, other: "Group") -> bool:
        """Does it win against the other? A tie goes to the one seen first."""
        return self.weight > other.weight or (self.weight == other.weight and self.first < other.first)


class Votes:
    """A vote that is counted while samples come in: each is read once, and a count costs no more for many.

    A sample that states no answer has no vote. Equal weights go to the answer of the lowest index.
    """

    def __init__(self, spec: AnswerSpec, weigh: Callable[[Sample], float] | None = None) -> None:
        self.spec, self.weigh = spec, weigh
        self.groups: dict[str, Group] = {}
        self.leader: Group | None = None
        self.indices: list[int] = []  # of the samples so far, rising
        self.candidates: list[Candidate] = []  # one for each
        self.selected: tuple[Candidate, Candidate] | None = None  # the leader's first, before and after it was

    def add(self, i: int, sample: Sample) -> None:
        found = read(sample, self.spec)
        candidate = Candidate.of(sample, value=None if found is None else found.value)
        if not self.indices or self.indices[-1] < i:
            self.indices.append(i)
            self.candidates.append(candidate)
        else:
            at = bisect_left(self.indices, i)
            self.indices.insert(at, i)
            self.candidates.insert(at, candidate)
        if found is None:
            return
        group = self.groups.get(found.key)
        if group is None:
            group = self.groups[found.key] = Group(found, i)
        elif i < group.first:
            group.head, group.first = found, i
        group.size += 1
        group.weight += 1.0 if self.weigh is None else self.weigh(sample)
        if self.leader is None or group.before(self.leader):  # weights only grow, so no other can have come to lead
            self.leader = group

    def sizes(self) -> list[int]:
        """Votes of each answer, most first."""
        return sorted([group.size for group in self.groups.values()], reverse=True)

    def answer(self) -> Answer:
        """The heaviest answer so far; without one, None and the first text."""
        count = len(self.candidates)
        if self.leader is None:
            text = self.candidates[0].text if count else ""
            return Answer(None, text, tuple(self.candidates), f"none of {count} samples states an answer")
        at = bisect_left(self.indices, self.leader.first)
        if self.selected is None or self.selected[0] is not self.candidates[at]:
            self.selected = (self.candidates[at], selected(self.candidates[at]))
        shown = self.candidates[:]
        shown[at] = self.selected[1]
        why = f"{self.leader.size} of {count} samples agree"
        return Answer(self.leader.head.value, shown[at].text, tuple(shown), why)

    async def merge(self) -> bool:
        """Join groups whose answers are equal in a way their keys do not show. True if any were."""
        if self.spec.kind != "math" or len(self.groups) < 2:
            return False
        keys = sorted(self.groups, key=lambda key: self.groups[key].first)
        joins = await merge([self.groups[key].head.value for key in keys], self.spec)
        for at, to in enumerate(joins):
            if to != at:
                gone, kept = self.groups.pop(keys[at]), self.groups[keys[to]]
                kept.size += gone.size
                kept.weight += gone.weight
        self.leader = min(self.groups.values(), key=lambda group: (-group.weight, group.first))
        return len(self.groups) < len(keys)


def chose(candidates: list[Candidate], at: int, value: str | None, why: str, text: str | None = None) -> Answer:
    """An Answer that selects candidate `at`."""
    candidates[at] = selected(candidates[at])
    return Answer(value, candidates[at].text if text is None else text, tuple(candidates), why)


def selected(c: Candidate) -> Candidate:
    return Candidate(c.text, c.parents, c.kind, "selected", c.score, c.numbers, c.sample, c.value)
