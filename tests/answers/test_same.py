"""Merging of answers that are equal although their keys differ: one worker, killable, under a cap."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mullover.answers import equivalent, key, merge
from mullover.answers.same import _WORKER, installed, safe
from mullover.types import AnswerSpec

MATH = AnswerSpec("math")
SLOW = [r"(a+b+c+d)^9(e+f+g+h)^9", r"(a+b+c+d)^9(e+f+g+h)^8"]  # sympy expands for minutes

needs_math_verify = pytest.mark.skipif(not installed(), reason="math-verify is not installed")


@needs_math_verify
def test_answers_equal_by_an_identity_are_merged_into_the_earliest() -> None:
    heads = [r"\sqrt{3+2\sqrt2}", "7", r"1+\sqrt2", r"\frac{1}{x-1}-\frac{1}{x+1}", "7.0", r"\frac{2}{x^2-1}"]
    assert key(heads[0], MATH) != key(heads[2], MATH)
    assert asyncio.run(merge(heads, MATH, cap=20.0)) == [0, 1, 0, 3, 1, 3]


@needs_math_verify
def test_a_vote_from_a_second_event_loop_uses_the_same_worker() -> None:
    asyncio.run(merge([r"\log_2 8", "3"], MATH, cap=20.0))
    process = _WORKER.process
    assert asyncio.run(merge([r"\log_2 16", "4"], MATH, cap=20.0)) == [0, 0]
    assert _WORKER.process is process


@needs_math_verify
def test_when_the_cap_is_reached_the_unsettled_stay_apart_and_the_next_vote_works() -> None:
    asyncio.run(merge([r"\log_2 8", "x"], MATH, cap=20.0))
    began = time.monotonic()
    assert asyncio.run(merge(SLOW, MATH, cap=0.5)) == [0, 1]
    assert time.monotonic() - began < 15.0
    assert asyncio.run(merge([r"\log_3 9", "2"], MATH, cap=20.0)) == [0, 0]


@needs_math_verify
def test_the_event_loop_is_never_blocked() -> None:
    async def longest_pause() -> float:
        vote = asyncio.create_task(merge([r"(a+b+c+f)^9(e+f+g+h)^9", r"(a+b+c+f)^9(e+f+g+h)^8"], MATH, cap=2.0))
        longest = 0.0
        while not vote.done():
            began = time.monotonic()
            await asyncio.sleep(0.01)
            longest = max(longest, time.monotonic() - began)
        return longest

    assert asyncio.run(longest_pause()) < 1.5


@needs_math_verify
def test_a_worker_that_died_is_replaced() -> None:
    asyncio.run(merge([r"\log_5 25", "x"], MATH, cap=20.0))
    assert _WORKER.process is not None
    _WORKER.process.kill()
    _WORKER.process.wait()
    assert asyncio.run(merge([r"\log_5 125", "3"], MATH, cap=20.0)) == [0, 0]


@needs_math_verify
def test_a_settled_pair_is_remembered() -> None:
    heads = [r"\sin(\pi/6)", r"\frac12"]
    asyncio.run(merge(heads, MATH, cap=20.0))
    _WORKER.close()
    assert asyncio.run(merge(heads, MATH, cap=20.0)) == [0, 0]
    assert _WORKER.process is None


@needs_math_verify
def test_the_answer_is_right_by_key_or_by_math_verify_in_either_direction() -> None:
    async def both(a: str, b: str) -> tuple[bool, bool]:
        return await equivalent(a, b, MATH), await equivalent(b, a, MATH)

    for a, b, right in (
        ("(1,2)", "(1, 2)", True),
        ("50", r"50\%", True),
        (r"\frac{\pi}{6}", r"\arcsin(1/2)", True),
        ("8", "7 or maybe 8", False),
        ("8", r"7 \text{ or } 8", False),
        ("1/3", "0.333333333", False),
        ("Paris", "London", False),
        ("9^{9^{9^9}}", "9^{9^9}", False),
    ):
        assert asyncio.run(both(a, b)) == (right, right), (a, b)


@needs_math_verify
@pytest.mark.parametrize(
    ("a", "b"),
    [
        (r"\frac{1}{x-1}-\frac{1}{x+1}", r"\frac{2}{x^2-1}"),
        (r"\frac{x^2-1}{x-1}", "x+1"),
        (r"(\sqrt{4+2\sqrt{3}},1)", r"(1+\sqrt{3},1)"),
        (r"[\sqrt{4+2\sqrt{3}},5)", r"[1+\sqrt{3},5)"),
        (r"\sqrt{4+2\sqrt{3}}, 1", r"1, 1+\sqrt{3}"),
        (r"\cos^2 x+\sin^2 x", "1"),
        (r"\tan(\pi/4)", "1"),
        ("e^{x+y}", "e^x e^y"),
        (r"\ln 4", r"2\ln 2"),
    ],
)
def test_an_identity_is_known(a: str, b: str) -> None:
    assert asyncio.run(equivalent(a, b, MATH, cap=20.0))


@needs_math_verify
@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("1,2", "(1,2)"),
        (r"\{1,2\}", "(1,2)"),
        ("(1,2)", "[1,2]"),
        ("3:1", "3"),
        ("52_8", "52"),
        ("52_8", "52_9"),
        (r"9\text{ a.m.}", r"9\text{ p.m.}"),
        ("x", "X"),
        ("x^2+1=0", "x^2+2=0"),
        (r"\sqrt{2}", "1.41421356"),
        (r"\pi", "3.14159265"),
        (r"\sqrt{10^{20}+1}", "10^{10}"),
        (r"e^{10}", "22026"),
        (r"\infty", r"-\infty"),
    ],
)
def test_what_math_verify_or_rounding_would_take_for_equal_stays_apart(a: str, b: str) -> None:
    assert not asyncio.run(equivalent(a, b, MATH, cap=20.0))


def test_other_kinds_are_never_merged() -> None:
    assert asyncio.run(merge(["a", "a", "b"], AnswerSpec("text"))) == [0, 1, 2]
    assert not asyncio.run(equivalent("1/2", "0.50", AnswerSpec("text")))


def test_without_math_verify_nothing_is_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mullover.answers.same.installed", lambda: False)
    assert asyncio.run(merge([r"\log_2 8", "3"], MATH, cap=20.0)) == [0, 1]
    assert asyncio.run(equivalent("1/2", "0.5", MATH))


def test_no_votes_merge_into_nothing() -> None:
    assert asyncio.run(merge([], MATH, cap=20.0)) == []


@pytest.mark.parametrize(
    "answer",
    [
        "9^{9^{9^9}}",
        "9^9^9",
        "99999999!",
        "(9!)!",
        "x" * 301,
        "__import__('os')",
        "import os",
        "{",
        "}{",
        r"\int x",
        r"\sum_{n} n",
        "2^{99999}",
        "7 or 8",
    ],
)
def test_what_could_compute_forever_or_is_no_mathematics_is_not_sent(answer: str) -> None:
    assert not safe(answer)


@needs_math_verify
def test_the_worker_ends_with_the_program_and_without_a_warning(tmp_path: Path) -> None:
    program = (
        "import asyncio\nfrom mullover.answers import merge\nfrom mullover.answers.same import _WORKER\n"
        "from mullover.types import AnswerSpec\n"
        "print(asyncio.run(merge([r'\\log_2 8', '3'], AnswerSpec('math'))), _WORKER.process.pid)\n"
    )
    paths = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert (done.returncode, done.stderr) == (0, "")
    answer, pid = done.stdout.rsplit(maxsplit=1)
    assert answer == "[0, 0]"
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)
