"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from autosim.parallel import start_ray
from tests.support.toy import ROOT, install_toy

# Tests run in several processes, which would wait for each other's threads. Read when numerical libraries are imported.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
os.environ.update(dict.fromkeys(THREADS, "1"))
# Threads that wait would keep a core busy which another process needs. Inherited by all processes that tests start.
os.environ["OMP_WAIT_POLICY"] = "passive"

# How long one example takes depends on what else runs; a test that hangs is ended by its own limit.
settings.register_profile("autosim", deadline=None)
settings.load_profile("autosim")


# Files whose tests share one Ray, see ``ray_session``. In two groups: one would be the last to end.
SHARING_RAY = (
    "tests/rendering/test_pool.py",
    "tests/test_parallel.py",
    "tests/project/test_readme.py",
)
SHARING_RAY_TOO = (
    "tests/algorithms/searches/test_random_search.py",
    "tests/algorithms/test_metasim.py",
    "tests/rendering/test_adjoint.py",
    "tests/rendering/mitsuba/test_mitsuba_adjoint.py",
)


# Files whose tests start commands of autosim, which share the process that those are forked from.
STARTING_COMMANDS = (
    "tests/tuning/test_ray_trials.py",
    "tests/runs/test_resume.py",
    "tests/test_api.py",
    "tests/cli/test_third_party.py",
    "tests/test_stranger.py",
)
# Other files that take long.
LONG = (
    "tests/algorithms/test_metasim2.py",
    "tests/algorithms/test_autosimulate.py",
    "tests/algorithms/test_influence_replay.py",
    "tests/comparison/test_compare.py",
    "tests/rendering/test_cluster.py",
    "tests/algorithms/searches/test_bo.py",
)


class ByFile(LoadScopeScheduling):
    """Tests of a file, which share its fixtures, run in one process, and so do those of a group of files.

    pytest-xdist's own groups have no effect since pytest 9.2, which keeps them apart from the names of tests.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        for group in (SHARING_RAY, SHARING_RAY_TOO, STARTING_COMMANDS):
            if file in group:
                return group[0]
        return file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest groups first, then files that take long: no process waits for another at the end."""

    def place(item: pytest.Item) -> int:
        file = item.nodeid.split("::", 1)[0]
        early = (*SHARING_RAY, *STARTING_COMMANDS, *SHARING_RAY_TOO, *LONG)
        return early.index(file) if file in early else len(early)

    items.sort(key=place)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The user's cache is neither read nor written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOSIM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Torch computes with one thread: small computations are fastest so, and repeat exactly."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def blank_pictures() -> Iterator[None]:
    """The pictures of runs are a pixel each, for tests that look at something else: they are most of a toy run's time.

    Strips of frames are written as ever.
    """
    from PIL import Image

    from autosim.reports import found, pictures

    def blank(path: Path, *contents: object) -> None:
        Image.new("RGB", (1, 1)).save(path)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("plot_scenes", "plot_attribute_histograms", "plot_curves"):
            patch.setattr(pictures, name, blank)
        patch.setattr(found, "plot_found", blank)
        yield


@pytest.fixture
def many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes started from this one are told to use two threads, unless the code under test says otherwise."""
    for name in THREADS:
        monkeypatch.setenv(name, "2")


@pytest.fixture(params=["default", "ignored"])
def interrupts(request: pytest.FixtureRequest) -> Iterator[None]:
    """SIGINT as a process finds it that was started in the foreground, and one in the background of a shell.

    Processes that the test starts inherit it.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler if request.param == "default" else signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def ignored_interrupts() -> Iterator[None]:
    """SIGINT as processes find it that a shell starts in the background: for tests too long to be run both ways."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def heard_interrupts() -> Iterator[None]:
    """SIGINT as processes find it in the foreground of a shell, even if these tests run in the background of one."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """Ray for two processes, started once for all tests that ask for it; its workers can import ``tests``.

    Files that use it are in ``SHARING_RAY`` or ``SHARING_RAY_TOO``.
    """
    with pytest.MonkeyPatch.context() as patch:
        root = str(Path(__file__).resolve().parents[1])
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])))
        patch.delenv("RAY_ADDRESS", raising=False)
        for name in THREADS:
            patch.setenv(name, "2")
        # A process that was killed as it started is waited for as long, 60 s otherwise; some tests kill many.
        patch.setenv("RAY_worker_register_timeout_seconds", "15")
        start_ray(2)
    yield
    import ray

    ray.shutdown()


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
