"""Where mullover keeps things between runs."""

import os
from pathlib import Path

from mullover.errors import OptionError


def home() -> Path:
    """`MULLOVER_HOME`, or `~/.mullover`: runs and their index, what servers can do, prices, kernels.

    Raises:
        OptionError: there is neither.
    """
    try:
        return Path(os.environ.get("MULLOVER_HOME") or "~/.mullover").expanduser()
    except RuntimeError:  # an account without a home
        raise OptionError("this account has no home directory; name one in MULLOVER_HOME") from None
