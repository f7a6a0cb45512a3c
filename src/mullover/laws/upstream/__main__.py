"""`python -m mullover.laws.upstream --kind vllm` prints the server's URL and serves until it is killed."""

import argparse
import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress

from mullover.backends.toy import open_toy
from mullover.laws.upstream import TRAITS, Fault, Upstream


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="python -m mullover.laws.upstream", description=__doc__)
    options.add_argument("--kind", choices=sorted(TRAITS), default="vllm")
    options.add_argument("--port", type=int, default=0)
    options.add_argument("--model", default="", help="a toy's JSON; without it, the built-in table")
    options.add_argument("--quiet", default=None, help="a toy's JSON, for when thinking is off")
    options.add_argument("--name", default="toy")
    options.add_argument("--key", default="")
    options.add_argument("--latency", type=float, default=0.0)
    options.add_argument("--per-token", type=float, default=0.0)
    options.add_argument("--slots", type=int, default=None)
    options.add_argument("--context", type=int, default=32768)
    options.add_argument("--strict-reasoning", action="store_true")
    options.add_argument("--faults", default="[]", help='JSON: [null, {"kind": "status", "status": 429}, ...]')
    return options


async def serve(given: argparse.Namespace) -> None:
    upstream = Upstream(
        given.kind,
        model=open_toy(given.model),
        quiet=None if given.quiet is None else open_toy(given.quiet),
        name=given.name,
        key=given.key,
        latency=given.latency,
        per_token=given.per_token,
        slots=given.slots,
        faults=[None if one is None else Fault(**one) for one in json.loads(given.faults)],
        port=given.port,
        context=given.context,
        strict_reasoning=given.strict_reasoning,
    )
    async with upstream:
        print(upstream.url, flush=True)
        await asyncio.Event().wait()


def main(words: Sequence[str] | None = None) -> None:
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(parser().parse_args(words)))


if __name__ == "__main__":
    main()
