"""The process that asks math-verify whether two answers are equal; one JSON line in, one out.

It is a process and not a thread because sympy can compute for hours, and only a process can be stopped: `same.py`
kills it. math-verify's own timeouts are off: they use SIGALRM. Answers come as LaTeX and nothing else is parsed:
math-verify's reader of plain expressions goes through sympy's `parse_expr`, which evaluates Python.
"""

import json
import sys
from functools import lru_cache
from typing import Any

MEMORY = 2 << 30  # bytes
CPU = 600  # seconds of computing over the life of the process


def main() -> None:
    _limit()
    from math_verify import LatexExtractionConfig, parse, verify

    config = [LatexExtractionConfig()]

    @lru_cache(maxsize=1024)
    def read(answer: str) -> Any:
        return parse(f"\\boxed{{{answer}}}", config, parsing_timeout=None, raise_on_error=False)

    def same(a: str, b: str) -> bool:
        left, right = read(a), read(b)
        if not left or not right:
            return False
        return any(verify(x, y, timeout_seconds=None, raise_on_error=False) for x, y in ((left, right), (right, left)))

    print("ready", flush=True)
    for line in sys.stdin:
        a, b = json.loads(line)
        try:
            answer = same(a, b)
        except (ArithmeticError, LookupError, MemoryError, RuntimeError, TypeError, ValueError, AttributeError):
            answer = False  # sympy could not; the two stay apart
        print(json.dumps(answer), flush=True)


def _limit() -> None:
    try:
        import resource
    except ImportError:  # Windows: the cap in same.py still holds
        return
    for what, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CPU, CPU), (resource.RLIMIT_FSIZE, 0)):
        _, hard = resource.getrlimit(what)
        resource.setrlimit(what, (most if hard < 0 else min(most, hard), hard))


if __name__ == "__main__":
    main()
