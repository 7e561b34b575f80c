"""What rendering has used: images, render cost, seconds of a CPU core."""

from __future__ import annotations

from dataclasses import dataclass


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
