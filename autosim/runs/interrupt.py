"""Ctrl-C while a method iterates: the first stops after the iteration at hand, the second at once."""

from __future__ import annotations

import os
import signal
from types import FrameType, TracebackType

MESSAGE = b"\nstopping after this iteration; Ctrl-C again quits at once\n"


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
