"""`school/FAMILY/GRADE`: generated problems as a task, like any other."""

import hashlib

from mullover.errors import OptionError
from mullover.tasks.problem import Problem, Task
from mullover.tasks.school import FAMILIES, GRADES, SPLITS, different, problem
from mullover.types import Scorer

MANY = 400  # problems of a task
TRIES = 20  # draws for each problem until the contents of a family and grade are taken to be spent
FORM = "school/FAMILY/GRADE, or school/FAMILY/GRADE/SPLIT with train, dev or test"


def is_school(name: str) -> bool:
    return name.split("/")[0] == "school"


def load(name: str, seed: int = 0) -> Task:
    """The first 400 different problems of a family and grade, of the split test unless another is named.

    Easy grades of some families have fewer.

    Raises:
        OptionError: no such family, grade or split.
    """
    _, family, grade, split = (*name.split("/"), "test")[:4] if name.count("/") in (2, 3) else ("", "", "", "")
    if family not in FAMILIES or grade not in map(str, GRADES) or split not in SPLITS:
        raise OptionError(f"no task {name[:80]!r}; write {FORM}; families are {', '.join(FAMILIES)}, grades 1 to 5")
    of = FAMILIES[family]
    found = different(of, int(grade), split, seed, MANY, TRIES)
    problems = tuple(problem(item, f"{family}-{grade}-{split}-{index}") for index, item in found)
    digest = hashlib.sha256("\n".join(f"{one.id} {one.question}" for one in problems).encode()).hexdigest()
    return Task(name, problems, grade_by_family, "generated", digest)


def grade_by_family(one: Problem) -> Scorer:
    return FAMILIES[one.facts["family"]].scorer(one.facts["facts"])
