"""Tests that hang are ended."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.toy import ROOT

HANGING = """
import signal, time

def test_sleeps():
    time.sleep(60)

def test_is_quick():
    pass

def test_hears_no_signal():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    time.sleep(60)
"""


def test_every_test_has_a_limit(pytestconfig: pytest.Config) -> None:
    limit = float(pytestconfig.getini("timeout"))
    assert 0 < limit <= 300 and pytestconfig.getini("timeout_method") == "signal"
    assert limit < float(pytestconfig.getini("faulthandler_timeout")) <= 600
    assert pytestconfig.getini("faulthandler_exit_on_timeout")


@pytest.mark.slow
def test_what_hangs_is_ended_and_named(tmp_path: Path) -> None:
    (tmp_path / "test_hanging.py").write_text(HANGING)
    command = [sys.executable, "-m", "pytest", f"--config-file={ROOT / 'pyproject.toml'}", "--numprocesses=1"]
    command += [
        "-p",
        "no:cacheprovider",
        "-p",
        "no:hypothesispytest",
        "-o",
        "timeout=1",
        "-o",
        "faulthandler_timeout=2",
        str(tmp_path),
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1 and "2 failed, 1 passed" in done.stdout
    assert (
        "Timeout (>1.0s)" in done.stdout
        and "crashed while running 'test_hanging.py::test_hears_no_signal'" in done.stdout
    )
