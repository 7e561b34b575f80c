"""How many images to send to an actor at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autosim.rendering.frames import Frames


@dataclass
class ChunkSize:
    """How long an image took lately, and thus how many to send to an actor at once.

    A chunk should take much longer than its transport (half a millisecond to one and a half) and much less than all the
    work, so that actors end together. Ray returns results below 100 KiB directly and larger ones through shared memory,
    which takes about a millisecond longer: a chunk just above the limit is the least efficient. This process receives
    only a few hundred answers a second, so chunks are longer where many actors answer.
    """

    seconds: float | None = None
    payload: int = 0

    shortest = 0.005
    longest = 0.050
    longest_of_each = 0.004
    direct = 96 * 1024
    large = 400 * 1024

    def note(self, count: int, seconds: float, result: Frames | NDArray[np.float64]) -> None:
        """Take in the time that a chunk of ``count`` images took, and the size of its result."""
        latest = seconds / count
        self.seconds = latest if self.seconds is None else 0.7 * self.seconds + 0.3 * latest
        arrays = [result.images, *result.annotations.values()] if isinstance(result, Frames) else [result]
        self.payload = sum(np.asarray(array).nbytes for array in arrays) // count

    def size(self, remaining: int, workers: int) -> int:
        """Images for the next chunk where ``remaining`` are left to send."""
        if self.seconds is None:
            return 1
        seconds = max(self.seconds, 1e-7)
        longest = max(self.longest, self.longest_of_each * workers)
        size = min(math.ceil(remaining / (2 * workers)), math.ceil(longest / seconds))
        size = max(size, math.ceil(self.shortest / seconds))
        if self.direct < size * self.payload < self.large:
            size = self.direct // self.payload
        return max(1, min(size, remaining))
