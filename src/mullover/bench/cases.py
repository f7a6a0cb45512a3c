"""The cases: what is asked, of whom, and what is counted."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mullover.bench.engines import Continuous, Generate, Ours, asked
from mullover.bench.models import Bed
from mullover.bench.roofline import Roofline, timed
from mullover.bench.rows import GENERATE, ROOFLINE, Contestant, Row, Tell, contest
from mullover.engine.engine import BLOCK
from mullover.errors import ModelError, OptionError
from mullover.types import Sample

OURS = "mullover"
CONTINUOUS = "transformers continuous batching"
WARM = 8  # new tokens of a warm-up


def one_prompt(
    bed: Bed, case: str, n: int, repeats: int, tell: Tell, *, prompt: int = 128, new: int = 128, than: int = 0
) -> list[Row]:
    """n samples of one prompt, all of the same length.

    Args:
        than: also time so many samples with our engine, to tell how its time per token grows.
    """
    if prompt + new > bed.context:
        raise OptionError(f"{bed.name} holds {bed.context} tokens; this case needs {prompt + new}")
    ids = numbers(random.Random(n), bed, prompt)
    runner = bed.runner()
    fused = Ours(runner, prompt + n * (new + 1), n)
    roofline, used = Roofline(bed.model), dict[str, int]()

    def of(name: str, ours: Ours, n: int) -> Callable[[int], tuple[int, float]]:
        def run(turn: int) -> tuple[int, float]:
            ours.engine.clear()
            seeds, many = range((turn + 1) * n, (turn + 2) * n), new if turn >= 0 else min(WARM, new)
            seconds = timed(bed.device, lambda: ours.run([asked(ids, seeds, many)]))
            used[name] = ours.engine.blocks.used
            return n * many, seconds

        return run

    def limit(turn: int) -> tuple[int, float]:
        step = roofline.step(n, runner.slot_bytes * (prompt + n * new / 2))
        return n * new, roofline.prefill(prompt) + (new - 1) * step

    def blocks() -> tuple[str, dict[str, Any]]:
        copied = n * -(-(prompt + new) // BLOCK)
        told = f"{used[OURS]} blocks; {copied} if each sample had its own prefix"
        return told if n > 1 else "", {"blocks": used[OURS], "blocks_if_copied": copied}

    contestants = [Contestant(OURS, of(OURS, fused, n), blocks, must=True)]
    if bed.fuses:
        name, plain = f"{OURS}, not fused", Ours(bed.runner(fused=False), prompt + n * (new + 1), n)
        contestants.append(Contestant(name, of(name, plain, n)))
    if than:
        name = f"{OURS}, n={than}"
        contestants.append(Contestant(name, of(name, fused, than), must=True))
    contestants += [
        generating(bed, [ids], n, new),
        Contestant(ROOFLINE, limit, lambda: (f"{roofline.layout.get(n)} weights; keys and values read once", {})),
    ]
    rows = contest(case, bed.name, contestants, repeats, tell)
    return _grown(rows, than) if than else rows


def _grown(rows: list[Row], than: int) -> list[Row]:
    """How many seconds a token takes, against fewer samples at a time."""
    fewer = next(row for row in rows if row.engine == f"{OURS}, n={than}")
    ours = rows[0]
    assert ours.tokens_per_s is not None and fewer.tokens_per_s is not None
    ratio = fewer.tokens_per_s / ours.tokens_per_s  # of medians
    told = f"{ratio:.2f} of the seconds a token at n={than} (target: at most 0.9); {ours.note}"
    kept = [replace(fewer, ratio_to_generate=None, share_of_roofline=None)]  # those ran other samples
    rows[0] = replace(ours, note=told, more={**ours.more, f"seconds_per_token_to_n{than}": ratio})
    return [kept[0] if row is fewer else row for row in rows]


def generating(bed: Bed, prompts: Sequence[Sequence[int]], n: int, new: int) -> Contestant:
    generate = Generate(bed.twin())

    def run(turn: int) -> tuple[int, float]:
        many = new if turn >= 0 else min(WARM, new)
        return len(prompts) * n * many, timed(bed.device, lambda: generate.run(prompts, n, many, turn + 1))

    return Contestant(GENERATE, run)


@dataclass(frozen=True)
class Problems:
    """Prompts of different lengths, and of each so many samples, each of its own length."""

    prompts: list[list[int]]
    lengths: list[list[int]]  # new tokens of each sample

    @classmethod
    def drawn(cls, bed: Bed, many: int = 64, each: int = 8, prompt: int = 256, mean: int = 64) -> "Problems":
        """Prompts of up to `prompt` tokens; lengths are geometric, at most four times their mean."""
        rng = random.Random(many)
        prompts = [numbers(rng, bed, rng.randint(min(32, prompt), prompt)) for _ in range(many)]
        stays = math.log(1 - 1 / mean)
        lengths = [
            [min(4 * mean, 1 + int(math.log(1 - rng.random()) / stays)) for _ in range(each)] for _ in range(many)
        ]
        return cls(prompts, lengths)

    @property
    def each(self) -> int:
        return len(self.lengths[0])

    @property
    def wanted(self) -> int:
        return sum(map(sum, self.lengths))

    def part(self, many: int) -> "Problems":
        return Problems(self.prompts[:many], self.lengths[:many])


def many_problems(
    bed: Bed,
    case: str,
    repeats: int,
    tell: Tell,
    *,
    problems: Problems | None = None,
    sizes: Sequence[int] = (8, 16, 32, 64, 128),
) -> list[Row]:
    """Many prompts and samples of all lengths; only wanted tokens count."""
    some = problems or Problems.drawn(bed)
    runner, most = bed.runner(), 256
    ours = Ours(runner, sum(map(len, some.prompts)) + some.wanted, most)

    def run(turn: int) -> tuple[int, float]:
        ours.engine.clear()
        requests = [
            asked(ids, [(turn + 2) * 10**6 + i * some.each + k], new)
            for i, (ids, lengths) in enumerate(zip(some.prompts, some.lengths, strict=True))
            for k, new in enumerate(lengths)
        ]
        made = list[list[Sample]]()
        seconds = timed(bed.device, lambda: made.extend(ours.run(requests)))
        assert sum(len(one.ids) for group in made for one in group) == some.wanted
        return some.wanted, seconds

    contestants = [
        Contestant(OURS, run, lambda: ("target: at least 4 times generate", {}), must=True),
        _padded(bed, some, sizes),
        *_continuous(bed, some, most),
        _limit(bed, some, runner.slot_bytes, most),
    ]
    return contest(case, bed.name, contestants, repeats, tell)


def _padded(bed: Bed, some: Problems, sizes: Sequence[int]) -> Contestant:
    """Batches in the order of the problems; each runs to its longest member.

    The warm-up finds the best size over the first quarter of the problems.
    """
    generate, best = Generate(bed.twin()), dict[int, float]()

    def all_of(some: Problems, size: int, seed: int) -> float:
        groups = max(1, size // some.each)

        def run() -> None:
            for at in range(0, len(some.prompts), groups):
                longest = max(map(max, some.lengths[at : at + groups]))
                generate.run(some.prompts[at : at + groups], some.each, longest, seed)

        return timed(bed.device, run)

    def run(turn: int) -> tuple[int, float]:
        if turn < 0:
            part = some.part(max(1, len(some.prompts) // 4))
            best.update({size: all_of(part, size, 0) for size in sizes})
            return some.wanted, 1.0
        return some.wanted, all_of(some, min(best, key=lambda size: best[size]), turn + 1)

    def told() -> tuple[str, dict[str, Any]]:
        size = min(best, key=lambda size: best[size])
        return f"batches of {size} sequences, the best of {', '.join(map(str, sizes))}", {"batch": size}

    return Contestant(GENERATE, run, told)


def _continuous(bed: Bed, some: Problems, most: int) -> list[Contestant]:
    """The rate over the first problems only, because it is slow on a CPU."""
    few = some.part(len(some.prompts) if bed.device.type == "cuda" else max(1, len(some.prompts) // 8))
    requests = [
        (ids, new) for ids, lengths in zip(few.prompts, few.lengths, strict=True) for new in lengths
    ]  # one request a sample, since each has its own length
    at_once = most if bed.device.type == "cuda" else min(most, 32)
    longest = max(len(ids) + new for ids, new in requests)
    made = list[Continuous]()

    def run(turn: int) -> tuple[int, float]:
        if not made:
            made.append(Continuous(bed.twin(), at_once * (longest + 2 * Continuous.PAGE), at_once))
        found = list[int]()
        seconds = timed(bed.device, lambda: found.append(made[0].run(requests)))
        if found[0] != few.wanted:
            raise ModelError(f"it made {found[0]} tokens instead of {few.wanted}")
        return few.wanted, seconds

    def told() -> tuple[str, dict[str, Any]]:
        return f"over the first {len(few.prompts)} of {len(some.prompts)} problems, {at_once} at a time", {}

    def close() -> None:
        while made:
            made.pop().close()

    return [Contestant(CONTINUOUS, run, told, close)]


def _limit(bed: Bed, some: Problems, slot_bytes: int, most: int) -> Contestant:
    """As if `most` sequences were always alive: their own tokens are read at the mean length, each prompt once."""
    roofline = Roofline(bed.model)
    rows = min(most, sum(map(len, some.lengths)))
    own = sum(n * (n + 1) / 2 for lengths in some.lengths for n in lengths) / some.wanted
    prompts = sum(map(len, some.prompts))
    shared = prompts / len(some.prompts) * max(1.0, rows / some.each)

    def run(turn: int) -> tuple[int, float]:
        step = roofline.step(rows, slot_bytes * (rows * own + shared))
        chunk = min(512, prompts)
        return some.wanted, roofline.prefill(chunk) * prompts / chunk + step * some.wanted / rows

    return Contestant(
        ROOFLINE, run, lambda: (f"{rows} sequences always alive; {roofline.layout.get(rows)} weights", {})
    )


def search_tree(
    bed: Bed,
    case: str,
    repeats: int,
    tell: Tell,
    *,
    prompt: int = 128,
    steps: int = 8,
    beams: int = 4,
    branches: int = 4,
    new: int = 32,
) -> list[Row]:
    """A beam search that continues by ids: with the tree of prefixes kept, and without."""
    ids = numbers(random.Random(steps), bed, prompt)
    each = beams * branches
    ours = Ours(bed.runner(), prompt + steps * each * new + each * (prompt + steps * new), each)
    counts = dict[str, tuple[int, int]]()  # tokens computed, and distinct ones

    def search(turn: int, keep: bool) -> int:
        """Tokens that are distinct, the prompt's included."""
        paths, said = [ids] * beams, set[tuple[int, ...]]()
        for step in range(steps):
            if not keep:
                ours.engine.clear()
            seed = ((turn + 2) * steps + step) * each
            requests = [asked(path, range(seed + k * branches, seed + (k + 1) * branches), new) for k, path in
                        enumerate(paths)]  # fmt: skip
            grown = [[*path, *one.ids] for path, some in zip(paths, ours.run(requests), strict=True) for one in some]
            said.update(tuple(path) for path in grown)
            paths = random.Random(seed).sample(grown, beams)
        return len({path[:end] for path in said for end in range(1, len(path) + 1)})

    def of(name: str, keep: bool) -> Contestant:
        def run(turn: int) -> tuple[int, float]:
            ours.engine.clear()
            before, found = ours.engine.computed, list[int]()
            seconds = timed(bed.device, lambda: found.append(search(turn, keep)))
            counts[name] = ours.engine.computed - before, found[0]
            return steps * each * new, seconds

        def told() -> tuple[str, dict[str, Any]]:
            computed, distinct = counts[name]
            told = {"computed": computed, "distinct": distinct}
            return f"{computed} tokens computed, {distinct} are distinct", told

        return Contestant(name, run, told, must=True)

    contestants = [of(OURS, True), of(f"{OURS}, reading all again at each step", False)]
    rows = contest(case, bed.name, contestants, repeats, tell)
    kept, again = rows
    assert kept.seconds is not None and again.seconds is not None
    ratio = kept.seconds / again.seconds
    note = f"{ratio:.2f} of the seconds of reading all again; {kept.note}"
    return [replace(kept, note=note, more={**kept.more, "seconds_to_reading_again": ratio}), again]


def numbers(rng: random.Random, bed: Bed, many: int) -> list[int]:
    """A prompt of random tokens."""
    return [rng.randrange(bed.vocabulary) for _ in range(many)]
