"""What each part of a step costs, what set-up is at, and what a run spends its CPU seconds on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


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


@dataclass(frozen=True)
class CoreSeconds:
    """CPU seconds: ``total`` of them, of which ``rendering`` and ``networks``, those that networks were trained and
    scored for. What is left is the method's ``own``.
    """

    total: float = 0.0
    rendering: float = 0.0
    networks: float = 0.0

    @property
    def own(self) -> float:
        """What neither rendering nor networks took; 0 where their clocks add up to a little more than all."""
        return max(0.0, self.total - self.rendering - self.networks)

    def __add__(self, other: CoreSeconds) -> CoreSeconds:
        return CoreSeconds(self.total + other.total, self.rendering + other.rendering, self.networks + other.networks)

    def __sub__(self, other: CoreSeconds) -> CoreSeconds:
        return CoreSeconds(self.total - other.total, self.rendering - other.rendering, self.networks - other.networks)


class Meter:
    """CPU seconds of this process inside ``with meter.running():``. A block within another one counts once. Of a thread
    beside the main one, which works with one torch thread, they are its own.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._lock, self._inside = threading.Lock(), threading.local()

    @contextmanager
    def running(self) -> Iterator[None]:
        """What happens inside counts."""
        if getattr(self._inside, "counting", False):
            yield
            return
        main = threading.current_thread() is threading.main_thread()
        clock = time.process_time if main else time.thread_time
        self._inside.counting, before = True, clock()
        try:
            yield
        finally:
            self._inside.counting = False
            with self._lock:
                self.seconds += clock() - before


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
