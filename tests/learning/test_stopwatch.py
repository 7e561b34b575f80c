"""The parts of set-up, told as they begin and timed without those within them; CPU seconds by what they go to."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from autosim.learning import stopwatch
from autosim.learning.stopwatch import CoreSeconds, Meter, Stages


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


def test_a_meter_counts_what_is_inside_once_and_of_another_thread_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    process, thread, meter = [0.0], [0.0], Meter()
    monkeypatch.setattr(stopwatch.time, "process_time", lambda: process[0])
    monkeypatch.setattr(stopwatch.time, "thread_time", lambda: thread[0])
    process[0] += 1
    with pytest.raises(KeyError), meter.running():
        process[0] += 2
        with meter.running():
            process[0] += 4
        process[0] += 8
        raise KeyError
    process[0] += 16

    def beside() -> None:
        with meter.running():
            process[0] += 32
            thread[0] += 5

    with ThreadPoolExecutor(1) as threads:
        threads.submit(beside).result()
    assert meter.seconds == 14 + 5


def test_core_seconds_add_up_by_part_and_leave_the_rest_to_the_method() -> None:
    spent = CoreSeconds(10, 3, 4) + CoreSeconds(5, 1, 1) - CoreSeconds(2, 1, 0)
    assert spent == CoreSeconds(13, 3, 5) and spent.own == 5
    assert CoreSeconds(1.0, 0.6, 0.5).own == 0
