"""Somebody else's packages that read exports; tests are skipped where they are not installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def imported(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A package that reads data sets: nothing is fetched, and what it keeps lies in ``folder``."""
    for variable in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setenv(variable, "1")
    package = pytest.importorskip(name, reason=f"{name} is not installed (extra test)")
    if name == "datasets":
        monkeypatch.setattr(package.config, "HF_DATASETS_CACHE", folder / "cache")
        package.disable_progress_bars()
    return package
