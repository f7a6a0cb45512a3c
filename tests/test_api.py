"""mullover.solve and its kin."""

import asyncio
import os
import subprocess
import sys
from typing import Any

import pytest

import mullover
from mullover.backends.scripted import Scripted
from mullover.backends.toy import Toy


def test_solve_works_again_and_again_and_inside_a_running_loop() -> None:
    model = Scripted(["ANSWER: 42"])
    assert [str(mullover.solve("6*7?", model=model)) for _ in range(3)] == ["42"] * 3

    async def notebook() -> str:
        return str(mullover.solve("6*7?", model=model))

    assert asyncio.run(notebook()) == "42"


def test_asolve_opens_texts_as_the_command_line_does() -> None:
    run = asyncio.run(
        mullover.asolve("apples?", model="toy", strategy="self_consistency", n=9, style="plain", temperature=1.5)
    )
    assert run.answer.complete
    assert len(run.answer.candidates) == 9
    assert run.calls[0].sampling is not None and run.calls[0].sampling.temperature == 1.5


def test_stream_yields_each_better_answer() -> None:
    async def heard() -> list[str | None]:
        stream = mullover.stream("6*7?", model=Scripted(["hm?\n\nhm.", "ANSWER: 42"]), strategy="self_consistency", n=2)
        return [answer.value async for answer in stream]

    assert asyncio.run(heard()) == [None, "42"]


def test_stream_tells_when_a_budget_ended_it() -> None:
    async def last() -> mullover.Answer:
        answers = mullover.stream(
            "apples?", model=Toy(), strategy="self_consistency", n=50, budget=mullover.Budget(tokens=60)
        )
        return [answer async for answer in answers][-1]

    assert not asyncio.run(last()).complete


def test_leaving_a_stream_cancels_the_rest() -> None:
    async def closed() -> int:
        stream = mullover.stream("apples?", model=Toy(), strategy="self_consistency", n=100_000)
        await anext(stream)
        await stream.aclose()
        return len(asyncio.all_tasks())

    async def broken_off() -> int:
        async for _ in mullover.stream("apples?", model=Toy(), strategy="self_consistency", n=100_000):
            break
        for _ in range(20):  # the loop closes the generator that was left behind
            await asyncio.sleep(0)
        return len(asyncio.all_tasks())

    assert asyncio.run(closed()) == 1
    assert asyncio.run(broken_off()) == 1


def test_solve_inside_what_solve_runs_is_refused_instead_of_waiting_forever() -> None:
    async def nested(text: str) -> str:
        return str(mullover.solve(text, model="toy"))

    with pytest.raises(mullover.ModelError, match="await asolve"):
        mullover.solve("apples?", model=mullover.model(nested))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_can_solve_too() -> None:
    code = (
        "import mullover, os, sys; ask = lambda: str(mullover.solve('a?', model='toy', strategy='direct')); ask()\n"
        "child = os.fork()\n"
        "if not child: os._exit(0 if ask() == '5' else 1)\n"
        "sys.exit(os.waitpid(child, 0)[1])"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=30).returncode == 0


def test_public_names_stay_what_they_are_after_use() -> None:
    code = (
        "import mullover, types; mullover.solve('a?', model='toy'); from importlib import import_module\n"
        "wrong = [n for n in mullover.__all__ if isinstance(getattr(mullover, n), types.ModuleType)]; print(wrong)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.stdout == "[]\n"


def test_sampling_given_as_text_is_opened() -> None:
    run = mullover.solve("apples?", model="toy", strategy="self_consistency", n=1, temperature="0.5")
    assert run.calls[0].sampling is not None and run.calls[0].sampling.temperature == 0.5
    with pytest.raises(mullover.OptionError, match="temperature is 'warm'"):
        mullover.solve("apples?", model="toy", temperature="warm")
    wrong: list[dict[str, Any]] = [{"question": None}, {"model": 42}, {"sampling": mullover.Sampling()}]
    for given in wrong:
        with pytest.raises(mullover.OptionError):
            mullover.solve(**{"question": "apples?", "model": "toy", **given})


def test_any_async_function_is_a_model() -> None:
    async def parrot(text: str) -> str:
        return f"You said {len(text)} characters. ANSWER: 42"

    run = mullover.solve("6*7?", model=mullover.model(parrot), strategy="self_consistency", n=3)
    assert run.answer.value == "42"
    with pytest.raises(mullover.OptionError, match="async"):
        mullover.model(lambda text: text)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"question": "  "}, "empty"),
        ({"model": "no_such"}, "no model 'no_such'"),
        ({"strategy": "no_such"}, "no strategy 'no_such'"),
        ({"kind": "no_such"}, "no kind of answer"),
        ({"m": 1}, "has no option m"),
        ({"strategy": "self_consistency", "n": "x"}, "n is 'x'"),
        ({"model": "pocket;depth=3"}, "no setting of a local model"),
        ({"model": "http://localhost:1/v1"}, "names no model"),
    ],
)
def test_mistakes_are_one_clear_error(wrong: dict[str, str], message: str) -> None:
    with pytest.raises(mullover.OptionError, match=message):
        mullover.solve(**{"question": "6*7?", "model": "toy", **wrong})


def test_every_public_name_exists() -> None:
    assert all(getattr(mullover, name) is not None for name in mullover.__all__)
    with pytest.raises(AttributeError, match="no_such"):
        mullover.no_such  # noqa: B018


def test_a_script_that_solves_ends_cleanly() -> None:
    code = "import mullover; print(mullover.solve('6*7?', model='toy', strategy='direct'))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
