"""`pool:FILE.toml`, or several addresses with commas between them."""

import re
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

from mullover.backends.http.spec import Spec
from mullover.backends.http.transport import Timeouts
from mullover.errors import OptionError

FORM = 'endpoints = ["http://a:8000/v1#name", "http://b:8000/v1#name"]'


def specs(text: str) -> list[Spec]:
    """Of addresses with commas between them; one address is a list of one.

    Raises:
        OptionError: one of them is none, or two are the same.
    """
    return _checked([Spec.parse(part.strip()) for part in re.split(r",\s*(?=https?://)", text)])


def read(path: str) -> tuple[list[Spec], Timeouts]:
    """A pool's file: `endpoints`, and maybe a table `timeouts` with connect, first, between, total in seconds.

    Raises:
        OptionError: it cannot be read, or holds something else.
    """
    table = _toml(path)
    if unknown := table.keys() - {"endpoints", "timeouts"}:
        raise OptionError(f"the pool {path} has {sorted(unknown)[0]!r}; it may have endpoints and [timeouts]")
    endpoints = table.get("endpoints")
    if not isinstance(endpoints, list) or not endpoints or not all(isinstance(e, str) for e in endpoints):
        raise OptionError(f"the pool {path} lists no endpoints; write {FORM}")
    return _checked([Spec.parse(endpoint) for endpoint in endpoints]), _timeouts(path, table.get("timeouts", {}))


def _toml(path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"cannot read the pool {path}: {error}; it is a TOML file with {FORM}") from None
    except tomllib.TOMLDecodeError as error:
        raise OptionError(f"the pool {path} is no TOML: {error}") from None


def _checked(found: list[Spec]) -> list[Spec]:
    if len({(spec.url, spec.name) for spec in found}) < len(found):
        raise OptionError("a pool names one endpoint twice; name each once")
    return found


def _timeouts(path: str, table: Any) -> Timeouts:
    names = [field.name for field in fields(Timeouts)]
    if not isinstance(table, dict) or table.keys() - {*names}:
        raise OptionError(f"the pool {path}: [timeouts] may have {', '.join(names)}, in seconds")
    for name, value in table.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e9:
            raise OptionError(f"the pool {path}: the timeout {name} is {value!r}; write seconds above 0")
    return Timeouts(**table)
