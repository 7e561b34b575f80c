"""The packages in ``examples/`` keep their contracts and run, once installed."""

from __future__ import annotations

import importlib
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autosim.cli.main import main
from autosim.errors import RendererError
from autosim.rendering.pool import LocalPool
from tests.support.toy import ROOT

pytestmark = pytest.mark.usefixtures("one_thread", "blank_pictures")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package ``mysim`` with its metadata, as an editable installation has it."""
    folder = tmp_path_factory.mktemp("examples") / "mysim"
    shutil.copytree(ROOT / "examples" / "mysim", folder)
    subprocess.run([sys.executable, "setup.py", "--quiet", "egg_info"], cwd=folder, check=True)
    return folder


@pytest.fixture
def mysim(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package, installed; the working directory is empty."""
    monkeypatch.syspath_prepend(str(built))
    monkeypatch.chdir(tmp_path)
    yield built
    for name in [name for name in sys.modules if name.split(".")[0] == "mysim"]:
        del sys.modules[name]


def test_its_suites_hold(mysim: Path) -> None:
    tests = runpy.run_path(str(mysim / "tests" / "test_mysim.py"))
    suites = [value for name, value in tests.items() if name.startswith("Test")]
    assert len(suites) == 3
    for suite in suites:
        for name in dir(suite):
            if name.startswith("test_"):
                getattr(suite(), name)()


@pytest.mark.parametrize(
    "options",
    [
        ["--algo=climb", "--env.x=20", "--algo.shift=0.2"],
        pytest.param(["--algo=lts", "--algo.frames=8", "--algo.datasets=2"], marks=pytest.mark.slow),
    ],
)
def test_its_parts_run(mysim: Path, options: list[str]) -> None:
    """Its algorithm on its environment, and one of ours."""
    assert main(["run", *options, "--env=disc", "--workers=0", "--budget.iterations=1", "--out=out"]) == 0
    assert Path("out", "report.html").exists()


@pytest.fixture
def pyramid(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The environment made of a BlenderProc script."""
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "blenderproc"))
    yield importlib.import_module("bprocsim.pyramid")
    for name in [name for name in sys.modules if name.split(".")[0] == "bprocsim"]:
        del sys.modules[name]


def test_a_blenderproc_script_has_forty_lines_and_its_environment_says_what_it_needs(
    pyramid: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = (ROOT / "examples" / "blenderproc" / "bprocsim" / "script.py").read_text()
    assert len(script.splitlines()) <= 40
    compile(script, "script.py", "exec")
    monkeypatch.setenv("AUTOSIM_CACHE", str(tmp_path))
    env = pyramid.Pyramid(pyramid.PyramidConfig())
    for grammar in (env.prior(), env.target()):
        env.schema.validate(grammar.sample(np.random.default_rng(0)))
    with pytest.raises(RendererError, match="no Blender is set up here"):
        env.renderer().build()


@pytest.mark.skipif("BLENDERPROC_PYTHON" not in os.environ, reason="needs BLENDERPROC_PYTHON, a Python that has both")
def test_a_blenderproc_script_draws(pyramid: Any) -> None:
    env = pyramid.Pyramid(pyramid.PyramidConfig(os.environ["BLENDERPROC_PYTHON"]))
    scenes = [grammar.sample(np.random.default_rng(0)) for grammar in (env.prior(), env.target())]
    with LocalPool(env.renderer()) as pool:
        first, second = pool.render(scenes, [1, 2]), pool.render(scenes, [1, 2])
    np.testing.assert_array_equal(first.images, second.images)
    mask = first.annotations["mask"]
    assert 100 < mask[0].sum() < 400 and 100 < mask[1].sum() < 400
    left, right = (each.nonzero()[1].mean() for each in mask)
    # The target's pyramid stands further to the right, under a brighter lamp.
    assert left < 24 < right and first.images[0][mask[0] > 0].mean() < first.images[1][mask[1] > 0].mean()
