"""Every named task: as many problems as INDEX.md says, golds its own grader accepts, and no truth in a prompt."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path

import pytest

from mullover import tasks
from mullover.answers import key, same
from mullover.tasks import Problem, Task
from mullover.tasks.catalogue import ENTRIES
from mullover.types import Candidate, Score

ROWS = {  # INDEX.md
    "gsm8k": 1319,
    "gsm8k/train": 7473,
    "gsm_hard": 1319,
    "svamp": 1000,
    "multiarith": 600,
    "aqua": 254,
    "aqua/dev": 254,
    "math500": 500,
    "math500/prm800k": 500,
    "math": 5000,
    "aime24": 30,
    "aime24/numina": 30,
    "aime25": 30,
    "aime25/gair_1": 15,
    "aime25/gair_2": 15,
    "aime26": 30,
    "otis_mock_aime": 45,
    "amc23": 40,
    "hmmt25": 30,
    "hmmt_feb_2025": 30,
    "brumo25": 30,
    "minerva_math": 272,
    "olympiadbench": 675,
    "strategyqa": 2290,
    "date_understanding": 369,
    "shuffled_objects": 750,
    "last_letters": 500,
    "coin_flip": 500,
    "prosqa": 500,
    "game24": 100,
    "game24/all": 1362,
    "countdown": 256,
    "sudoku_4x4": 500,
    "binpacking": 100,  # INDEX.md says 99; the file's last line has no newline
    "processbench/gsm8k": 400,
    "processbench/math": 1000,
    "bigbench_mistake/dyck_languages": 986,
    "bigbench_mistake/logical_deduction": 300,
    "bigbench_mistake/multistep_arithmetic": 300,
    "bigbench_mistake/tracking_shuffled_objects": 300,
    "bigbench_mistake/word_sorting": 300,
    "cruxeval": 800,
}
FOREIGN = 12  # golds of other problems tried per task
STRIDE = {"game24/all": 15}  # the solver is slow: only every so-manyth problem


@cache
def loaded(name: str, data: Path) -> Task:
    return tasks.load(name, data=data)


@pytest.fixture(autouse=True)
def by_keys_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without math-verify: a gold must be right by its key, in microseconds."""
    monkeypatch.setattr(same, "installed", lambda: False)


@pytest.mark.parametrize("name", tasks.names())
class TestEveryNamedTask:
    def test_it_has_as_many_problems_as_its_row_says(self, name: str, data: Path) -> None:
        task = loaded(name, data)
        assert len(task) == ENTRIES[name].problems == ROWS.get(name, ENTRIES[name].problems)
        assert len({problem.id for problem in task}) == len(task)
        assert len(task.sha256) == 64 and Path(task.source).is_relative_to(data)

    def test_most_answers_are_of_the_kind_its_row_says(self, name: str, data: Path) -> None:
        assert loaded(name, data).kind == ENTRIES[name].kind

    def test_its_grader_accepts_every_gold_answer(self, name: str, data: Path) -> None:
        task = loaded(name, data)
        some = list(task)[:: STRIDE.get(name, 1)]
        refused = [(p.id, right(p), s) for p, s in graded(task, [(p, right(p)) for p in some]) if s.value != 1.0]
        assert refused == []

    def test_its_grader_refuses_the_different_gold_of_another_problem(self, name: str, data: Path) -> None:
        task = loaded(name, data)
        pairs = foreign(list(task))
        assert pairs
        taken = [(p.id, p.answer, s) for p, s in graded(task, pairs) if s.value == 1.0]
        assert taken == []

    def test_saying_nothing_is_not_judged(self, name: str, data: Path) -> None:
        task = loaded(name, data)
        problem = task.problems[0]
        (score,) = asyncio.run(task.grade(problem)(problem.prompt(), [Candidate("I do not know.\nWhat should I say?")]))
        assert score.value is None

    def test_a_prompt_is_the_question_and_nothing_else(self, name: str, data: Path) -> None:
        for problem in loaded(name, data):
            prompt = problem.prompt()
            assert prompt.text == problem.question
            assert prompt.origin == problem.id and prompt.expects == problem.expects
            assert "canary" not in prompt.text.casefold() or "canary" in problem.question.casefold()

    def test_how_to_answer_is_the_same_for_all_problems_of_a_kind(self, name: str, data: Path) -> None:
        if name == "prosqa":
            pytest.skip("each question offers two words of its own")
        kinds = {(p.expects.kind, p.expects.instruction) for p in loaded(name, data)}
        assert len(kinds) == len({kind for kind, _ in kinds})


