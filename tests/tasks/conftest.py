"""Where the named sets lie: MULLOVER_DATA, else beside the checkout."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data() -> Path:
    given = os.environ.get("MULLOVER_DATA")
    folder = Path(given) if given else Path(__file__).parents[2].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no benchmark data in {folder}; set MULLOVER_DATA")
    return folder
