"""Signals that ask a command to stop: Ctrl-C, and SIGTERM, which schedulers and machines about to be taken away send.

While a method iterates, the first stops it after the current iteration, the second at once. A command that a shell
starts in the background finds SIGINT ignored, and Python then raises no ``KeyboardInterrupt``. ``kill -INT`` is still
how such a run is asked to stop, so commands listen to it however they were started.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

MESSAGE = b"\nstopping after this iteration; Ctrl-C again quits at once\n"
HEEDED = (signal.SIGINT, signal.SIGTERM)


class _Heard:
    """The signal that asked this process to stop."""

    number: int = signal.SIGINT


_HEARD = _Heard()


def exit_code() -> int:
    """What a stopped command ends with: 128 plus the signal's number, 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + int(_HEARD.number)


@contextmanager
def heeding_interrupts() -> Iterator[None]:
    """Inside, SIGTERM raises ``KeyboardInterrupt``, and so does SIGINT where this process was started with it ignored.

    Another handler of SIGINT stays. Outside the main thread, where no handler can be set, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _HEARD.number = signal.SIGINT
    before = {number: signal.getsignal(number) for number in HEEDED}
    if before[signal.SIGINT] == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if before[signal.SIGTERM] != signal.SIG_IGN:  # Ray, where it has run before, has left a handler of its own
        signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class StopRequest:
    """A context manager inside which the first signal sets ``made`` and the second raises ``KeyboardInterrupt``.

    Outside the main thread, where no handler can be set, it does nothing.
    """

    def __init__(self) -> None:
        self.made = False
        self._previous: dict[signal.Signals, signal.Handlers] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in HEEDED:
                self._previous[number] = signal.signal(number, self._handle)  # type: ignore[assignment]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        _HEARD.number = number
        if self.made:
            raise KeyboardInterrupt
        self.made = True
        # A plain write: the signal may have come in the middle of a print.
        os.write(2, MESSAGE)


def _terminate(number: int, frame: FrameType | None) -> None:
    _HEARD.number = number
    raise KeyboardInterrupt
