"""Parts that packages offer are found, also those of a package that is installed while the process runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from autosim.registry import environment_names


def test_a_package_is_found_as_soon_as_it_is_installed_and_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    before = environment_names()
    assert "later" not in before
    metadata = tmp_path / "later-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: later\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[autosim.envs]\nlater = later:Later\n")
    assert environment_names() == sorted([*before, "later"])
    metadata.rename(tmp_path / "removed")
    assert environment_names() == before
