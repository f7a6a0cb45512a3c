"""The kernels compute what torch does, and where there are none nothing but time is lost."""

import math
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from tests.engine.models import ask, build, close, engine_of, logprobs, random_ids, run
from torch import Tensor

from mullover.engine import attention, compiling, sampler
from mullover.engine.fused import FUSED, Fused
from mullover.engine.groups import Grouper
from mullover.engine.kernels import BLOCK, Kernels
from mullover.engine.reads import Reader, Reads
from mullover.engine.sampler import quantile

WHOLE: dict[str, dict[str, Any]] = {  # of sizes that the kernel of a whole pass takes
    "llama": {"hidden_size": 64, "intermediate_size": 96, "head_dim": 16},
    "mistral": {"hidden_size": 32, "intermediate_size": 64, "num_key_value_heads": 4},
    "qwen2": {"hidden_size": 128, "intermediate_size": 64, "head_dim": 64, "num_attention_heads": 2},
    "qwen3": {"hidden_size": 64, "intermediate_size": 64, "head_dim": 32, "num_key_value_heads": 1},
}


@pytest.fixture
def native() -> Kernels:
    found = compiling.kernels()
    if found is None:
        pytest.skip("no C compiler, or no Linux: there are no kernels")
    return found


@pytest.fixture
def noise() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def reads_of_all(entries: list[tuple[int, int, int, list[tuple[int, int]]]], positions: list[int], tile: int) -> Reads:
    """`entries`: block, first slot, position of slot 0, and who reads it up to which slot."""
    tiles, told, rows, ends = list[list[int]](), list[list[int]](), list[int](), list[int]()
    for begin in range(0, len(positions), tile):
        tiles.append([len(told), begin])
        for block, start, first, who in entries:
            here = [(row, end) for row, end in who if begin <= row < begin + tile]
            if here:
                told.append([block, start, first, len(rows)])
                rows += [row for row, _ in here]
                ends += [end for _, end in here]
    tiles.append([len(told), len(positions)])
    told.append([0, 0, 0, len(rows)])
    return Reads(*(torch.tensor(one, dtype=torch.int32) for one in (tiles, told, rows, ends, positions)))


def seen(q: Tensor, cache: Tensor, places: list[tuple[int, int]], softcap: float | None) -> Tensor:
    """What one query sees of these (block, slot): (query heads, width), in float64."""
    blocks, slots = torch.tensor(places).unbind(1)
    k, v = cache[blocks, :, :, slots].double().permute(2, 1, 0, 3)  # (heads, keys, width) each
    each = q.shape[0] // k.shape[0]
    scores = torch.einsum("hd,hkd->hk", q.double(), k.repeat_interleave(each, 0))
    scores = scores if softcap is None else softcap * torch.tanh(scores / softcap)
    return torch.einsum("hk,hkd->hd", torch.softmax(scores, -1), v.repeat_interleave(each, 0))