def test_every_folder_with_one_right_answer_has_a_task() -> None:
    assert set(ROWS) <= set(tasks.names())
    assert sum(name.startswith("bbh/") for name in tasks.names()) == 27


def test_bbh_has_6511_examples_and_no_canary(data: Path) -> None:
    problems = [p for name in tasks.names() if name.startswith("bbh/") for p in loaded(name, data)]
    assert len(problems) == 6511
    assert not any("canary guid" in json.dumps([p.question, p.answer, dict(p.facts)]).casefold() for p in problems)


def test_game24_has_the_hard_puzzles_by_their_place_in_the_file(data: Path) -> None:
    assert [problem.id for problem in loaded("game24", data)] == [str(i) for i in range(900, 1000)]


def test_the_first_option_of_a_bigbench_task_is_not_always_right(data: Path) -> None:
    letters = [problem.answer for problem in loaded("date_understanding", data)]
    assert max(letters.count(letter) for letter in "ABCDEF") < 0.3 * len(letters)


def test_a_question_that_asks_for_a_box_gets_no_other_instruction(data: Path) -> None:
    assert {problem.expects.instruction for problem in loaded("aime25", data)} == {""}
    assert all(problem.expects.instruction for problem in loaded("hmmt_feb_2025", data))


def test_a_hard_number_may_be_rounded_to_its_third_decimal(data: Path) -> None:
    task = loaded("gsm_hard", data)
    problem = next(p for p in task if p.answer == "3244047.0999999996")
    scores = asyncio.run(task.grade(problem)(problem.prompt(), [stating("3,244,047.1"), stating("3244047.2")]))
    assert [score.value for score in scores] == [1.0, 0.0]


def right(problem: Problem) -> str:
    return problem.answer or solved(problem.facts["numbers"], problem.facts["target"])


def stating(answer: str) -> Candidate:
    return Candidate(f"Let me think.\n\nANSWER: {answer}")


def saying(problem: Problem, answer: str) -> Candidate:
    return Candidate(f"So it returns:\n```python\n{answer}\n```") if problem.expects.kind == "code" else stating(answer)


def graded(task: Task, pairs: Sequence[tuple[Problem, str]]) -> list[tuple[Problem, Score]]:
    async def all_of_them() -> list[tuple[Problem, Score]]:
        return [(p, (await task.grade(p)(p.prompt(), [saying(p, text)]))[0]) for p, text in pairs]

    return asyncio.run(all_of_them())


def foreign(problems: list[Problem]) -> list[tuple[Problem, str]]:
    """Problems spread over the task, each with the next answer that is not its own."""
    step = max(1, len(problems) // FOREIGN)
    pairs: list[tuple[Problem, str]] = []
    for i in range(0, len(problems), step):
        problem = problems[i]
        own = {key(text, problem.expects) for text in (right(problem), *problem.accepted)}
        others = (right(problems[(i + d) % len(problems)]) for d in range(1, len(problems)))
        pairs += [(problem, other) for other in others if key(other, problem.expects) not in own][:1]
    return pairs


@cache
def solved(numbers: tuple[int, ...], target: int) -> str:
    """An expression that uses each number once and equals the target."""
    found = next(reached([(Fraction(n), str(n)) for n in numbers], Fraction(target)), None)
    assert found is not None
    return found


def reached(items: list[tuple[Fraction, str]], target: Fraction) -> Iterator[str]:
    if len(items) == 1:
        if items[0][0] == target:
            yield items[0][1]
        return
    for i, (a, x) in enumerate(items):
        for j, (b, y) in enumerate(items):
            if i == j:
                continue
            rest = [item for k, item in enumerate(items) if k not in (i, j)]
            made = [(a - b, f"({x} - {y})")] + ([(a / b, f"({x} / {y})")] if b else [])
            if i < j:
                made += [(a + b, f"({x} + {y})"), (a * b, f"({x} * {y})")]
            for one in made:
                yield from reached([*rest, one], target)
