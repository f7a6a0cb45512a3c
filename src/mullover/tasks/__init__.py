"""Questions with their gold answers: named sets, problem files, and who grades them.

Left out: HumanEval and MBPP (code that must be run), Blocksworld and PlanBench (plans that must be executed).
"""

from mullover.tasks.catalogue import TaskRow, describe, load, names
from mullover.tasks.problem import Problem, Task

__all__ = ["Problem", "Task", "TaskRow", "describe", "load", "names"]
