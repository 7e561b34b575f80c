"""The parts of set-up: told as they begin, and timed without those within them."""

from __future__ import annotations

import pytest

from autosim.learning import stopwatch
from autosim.learning.stopwatch import Stages


def test_stages_are_told_and_timed_without_what_is_within_them(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, told = [0.0], list[str]()
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: clock[0])
    stages = Stages(told.append)
    with stages.stage("target"):
        clock[0] += 3
    clock[0] += 1
    with pytest.raises(KeyError), stages.stage("method"):
        clock[0] += 2
        with stages.stage("features"):
            clock[0] += 10
        clock[0] += 4
        raise KeyError
    assert told == ["target", "method", "features"]
    assert stages.seconds == {"target": 3, "method": 6, "features": 10} and stages.elapsed == 20
