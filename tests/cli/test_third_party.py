"""A third party's package, found through entry points, run by the command in a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.support.processes import ForkedCommand
from tests.support.toy import install_toy


def test_its_algorithm_runs_on_its_environment(tmp_path: Path) -> None:
    environment = install_toy(tmp_path / "site")
    command = [sys.executable, "-m", "autosim.cli.main", "run", "--algo", "walk", "--env", "spot", "--workers", "0"]
    command += ["--algo.iterations", "3"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "gap closed" in done.stdout and "report:" in done.stdout
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("walk-spot-seed0-")
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["algo"], summary["env"], summary["iterations"]) == ("walk", "spot", 3)


def test_ctrl_c_leaves_a_complete_folder(tmp_path: Path, ignored_interrupts: None) -> None:
    environment = install_toy(tmp_path / "site")
    arguments = ["run", "--algo=walk", "--env=spot", "--workers=0", "--out=out", "--algo.pause_seconds=0.1"]
    arguments += ["--algo.iterations=10000"]
    process = ForkedCommand(arguments, environment, tmp_path)
    metrics = tmp_path / "out" / "metrics.jsonl"
    try:
        deadline = time.monotonic() + 60
        while not (metrics.exists() and metrics.read_text().count("\n") >= 2) and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, errors
    assert "Traceback" not in errors and "stopping after this iteration" in errors
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["interrupted"] is True and summary["test_score"] is None
    assert summary["iterations"] == metrics.read_text().count("\n") >= 2
    for name in ("config.yaml", "checkpoint.pt", "report.html", "pictures/scenes.png", "pictures/attributes.png"):
        assert (tmp_path / "out" / name).stat().st_size > 0
