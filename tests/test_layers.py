"""Who may import whom. A line out of order here is a design change, so it is a test."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "mullover"
NOUNS = {"types", "errors", "seeds", "aio", "home"}
ROAD = NOUNS | {"sampling", "prompts", "strategies", "meter", "wrappers", "preparing", "composed"}
RUN = ROAD | {"running"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "seeds": set(),
    "aio": {"errors"},
    "home": {"errors"},
    "sampling": {"errors"},
    "types": {"errors", "seeds", "sampling"},
    "answers": NOUNS,
    "prompts": NOUNS,
    "scorers": NOUNS | {"answers", "prompts"},
    "strategies": NOUNS | {"answers", "prompts"},
    "engine": NOUNS,
    "backends": NOUNS | {"answers", "engine"},
    "tasks": NOUNS | {"answers", "prompts", "scorers"},
    "meter": NOUNS,
    "wrappers": NOUNS | {"meter"},
    "preparing": NOUNS | {"prompts", "strategies"},
    "composed": ROAD,
    "running": ROAD,
    "store": RUN,
    "laws": RUN | {"backends", "answers"},
    "evaluate": RUN | {"store", "tasks", "scorers", "answers"},
    "openers": NOUNS | {"prompts", "answers", "scorers", "backends", "strategies"},
    "api": RUN | {"openers", "backends"},
    "bench": NOUNS | {"engine"},
    "train": NOUNS | {"answers", "prompts", "engine", "tasks", "scorers", "backends", "store", "evaluate"},
    "cli": RUN | {"store", "tasks", "scorers", "answers", "evaluate", "openers", "api", "backends", "bench", "train"},
}
FOREIGN = {
    "store": {"orjson"},
    "evaluate": {"orjson", "numpy", "matplotlib", "jinja2"},
    "tasks": {"orjson", "datasets"},
    "engine": {"torch", "transformers"},
    "bench": {"torch", "transformers"},
    "backends": {"orjson", "aiohttp", "jinja2", "torch", "transformers", "tokenizers", "safetensors"},
    "answers": {"math_verify"},
    "train": {"torch", "transformers", "tokenizers", "safetensors", "peft", "accelerate", "matplotlib"},
    "laws": {"pytest", "aiohttp"},
    "cli": {"typer", "rich", "orjson"},
}
LIGHT = ("import mullover", "import mullover.cli")
FILES = sorted(ROOT.rglob("*.py"))


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            own = node.module == "mullover"
            names |= {f"mullover.{a.name}" for a in node.names} if own else {node.module or ""}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def part(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
class TestEveryFile:
    def test_imports_point_down(self, path: Path) -> None:
        here = part(path)
        ours = {name.split(".")[1] for name in imported(path) if name.startswith("mullover.")} - {"__version__"}
        assert here in ("__init__", "__main__") or ours - {here} <= MAY_IMPORT[here]

    def test_imports_from_elsewhere_only_what_its_part_may(self, path: Path) -> None:
        known = {"mullover", *sys.stdlib_module_names, *FOREIGN.get(part(path), set())}
        assert {name.split(".")[0] for name in imported(path)} <= known

    def test_is_small(self, path: Path) -> None:
        tree = ast.walk(ast.parse(path.read_text()))
        functions = [n for n in tree if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
        assert len(path.read_text().splitlines()) <= 400
        assert max(((f.end_lineno or 0) - f.lineno + 1 for f in functions), default=0) <= 80

    def test_evaluates_no_text(self, path: Path) -> None:
        calls = [n.func for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
        named = {f.id for f in calls if isinstance(f, ast.Name)}
        assert not named & {"eval", "exec", "compile", "literal_eval", "__import__"}
        assert not imported(path) & {"pickle", "shelve", "marshal", "dill"}


@pytest.mark.parametrize("line", LIGHT)
def test_light_imports_stay_light(line: str) -> None:
    heavy = ["torch", "numpy", "orjson", "aiohttp", "jinja2", "rich", "mullover.running", "mullover.tasks"]
    if line == "import mullover":
        heavy += ["asyncio", "dataclasses", "typer"]
    check = f"import sys; old = set(sys.modules); {line}; print(sorted({set(heavy)} & (set(sys.modules) - old)))"
    shown = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
