"""A command in a process of its own, watched from outside: how it ends, its seconds, and the most memory it holds."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

# Seconds between two looks at the processes, and those that a process has to end after Ctrl-C.
LOOK = 1.0
ENDED_WITHIN = 60.0


@dataclass(frozen=True)
class Watched:
    """How a command ended: its exit code (None where its time was up), seconds by the clock, CPU seconds of it and of
    all its descendants, and the most memory of the process itself in MiB (0 where the platform does not say).
    ``interrupted``: by Ctrl-C, which was passed on to it.
    """

    code: int | None
    seconds: float
    core_seconds: float
    memory: int
    interrupted: bool = False


@dataclass
class _Seen:
    """CPU seconds by process, and the most memory of the first of them."""

    root: int
    core_seconds: dict[int, float] = field(default_factory=dict)
    memory: int = 0

    def look(self) -> None:
        """Add what the processes have used by now. A process that has left its parent stays known."""
        parents, used = {}, {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                # The name in brackets may hold spaces.
                words = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            parents[int(entry.name)] = int(words[1])
            used[int(entry.name)] = (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
        for process in used:
            line, ancestor = [process], parents[process]
            while ancestor > 1 and ancestor not in line:
                line.append(ancestor)
                ancestor = parents.get(ancestor, 0)
            if self.root in line or process in self.core_seconds:
                self.core_seconds[process] = used[process]
        try:
            status = Path(f"/proc/{self.root}/status").read_text()
        except OSError:
            return
        peak = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
        self.memory = max(self.memory, *(int(value) // 1024 for value in peak), 0)


def watch(command: Sequence[str], limit: float, output: IO[str], look: float = LOOK) -> Watched:
    """Run a command to its end, to Ctrl-C or for ``limit`` seconds; both streams go to ``output``."""
    started = time.monotonic()
    # A session of its own: Ctrl-C must not reach its descendants at the same time.
    process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    seen = _Seen(process.pid)
    timed_out = interrupted = False
    try:
        while True:
            seen.look()
            try:
                process.wait(look)
                break
            except subprocess.TimeoutExpired:
                if time.monotonic() - started > limit:
                    timed_out = True
                    _end(process, seen)
                    break
    except KeyboardInterrupt:
        interrupted = True
        _end(process, seen)
    seconds, core_seconds = time.monotonic() - started, sum(seen.core_seconds.values())
    return Watched(None if timed_out else process.returncode, seconds, core_seconds, seen.memory, interrupted)


def _end(process: subprocess.Popen[bytes], seen: _Seen) -> None:
    """Ask a process to end, as Ctrl-C does; where it does not, end it and those that it started."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(ENDED_WITHIN)
    except subprocess.TimeoutExpired:
        seen.look()
        for known in seen.core_seconds:
            try:
                os.kill(known, signal.SIGKILL)
            except OSError:
                continue
        process.wait()
