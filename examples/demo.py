"""`make demo`: the main job, visible. A question and a small task on the toy model, then recorded real models."""

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
OTIS = "rec_epoch_otis_mock_aime"


def show(words: str, note: str) -> None:
    """Print a command and what it says."""
    print(f"\n# {note}\n$ mull {words}", flush=True)
    subprocess.run([str(Path(sys.executable).with_name("mull")), *shlex.split(words)], check=True, cwd=HERE)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="mullover-demo-") as home:
        os.environ["MULLOVER_HOME"] = home
        apples = "I have 3 apples, my dad has 2 more apples than me. How many apples do we have in total?"
        toy = "--model toy:school.toy.json"
        show(f'ask "{apples}" {toy}', "One greedy chain of thought: the likeliest path of this model is wrong.")
        show(
            f'ask "{apples}" {toy} --strategy self_consistency --n 25',
            "A vote over 25 chains sums over paths: the likeliest answer is right.",
        )
        show("runs show last question", "What was asked and said is stored.")
        show(f"eval --task school.jsonl {toy}", "The same on a file of problems, greedy ...")
        show(f"eval --task school.jsonl {toy} --strategy self_consistency --n 25", "... and by a vote.")
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
