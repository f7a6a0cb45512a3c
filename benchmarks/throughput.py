"""How much slower than a bare HTTP client is self-consistency over HTTP?

    python benchmarks/throughput.py            (or `make bench-http`)

A fake upstream in a process of its own answers each request after 50 ms with six events. Side by side, in
turn: a bare loop of aiohttp that posts the same 8,000 requests and throws the bytes away (`bare`), one that
parses the JSON of each event too (`read`), and self_consistency n=16 on 500 questions at concurrency 256.
The ideal is the longer of what the latency alone takes at the same number of requests in flight, and what
`read` takes: on a machine too slow to send 8,000 requests in that time no client can do it.
"""

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

LATENCY = 0.05
WORDS = ("The ", "answer ", "is ", "8.")
URL = "http://127.0.0.1:{port}/v1"


class Answering(asyncio.Protocol):
    """The least that speaks HTTP: it cannot be what is slow."""

    response: bytes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.received = transport, b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            head = self.received[:end].lower()
            at = head.find(b"content-length:")
            size = int(head[at + 15 :].split(b"\r\n")[0]) if at >= 0 else 0
            if len(self.received) < end + 4 + size:
                return
            self.received = self.received[end + 4 + size :]
            asyncio.get_running_loop().call_later(LATENCY, self.answer)

    def answer(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(self.response)


def events() -> list[bytes]:
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    said = [{**chunk, "choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]} for word in WORDS]
    said.append({**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    said.append({**chunk, "choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}})
    return [b"data: " + json.dumps(one).encode() + b"\n\n" for one in said] + [b"data: [DONE]\n\n"]


async def serve() -> None:
    parts = b"".join([b"%x\r\n%s\r\n" % (len(part), part) for part in events()])
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    Answering.response = head + parts + b"0\r\n\r\n"
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def bare(port: int, requests: int, at_once: int, parse: bool) -> None:
    import aiohttp
    import orjson

    todo, url = iter(range(requests)), URL.format(port=port) + "/chat/completions"
    body = {"model": "m", "messages": [{"role": "user", "content": QUESTION.format(0)}], "stream": True, "seed": 7}

    async def work(session: aiohttp.ClientSession) -> None:
        for _ in todo:
            async with session.post(url, data=orjson.dumps(body)) as response:
                received = b""
                async for some in response.content.iter_any():
                    received += some
            if parse:
                for event in received.split(b"\n\n"):
                    if event.startswith(b"data: {"):
                        orjson.loads(event[6:])

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(work(session) for _ in range(at_once)))


QUESTION = "I have {} apples, my dad has 2 more. How many have we? Think step by step, then state the number."


async def ours(port: int, questions: int, n: int, concurrency: int) -> int:
    """The most requests that were in flight."""
    from mullover import AnswerSpec, Prompt
    from mullover.backends.http.http import Http
    from mullover.backends.http.spec import Spec
    from mullover.running import Budget, prepared, run_prepared
    from mullover.strategies import load

    model = Http([Spec.parse(URL.format(port=port) + "#m")])
    strategy = load("self_consistency")
    arguments = prepared(strategy, model, {}, {"n": n})
    todo = iter(range(questions))

    async def work() -> None:
        for i in todo:
            prompt = Prompt.of(QUESTION.format(i), AnswerSpec("number"))
            result = await run_prepared(strategy, model, prompt, arguments, seed=0, budget=Budget())
            assert result.answer.value == "8"
            assert result.total.completion_tokens == 5 * n

    await asyncio.gather(*(work() for _ in range(concurrency)))
    return model.here().endpoints[0].gate.most


def timed(job: Callable[[], Awaitable[Any]]) -> tuple[float, float, Any]:
    """(wall seconds, CPU seconds of this process, result)."""

    async def main() -> tuple[float, float, Any]:
        wall, cpu = time.perf_counter(), time.process_time()
        result = await job()
        return time.perf_counter() - wall, time.process_time() - cpu, result

    return asyncio.run(main())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serve", action="store_true", help="be the fake upstream")
    parser.add_argument("--questions", type=int, default=500)
    parser.add_argument("--n", type=int, default=16)
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    if asked.serve:
        asyncio.run(serve())
        return
    requests = asked.questions * asked.n
    with subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True) as upstream:
        assert upstream.stdout is not None
        port = int(upstream.stdout.readline())
        jobs: dict[str, Callable[[], Awaitable[Any]]] = {
            "bare": lambda: bare(port, requests, asked.concurrency, False),
            "read": lambda: bare(port, requests, asked.concurrency, True),
            "ours": lambda: ours(port, asked.questions, asked.n, asked.concurrency),
        }
        from mullover.cli.eval import calm

        calm()  # as `mull eval` does; the bare clients gain by it too
        asyncio.run(ours(port, 16, 16, 16))  # imports and the first connections
        found: dict[str, list[tuple[float, float, Any]]] = {name: [] for name in jobs}
        for _ in range(asked.rounds):
            for name, job in jobs.items():
                found[name].append(timed(job))
        upstream.kill()
    show(requests, asked.concurrency, found)


def show(requests: int, at_once: int, found: dict[str, list[tuple[float, float, Any]]]) -> None:
    latency = requests / at_once * LATENCY
    print(f"{requests} requests; by latency alone, {at_once} in flight: {latency:.2f} s")
    for name, rounds in found.items():
        wall, cpu = (statistics.median(part) for part in ([r[0] for r in rounds], [r[1] for r in rounds]))
        each = cpu / requests * 1e6
        print(f"  {name}  {wall:6.2f} s  {requests / wall:6.0f} requests/s  {each:4.0f} us CPU a request")
    ratios = [mine[0] / max(latency, read[0]) for mine, read in zip(found["ours"], found["read"], strict=True)]
    print(f"  ours / ideal: {statistics.median(ratios):.2f} (each round: {', '.join(f'{r:.2f}' for r in ratios)})")
    print(f"  most in flight: {max(r[2] for r in found['ours'])}")
    print(f"  peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
