"""The packages in ``examples/`` keep their contracts and run, once installed."""

from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from autosim.cli.main import main
from tests.toy import ROOT

pytestmark = pytest.mark.usefixtures("one_thread")


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
    "options", [["--algo=climb", "--env.x=20", "--algo.shift=0.2"], ["--algo=lts", "--algo.frames=8"]]
)
def test_its_parts_run(mysim: Path, options: list[str]) -> None:
    """Its algorithm on its environment, and one of ours."""
    assert main(["run", *options, "--env=disc", "--workers=0", "--budget.iterations=1", "--out=out"]) == 0
    assert Path("out", "report.html").exists()
