"""What a run is: run.json, written when it begins, when it goes on and when it ends.

A manifest is a mapping. What decides the results stands under `identity`: two sittings with equal
identities are one run. Its other keys (command, limit, version...) are good to know and may change.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

from mullover.errors import OptionError, StoreError
from mullover.home import home as home
from mullover.seeds import canonical
from mullover.store.files import told, write_whole

NAME = "run.json"
VERSION = 1


def identity(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The part that decides results, in plain JSON values.

    Raises:
        OptionError: the manifest has none.
    """
    part = manifest.get("identity")
    if not isinstance(part, Mapping):
        raise OptionError("a run's manifest needs `identity`: a mapping of all that decides its results")
    plain: dict[str, Any] = json.loads(canonical(part))
    return plain


def default_folder(manifest: Mapping[str, Any]) -> Path:
    """The folder of this very run, so that the same command finds it again."""
    part = identity(manifest)
    task = str(part.get("task") or "")
    words = [_word(task.replace("/", "_") if task.startswith("school/") else task)]
    words += [_word(part.get(name)) for name in ("model", "strategy")]
    digest = blake2b(canonical(part).encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    return home() / "runs" / "-".join([*filter(None, words), digest])


def new_folder_for_ask() -> Path:
    """A folder of its own for one question, named by the time (UTC)."""
    now = datetime.now(UTC)
    return home() / "runs" / f"ask-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def new(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The content of run.json for a run that begins now."""
    info = {"created": datetime.now(UTC).isoformat(timespec="seconds")}
    info |= {key: value for key, value in manifest.items() if key != "identity"}
    return {
        "v": VERSION,
        "run": secrets.token_hex(8),
        "identity": identity(manifest),
        "info": info,
        "status": "running",
    }


def resumed(stored: Mapping[str, Any], manifest: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The content of run.json for a run that goes on.

    Raises:
        OptionError: another run lives there; the message says what differs.
    """
    old, now = stored["identity"], identity(manifest)
    if differing := list(_differing(old, now)):
        raise OptionError(f"{folder} holds another run: {'; '.join(differing[:4])}; choose another --out")
    info = {key: value for key, value in manifest.items() if key not in ("identity", "created")}
    return {**stored, "info": {**stored["info"], **info}, "status": "running"}


def load(folder: Path) -> dict[str, Any] | None:
    """The content of run.json, or None where there is none.

    Raises:
        StoreError: it cannot be read, or is of a version not known here.
    """
    path = folder / NAME
    try:
        with told(path):
            text = path.read_bytes()
    except StoreError as error:
        if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
            return None
        raise
    try:
        content = json.loads(text)
    except ValueError as error:
        raise StoreError(f"{path} is damaged: {error}") from error
    if not isinstance(content, dict) or content.get("v") != VERSION:
        raise StoreError(f"{path} is no run of version {VERSION}, which this mullover reads")
    for part in ("identity", "info"):
        if not isinstance(content.get(part), dict):
            raise StoreError(f"{path} is damaged: it has no {part}")
    return content


def save(folder: Path, content: Mapping[str, Any]) -> None:
    write_whole(folder / NAME, [json.dumps(content, indent=1, default=str).encode(), b"\n"])


def _differing(old: Any, now: Any, name: str = "") -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(now, Mapping):
        for key in sorted(old.keys() | now.keys()):
            yield from _differing(old.get(key), now.get(key), f"{name}.{key}" if name else key)
    elif canonical(old) != canonical(now):
        yield f"{name} is {_short(old)} there and {_short(now)} here"


def _short(value: Any) -> str:
    text = canonical(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _word(value: Any) -> str:
    """A short safe word for a file name: the end of a path, the model of a URL."""
    name = value.get("name", "") if isinstance(value, Mapping) else value
    text = str(name or "").rstrip("/")
    text = text.rpartition("#")[2] or text
    return re.sub(r"[^A-Za-z0-9._]+", "_", text.rpartition("/")[2]).strip("._")[:40]
