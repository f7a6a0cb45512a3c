"""What all tests share."""

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("MULLOVER_DATA") or Path(__file__).parents[1].parent / "shared" / "data")


@pytest.fixture(autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of tests are stored apart, and nobody's settings reach a test."""
    monkeypatch.setenv("MULLOVER_HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.delenv("MULLOVER_MODEL", raising=False)


@pytest.fixture
def data() -> Path:
    """The folder of the shared benchmarks."""
    if not DATA.is_dir():
        pytest.skip("the shared data is not here; set MULLOVER_DATA")
    return DATA