class TestAttention:
    @pytest.mark.parametrize("softcap", [None, 1.5])
    @pytest.mark.parametrize("window", [None, 3, 40])
    @pytest.mark.parametrize(
        ("rows", "heads", "each", "width"),
        [(1, 1, 1, 64), (5, 2, 2, 64), (19, 2, 1, 8), (33, 1, 7, 80), (16, 3, 4, 128), (40, 1, 3, 96)],
    )
    def test_each_query_sees_its_own_path(
        self,
        native: Kernels,
        noise: torch.Generator,
        rows: int,
        heads: int,
        each: int,
        width: int,
        window: int | None,
        softcap: float | None,
    ) -> None:
        """A trunk that all read, which ends within a block; halves that go on there; and a block for each alone."""
        trunk, half = 50, 9
        cache = torch.randn(4 + rows, heads, 2, BLOCK, width, generator=noise)
        cache[3] = math.nan  # nobody reads it
        own = [1 + (7 * i) % BLOCK for i in range(rows)]
        everyone = [*range(rows)]
        entries = [(0, 0, 0, [(i, BLOCK) for i in everyone]), (1, 0, BLOCK, [(i, trunk - BLOCK) for i in everyone])]
        halves = [(1, trunk - BLOCK, BLOCK, [(i, trunk - BLOCK + half) for i in everyone if i % 2 == 0])]
        halves += [(2, 0, trunk, [(i, half) for i in everyone if i % 2])]
        entries += [one for one in halves if one[3]]
        entries += [(4 + i, 0, trunk + half, [(i, own[i])]) for i in everyone]
        positions = [trunk + half + count - 1 for count in own]
        both = torch.randn(rows, heads * each + 3, width, generator=noise)
        q = both[:, : heads * each]  # rows lie apart
        reads = reads_of_all(entries, positions, 16)
        found = native.attend(q, cache, reads, window, softcap)
        for i in everyone:
            path = [(0, s) for s in range(BLOCK)] + [(1, s) for s in range(trunk - BLOCK)]
            path += [(1, trunk - BLOCK + s) if i % 2 == 0 else (2, s) for s in range(half)]
            path += [(4 + i, s) for s in range(own[i])]
            path = path[-window:] if window else path
            assert torch.allclose(found[i].double(), seen(q[i], cache, path, softcap), atol=2e-5)

    def test_numbers_that_are_none_stay_with_who_reads_them(self, native: Kernels, noise: torch.Generator) -> None:
        cache = torch.randn(2, 1, 2, BLOCK, 64, generator=noise)
        cache[1, 0, 0, 3, 5] = math.nan
        q = torch.randn(20, 1, 64, generator=noise)
        for readers in ([0], [*range(0, 20, 2)]):  # alone, and side by side
            entries = [(0, 0, 0, [(i, 30) for i in range(20)]), (1, 0, 30, [(i, 9) for i in readers])]
            found = native.attend(q, cache, reads_of_all(entries, [30] * 20, 16))
            assert [i for i in range(20) if not bool(torch.isfinite(found[i]).all())] == readers


@pytest.mark.parametrize("rows", [1, 3, 40, 700])
@pytest.mark.parametrize("width", [8, 50, 256])
class TestSmall:
    def test_norm(self, native: Kernels, noise: torch.Generator, rows: int, width: int) -> None:
        x, weight = torch.randn(rows, width, generator=noise), torch.randn(width, generator=noise)
        wanted = torch.rms_norm(x, (width,), weight, 1e-5)
        assert torch.allclose(native.rms_norm(x, weight, 1e-5), wanted, atol=1e-5)

    def test_gate(self, native: Kernels, noise: torch.Generator, rows: int, width: int) -> None:
        both = torch.randn(rows, 2 * width, generator=noise) * 40
        gate, up = both.chunk(2, -1)
        assert torch.allclose(native.swiglu(both), F.silu(gate) * up, rtol=1e-5, atol=1e-5)

    def test_log_of_the_sum(self, native: Kernels, noise: torch.Generator, rows: int, width: int) -> None:
        x = torch.randn(rows, width, generator=noise) * 30
        x[:, ::3] = -math.inf
        x[0] = -math.inf
        assert torch.allclose(native.log_sums(x), torch.logsumexp(x, -1, keepdim=True), atol=1e-5)
        x[0, -1] = math.nan
        assert torch.isnan(native.log_sums(x)[0])

    def test_quantile(self, native: Kernels, noise: torch.Generator, rows: int, width: int) -> None:
        x = torch.randn(rows, width, generator=noise) * 3
        x[:, 1::2] = -math.inf
        norm, uniform = torch.logsumexp(x, -1, keepdim=True), torch.rand(rows, generator=noise).tolist()
        uniform[0] = 1 - 2**-53
        found = native.quantile(x, norm, uniform)
        assert torch.equal(found, quantile((x - norm).exp(), uniform))
        assert torch.isfinite(x.gather(1, found)).all()


