"""Whole evaluations against servers that fail in every way, in bulk, and across kill -9."""

import asyncio
import gc
import json
import os
import random
import signal
import subprocess
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.backends.http_upstreams import rich

from mullover.backends.http.http import Http, Patience
from mullover.backends.http.profile import Profile
from mullover.backends.http.spec import Spec
from mullover.backends.http.transport import Timeouts
from mullover.evaluate.evaluate import Plan, Result, evaluate
from mullover.laws.upstream import Fault, Seen, Upstream, in_background
from mullover.laws.upstream.asked import Asked
from mullover.laws.upstream.wire import Wire
from mullover.scorers.exact import exact
from mullover.strategies.self_consistency import self_consistency
from mullover.tasks import Problem, Task
from mullover.types import NOTHING, AnswerSpec, Prompt, Sampling, Usage

PROBLEMS, AT_ONCE, N = 500, 64, 4
SHORT = Timeouts(connect=5, first=1.0, between=1.0, total=20)


def task(count: int) -> Task:
    problems = [Problem(f"p{i}", f"Story number {i}?", "7", AnswerSpec("number")) for i in range(count)]
    return Task("stories", problems, lambda p: exact(p.answer or "", p.expects), "here", "0")


# Every fault at once


class Counting(Upstream):
    """An upstream that knows of each request which usage blocks it sent in full, and how many events before a cut."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.paid = dict[int, list[Any]]()  # by the id of what it has seen
        self.wires = dict[int, Wire]()

    async def _generate(self, asked: Asked, seen: Seen, wire: Wire) -> None:
        blocks = self.paid[id(seen)] = list[Any]()
        self.wires[id(seen)] = wire
        total = wire.paid

        def paid(usage: Any) -> None:
            blocks.append(usage)
            total(usage)

        wire.paid = paid
        await super()._generate(asked, seen, wire)


def mixed(seed: int, other: str) -> Any:
    """Every second request is befallen by one of all faults, drawn by a seeded random function of its number."""
    kinds = [
        Fault("status", status=429), Fault("status", status=429, retry_after=0.02), Fault("status", status=500),
        Fault("status", status=502, body="html"), Fault("status", status=503, retry_after=0.01),
        Fault("status", status=408), Fault("status", status=409), Fault("status", status=400),
        Fault("status", status=404, body="html"),
        Fault("redirect", location="/v1/chat/completions"), Fault("redirect", location=other),
        Fault("redirect", status=302, location="/elsewhere"),
        Fault("reset_before"), Fault("not_http"), Fault("hang"), Fault("huge_error", size=1 << 22),
        Fault("reset_after", after=1), Fault("reset_after", after=4), Fault("hang_after", after=3),
        Fault("slow", seconds=0.0001), Fault("broken_json", after=0), Fault("broken_json", after=4),
        Fault("error_event", after=0), Fault("error_event", after=3), Fault("no_done"), Fault("keepalive_comments"),
        Fault("wrong_n", by=-1), Fault("wrong_n", by=2), Fault("null_content"), Fault("no_usage"),
        Fault("nan_logprobs"), Fault("duplicate_finish"), Fault("garbage_index"), Fault("garbage_index", index="x"),
        Fault("wrong_types"),
    ]  # fmt: skip

    def fault(i: int) -> Fault | None:
        drawn = random.Random(f"{seed}:{i}")
        if i in (100, 700):
            return Fault("huge", size=1 << 30)
        return drawn.choice(kinds) if drawn.random() < 0.5 else None

    return fault


LEAVES = ("broken_json", "garbage_index", "wrong_types")  # we leave such an answer, and may miss usage that was sent


@dataclass
class Owed:
    """What the ledger of one problem must say, by what the server saw: at least, and at most."""

    prompt: list[int] = field(default_factory=lambda: [0, 0])
    completion: list[int] = field(default_factory=lambda: [0, 0])
    partial: list[int] = field(default_factory=lambda: [0, 0])
    requests: int = 0

    def add(self, up: "Counting", seen: Seen) -> None:
        self.requests += 1
        blocks, wire = up.paid.get(id(seen), []), up.wires.get(id(seen))
        left = seen.fault in LEAVES
        for block in blocks:
            self.prompt[1] += block["prompt_tokens"]
            self.completion[1] += block["completion_tokens"]
            if not left:
                self.prompt[0] += block["prompt_tokens"]
                self.completion[0] += block["completion_tokens"]
        if wire is not None and seen.status == 200 and (left or not blocks):
            told_error_alone = seen.fault == "error_event" and seen.tokens == 0
            self.partial[1] += 1
            self.partial[0] += not left and not told_error_alone
            self.completion[1] += seen.tokens
            words = sum(len(message["content"].split()) for message in seen.body["messages"])  # a token each, at least
            self.prompt[1] += words
            self.prompt[0] += 0 if left or told_error_alone else words
            assert not blocks or blocks[0]["prompt_tokens"] == words  # and the toy counts just these
        self.partial[1] += seen.fault == "huge"

    def holds(self, spent: Usage) -> bool:
        return (
            self.prompt[0] <= spent.prompt_tokens + spent.cached_tokens <= self.prompt[1]
            and self.completion[0] <= spent.completion_tokens <= self.completion[1]
            and self.partial[0] <= spent.partial <= self.partial[1]
        )


def evaluated(up: Upstream, profile: Profile, out: Path, **options: Any) -> Result:
    model = Http(
        [Spec.parse(f"{up.url}#toy")],
        patience=Patience(attempts=6, base=0.01),
        timeouts=SHORT,
        profiles=[profile],
    )
    sampling = {"top_logprobs": 1} if profile.logprobs else {}
    plan = Plan(
        task(PROBLEMS), model, self_consistency, options={"n": N}, specs={"n": str(N)}, sampling=sampling,
        concurrency=AT_ONCE,
    )  # fmt: skip
    return asyncio.run(asyncio.wait_for(evaluate(plan, out), 300))


@pytest.mark.slow
@pytest.mark.parametrize("many", (False, True), ids=("alone", "many"))
def test_an_evaluation_under_every_fault_ends_and_accounts_for_each_problem(many: bool, tmp_path: Path) -> None:
    profile = Profile(ids=True, logprobs=20, stops=True, many=many)
    with in_background(Upstream(model=rich(), port=0)) as other:
        up = Counting("vllm", model=rich(), faults=mixed(1, f"{other.url}/chat/completions"))
        with in_background(up):
            result = evaluated(up, profile, tmp_path / "run")
            deadline = time.monotonic() + 10
            while up.live and time.monotonic() < deadline:  # what was left is closed, not served to its end
                time.sleep(0.01)
            assert not up.live
        assert other.seen == []

    # Every problem has one record, and what failed says why.
    records = [json.loads(line) for line in (tmp_path / "run" / "problems.jsonl").read_bytes().splitlines()]
    assert Counter(record["id"] for record in records) == Counter(f"p{i}" for i in range(PROBLEMS))
    assert result.problems == PROBLEMS
    failed = [record for record in records if record.get("error")]
    assert len(failed) == result.failed
    for record in records:
        samples = [sample for call in record.get("calls", ()) for sample in call.get("samples", ())]
        assert len(samples) == N
        wrong = [sample for sample in samples if sample["finish"] == "error"]
        assert all(sample["error"] for sample in wrong)
        assert bool(record.get("error")) == (len(wrong) == N)
    assert {seen.fault for seen in up.seen} >= {"huge", "status", "redirect", "hang_after", "nan_logprobs", "no_usage"}

    # The ledger of each problem is the server's own count, and for what it did not tell a counted lower bound.
    owed = {record["id"]: Owed() for record in records}
    for seen in up.seen:
        owed[_problem(seen)].add(up, seen)
    spent = {record["id"]: sum((Usage(**usage) for usage in record["usage"].values()), NOTHING) for record in records}
    wrong_ones = {name: (owed[name], spent[name]) for name in owed if not owed[name].holds(spent[name])}
    assert not wrong_ones
    assert sum(one.prompt[0] == one.prompt[1] for one in owed.values()) > 0.5 * PROBLEMS  # most are exact
    assert sum(one.partial for one in spent.values()) > 50

    # Each request that the server saw was a first one, a counted retry, or the second half of a redirect.
    if not many:
        redirected = Counter(_problem(seen) for seen in up.seen if seen.fault == "redirect" and seen.status == 307)
        for record in records:
            foreign = sum("another host" in sample.get("error", "") for sample in _samples(record))
            again = owed[record["id"]].requests - N - redirected[record["id"]] + foreign
            assert spent[record["id"]].retries == again, record["id"]


def _samples(record: dict[str, Any]) -> list[dict[str, Any]]:
    return [sample for call in record.get("calls", ()) for sample in call.get("samples", ())]


def test_an_evaluation_under_a_storm_of_429_ends_and_counts_exactly(tmp_path: Path) -> None:
    """The first 100 requests and then every tenth are too many."""
    up = Upstream(model=rich(), faults=lambda i: Fault("status", status=429) if i < 100 or i % 10 == 0 else None)
    with in_background(up):
        result = evaluated(up, Profile(many=True), tmp_path / "run")
    assert result.problems == PROBLEMS
    total = result.total
    assert total.prompt_tokens + total.cached_tokens == up.usage.prompt_tokens
    assert total.completion_tokens == up.usage.completion_tokens
    assert total.partial == 0
    records = [json.loads(line) for line in (tmp_path / "run" / "problems.jsonl").read_bytes().splitlines()]
    wrong = [sample for record in records for sample in _samples(record) if sample["finish"] == "error"]
    assert all("status 429" in sample["error"] for sample in wrong)


# Ten thousand requests


@contextmanager
def served(*words: str) -> Iterator[str]:
    """A server in a process of its own."""
    going = subprocess.Popen(
        [sys.executable, "-m", "mullover.laws.upstream", *words], stdout=subprocess.PIPE, text=True
    )
    try:
        assert going.stdout is not None
        yield going.stdout.readline().strip()
    finally:
        going.terminate()
        going.wait(10)
        if going.stdout is not None:
            going.stdout.close()


def sockets() -> int:
    found = 0
    for fd in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")
        except OSError:
            continue
    return found


def resident() -> float:
    """MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.slow
