"""Generated problems in ten families, graded 1 to 5: without end, and what is for testing is never trained on."""

from collections.abc import Mapping
from typing import Any

from mullover.tasks.school.circuits import Circuits
from mullover.tasks.school.countdown import Countdown
from mullover.tasks.school.family import GRADES, SPLITS, Chain, Family, Split, different, drawn, problem
from mullover.tasks.school.last_letters import LastLetters
from mullover.tasks.school.letter_count import LetterCount
from mullover.tasks.school.make_number import MakeNumber
from mullover.tasks.school.open_ended import OpenEnded
from mullover.tasks.school.order import Order
from mullover.tasks.school.story import Story
from mullover.tasks.school.sums import Sums
from mullover.tasks.school.swaps import Swaps

__all__ = ["FAMILIES", "GRADES", "SPLITS", "Chain", "Family", "Split", "different", "drawn", "problem"]

FAMILIES: Mapping[str, Family[Any]] = {
    family.name: family
    for family in (
        Sums(), Story(), LastLetters(), LetterCount(), Countdown(),
        Swaps(), Circuits(), Order(), MakeNumber(), OpenEnded(),
    )
}  # fmt: skip
