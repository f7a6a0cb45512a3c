"""From text to short answer: find it, key it, tell whether two are equal. Total and bounded; nothing is evaluated."""

from mullover.answers.extract import Found, find
from mullover.answers.keys import equal, key
from mullover.answers.same import equivalent, merge

__all__ = ["Found", "equal", "equivalent", "find", "key", "merge"]