def test_ten_thousand_requests_leave_no_open_socket_and_flat_memory() -> None:
    before = sockets()
    marks = list[tuple[int, float]]()

    async def main(url: str) -> None:
        model = Http([Spec.parse(f"{url}#toy")], profiles=[Profile(ids=True)])
        tracemalloc.start()
        for i in range(10):  # 1000 requests each, 64 at once
            for k in range(0, 250, 16):
                await asyncio.gather(*(_drain(model, f"Story {i} {j}?", 4) for j in range(k, min(250, k + 16))))
            if i in (1, 5, 9):
                gc.collect()
                marks.append((tracemalloc.get_traced_memory()[0], resident()))
        tracemalloc.stop()
        assert sockets() - before <= 2 + model.here().endpoints[0].gate.most + 8

    with served() as url:
        asyncio.run(main(url))
        deadline = time.monotonic() + 5
        while sockets() > before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert sockets() == before
    (traced_early, early), _, (traced_late, late) = marks
    print(f"traced {traced_early} -> {traced_late} B, resident {early:.1f} -> {late:.1f} MB")
    assert traced_late - traced_early < 1_000_000
    assert late - early < 20


async def _drain(model: Http, text: str, n: int) -> None:
    ended = 0
    async with aclosing(model.stream(Prompt.of(text), n, Sampling(max_tokens=64))) as events:
        async for event in events:
            ended += event.sample is not None and event.sample.finish == "eos"
    assert ended == n


