"""Who waits is told for what."""

import time

import pytest

from mullover.cli import progress
from mullover.cli.progress import patient


def test_a_long_wait_is_explained_once(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.01)
    with patient("opening ./model"):
        until = time.monotonic() + 10
        told = ""
        while not told and time.monotonic() < until:
            time.sleep(0.01)
            told += capsys.readouterr().err
    assert told == "opening ./model ...\n"
    assert capsys.readouterr().err == ""


def test_a_short_wait_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    with patient("opening ./model"):
        pass
    assert capsys.readouterr().err == ""


def test_what_goes_wrong_meanwhile_is_told_as_ever() -> None:
    with pytest.raises(ValueError, match="broken"), patient("opening ./model"):
        raise ValueError("broken")
