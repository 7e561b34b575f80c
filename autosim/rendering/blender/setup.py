"""Makes the environment that Blender's package needs: another Python than autosim's, ``bpy`` and numpy."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from autosim.errors import UserError
from autosim.rendering.blender.installed import COMPLETE, WHEELS, Wheel

# Bytes that have to be free: the environment, and the archive that it is unpacked from.
NEEDED = 2_000_000_000
SIZES = "about 430 MB to load, 1 GB on disk; a few minutes"
# What is tried at the end.
CHECK = "import bpy, numpy; print('Blender', bpy.app.version_string, 'with numpy', numpy.__version__)"


def set_up(
    version: str = "", python: str = "", source: str = "", say: Callable[[str], None] = print, anew: bool = False
) -> Wheel:
    """Make the environment of a version of ``bpy``, or find it made; tells each stage.

    ``version`` is one of ``WHEELS``', by default the newest that a Python is found for; ``python`` names that Python.
    ``source`` is what pip is to install in place of ``bpy==VERSION``, a file say. ``UserError`` in one line where there
    is no fitting Python, too little disk, or pip fails.
    """
    started = time.monotonic()
    wheel, interpreter = _chosen(version, python)
    folder = wheel.folder
    if wheel.installed and not anew:
        say(f"{wheel.name} is set up already in {folder}")
        return wheel
    say(f"1/4 Python {_dotted(wheel.python)}: {interpreter}")
    _make_room(folder)
    say(f"2/4 an environment in {folder}")
    _run([interpreter, "-m", "venv", str(folder)], "the environment cannot be made")
    say(f"3/4 bpy {wheel.bpy} and numpy: {SIZES}")
    asked = [source or f"bpy=={wheel.bpy}", "numpy"]
    pip = [str(wheel.interpreter), "-m", "pip", "install", "--disable-pip-version-check", "--only-binary", ":all:"]
    _run([*pip, *asked], "pip cannot install bpy", shown=True)
    say("4/4 a first start")
    say(f"    {_run([str(wheel.interpreter), '-I', '-c', CHECK], 'Blender does not start').strip()}")
    (folder / COMPLETE).touch()
    say(f"done in {time.monotonic() - started:.0f} s; {_size(folder) / 1e9:.1f} GB in {folder}")
    return wheel


def state(wheel: Wheel) -> str:
    """One line about a version: whether it is set up, and if not, whether its Python is here."""
    if wheel.installed:
        return f"{wheel.name}: set up in {wheel.folder} ({_size(wheel.folder) / 1e9:.1f} GB)"
    found = find_python(wheel.python)
    where = f"can be set up with {found}" if found else f"needs Python {_dotted(wheel.python)}, which is not found"
    return f"{wheel.name}: not set up; {where}"


def find_python(version: tuple[int, int]) -> str | None:
    """An interpreter of a version: this one, one on PATH, or one of pyenv's; None where there is none."""
    return next((path for path in _candidates(version) if _version_of(path) == version), None)


def _candidates(version: tuple[int, int]) -> Iterator[str]:
    yield sys.executable
    for name in (f"python{_dotted(version)}", "python3", "python"):
        if (path := shutil.which(name)) is not None:
            yield path
    versions = Path("~/.pyenv/versions").expanduser()
    yield from sorted(str(path) for path in versions.glob(f"{_dotted(version)}.*/bin/python"))


def _version_of(python: str) -> tuple[int, int] | None:
    """What an interpreter says of itself; None where it does not start."""
    code = "import sys; print(*sys.version_info[:2])"
    try:
        done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, timeout=60, check=True)
        major, minor = done.stdout.split()
        return int(major), int(minor)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def _chosen(version: str, python: str) -> tuple[Wheel, str]:
    wheels = [wheel for wheel in WHEELS if version in ("", wheel.bpy)]
    if not wheels:
        raise UserError(f"--bpy: there is no {version!r}; allowed are {', '.join(wheel.bpy for wheel in WHEELS)}")
    needed = " or ".join(_dotted(wheel.python) for wheel in wheels)
    if python:
        found = _version_of(python)
        for wheel in wheels:
            if wheel.python == found:
                return wheel, python
        said = f"is Python {_dotted(found)}" if found else "does not start"
        raise UserError(f"--python: {python} {said}; needed is {needed}")
    for wheel in wheels:
        if (interpreter := find_python(wheel.python)) is not None:
            return wheel, interpreter
    raise UserError(f"bpy needs Python {needed}, and none is found on PATH; --python PATH names one")


def _make_room(folder: Path) -> None:
    """An empty place for an environment, on a disk with room for it."""
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    free = shutil.disk_usage(folder).free
    if free < NEEDED:
        raise UserError(f"{folder}: {free / 1e9:.1f} GB are free on its disk; needed are {NEEDED / 1e9:.0f} GB")


def _run(command: Sequence[str], fault: str, shown: bool = False) -> str:
    """What a command prints, unless that is ``shown``; ``UserError`` with its last line where it fails."""
    try:
        done = subprocess.run(
            command, stdout=None if shown else subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False
        )
    except OSError as error:
        raise UserError(f"{fault}: {command[0]}: {error.strerror}") from error
    if done.returncode:
        lines = [line.strip() for line in (done.stderr or done.stdout or "").splitlines() if line.strip()]
        raise UserError(f"{fault}: {lines[-1] if lines else f'exit code {done.returncode}'}")
    return done.stdout or ""


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.resolve().rglob("*"))


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
