"""The Hugging Face hub, with a fake `datasets` package in its place."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mullover import tasks
from mullover.errors import OptionError


class Fake(ModuleType):
    """`datasets` with rows for some (path, config, split); it writes down what it is asked."""

    def __init__(self, rows: dict[tuple[str, str | None, str], list[dict[str, Any]]]) -> None:
        super().__init__("datasets")
        self.rows = rows
        self.asked: list[tuple[str, str | None, str]] = []

    def load_dataset(self, path: str, name: str | None = None, *, split: str) -> Iterator[dict[str, Any]]:
        self.asked.append((path, name, split))
        if (path, name, split) not in self.rows:
            raise FileNotFoundError(f"{path} doesn't exist on the Hub")
        return iter(self.rows[path, name, split])


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Fake:
    fake = Fake(
        {
            ("openai/gsm8k", "main", "test"): [{"question": "How many eggs?", "answer": "Count them.\n#### 1,018"}],
            ("MathArena/aime_2025", None, "train"): [{"problem_idx": 1, "problem": "Sum?", "answer": 70}],
            ("lukaemon/bbh", "snarks", "test"): [{"input": "Which?\nOptions:\n(A) x\n(B) y", "target": "(B)"}],
        }
    )
    monkeypatch.setitem(sys.modules, "datasets", fake)
    monkeypatch.delenv("MULLOVER_DATA", raising=False)
    return fake


def test_what_the_folder_lacks_comes_from_the_hub(hub: Fake, tmp_path: Path) -> None:
    task = tasks.load("gsm8k", data=tmp_path)
    assert hub.asked == [("openai/gsm8k", "main", "test")]
    assert [(p.id, p.question, p.answer) for p in task] == [("0", "How many eggs?", "1018")]
    assert task.source == "hf:openai/gsm8k" and len(task.sha256) == 64


def test_fields_of_the_hub_get_the_names_of_the_file(hub: Fake) -> None:
    assert [(p.id, p.question, p.answer) for p in tasks.load("aime25")] == [("1", "Sum?", "70")]


def test_a_configuration_of_the_hub_is_a_task(hub: Fake) -> None:
    assert [p.answer for p in tasks.load("bbh/snarks")] == ["B"]


def test_what_the_folder_has_is_never_asked_for(hub: Fake, tmp_path: Path) -> None:
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k" / "test.jsonl").write_text('{"question": "Mine?", "answer": "#### 3"}\n')
    assert [p.question for p in tasks.load("gsm8k", data=tmp_path)] == ["Mine?"]
    assert hub.asked == []


def test_a_failure_of_the_hub_is_an_error_of_ours(hub: Fake) -> None:
    with pytest.raises(OptionError, match=r"cruxeval-org/cruxeval .* cannot be loaded from the Hugging Face hub"):
        tasks.load("cruxeval")


def test_the_table_says_what_the_hub_has(hub: Fake) -> None:
    rows = {row.name: row.available for row in tasks.describe()}
    assert rows["gsm8k"] and not rows["coin_flip"]
