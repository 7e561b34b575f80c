"""Blenders for tests: those that are installed here, and a stand-in that needs none."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from autosim.rendering.blender.installed import WHEELS

# Where the user's are, for tests have a cache of their own; read when tests are collected.
_FOLDERS = {wheel.name: wheel.folder for wheel in WHEELS if wheel.installed}

STAND_IN = """#!{python}
import os, sys
print("Blender 0.0")
script = sys.argv.index("--python") + 1
os.execv({python!r}, [{python!r}, "-I", *sys.argv[script:]])
"""


def installed_blender(cache: Path) -> str | None:
    """A Blender that is here, as options name it, made known to the tests' own cache; None where there is none."""
    for name, folder in _FOLDERS.items():
        (cache / "blender").mkdir(parents=True, exist_ok=True)
        if not (cache / "blender" / name).exists():
            (cache / "blender" / name).symlink_to(folder)
        return name
    return shutil.which("blender")


def stand_in(folder: Path) -> str:
    """An executable that takes Blender's options and runs the script by this Python."""
    path = folder / "blender"
    path.write_text(STAND_IN.format(python=sys.executable))
    path.chmod(0o755)
    return str(path)
