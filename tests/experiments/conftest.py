"""The toy package within reach of the tests' own process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.experiments.toy import ROOT, install_toy


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Installs the toy package for the test; returns the working directory, which is empty."""
    environment = install_toy(tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "toy_package"))
    monkeypatch.setenv("AUTOSIM_CACHE", environment["AUTOSIM_CACHE"])
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work
