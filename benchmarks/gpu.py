"""The engine on a GPU: is it right in bf16, and how fast is it?

    python benchmarks/gpu.py            (or `make bench-gpu`)
    python benchmarks/gpu.py --small    (tiny shapes, on whatever there is: does this file work?)

Parity: what the engine told of its own tokens against one full forward pass of the untouched model over them.
Speed: tokens a second against `generate` and against the bare matrix products and the reading of keys and values,
for random models of the shapes of Qwen2.5 0.5B and 7B. Results go to benchmarks/results/.
"""

import argparse
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mullover.bench.cases import numbers, one_prompt  # first: it tells threads how to wait before torch loads
from mullover.bench.engines import Ours, asked
from mullover.bench.models import Bed, Shape, build, device, machine
from mullover.types import Sample

import torch  # isort: skip

HALF = Shape("0.5B", 896, 24, 14, 2, 4864, 151936, tied=True, family="qwen2")
SEVEN = Shape("7B", 3584, 28, 28, 4, 18944, 152064, family="qwen2")
TOLERANCE = {torch.bfloat16: 0.05, torch.float32: 1e-3}  # of log-probabilities
RESULTS = Path(__file__).parent / "results"


def parity(bed: Bed, prompts: Sequence[int] = (5, 40, 129, 300), each: int = 4, new: int = 64) -> dict[str, Any]:
    """Prompts of these lengths at once, sampled and greedy, against the model's own forward pass."""
    rng, whole = random.Random(0), bed.twin()
    asked_for = [numbers(rng, bed, many) for many in prompts]
    tolerance = TOLERANCE[bed.model.dtype]
    ours = Ours(bed.runner(), sum(prompts) + len(prompts) * (each + 1) * new, len(prompts) * (each + 1))
    warm = ours.run([asked(ids, range(each), new) for ids in asked_for])
    greedy = ours.run([asked(ids, [0], new, temperature=0) for ids in asked_for])
    worst, total, count, clear, wrong = 0.0, 0.0, 0, 0, 0
    for ids, samples, best in zip(asked_for, warm, greedy, strict=True):
        for one in [*samples, *best]:
            logprobs = forward(whole, ids, one)
            own = torch.tensor(one.ids, device=logprobs.device).unsqueeze(1)
            told = torch.tensor(one.logprobs, device=logprobs.device)
            apart = (logprobs.gather(1, own)[:, 0] - told).abs()
            worst, total, count = max(worst, float(apart.max())), total + float(apart.sum()), count + len(apart)
        likeliest = logprobs.topk(2, -1)  # of the greedy sample, which came last
        sure = likeliest.values[:, 0] - likeliest.values[:, 1] > tolerance
        clear += int(sure.sum())
        wrong += int((sure & (likeliest.indices[:, 0] != own[:, 0])).sum())
    return {
        "model": bed.name,
        "ok": worst <= tolerance and not wrong,
        "tolerance": tolerance,
        "worst": worst,
        "mean": total / count,
        "tokens": count,
        "greedy_clear": clear,  # tokens that lead by more than the tolerance
        "greedy_wrong": wrong,
    }


def forward(model: Any, ids: Sequence[int], sample: Sample) -> torch.Tensor:
    """(tokens, vocabulary) log-probabilities before each token of a sample."""
    tokens = torch.tensor([[*ids, *sample.ids]], device=model.device)
    with torch.inference_mode():
        logits = model(input_ids=tokens, use_cache=False).logits[0, len(ids) - 1 : -1]
        return torch.log_softmax(logits.float(), -1)


def main() -> int:
    words = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    words.add_argument("--small", action="store_true", help="tiny shapes and few tokens")
    words.add_argument("--model", action="append", choices=("0.5B", "7B"), help="only this shape")
    words.add_argument("--repeats", type=int, default=5)
    words.add_argument("--out", type=Path, default=RESULTS, help="the folder of the results")
    chosen = words.parse_args()
    shapes = [shape for shape in (HALF, SEVEN) if not chosen.model or shape.name in chosen.model]
    counts, new = [1, 16, 64, 256], 128
    if chosen.small:
        shapes = [tiny(shape) for shape in shapes]
        counts, new = [1, 4], 8
    elif device().type != "cuda":
        print("there is no CUDA device here; try --small", file=sys.stderr)
        return 2
    report: dict[str, Any] = {"machine": machine(), "parity": [], "rows": []}
    for shape in shapes:
        bed = build(shape)
        found = parity(bed, *(((3, 40), 2, new) if chosen.small else ()))
        report["parity"].append(found)
        print(json.dumps(found), flush=True)
        for n in counts:
            for row in one_prompt(bed, f"one-prompt-{n}", n, chosen.repeats, say, prompt=new, new=new):
                report["rows"].append(row.facts())
                print(json.dumps(row.facts()), flush=True)
        del bed
        if device().type == "cuda":
            torch.cuda.empty_cache()
    chosen.out.mkdir(parents=True, exist_ok=True)
    path = chosen.out / f"{device().type}-{report['machine']['date']}{'-small' if chosen.small else ''}.json"
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(f"written: {path}")
    return 0 if all(found["ok"] for found in report["parity"]) else 1


def tiny(shape: Shape) -> Shape:
    name = f"{shape.name}-small"
    return replace(shape, name=name, hidden=32, layers=2, heads=4, kv_heads=2, intermediate=64, vocabulary=128)


def say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
