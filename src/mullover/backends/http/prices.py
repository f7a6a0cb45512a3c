"""What tokens cost: a TOML file by endpoint and model, so that money stands in every result."""

import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mullover.backends.http.spec import Spec
from mullover.errors import OptionError
from mullover.home import home
from mullover.types import Price

NAMES = ("prompt", "cached", "completion")
FORM = '["http://host:port/v1"."name"], below it prompt, cached and completion, and maybe `per = 1_000_000` at the top'


def path() -> Path:
    """`MULLOVER_PRICES`, or prices.toml in the home."""
    named = os.environ.get("MULLOVER_PRICES")
    return Path(named) if named else home() / "prices.toml"


def price_of(specs: Sequence[Spec]) -> Price | None:
    """Of these endpoints, which are one Model and so must cost the same; None where the file tells none.

    Raises:
        OptionError: the file is no such table, or endpoints of one pool have different prices.
    """
    table = _table()
    found = [_price(table, spec) for spec in specs]
    if len(set(found)) > 1:
        raise OptionError(f"{path()}: endpoints of one pool cost different money; a pool needs one price")
    return found[0]


def _table() -> dict[str, Any]:
    try:
        return tomllib.loads(path().read_text(encoding="utf-8"))
    except FileNotFoundError:
        if os.environ.get("MULLOVER_PRICES"):
            raise OptionError(f"MULLOVER_PRICES names {path()}, which is not there") from None
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OptionError(f"cannot read the prices in {path()}: {error}") from None


def _price(table: dict[str, Any], spec: Spec) -> Price | None:
    per = table.get("per", 1)
    server = table.get(spec.url, table.get(f"{spec.url}/"))
    if server is None:
        return None
    if not isinstance(server, dict):
        raise OptionError(f"{path()}: what stands for {spec.url} must be a table of models; write {FORM}")
    row = server.get(spec.name)
    if row is None:
        return None
    if not isinstance(row, dict) or row.keys() - {*NAMES}:
        raise OptionError(f"{path()}: the price of {spec.name} must be a table; write {FORM}")
    for value in (per, *row.values()):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e12:
            raise OptionError(f"{path()}: the price of {spec.name} has {value!r}; write numbers, 0 or more")
    if not per or "prompt" not in row or "completion" not in row:
        raise OptionError(f"{path()}: the price of {spec.name} needs prompt and completion; write {FORM}")
    return Price(row["prompt"] / per, row.get("cached", row["prompt"]) / per, row["completion"] / per)
