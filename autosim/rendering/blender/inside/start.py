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

# Open locks of cores; they are released with the process.
_locks: list[Any] = []


def know_autosim(folder: str) -> None:
    """Let ``autosim`` be imported from its folder; what lies beside that is not found."""
    package = types.ModuleType("autosim")
    package.__path__ = [folder]
    sys.modules["autosim"] = package


def pin() -> None:
    """Keep this process on one core that no other engine of this user has, or on any where all are taken.

    Cycles' only thread busy-waits on a second one: engines that may use all cores slow each other down.
    """
    if not hasattr(os, "sched_setaffinity"):
        return
    cores = sorted(os.sched_getaffinity(0))
    chosen = cores[os.getpid() % len(cores)]
    try:
        folder = Path(tempfile.gettempdir(), f"autosim-cores-{os.getuid()}")
        folder.mkdir(exist_ok=True)
        for core in cores:
            lock = (folder / str(core)).open("a")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                lock.close()
                continue
            _locks.append(lock)
            chosen = core
            break
    except OSError:  # nowhere to keep the locks
        pass
    os.sched_setaffinity(0, {chosen})


if __name__ == "__main__":
    given = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:]
    know_autosim(given[0])
    pin()
    sys.argv = list(given[1:])
    runpy.run_path(given[1], run_name="__main__")
