"""The ordered map over Ray tasks."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from autosim.errors import LostProcessError
from autosim.parallel import ATTEMPTS, begin, core_seconds, in_background, parallel_map
from autosim.rendering.actors.pool import RayPool
from tests.support.helpers import BlobRenderer, blob_scenes
from tests.support.tasks import busy, dies, late_first, meet, rests, trained


def test_work_beside_begins_at_once_and_its_errors_come_with_the_result() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work() -> int:
        begun.set()
        assert go_on.wait(timeout=30)
        return torch.get_num_threads()

    result = in_background(work)
    assert begun.wait(timeout=30)
    go_on.set()
    assert result() == torch.get_num_threads()
    with pytest.raises(LookupError, match="item 1"):
        in_background(lambda: late_first(1))()


def test_results_are_the_same_here_and_in_tasks_with_one_thread(ray_session: None) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        here = parallel_map(trained, [3, 1, 2], 0)
        there = parallel_map(trained, [3, 1, 2], 2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert {entry[0] for entry in here} == {os.getpid()} and os.getpid() not in {entry[0] for entry in there}
    assert [entry[1:] for entry in here] == [entry[1:] for entry in there]
    assert {entry[1] for entry in here} == {1}


def test_tasks_run_while_more_actors_live_than_there_are_cpus(ray_session: None) -> None:
    scenes = blob_scenes(3)
    with RayPool(BlobRenderer(), 3) as pool:
        pool.warm_up()
        assert len(parallel_map(trained, [0, 1], 2)) == 2
        assert np.ptp(pool.render(scenes, [0, 1, 2]).images) > 0


def test_a_task_that_is_begun_gives_its_result_its_error_or_nothing(ray_session: None, tmp_path: Path) -> None:
    begun = begin(trained, 3)
    process, threads, number = parallel_map(trained, [3], 0)[0]
    found = begun.result()
    assert found is not None and found[0] != process and found[1:] == (threads, number) == (1, number)
    begun.cancel()
    with pytest.raises(LookupError, match="item 1"):
        begin(late_first, 1).result()
    assert begin(dies, (tmp_path, 5, 9)).result() is None


@pytest.mark.parametrize("later", [0.0, 0.5])
def test_a_task_that_is_cancelled_has_no_result(ray_session: None, later: float) -> None:
    """While it starts, too: Ray may lose what it is told then."""
    waiting, started = begin(rests, 100.0), time.monotonic()
    time.sleep(later)
    waiting.cancel()
    assert waiting.result() is None and time.monotonic() - started < 60


def test_what_a_task_beside_uses_is_charged_to_nobody(ray_session: None) -> None:
    before = core_seconds()
    parallel_map(busy, [0.5], 1)
    charged = core_seconds() - before
    begin(busy, 2.0).result()
    assert charged > 0.4 and core_seconds() - before - charged < 1.0


def test_order_is_kept_and_each_result_is_told(ray_session: None) -> None:
    told: dict[int, int] = {}
    assert parallel_map(abs, [-5, 4, -3, 2], 2, done=told.__setitem__) == [5, 4, 3, 2]
    assert told == {0: 5, 1: 4, 2: 3, 3: 2}
    assert parallel_map(abs, [], 2) == parallel_map(abs, [], 0) == []


@pytest.mark.parametrize("limit", [0, 2])
def test_the_earliest_failure_is_raised_as_it_was(ray_session: None, limit: int) -> None:
    with pytest.raises(LookupError, match=r"^'?item 1'?$") as caught:
        parallel_map(late_first, [0, 1, 2, 3], limit)
    assert type(caught.value) is LookupError


def test_the_limit_is_reached_and_kept(ray_session: None, tmp_path: Path) -> None:
    assert max(parallel_map(meet, [(tmp_path, i) for i in range(6)], 2)) == 2


def test_a_task_whose_process_dies_is_tried_again(ray_session: None, tmp_path: Path) -> None:
    assert parallel_map(dies, [(tmp_path, i, ATTEMPTS - 1 if i == 1 else 0) for i in range(3)], 2) == [0, 1, 2]
    assert len(list(tmp_path.iterdir())) == ATTEMPTS - 1


def test_a_task_that_loses_every_process_is_named_in_one_line(ray_session: None, tmp_path: Path) -> None:
    with pytest.raises(LostProcessError, match=r"^task 1: 3 of its processes died, the last one: \w+$"):
        parallel_map(dies, [(tmp_path, i, 99 if i == 1 else 0) for i in range(3)], 2)


def test_a_limit_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="limit"):
        parallel_map(abs, [1], -1)


ROOT = Path(__file__).resolve().parents[1]
WATCHED = """
import subprocess, sys, time
from autosim.parallel.watch import tell_if_ray_dies, watch

child = subprocess.Popen(["sleep", "60"])
tell_if_ray_dies("run it again")
watch(lambda: "the child" if child.poll() is not None else "", 60.0, [child.pid])
child.kill()
time.sleep(30)
print("nobody ended this")
"""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="processes can be waited for on Linux alone")
def test_the_death_of_a_process_is_told_at_once() -> None:
    """Ray may end what uses it in the next moment, and not only after the next look."""
    ended = subprocess.run([sys.executable, "-c", WATCHED], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", "autosim: the child died; run it again\n")
