"""The one concurrency helper, in its three forms."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

S = TypeVar("S")
T = TypeVar("T")


async def together(*jobs: Coroutine[Any, Any, T]) -> list[T]:
    """Run jobs concurrently; results come in argument order.

    If one fails, the rest are cancelled and its own error is raised: never an exception group,
    so `except MulloverError` works. If several fail at once, the first argument's error wins.
    """
    tasks: list[asyncio.Task[T]] = []
    try:
        async with asyncio.TaskGroup() as group:
            tasks += [group.create_task(job) for job in jobs]
    except BaseExceptionGroup:
        failures = (task.exception() for task in tasks if not task.cancelled())
        raise next(error for error in failures if error is not None) from None
    return [task.result() for task in tasks]


async def settled(*jobs: Coroutine[Any, Any, T]) -> list[T | Exception]:
    """`together` that keeps going: a failed job gives its error as its result and harms no other."""

    async def quiet(job: Coroutine[Any, Any, T]) -> T | Exception:
        try:
            return await job
        except Exception as error:  # noqa: BLE001  handed to the caller, not swallowed
            return error

    return await together(*(quiet(job) for job in jobs))


AT_ONCE = 64  # jobs of one `each`: so many tasks are begun before the first has ended


async def each(items: AsyncGenerator[S, None], job: Callable[[S], Coroutine[Any, Any, T]]) -> AsyncGenerator[T, None]:
    """`together` for what comes little by little: a job for each item at once, 64 at most, results as they end.

    If a job or the source fails, the rest are cancelled and the error is raised; so they are when the caller leaves.
    """
    ended: asyncio.Queue[asyncio.Task[Any]] = asyncio.Queue()
    free = asyncio.Semaphore(AT_ONCE)
    running: set[asyncio.Task[Any]] = set()

    def start(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        running.add(task)
        task.add_done_callback(ended.put_nowait)
        return task

    async def feed() -> None:
        async with aclosing(items):
            async for item in items:
                await free.acquire()
                start(job(item))

    source = start(feed())
    try:
        while running:
            task = await ended.get()
            running.discard(task)
            result = task.result()
            if task is not source:
                free.release()
                yield result
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
