"""How much memory there is, and what the C library does with it."""

import ctypes
import os
import re

import torch

from mullover.errors import OptionError

UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
MOST = 4 << 30  # bytes for keys and values on a CPU, unless told otherwise


def keep_freed() -> None:
    """Let glibc keep what a step frees for the next one, as the same large temporaries come again and again.

    Else each is fetched from the system and given back, which costs more than computing it. Elsewhere
    (macOS, musl) nothing is done.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD: only larger pieces are mapped on their own
    mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD: as much may lie free before any is given back


def default(device: torch.device) -> int:
    """Bytes for keys and values: MULLOVER_KV_MEMORY, or of a GPU nine tenths of what is free, of a CPU a quarter, MOST
    at most."""
    if said := os.environ.get("MULLOVER_KV_MEMORY"):
        return parsed(said, "the KV memory")
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] * 0.9)
    return min(MOST, available() // 4)


def available() -> int:
    """Bytes of main memory that are free."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            found = re.search(r"MemAvailable:\s+(\d+) kB", file.read())
    except OSError:
        found = None
    if found:
        return int(found[1]) << 10
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (ValueError, OSError, AttributeError):
        return 8 << 30


def parsed(word: str, what: str) -> int:
    """Bytes from `512MB`, `2GB`, `2.5G` or plain bytes.

    Raises:
        OptionError: it is none of these, or nothing.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", word.strip().lower())
    size = int(float(match[1]) * UNITS[match[2]]) if match else 0
    if size <= 0:
        raise OptionError(f"{what} is {word[:40]!r}; write a size such as 512MB or 2GB")
    return size
