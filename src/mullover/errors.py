"""Every error we raise on purpose; each says what was given and what to do instead.

MulloverError
|- OptionError (ValueError)       a number, name or file the user chose cannot work
|  |- CapabilityError             the model cannot do what was asked of it
|  `- ContextError                the prompt is longer than the model's context
|- StoreError (OSError)           a run cannot be written or read
`- ModelError (RuntimeError)      the model failed, and no sample of the call succeeded
   `- TransientError              it may succeed if asked again
BudgetSpent (BaseException)       a signal, not an error: like CancelledError it passes every `except Exception`
"""


class MulloverError(Exception):
    """`except MulloverError` catches what is ours and nothing else."""


class OptionError(MulloverError, ValueError):
    """What the user chose cannot work; the message says what was given and what to do."""


class CapabilityError(OptionError):
    """The model cannot do what was asked of it; the message names both."""


class ContextError(OptionError):
    """The prompt leaves the model no room; the message says how long both are."""


class StoreError(MulloverError, OSError):
    """A run's folder cannot be written or read; what was stored before is still there."""


class ModelError(MulloverError, RuntimeError):
    """The model failed, and no sample of the call succeeded.

    `run` is what `mullover.running` had done until then, so that what was spent is not lost; else None.
    """

    run: object = None


class TransientError(ModelError):
    """The model failed before it said anything, and may succeed if asked again.

    `after` is how many seconds it asked us to wait, or None.
    """

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class BudgetSpent(BaseException):
    """Raised inside a strategy's call when its budget is gone; only `run` catches it."""
