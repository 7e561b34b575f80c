"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from autosim.parallel import start_ray
from tests.toy import ROOT, install_toy


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


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """Ray for two processes, started once for all tests that ask for it; its workers can import ``tests``."""
    import ray

    with pytest.MonkeyPatch.context() as patch:
        root = str(Path(__file__).resolve().parents[1])
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])))
        patch.delenv("RAY_ADDRESS", raising=False)
        start_ray(2)
    yield
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
