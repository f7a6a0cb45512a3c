"""Our backends keep the laws of the Model port."""

import asyncio
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from mullover.backends.called import called
from mullover.backends.replay import Replay
from mullover.backends.scripted import Scripted
from mullover.backends.table import Table
from mullover.backends.toy import Toy
from mullover.laws.every_model import ModelLaws
from mullover.types import Model, Rule, Sampling


class TestScripted(ModelLaws):
    exempt: ClassVar[Mapping[str, str]] = {
        "test_greedy_samples_are_all_the_same": "it says what it is told, in turn",
        "test_a_text_goes_on_from_the_ids_that_were_sampled": "it says what it is told, whatever came before",
    }

    def make(self) -> Model:
        return Scripted(["so 8 it is", "<think>Hmm, what?</think> The answer is 5", "Hmm"])

    def failing(self) -> tuple[Model, Sampling]:
        return Scripted(["c", OSError("lost")]), Sampling()

    def dead(self) -> Model:
        return Scripted([OSError("lost")])


class TestToy(ModelLaws):
    def make(self) -> Model:
        return Toy()

    def failing(self) -> tuple[Model, Sampling]:
        return Toy(Table({"a|b": 0.5, "c": 0.5})), Sampling(rules=(Rule("b", -math.inf),))

    def dead(self) -> Model:
        toy = Toy(Table({"a": 1.0}))
        assert toy.table is not None
        toy.table.root.next.clear()
        return toy


class TestAToyThatThinks(ModelLaws):
    def make(self) -> Model:
        return Toy(Table({"<think>|so 5|</think>| 5": 0.5, "<think>|so 3, |so 5|</think>| 8": 0.3, " 7": 0.2}))


class TestReplay(ModelLaws):
    huge = 2000
    exempt: ClassVar[Mapping[str, str]] = {
        "test_where_a_problem_comes_from_and_the_role_change_nothing": "a recording is looked up by its problem",
        "test_greedy_samples_are_all_the_same": "the temperature was the recording's",
    }

    @pytest.fixture(autouse=True)
    def _recording(self, tmp_path: Path) -> None:
        self.path = tmp_path / "recording.jsonl"
        long = [{"id": "problem 1", "text": f"{i} " * 200 + "is the answer"} for i in range(self.huge)]
        short = [{"id": "problem 2", "completion": f"The answer is {i}"} for i in range(16)]
        self.path.write_text("".join(json.dumps(line) + "\n" for line in long + short))

    def make(self) -> Model:
        return Replay(self.path)

    def failing(self) -> tuple[Model, Sampling]:
        lines = [{"id": "problem 1", **({"text": "8"} if i % 2 else {"error": "lost"})} for i in range(16)]
        self.path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return Replay(self.path), Sampling()

    def dead(self) -> Model:
        self.path.write_text('{"id": "problem 1", "error": "lost"}\n' * 2)
        return Replay(self.path)


async def ask(text: str, *, temperature: float = 1, max_tokens: int = 99, stop: tuple[str, ...] = (), seed: int) -> str:
    await asyncio.sleep(0)
    said = f"{text} {seed if temperature else 8}".split()[:max_tokens]
    return " ".join(said).partition(stop[0])[0] + stop[0] if stop and stop[0] in " ".join(said) else " ".join(said)


class TestCalled(ModelLaws):
    exempt: ClassVar[Mapping[str, str]] = {
        "test_a_cut_by_length_is_told_apart_from_an_end": "this function does not say why it ended",
        "test_a_stop_string_ends_with_the_token_that_completes_it": "this function does not say why it ended",
    }

    def make(self) -> Model:
        return called(ask)

    def failing(self) -> tuple[Model, Sampling]:
        async def unsure(text: str, *, seed: int) -> str:
            if seed % 3 == 0:
                raise OSError("lost")
            return text

        return called(unsure), Sampling()

    def dead(self) -> Model:
        async def never(text: str) -> str:
            raise OSError("lost")

        return called(never)
