"""Where mullover keeps things between runs."""

import os
from pathlib import Path


def home() -> Path:
    """`MULLOVER_HOME`, or `~/.mullover`: runs and their index, what servers can do, prices."""
    return Path(os.environ.get("MULLOVER_HOME") or "~/.mullover").expanduser()
