"""Files that are whole or not there, and the system's errors in words a user can act on."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from mullover.errors import StoreError

BINARY = getattr(os, "O_BINARY", 0)  # Windows would write \r\n
FULL = (errno.ENOSPC, errno.EDQUOT)
DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)


def failure(error: OSError, path: Path) -> StoreError:
    """One line that says what cannot be done and what to do."""
    if error.errno in FULL:
        return StoreError(
            f"the disk is full: {path}; free some space and run the same command again, what finished is kept"
        )
    if error.errno in DENIED:
        return StoreError(
            f"{path} cannot be written: {error.strerror}; choose another folder or change its permissions"
        )
    if error.errno == errno.EFBIG:
        return StoreError(
            f"{path} may not grow any more (file size limit); raise the limit and run the same command again"
        )
    return StoreError(f"{path} cannot be read or written: {error.strerror or error}; what finished is kept")


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """The system's errors become ours."""
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        raise failure(error, path) from error


def write_whole(path: Path, parts: Iterable[bytes]) -> None:
    """Replace a file at one stroke: after a crash it is the old one or the new one.

    Raises:
        StoreError: it cannot be written; the old one is still there.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with told(path), open(part, "wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        with told(path):
            os.replace(part, path)
            sync_folder(path.parent)
    except StoreError:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


def sync_folder(folder: Path) -> None:
    """Make new names in a folder last; a system without that (Windows) needs nothing."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that cannot, which is no fault of ours
            raise
    finally:
        os.close(fd)