@pytest.mark.slow
def test_streams_that_are_left_early_leave_no_open_socket() -> None:
    before = sockets()

    async def main(url: str) -> None:
        model = Http([Spec.parse(f"{url}#toy")], profiles=[Profile(ids=True)])
        for _ in range(100):
            async with aclosing(model.stream(Prompt.of("A story?"), 20, Sampling(max_tokens=64))) as events:
                await anext(events)
        gate = model.here().endpoints[0].gate
        assert (gate.live, len(gate.waiting)) == (0, 0)
        await asyncio.sleep(0.5)
        assert sockets() - before <= 40

    with served("--per-token", "0.005") as url:
        asyncio.run(main(url))
        assert sockets() == before


# kill -9


def test_what_was_finished_before_kill_9_is_not_asked_of_the_server_again(tmp_path: Path) -> None:
    count, n = 60, 3
    lines = [{"id": f"p{i}", "question": f"Story number {i}?", "answer": "7"} for i in range(count)]
    (tmp_path / "problems.jsonl").write_text("\n".join(map(json.dumps, lines)))
    up = Upstream(model=rich(), latency=0.02, faults=lambda i: Fault("status") if i % 17 == 5 else None)
    with in_background(up):
        words = ["eval", "--task", "problems.jsonl", "--model", f"{up.url}#toy", "--strategy", "self_consistency"]
        words += ["--n", str(n), "--concurrency", "4", "--out", "run", "--json"]
        command = [sys.executable, "-m", "mullover", *words]
        truth = tmp_path / "run" / "problems.jsonl"
        going = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not truth.exists() or truth.read_bytes().count(b"\n") < count // 3:
            assert going.poll() is None, "it ended before it was killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        going.send_signal(signal.SIGKILL)
        going.wait()
        while up.live:  # a dead client's requests are broken off
            assert time.monotonic() < deadline
            time.sleep(0.01)
        finished = {
            json.loads(line)["id"] for line in truth.read_bytes().splitlines(keepends=True) if line[-1:] == b"\n"
        }
        before = len(up.seen)
        resumed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert resumed.returncode == 0, resumed.stderr
        assert count // 3 <= len(finished) < count
        later = Counter(_problem(seen) for seen in up.seen[before:])
        assert not finished & later.keys()
        assert later.keys() == {f"p{i}" for i in range(count)} - finished
        good = Counter(_problem(seen) for seen in up.seen[before:] if seen.status == 200)
        assert set(good.values()) == {n}
        stored = Counter(json.loads(line)["id"] for line in truth.read_bytes().splitlines())
        assert stored == Counter(f"p{i}" for i in range(count))
        told = json.loads(resumed.stdout)
        assert (told["problems"], told["failed"]) == (count, 0)


def _problem(seen: Seen) -> str:
    text = seen.body["messages"][-1]["content"]
    assert isinstance(text, str)
    return f"p{text.partition('Story number ')[2].partition('?')[0]}"
