"""How far a comparison has come."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from autosim.comparison.progress import share_done


def test_a_run_is_half_over_with_its_iterations_and_then_its_scores_take_as_long(tmp_path: Path) -> None:
    assert [share_done(tmp_path, used, 1e9) for used in (0.0, 0.5, 1.0, 1.2)] == [0.0, 0.25, 0.5, 0.5]
    for name, time in (("config.yaml", 1000), ("summary.json", 1200)):
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (time, time))
    assert share_done(tmp_path, 0.4, 1200) == 0.5  # its own number of iterations ended it
    assert share_done(tmp_path, 1.0, 1300) == pytest.approx(0.745)
    assert share_done(tmp_path, 1.0, 9999) == pytest.approx(0.99)
    assert share_done(tmp_path, 1.0, 1100) == 0.5
