"""Where Blender is: environments of Python with the package ``bpy`` in autosim's cache, or an executable."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from autosim.cache import cache_folder
from autosim.errors import UserError

# Written into an environment once it is whole.
COMPLETE = "complete"
HOW = "`autosim blender setup` installs it, or --engine.blender PATH names an executable"


@dataclass(frozen=True)
class Wheel:
    """A version of the package ``bpy`` and the version of Python that it is built for."""

    bpy: str
    python: tuple[int, int]

    @property
    def name(self) -> str:
        """What it is called in options and in autosim's cache."""
        return f"bpy-{self.bpy}"

    @property
    def folder(self) -> Path:
        """Its environment, whether or not there is one."""
        return cache_folder() / "blender" / self.name

    @property
    def interpreter(self) -> Path:
        """Its environment's Python."""
        return self.folder / "bin" / "python"

    @property
    def installed(self) -> bool:
        """Whether its environment is there and whole."""
        return (self.folder / COMPLETE).is_file() and self.interpreter.exists()


# The newest first: it is what is taken where several are there.
WHEELS = (Wheel("5.3.0", (3, 13)), Wheel("5.0.1", (3, 11)))


def choose_blender(given: str) -> str:
    """The Blender that an option names, as configurations keep it: the name of a wheel (``bpy-5.3.0``) or the path of
    an executable, Blender's or that of a Python which has ``bpy``. Without a name the newest wheel that is set up.

    ``UserError`` where there is none, or no such executable.
    """
    if not given:
        found = next((wheel for wheel in WHEELS if wheel.installed), None)
        if found is None:
            raise UserError(f"no Blender is set up here; {HOW}")
        return found.name
    if (wheel := _wheel(given)) is not None:
        if not wheel.installed:
            raise UserError(f"{given} is not set up here; `autosim blender setup --bpy {wheel.bpy}` installs it")
        return given
    path = shutil.which(os.path.expanduser(given))
    if path is None:
        names = ", ".join(wheel.name for wheel in WHEELS)
        raise UserError(f"{given!r} is no executable; allowed are Blender's, a Python with bpy, {names}")
    return path


def blender_command(blender: str, arguments: list[str]) -> list[str]:
    """The command that runs a Python script and its arguments within a Blender; ``UserError`` where it is not here."""
    chosen = choose_blender(blender)
    if (wheel := _wheel(chosen)) is not None:
        return [str(wheel.interpreter), "-I", *arguments]
    if Path(chosen).name.startswith("python"):
        return [chosen, "-I", *arguments]
    quiet = ["--background", "--factory-startup", "-noaudio", "--python-exit-code", "1"]
    return [chosen, *quiet, "--python", arguments[0], "--", *arguments[1:]]


def _wheel(name: str) -> Wheel | None:
    return next((wheel for wheel in WHEELS if wheel.name == name), None)
