"""What is told where Ray dies beneath a process that works with it."""

from __future__ import annotations

import os
import select
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from autosim.errors import shortened

# Seconds between two looks at Ray's own processes, and between two at a cluster's head, which is given up after some
# seconds of silence: Ray itself ends this process without a word after 60.
LOOK, LOOK_AT_CLUSTER, SILENCE = 0.1, 5.0, 25.0
# Seconds that a process may take to be gone after it was killed.
PATIENCE = 5.0
# Without these two of its own processes Ray does not work.
VITAL = {"gcs_server": "head", "raylet": "node manager"}


class _Watch:
    """What is known of the Ray that this process uses: whether it is ``over``, and what is to be told if it dies."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.died = False
        self.hint = ""


_WATCH = _Watch()


def tell_if_ray_dies(hint: str) -> None:
    """How to go on, told where a process dies without which Ray does not work."""
    _WATCH.hint = hint


def stop_watching() -> None:
    """Ray is about to be ended."""
    _WATCH.over.set()


def await_last_words() -> None:
    """Where Ray has died, wait for this process to be ended: what followed from it is not to be told as well."""
    if _WATCH.died or (not _WATCH.over.is_set() and "ray" in sys.modules and dead_process()):
        time.sleep(SILENCE)


def watch(dead: Callable[[], str], pause: float, processes: Sequence[int] = ()) -> None:
    """Ask again and again what is dead, at once when one of ``processes`` ends, and end this process where one is.

    Ray would end it at its next call, or a minute later, without a word. What waits for Ray meanwhile does so inside of
    it, where no exception reaches.
    """
    _WATCH.over.clear()
    ends = select.poll()
    if hasattr(os, "pidfd_open"):
        for process in processes:
            ends.register(os.pidfd_open(process), select.POLLIN)

    def look() -> None:
        nonlocal ends
        while not _WATCH.over.is_set():
            ended = ends.poll(1000 * pause)
            what = dead()
            if what and not _WATCH.over.wait(0.0 if ended else pause):
                _last_words(what)
            if ended:
                # It was ended on purpose; asked again, it would say so again.
                ends = select.poll()

    threading.Thread(target=look, name="watches Ray", daemon=True).start()


def dead_process() -> str:
    """Which vital process of the Ray that was started here is dead; empty where none is, or Ray has been ended."""
    import ray

    node = getattr(ray._private.worker, "_global_node", None)
    if node is None or not ray.is_initialized():
        return ""
    try:
        dead = [(kind, found.pid) for kind, found in node.dead_processes() if kind in VITAL]
    except RuntimeError:  # Ray is just adding or removing one
        return ""
    if not dead or not ray.is_initialized():
        return ""
    kind, process = dead[0]
    return f"Ray's {VITAL[kind]} ({kind}, process {process})"


def vital_processes() -> list[int]:
    """Those of the Ray that was started here."""
    import ray

    node = ray._private.worker._global_node
    return [] if node is None else [info.process.pid for kind in VITAL for info in node.all_processes.get(kind, ())]


def dead_head(address: str) -> str:
    """The head of the cluster where it has not answered for some time; empty where it answers."""
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + SILENCE
    while time.monotonic() < deadline:
        try:
            socket.create_connection((host, int(port)), timeout=LOOK_AT_CLUSTER).close()
            return ""
        except OSError:
            time.sleep(LOOK_AT_CLUSTER / 5)
    return f"the head of Ray's cluster at {address}"


def _last_words(what: str) -> None:
    """End this process with one line."""
    import ray

    _WATCH.died = True
    show_cursor = "\x1b[?25h\r\x1b[K" if sys.stderr.isatty() else ""
    line = shortened(f"{what} died{'; ' if _WATCH.hint else ''}{_WATCH.hint}")
    print(f"{show_cursor}autosim: {line}", file=sys.stderr, flush=True)
    node = getattr(ray._private.worker, "_global_node", None)
    if node is not None:
        left = [process for _, process in node.live_processes()]
        for process in left:
            process.kill()
        for process in left:
            process.wait(PATIENCE)
        remove_folder(Path(node.get_session_dir_path()))
    os._exit(1)


def remove_folder(session: Path) -> None:
    """Remove what a session of Ray has written, and the link to the latest session where it led there."""
    deadline = time.monotonic() + PATIENCE
    while session.exists() and time.monotonic() < deadline:  # processes that are just ending may still write
        shutil.rmtree(session, ignore_errors=True)
        time.sleep(LOOK)
    latest = session.parent / "session_latest"
    if latest.is_symlink() and not latest.exists():
        latest.unlink(missing_ok=True)
