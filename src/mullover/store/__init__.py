"""What was asked and answered, kept: JSON lines are the truth, SQLite is the index."""

from mullover.store.canonical import canonical
from mullover.store.done import Done
from mullover.store.manifest import default_folder, home, new_folder_for_ask
from mullover.store.records import encode
from mullover.store.runs import RunStore
from mullover.store.stored import Stored, decode

__all__ = [
    "Done",
    "RunStore",
    "Stored",
    "canonical",
    "decode",
    "default_folder",
    "encode",
    "home",
    "new_folder_for_ask",
]
