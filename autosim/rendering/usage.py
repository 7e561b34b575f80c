"""What rendering has used: images, render cost, seconds of a CPU core; and the memory that a process holds."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


def memory_held(process: int | str = "self") -> int:
    """Bytes of memory that a process holds for itself; 0 where the system does not say."""
    try:
        resident, shared = map(int, Path(f"/proc/{process}/statm").read_text().split()[1:3])
        return (resident - shared) * os.sysconf("SC_PAGESIZE")
    except (OSError, ValueError):
        return 0


@dataclass(frozen=True)
class Usage:
    """``images``, those for gradients included; ``cost``, samples times pixels, as ``Renderer.cost`` gives it; and the
    CPU seconds (``core_seconds``) of the processes that rendered.
    """

    images: int = 0
    cost: float = 0.0
    core_seconds: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.images + other.images, self.cost + other.cost, self.core_seconds + other.core_seconds)

    def __sub__(self, other: Usage) -> Usage:
        return Usage(self.images - other.images, self.cost - other.cost, self.core_seconds - other.core_seconds)
