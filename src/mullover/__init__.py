"""mullover makes language models reason, and measures whether it helped.

Names are imported on first use, so `import mullover` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "api": ("asolve", "model", "solve", "stream"),
    "running": ("Budget", "Run", "as_model", "run"),
    "types": (
        "Answer",
        "Answers",
        "AnswerSpec",
        "Candidate",
        "Event",
        "Events",
        "Message",
        "Model",
        "ModelInfo",
        "Needs",
        "Price",
        "Prompt",
        "Sample",
        "Sampling",
        "Score",
        "Scorer",
        "Usage",
    ),
    "errors": ("BudgetSpent", "CapabilityError", "ModelError", "MulloverError", "OptionError", "StoreError"),
    "aio": ("settled", "together"),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}
__all__ = ["__version__", *_MODULE]

if TYPE_CHECKING:
    from mullover.aio import settled as settled
    from mullover.aio import together as together
    from mullover.api import asolve as asolve
    from mullover.api import model as model
    from mullover.api import solve as solve
    from mullover.api import stream as stream
    from mullover.errors import BudgetSpent as BudgetSpent
    from mullover.errors import CapabilityError as CapabilityError
    from mullover.errors import ModelError as ModelError
    from mullover.errors import MulloverError as MulloverError
    from mullover.errors import OptionError as OptionError
    from mullover.errors import StoreError as StoreError
    from mullover.running import Budget as Budget
    from mullover.running import Run as Run
    from mullover.running import as_model as as_model
    from mullover.running import run as run
    from mullover.types import Answer as Answer
    from mullover.types import Answers as Answers
    from mullover.types import AnswerSpec as AnswerSpec
    from mullover.types import Candidate as Candidate
    from mullover.types import Event as Event
    from mullover.types import Events as Events
    from mullover.types import Message as Message
    from mullover.types import Model as Model
    from mullover.types import ModelInfo as ModelInfo
    from mullover.types import Needs as Needs
    from mullover.types import Price as Price
    from mullover.types import Prompt as Prompt
    from mullover.types import Sample as Sample
    from mullover.types import Sampling as Sampling
    from mullover.types import Score as Score
    from mullover.types import Scorer as Scorer
    from mullover.types import Usage as Usage


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module 'mullover' has no attribute {name!r}")
    module = import_module(f"mullover.{_MODULE[name]}")
    value = globals()[name] = getattr(module, name)
    return value
