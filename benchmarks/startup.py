"""How long a first answer takes: `mull ask` on the pocket model, against the import of torch alone.

    python benchmarks/startup.py

Whole processes in turn, medians of 5 after one warm-up.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 5
MULL = str(Path(sys.executable).with_name("mull"))
COMMANDS = {
    "import torch": [sys.executable, "-c", "import torch"],
    "mull ask, pocket": [MULL, "ask", "What is 57 - 28 + 16 + 9?", "--model", "pocket"],
}


def seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    took: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for round_ in range(ROUNDS + 1):
        for name, command in COMMANDS.items():
            spent = seconds(command)
            if round_:
                took[name].append(spent)
    base = statistics.median(took["import torch"])
    for name, spent in ((name, statistics.median(all_)) for name, all_ in took.items()):
        print(f"{name:20}{spent:7.2f} s {spent / base:6.2f} times the import")


if __name__ == "__main__":
    main()
