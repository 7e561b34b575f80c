"""What each part of a step costs, and what set-up is at."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


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


class Stages:
    """The parts of set-up: which is under way, and the seconds that each took (``seconds`` by name, without those of
    parts within it). ``tell`` hears of each as it begins.
    """

    def __init__(self, tell: Callable[[str], object] | None = None) -> None:
        self.seconds: dict[str, float] = {}
        self._tell = tell
        self._started = self._since = time.perf_counter()
        self._under_way: list[str] = []

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self._started

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """What happens inside is the part ``name``."""
        self._lap()
        self._under_way.append(name)
        if self._tell is not None:
            self._tell(name)
        try:
            yield
        finally:
            self._lap()
            self._under_way.pop()

    def _lap(self) -> None:
        now = time.perf_counter()
        if self._under_way:
            name = self._under_way[-1]
            self.seconds[name] = self.seconds.get(name, 0.0) + now - self._since
        self._since = now
