"""One writer a folder: a lock that ends with its process, however that ends."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from pathlib import Path

from mullover.errors import StoreError
from mullover.store.files import BINARY, told

try:
    import fcntl
except ImportError:  # Windows: two writers are not kept apart there
    fcntl = None  # type: ignore[assignment]

NAME = "lock"
BUSY = (errno.EAGAIN, errno.EACCES)


class Lock:
    """Held from construction to `close`. A folder on a file system without locks is not guarded."""

    def __init__(self, folder: Path) -> None:
        path = folder / NAME
        with told(path):
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | BINARY, 0o666)
        if not self._taken():
            holder = os.read(self._fd, 32).decode("ascii", "replace").strip()
            os.close(self._fd)
            raise StoreError(
                f"another process ({holder or 'unknown'}) writes to {folder}; wait for it, or choose another --out"
            )
        with contextlib.suppress(OSError):  # only for that message; a full disk shows itself elsewhere
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, b"%d\n" % os.getpid(), 0)

    def _taken(self) -> bool:
        for _ in range(5):  # `held` takes it for an instant, so one refusal proves nothing
            if _try(self._fd):
                return True
            time.sleep(0.05)
        return False

    def close(self) -> None:
        os.close(self._fd)


def held(folder: Path) -> bool:
    """Is a process writing there now?"""
    try:
        fd = os.open(folder / NAME, os.O_RDONLY | BINARY)
    except OSError:
        return False
    try:
        return not _try(fd, shared=True)
    finally:
        os.close(fd)


def _try(fd: int, shared: bool = False) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in BUSY
    return True
