"""`make demo`: the point of it all within a minute, on the model in the package; then recordings of real models."""

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from mullover import solve
from mullover.openers import open_model
from mullover.types import Kind

HERE = Path(__file__).parent
OTIS = "rec_epoch_otis_mock_aime"
QUESTIONS: tuple[tuple[str, Kind, str], ...] = (
    ("I have 3 apples, my dad has 2 more apples than me. How many apples do we have in total?", "number", "8"),
    ('Take the last letters of the words "artificial intelligence" and put them together.', "text", "le"),
    ("How many r's are in strawberry?", "number", "3"),
    ("What is 57 - 28 + 16 + 9?", "number", "54"),
)
WAYS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("direct", {}),
    ("chain_of_thought", {}),
    ("self_consistency", {"n": 16, "temperature": 0.8}),  # as on the card, which tells how often it is right
)


def show(words: str, note: str) -> None:
    """Print a command and what it says."""
    print(f"\n# {note}\n$ mull {words}", flush=True)
    subprocess.run([str(Path(sys.executable).with_name("mull")), *shlex.split(words)], check=True, cwd=HERE)


def side_by_side() -> None:
    """Each question by each way: the answer and what it cost."""
    model = open_model("pocket")
    for question, kind, right in QUESTIONS:
        print(f"\n{question}  (right: {right})")
        for name, options in WAYS:
            run = solve(question, model=model, strategy=name, kind=kind, **options)
            mark = "right" if run.answer.value == right else "wrong"
            print(f"  {name:17} {run.answer.value!s:>8}  {mark}  {run.total.tokens:4} tokens  {run.answer.why}")
            if name == "chain_of_thought":
                print("\n".join(f"      | {line}" for line in run.answer.text.strip().splitlines()))


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="mullover-demo-") as home:
        os.environ["MULLOVER_HOME"] = home
        print("# A model of 1.4 million weights: asked directly, by one chain of thought, by a vote over 16 chains.")
        side_by_side()
        sums = "eval --task school/sums/5 --limit 40 --model pocket"
        show(f"{sums} --strategy direct", "The same on problems it never saw: directly ...")
        show(sums, "... by one chain of thought ...")
        show(f"{sums} --strategy self_consistency --n 16", "... and by a vote.")
        data = os.environ.get("MULLOVER_DATA", "")
        if not (Path(data) / OTIS).is_dir():
            print("\n# Recordings of real models are not at hand (MULLOVER_DATA); this is all.")
            return
        for model, n in (("o3-mini-2025-01-31_x16", 16), ("gpt-4.1-nano-2025-04-14_x8", 8)):
            recorded = f"{data}/{OTIS}/completions_{model}.jsonl.gz"
            show(
                f"eval --task otis_mock_aime --model replay:{recorded} --strategy self_consistency --n {n}",
                f"Recorded chains of a real model on 45 contest problems, a vote over {n}.",
            )


if __name__ == "__main__":
    main()
