"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from autosim.parallel import start_ray
from tests.toy import ROOT, install_toy

# Tests run in several processes, which would wait for each other's threads. Read when numerical libraries are imported.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
os.environ.update(dict.fromkeys(THREADS, "1"))


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share Ray run in one process, and so do those of a file, which share its fixtures.

    The group of Ray is the longest: it comes first, so that the other processes do not wait for it at the end.
    """
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            shares_ray = "ray_session" in getattr(item, "fixturenames", ())
            item.add_marker(pytest.mark.xdist_group("ray" if shares_ray else str(item.path.relative_to(ROOT))))
    items.sort(key=lambda item: "ray_session" not in getattr(item, "fixturenames", ()))


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


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """Ray for two processes, started once for all tests that ask for it; its workers can import ``tests``."""
    with pytest.MonkeyPatch.context() as patch:
        root = str(Path(__file__).resolve().parents[1])
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])))
        patch.delenv("RAY_ADDRESS", raising=False)
        for name in THREADS:
            patch.setenv(name, "2")
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
