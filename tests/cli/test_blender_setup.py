"""``autosim blender``: the environment is made by pip and a fitting Python, or a line says what is missing."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

from autosim.cli.main import main
from autosim.errors import UserError
from autosim.rendering.blender import installed, setup
from autosim.rendering.blender.installed import Wheel, choose_blender

HERE = sys.version_info[0], sys.version_info[1]


def package(folder: Path, name: str, version: str, code: str) -> Path:
    """A wheel of one module."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    about = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", code)
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{about}/RECORD", f"{name}.py,,\n{about}/METADATA,,\n{about}/WHEEL,,\n{about}/RECORD,,\n")
    return path


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache without anything, and an index with a small ``bpy`` and ``numpy`` for this Python."""
    index = tmp_path / "index"
    index.mkdir()
    package(index, "bpy", "0.0.1", "class app:\n    version_string = '0.0.1'\n")
    package(index, "numpy", "9.0", "__version__ = '9.0'\n")
    monkeypatch.setenv("AUTOSIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    for module in (installed, setup):
        monkeypatch.setattr(module, "WHEELS", (Wheel("0.0.1", HERE),))
    return index


STAND_IN = """#!/bin/sh
case "$*" in
  *version_info*) echo {major} {minor} ;;
  *venv*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
  *pip*) {pip} ;;
  *"import bpy"*) echo "Blender 0.0.1 with numpy 9.0" ;;
esac
"""


def stand_in(folder: Path, pip: str) -> Path:
    """What answers as a Python would, and runs ``pip`` of the shell's in the place of pip."""
    python = folder / "python"
    python.write_text(STAND_IN.format(major=HERE[0], minor=HERE[1], pip=pip))
    python.chmod(0o755)
    return python


@pytest.mark.parametrize("real", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_environment_is_made_once(
    packages: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], real: bool
) -> None:
    options = [] if real else ["--python", str(stand_in(tmp_path, "exit 0"))]
    assert main(["blender", "setup", *options]) == 0
    said = capsys.readouterr().out
    assert "4/4 a first start\n    Blender 0.0.1 with numpy 9.0\ndone in " in said and "GB in" in said
    assert choose_blender("") == "bpy-0.0.1"
    assert main(["blender", "setup", *options]) == 0
    assert capsys.readouterr().out.startswith("bpy-0.0.1 is set up already in ")


def test_what_pip_says_ends_the_command_and_nothing_is_set_up(
    packages: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fails = 'echo "WARNING: slow" >&2; echo "ERROR: No matching distribution found for bpy" >&2; exit 1'
    python = stand_in(tmp_path, fails)
    assert main(["blender", "setup", "--python", str(python)]) == 2
    assert capsys.readouterr().err == (
        "autosim: pip cannot install bpy: ERROR: No matching distribution found for bpy\n"
    )
    with pytest.raises(UserError, match="no Blender is set up"):
        choose_blender("")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["setup", "--bpy", "1.0"], "--bpy: there is no '1.0'; allowed are 5.3.0, 5.0.1"),
        (["setup", "--python", "/no/python"], "--python: /no/python does not start; needed is 3.13 or 3.11"),
        (["setup", "--pyton", "x"], "blender setup: unexpected --pyton; see autosim blender --help"),
        (["status", "--anew"], "blender status: unexpected --anew; see autosim blender --help"),
        (["install"], "blender: found 'install'; allowed are setup, status"),
        ([], "blender: nothing is given; allowed are setup, status"),
    ],
)
def test_mistakes_are_named(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["blender", *arguments]) == 2
    assert capsys.readouterr().err == f"autosim: {said}\n"


def test_without_a_fitting_python_it_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(setup, "WHEELS", (Wheel("5.9.0", (3, 99)),))
    assert main(["blender", "setup"]) == 2
    said = "bpy needs Python 3.99, and none is found on PATH; --python PATH names one"
    assert capsys.readouterr().err == f"autosim: {said}\n"


def test_the_state_is_told_in_a_line_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUTOSIM_CACHE", str(tmp_path))
    assert main(["blender", "status"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["bpy-5.3.0", "bpy-5.0.1"]
    assert all(" not set up; " in line for line in lines)
