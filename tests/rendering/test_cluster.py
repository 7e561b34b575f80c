"""A cluster of two nodes on this machine, one of which is taken away while it renders."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from autosim.errors import UserError
from autosim.parallel import RaySettings
from autosim.runs.config import RunSettings

ROOT = Path(__file__).resolve().parents[2]
# A node that is gone is noticed within seconds instead of half a minute.
QUICK = {
    "RAY_health_check_initial_delay_ms": "500",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "500",
    "RAY_health_check_failure_threshold": "3",
}


@pytest.mark.slow
def test_a_node_that_is_taken_away_changes_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, **QUICK, "PYTHONPATH": str(ROOT)}
    environment.pop("RAY_ADDRESS", None)
    made = subprocess.run(
        [sys.executable, "-m", "tests.rendering.cluster_script"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert made.returncode == 0, made.stderr[-2000:]
    result = json.loads(made.stdout.strip().splitlines()[-1])
    assert result["same"] and result["images"] == 30 and result["replaced"] >= 1


def test_a_cluster_that_is_not_there_is_named() -> None:
    """In a process of its own: this one has Ray already."""
    code = "from autosim.parallel import start_ray; start_ray(1, '127.0.0.1:1', ['autosim'])"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert UserError.__name__ in made.stderr and "ray.address: '127.0.0.1:1' cannot be joined" in made.stderr


@pytest.mark.parametrize("value", [-1.0, 1.5, float("inf"), float("nan")])
def test_what_cannot_be_reserved_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="cpus"):
        RaySettings(cpus=value)
    with pytest.raises(ValueError, match="gpus"):
        RaySettings(gpus=value)


@pytest.mark.parametrize(("name", "value"), [("patience", 0.0), ("recycle_after", -1), ("growth", 0)])
def test_when_actors_are_replaced_is_checked(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        RaySettings(**{name: value})  # type: ignore[arg-type]


def test_ray_settings_need_ray() -> None:
    with pytest.raises(ValueError, match="ray: with workers 0"):
        RunSettings(workers=0, ray=RaySettings(address="auto"))
