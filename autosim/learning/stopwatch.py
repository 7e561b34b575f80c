"""What each part of a step costs."""

from __future__ import annotations

import time


class Stopwatch:
    """Seconds of consecutive parts: each :meth:`lap` ends one, named by what it was spent on. ``names`` are in ``laps``
    from the beginning, with 0.
    """

    def __init__(self, *names: str) -> None:
        self.laps: dict[str, float] = dict.fromkeys(names, 0.0)
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Everything since the last lap was spent on ``name``."""
        now = time.perf_counter()
        self.laps[name] = self.laps.get(name, 0.0) + now - self._last
        self._last = now
