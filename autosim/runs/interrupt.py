"""Ctrl-C while a method iterates: the first stops after the current iteration, the second at once.

A command that a shell starts in the background finds SIGINT ignored, and Python then raises no ``KeyboardInterrupt``.
``kill -INT`` is still how such a run is asked to stop, so commands listen to it however they were started.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

MESSAGE = b"\nstopping after this iteration; Ctrl-C again quits at once\n"


@contextmanager
def heeding_interrupts() -> Iterator[None]:
    """Inside, SIGINT raises ``KeyboardInterrupt`` where this process was started with the signal ignored.

    Another handler stays. Outside the main thread, where no handler can be set, it does nothing.
    """
    ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    if not ignored or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


class StopRequest:
    """A context manager inside which the first SIGINT sets ``made`` and the second raises ``KeyboardInterrupt``.

    Outside the main thread, where no handler can be set, it does nothing.
    """

    def __init__(self) -> None:
        self.made = False
        self._previous: signal.Handlers | None = None

    def __enter__(self) -> StopRequest:
        try:
            self._previous = signal.signal(signal.SIGINT, self._handle)  # type: ignore[assignment]
        except ValueError:
            self._previous = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.made:
            raise KeyboardInterrupt
        self.made = True
        # A plain write: the signal may have come in the middle of a print.
        os.write(2, MESSAGE)
