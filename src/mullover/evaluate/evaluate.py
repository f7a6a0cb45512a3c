"""Every problem of a task, answered by one strategy, graded and stored."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mullover import __version__
from mullover.aio import together
from mullover.answers import key, merge
from mullover.errors import ModelError, OptionError
from mullover.evaluate.identity import contents, name_of
from mullover.evaluate.metrics import pass_curve, wilson
from mullover.evaluate.reuse import Drawn, model_of
from mullover.running import Budget, Run, prepared, run_prepared
from mullover.scorers.oracle import Oracle
from mullover.store import Done, RunStore, default_folder, encode
from mullover.store.manifest import identity
from mullover.tasks import Problem, Task
from mullover.types import NOTHING, Answer, AnswerSpec, Candidate, Model, Role, Sample, Scorer, Strategy, Usage


@dataclass(frozen=True)
class Plan:
    """What is to be evaluated."""

    task: Task
    model: Model
    strategy: Strategy
    model_spec: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    specs: Mapping[str, str] = field(default_factory=dict)  # the options as they were written
    sampling: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    budget: Budget = field(default_factory=Budget)
    system: str = ""
    limit: int | None = None
    concurrency: int = 16
    command: tuple[str, ...] = ()
    reuse: tuple[Path, ...] = ()  # runs of the same model whose samples are taken where they fit

    def manifest(self) -> dict[str, Any]:
        """What determines the result, and beside it what does not."""
        budget = {"tokens": self.budget.tokens, "seconds": self.budget.seconds, "money": self.budget.money}
        decides = {
            "task": self.task.name,
            "task_sha256": self.task.sha256,
            "kind": sorted({problem.expects.kind for problem in self.task.problems}),
            "model": self.model_spec or self.model.info.name,
            "strategy": name_of(self.strategy),
            "options": dict(self.specs) or {name: str(value) for name, value in self.options.items()},
            "contents": contents(self.strategy, self.model, self.options),
            "sampling": dict(self.sampling),
            "seed": self.seed,
            "budget": {name: limit for name, limit in budget.items() if limit is not None},
            "system": self.system,
        }
        return {
            "identity": decides,
            "command": list(self.command),
            "limit": self.limit,
            "version": __version__,
            **({"reuse": [str(folder) for folder in self.reuse]} if self.reuse else {}),
        }

    def problems(self) -> Sequence[Problem]:
        return self.task.problems[: self.limit]


@dataclass(slots=True)
class Result:
    """What came out; problems that failed or were not answered count as wrong."""

    task: str
    model: str
    strategy: str
    options: Mapping[str, Any]
    run: str = ""
    problems: int = 0
    correct: int = 0
    unanswered: int = 0
    failed: int = 0
    incomplete: int = 0
    oracle: bool = False
    unit: str = "tokens"
    usage: dict[Role, Usage] = field(default_factory=dict)
    pools: Counter[tuple[int, int]] = field(default_factory=Counter)  # how many problems have (samples, right ones)
    seconds: float = 0.0
    first_error: str = ""

    def add(self, done: Done) -> None:
        self.problems += 1
        self.correct += done.correct is True
        self.failed += bool(done.error)
        self.unanswered += not done.answered and not done.error
        self.incomplete += not done.complete and not done.error
        self.oracle |= done.oracle
        self.first_error = self.first_error or done.error
        if done.samples:
            self.pools[done.samples, done.right] += 1
        for role, usage in done.usage.items():
            self.usage[role] = self.usage.get(role, NOTHING) + usage

    @property
    def total(self) -> Usage:
        return sum(self.usage.values(), NOTHING)

    @property
    def accuracy(self) -> float:
        return self.correct / self.problems if self.problems else 0.0

    @property
    def ci95(self) -> tuple[float, float]:
        return wilson(self.correct, self.problems)

    @property
    def samples_each(self) -> int:
        return min((n for n, _ in self.pools), default=0)

    @property
    def pass_at(self) -> dict[int, float]:
        """Unbiased, so only where all problems have equally many graded samples, and more than one."""
        return pass_curve(self.pools) if self.samples_each > 1 and not self.pass_at_why else {}

    @property
    def pass_at_why(self) -> str:
        """Why there is none, where one would be expected: how many samples there are may depend on how they are."""
        sizes = {n for n, _ in self.pools}
        return f"problems have {min(sizes)} to {max(sizes)} graded samples" if len(sizes) > 1 else ""

    def facts(self) -> dict[str, Any]:
        """What `eval --json` prints, less the usage."""
        return {
            "task": self.task,
            "model": self.model,
            "strategy": self.strategy,
            "options": dict(self.options),
            "problems": self.problems,
            "correct": self.correct,
            "accuracy": self.accuracy,
            "ci95": list(self.ci95),
            "unanswered": self.unanswered,
            "failed": self.failed,
            "incomplete": self.incomplete,
            "oracle": self.oracle,
            "pass_at": {str(k): value for k, value in self.pass_at.items()},
            **({"pass_at_why": self.pass_at_why} if self.pass_at_why else {}),
            "unit": self.unit,
            "seconds": self.seconds,
            "run": self.run,
        }


async def evaluate(
    plan: Plan, out: Path | None = None, tell: Callable[[int, int, int], object] = lambda done, correct, tokens: None
) -> Result:
    """Ask what is not yet in the run's folder, and tally all of it.

    Args:
        out: the run's folder; None is one below the home that the same plan always finds again.
        tell: hears after each problem how many are done, how many of them right, and the tokens spent.

    Raises:
        OptionError: a plan that cannot work, before anything is asked; or a folder of another plan.
        StoreError: the folder cannot be written; what was stored before is kept.
    """
    arguments = prepared(plan.strategy, plan.model, plan.sampling, plan.options)
    manifest, problems = plan.manifest(), plan.problems()
    if len({problem.id for problem in problems}) < len(problems):
        raise OptionError(f"the task {plan.task.name} has two problems of one id; give each its own")
    drawn = Drawn(plan.reuse, model_of(identity(manifest))) if plan.reuse else None
    store = RunStore.open(out or default_folder(manifest), manifest)
    result = Result(
        plan.task.name,
        plan.model.info.name,
        plan.strategy.__name__,
        plan.specs,
        str(store.folder),
        unit=plan.model.info.unit,
    )
    if forget := getattr(plan.model, "forget", None):
        forget()  # what a run costs must not depend on what was asked before it
    started = time.perf_counter()
    todo: Iterator[Problem] = (problem for problem in problems if problem.id not in store.done)
    for problem in problems if store.done else ():
        if problem.id in store.done:
            result.add(store.done[problem.id])
    tokens = result.total.tokens
    tell(result.problems, result.correct, tokens)

    async def worker() -> None:
        nonlocal tokens
        for problem in todo:
            line, done = await answered(plan, problem, arguments, None if drawn is None else drawn.of(problem.id))
            store.append(line, done)
            result.add(done)
            tokens += done.tokens
            tell(result.problems, result.correct, tokens)

    finished = False
    try:
        await together(*(worker() for _ in range(min(plan.concurrency, max(1, len(problems))))))
        finished = True
    finally:
        result.seconds = time.perf_counter() - started
        store.close({**result.facts(), "status": "finished" if finished else "stopped"})
    return result


async def answered(
    plan: Plan, problem: Problem, arguments: Mapping[str, Any], cache: dict[str, Sample] | None = None
) -> tuple[bytes, Done]:
    """One problem asked and graded: its record, and its line of the tally. A model's failure is a record too."""
    began, started = time.time(), time.perf_counter()
    options = {name: _with_truth(value, plan.task, problem) for name, value in arguments.items()}
    error, grade = "", plan.task.grade(problem)  # who cannot be graded is not asked
    try:
        result = await run_prepared(
            plan.strategy,
            plan.model,
            problem.prompt(plan.system),
            options,
            seed=plan.seed,
            budget=plan.budget,
            cache=cache,
        )
    except ModelError as failure:
        error = str(failure)
        result = failure.run if isinstance(failure.run, Run) else Run(Answer(None, complete=False, why=error), ())
    verdicts = await graded(grade, problem, result, plan.system)
    seconds = time.perf_counter() - started
    line = encode(
        problem.id,
        result,
        gold=problem.answer,
        correct=verdicts.answer,
        grades=verdicts.samples,
        groups=verdicts.groups,
        marks=verdicts.trail,
        seconds=seconds,
        started=began,
        error=error,
    )
    return line, Done.of(problem.id, result, verdicts.answer, verdicts.samples, seconds=seconds, error=error)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What is right of a run; None: it states no answer, or could not be judged."""

    answer: bool | None
    samples: tuple[bool | None, ...]  # of each candidate that is a whole sample
    groups: tuple[int | None, ...]  # of the same: which of the different answers it states, from 0 as first seen
    trail: tuple[bool | None, ...]  # of each answer the run had on its way


async def graded(scorer: Scorer, problem: Problem, run: Run, system: str) -> Verdicts:
    """Each different answer is judged once, and told apart from the others once."""
    whole = [c.value for c in run.answer.candidates if c.kind == "sample" and c.sample is not None]
    held = (run.answer.value, *whole, *[mark.value for mark in run.trail])
    stated = list(dict.fromkeys(value for value in held if value is not None))
    scores = await scorer(problem.prompt(system), [Candidate(value, value=value) for value in stated]) if stated else []
    right: dict[str | None, bool | None] = {
        value: None if score.value is None else score.value >= 1 for value, score in zip(stated, scores, strict=True)
    }
    groups = await told_apart([value for value in dict.fromkeys(whole) if value is not None], problem.expects)
    return Verdicts(
        right.get(run.answer.value),
        tuple([right.get(value) for value in whole]),
        tuple([None if value is None else groups[value] for value in whole]),
        tuple([right.get(mark.value) for mark in run.trail]),
    )


async def told_apart(values: Sequence[str], expects: AnswerSpec) -> dict[str, int]:
    """A number for each; equal answers have the same, in the order of the first of them."""
    first: dict[str, str] = {}
    for value in values:
        first.setdefault(key(value, expects), value)
    heads = list(first)
    joins = await merge([first[head] for head in heads], expects)
    numbers: dict[int, int] = {}
    number = {head: numbers.setdefault(to, len(numbers)) for head, to in zip(heads, joins, strict=True)}
    return {value: number[key(value, expects)] for value in values}


def _with_truth(value: Any, task: Task, problem: Problem) -> Any:
    """`oracle` means this problem's own truth; any other option stays as it is."""
    return Oracle(task.grade(problem)) if getattr(value, "of_task", False) else value
