"""What each part of a step costs."""

from __future__ import annotations

import time


class Stopwatch:
    """Seconds of consecutive parts: each :meth:`lap` ends one, named by what it was spent on."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Everything since the last lap was spent on ``name``."""
        now = time.perf_counter()
        self.laps[name] = self.laps.get(name, 0.0) + now - self._last
        self._last = now
