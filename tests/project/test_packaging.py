"""What set-up declares holds: entry points lead somewhere, light commands stay light, make offers its targets."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from autosim import registry

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("autosim", "algorithms", "envs")


@pytest.fixture(scope="module")
def metadata(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The metadata that set-up writes."""
    folder = tmp_path_factory.mktemp("metadata")
    command = [sys.executable, "setup.py", "--quiet", "egg_info", "--egg-base", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder / "autosim_engine.egg-info"


def test_entry_points_lead_to_classes_of_that_name(metadata: Path) -> None:
    import importlib

    points = configparser.ConfigParser()
    points.read(metadata / "entry_points.txt")
    assert dict(points["console_scripts"]) == {"autosim": "autosim.cli.main:main"}
    for group in (registry.ALGORITHMS, registry.ENVIRONMENTS):
        assert dict(points[group])
        for name, value in points[group].items():
            module, attribute = value.split(":")
            found = getattr(importlib.import_module(module), attribute)
            assert found.name == name and isinstance(found.Config, type)


def test_every_module_and_the_typing_markers_are_packaged(metadata: Path) -> None:
    sources = set((metadata / "SOURCES.txt").read_text().splitlines())
    for package in PACKAGES:
        assert f"{package}/py.typed" in sources
        for module in (ROOT / package).rglob("*.py"):
            assert module.relative_to(ROOT).as_posix() in sources
    assert not any(source.startswith("tests/") for source in (metadata / "top_level.txt").read_text().splitlines())


def test_a_wheel_holds_all_that_runs_and_nothing_else(tmp_path: Path) -> None:
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "setup.py", "--quiet", "bdist_wheel", "--dist-dir", "dist"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").iterdir()
    assert wheel.name.startswith("autosim_engine-") and wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as parts:
        held = set(parts.namelist())
        metadata = {name.rpartition("/")[2]: parts.read(name).decode() for name in held if ".dist-info/" in name}
    files = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert {name for name in held if ".dist-info/" not in name} == files
    assert set(metadata["top_level.txt"].split()) == set(PACKAGES)
    assert metadata["LICENSE"].split()[:2] == ["Apache", "License"]
    assert "Name: autosim-engine\n" in metadata["METADATA"] and "License: Apache-2.0\n" in metadata["METADATA"]


def test_nothing_that_is_installed_reads_files_of_the_repository() -> None:
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            assert "(__file__" not in path.read_text(encoding="utf-8"), path


def test_the_python_version_and_the_test_extra_are_declared(metadata: Path) -> None:
    text = (metadata / "PKG-INFO").read_text()
    assert "Requires-Python: >=3.10" in text
    for requirement in ("mitsuba<3.10,>=3.9", "ray[tune]", "torch-geometric", "jsonargparse"):
        assert f"Requires-Dist: {requirement}" in text
    assert 'Requires-Dist: hypothesis>=6.100; extra == "test"' in text


def test_help_answers_within_two_seconds() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "run.py"), "--help"]
    seconds = []
    for _ in range(3):  # the best of three: a busy machine is not the command's fault
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 2.0
    assert "--algo NAME" in done.stdout and "--budget.images" in done.stdout


@pytest.mark.parametrize(
    "module",
    ["autosim.cli.run_options", "autosim.rendering.worker", "envs.clevr.renderer", "autosim.scenes.grammar"],
)
def test_light_modules_leave_heavy_libraries_alone(module: str) -> None:
    heavy = ("torch", "torch_geometric", "torchvision", "torchmetrics", "sklearn", "mitsuba", "ray", "matplotlib")
    code = f"import sys, {module}; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("run", ["-m venv .venv", "install --quiet", "benchmarks/run.py --algo leap --env clevr --seed 1"]),
        ("test", ["-m venv .venv", "[test]", "ruff check", "ruff format --check", "mypy", "pytest", '-m "not slow"']),
        ("test-all", ["-m venv .venv", "[test]", "ruff check", "ruff format --check", "mypy", "pytest", '-m ""']),
    ],
)
def test_make_sets_up_from_nothing(tmp_path: Path, target: str, parts: list[str]) -> None:
    for name in ("Makefile", "setup.py", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    command = ["make", "--dry-run", target, "ARGS=--seed 1", f"PYTHON={sys.executable}"]
    printed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    position = 0
    for part in parts:
        position = printed.index(part, position)


@pytest.mark.parametrize("reached", [True, False])
def test_make_takes_the_build_for_cpus_where_its_index_is_reached(tmp_path: Path, reached: bool) -> None:
    for name in ("Makefile", "setup.py", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    fails = "" if reached else "case $* in *--torch-backend*) exit 2;; esac"
    for name, lines in (("uv", f'{fails}\necho "$*" >> calls'), ("python", "")):
        (programs / name).write_text(f"#!/bin/sh\n{lines}\n")
        (programs / name).chmod(0o755)
    done = subprocess.run(["make", "run", "TORCH=cpu"], cwd=tmp_path, capture_output=True, text=True, check=True)
    installed = (tmp_path / "calls").read_text().splitlines()[-1]
    assert installed.endswith("--editable .") and ("--torch-backend=cpu" in installed) == reached
    told = "TORCH=cpu: the index of PyTorch's CPU builds cannot be reached; the default build is installed"
    assert (told in done.stdout) == (not reached)


def test_make_refuses_an_unknown_build_of_torch(tmp_path: Path) -> None:
    done = subprocess.run(["make", "run", "TORCH=gpu"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "TORCH: gpu is not one of default, cpu" in done.stderr
