"""Begins an engine within Blender's Python: ``start.py AUTOSIM SCRIPT OPTIONS``, after ``--`` for an executable.

``AUTOSIM`` is the folder of that package. ``SCRIPT`` is run with ``OPTIONS`` as its only argument. It can import this
package and ``autosim.serve``, but nothing of what is installed beside them: that is built for another Python.
"""

from __future__ import annotations

import fcntl
import os
import runpy
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

# Engines that are told apart on one core.
MOST = 64
# Open locks of cores; they are released with the process.
_locks: list[Any] = []


def know_autosim(folder: str) -> None:
    """Let ``autosim`` be imported from its folder; what lies beside that is not found."""
    package = types.ModuleType("autosim")
    package.__path__ = [folder]
    sys.modules["autosim"] = package


def pin() -> None:
    """Keep this process on the core that the fewest other engines of this user have.

    Cycles' only thread busy-waits on a second one: engines that may use all cores slow each other down.
    """
    if not hasattr(os, "sched_setaffinity"):
        return
    cores = sorted(os.sched_getaffinity(0))
    core = next((core for place in range(MOST) for core in cores if _taken(core, place)), None)
    os.sched_setaffinity(0, {cores[os.getpid() % len(cores)] if core is None else core})


def _taken(core: int, place: int) -> bool:
    """Whether this process has got a place on a core, which it keeps until it ends."""
    try:
        folder = Path(tempfile.gettempdir(), f"autosim-cores-{os.getuid()}")
        folder.mkdir(exist_ok=True)
        lock = (folder / f"{core}-{place}").open("a")
    except OSError:  # nowhere to keep the locks
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        return False
    _locks.append(lock)
    return True


if __name__ == "__main__":
    given = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:]
    know_autosim(given[0])
    pin()
    sys.argv = list(given[1:])
    runpy.run_path(given[1], run_name="__main__")