@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize("some", [False, True])
def test_keys_are_turned_and_stored_where_they_belong(
    native: Kernels, noise: torch.Generator, some: bool, normed: bool
) -> None:
    count, queries, heads, width = 70, 4, 2, 16
    qkv = torch.randn(count, queries + 2 * heads, width, generator=noise)
    angles = torch.rand(count, width // 2, generator=noise)
    cos, sin = torch.cat((angles.cos(),) * 2, -1), torch.cat((angles.sin(),) * 2, -1)
    norms = (torch.randn(width, generator=noise), torch.randn(width, generator=noise)) if normed else None
    writes = torch.arange(0, count, 3) if some else None
    tokens = torch.arange(count) if writes is None else writes
    blocks, slots = tokens % 9, tokens // 9
    q, k, v = qkv.clone().split_with_sizes((queries, heads, heads), 1)
    if norms is not None:
        q, k = torch.rms_norm(q, (width,), norms[0], 1e-6), torch.rms_norm(k, (width,), norms[1], 1e-6)
    half = width // 2
    turned = [
        x * cos.unsqueeze(1) + torch.cat((-x[..., half:], x[..., :half]), -1) * sin.unsqueeze(1) for x in (q * 0.25, k)
    ]
    cache = torch.zeros(9, heads, 2, BLOCK, width)
    native.rotate(qkv, (cos, sin), norms, cache, (writes, blocks, slots), 0.25, 1e-6)
    assert torch.allclose(qkv, torch.cat((*turned, v), 1), atol=1e-5)
    wanted = torch.zeros_like(cache)
    wanted[blocks, :, :, slots] = torch.stack((turned[1], v), 2)[tokens]
    assert torch.allclose(cache, wanted, atol=1e-5)


def test_reads_of_a_step_that_goes_on_are_those_made_anew() -> None:
    model = build("llama", dtype=torch.float32)
    engine = engine_of(Fused(model))
    if not isinstance(engine._reader, Reader):
        pytest.skip("no C compiler, or no Linux: there are no kernels")
    kept = engine._reader
    steps = list[bool]()

    def watched(rows: Any, version: int) -> Reads:
        before = kept._reads
        found, anew = Reader.of(kept, rows, version), Reader().of(rows, version)
        steps.append(found is before)
        for name in ("tiles", "entries", "rows", "ends", "positions"):
            assert torch.equal(getattr(found, name), getattr(anew, name))
        return found

    kept.of = watched  # type: ignore[method-assign]
    run(engine, [ask(random_ids(i, 20 + 9 * i), 7, max_tokens=50) for i in range(3)])
    assert steps.count(True) > 20 and steps.count(False) > 2


@pytest.mark.parametrize("family", FUSED)
def test_a_whole_pass_says_what_a_full_pass_of_transformers_says(native: Kernels, family: str) -> None:
    fields = WHOLE[family]
    plain = build(family, dtype=torch.float32, **fields)
    runner = Fused(build(family, dtype=torch.float32, **fields))
    engine = engine_of(runner, chunk=40)
    assert runner._whole is not None
    prompts = [random_ids(10 + i, 5 + 13 * i) for i in range(6)]
    for n in (1, 3, 25):  # below and above the rows that one more layout takes
        found = run(engine, [ask(prompt, n, max_tokens=40) for prompt in prompts[: 1 if n == 1 else 6]])
        for prompt, samples in zip(prompts, found, strict=False):
            for sample in samples[:4]:
                full = logprobs(plain, [*prompt, *sample.ids])[len(prompt) - 1 : -1]
                wanted = full.gather(1, torch.tensor(sample.ids).unsqueeze(1))[:, 0].tolist()
                assert sample.logprobs is not None and close(sample.logprobs, wanted, 1e-4)


def test_a_whole_pass_takes_new_weights(native: Kernels) -> None:
    runner = Fused(build("llama", dtype=torch.float32, **WHOLE["llama"]))
    other = build("llama", seed=1, dtype=torch.float32, **WHOLE["llama"])
    engine = engine_of(runner)
    prompt = random_ids(3, 20)
    engine.swap(other.state_dict())
    (sample,) = run(engine, [ask(prompt, temperature=0, max_tokens=20)])[0]
    full = logprobs(other, [*prompt, *sample.ids])[len(prompt) - 1 : -1]
    wanted = full.gather(1, torch.tensor(sample.ids).unsqueeze(1))[:, 0].tolist()
    assert sample.logprobs is not None and close(sample.logprobs, wanted, 1e-4)


def test_models_of_other_sizes_are_left_to_torch(native: Kernels) -> None:
    runner = Fused(build("llama", dtype=torch.float32, intermediate_size=50))
    engine_of(runner)
    assert runner._whole is None


class TestCompiling:
    @pytest.fixture(autouse=True)
    def fresh(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        monkeypatch.setenv("MULLOVER_HOME", str(tmp_path / "home"))
        compiling.kernels.cache_clear()
        yield tmp_path
        compiling.kernels.cache_clear()

    def compiler(self, folder: Path, monkeypatch: pytest.MonkeyPatch, does: str) -> None:
        fake = folder / "cc"
        fake.write_text(f"#!/bin/sh\n{does}\n")
        fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    @pytest.mark.parametrize(
        "does", ["exit 1", "exit 0", "echo 1.0; exit 0", "case $1 in --version) echo 1;; *) sleep 60;; esac"]
    )
    def test_without_a_compiler_that_works_there_are_none(
        self, fresh: Path, monkeypatch: pytest.MonkeyPatch, does: str
    ) -> None:
        monkeypatch.setattr(compiling, "SECONDS", 1)
        self.compiler(fresh, monkeypatch, does)
        assert compiling.kernels() is None

    def test_without_a_place_to_keep_them_there_are_none(self, fresh: Path) -> None:
        (fresh / "home").write_text("a file")
        assert compiling.kernels() is None

    @pytest.mark.parametrize(
        ("right", "wrong"),
        [
            ("sum += a[d] * b[d]", "sum += a[d] - b[d]"),
            ("found[c] += keys", "found[c] -= keys"),
            ("p->window + 1", "p->window"),
            ("cap * tanhf(scores[j] / cap)", "scores[j]"),
            ("cap * tanhf(scores[j][i] / cap)", "scores[j][i]"),
            ("scale * weight[d]", "scale"),
            ("(gate < 0 ? less : 1)", "1"),
            ("x[d + half] = b * c[d] + a * s[d]", "x[d + half] = b * c[d] - a * s[d]"),
            ("(float)log(total)", "0"),
            ("uniform[i] * total", "total / 2"),
            ("if (kind == ADD)", "if (kind == STORE)"),
            ("out[(first / 2 + c) * many + i]", "out[c * many + i]"),
        ],
    )
    def test_a_library_that_computes_something_else_is_not_used(
        self, native_compiler: str, fresh: Path, monkeypatch: pytest.MonkeyPatch, right: str, wrong: str
    ) -> None:
        sources = fresh / "native"
        shutil.copytree(compiling.SOURCES, sources)
        found = [file for file in sources.iterdir() if right in file.read_text()]
        assert found
        for file in found:
            file.write_text(file.read_text().replace(right, wrong))
        monkeypatch.setattr(compiling, "SOURCES", sources)
        monkeypatch.setattr(compiling, "FLAGS", tuple("-O1" if flag == "-O3" else flag for flag in compiling.FLAGS))
        assert compiling.compiled(native_compiler).exists()
        assert compiling.kernels() is None

    def test_they_are_compiled_once(self, native_compiler: str) -> None:
        library = compiling.compiled(native_compiler)
        made = library.stat().st_mtime_ns
        assert compiling.compiled(native_compiler) == library and library.stat().st_mtime_ns == made
        assert {*library.parent.iterdir()} == {library, library.with_suffix(".sha256")}

    @pytest.mark.parametrize("left", [0, 3000])
    def test_a_library_that_was_cut_short_is_made_anew(self, native_compiler: str, left: int) -> None:
        library = compiling.compiled(native_compiler)
        whole = library.read_bytes()
        library.write_bytes(whole[:left])
        assert compiling.kernels() is not None
        assert library.read_bytes()[:left] == whole[:left] and len(library.read_bytes()) > left

    def test_an_account_without_a_home_has_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def nowhere(_: Path) -> Path:
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.delenv("MULLOVER_HOME")
        monkeypatch.setattr(Path, "expanduser", nowhere)
        assert compiling.kernels() is None

    @pytest.fixture
    def native_compiler(self) -> str:
        found = compiling.compiler()
        if found is None:
            pytest.skip("no C compiler, or no Linux: there are no kernels")
        try:
            compiling.compiled(found)
        except subprocess.SubprocessError:
            pytest.skip("the C compiler cannot compile them: there are no kernels")
        return found


def test_without_kernels_the_samples_are_the_same(native: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = [random_ids(10 + i, 5 + 13 * i) for i in range(4)]

    def found(kind: type) -> list[list[tuple[int, ...]]]:
        engine = engine_of(Fused(build("llama", dtype=torch.float32, **WHOLE["llama"])))
        assert isinstance(engine._reader, kind)
        samples = run(engine, [ask(prompt, 3, max_tokens=12) for prompt in prompts])
        return [[sample.ids for sample in some] for some in samples]

    fast = found(Reader)
    monkeypatch.setattr(attention, "kernels", lambda: None)
    monkeypatch.setattr(sampler, "kernels", lambda: None)
    assert found(Grouper) == fast
