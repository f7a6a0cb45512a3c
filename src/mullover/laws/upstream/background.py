"""A server in a thread of its own, for tests whose every call runs its own event loop."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mullover.laws.upstream.server import Upstream


@contextmanager
def in_background(upstream: Upstream) -> Iterator[Upstream]:
    """It serves until the block ends; `seen` and the counts can be read meanwhile."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="upstream", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(upstream.start(), loop).result(10)
        try:
            yield upstream
        finally:
            asyncio.run_coroutine_threadsafe(upstream.stop(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
