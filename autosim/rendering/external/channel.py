"""Bytes to and from an engine, within a time limit: lines, and arrays of known length."""

from __future__ import annotations

import os
import select
import time

from autosim.errors import RendererError

# The longest line that an engine may send, in bytes.
LONGEST = 1 << 20
# Bytes that a pipe is asked to hold; the system's own 64 KiB make for many small pieces.
PIPE = 1 << 20


class Ended(RendererError):
    """The engine has closed the connection."""


class Late(RendererError):
    """The engine has not answered within the time limit."""


class Channel:
    """Two file descriptors, which may be the same socket: ``reading`` and ``writing``."""

    def __init__(self, reading: int, writing: int) -> None:
        self.reading, self.writing = reading, writing
        self._held = bytearray()
        for descriptor in (reading, writing):
            os.set_blocking(descriptor, False)

    def send(self, data: bytes, deadline: float) -> None:
        """Send all of ``data`` by ``deadline`` (``time.monotonic``); raises :class:`Ended` or :class:`Late`."""
        view = memoryview(data)
        while view:
            self._wait(self.writing, select.POLLOUT, deadline)
            try:
                view = view[os.write(self.writing, view) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise Ended("the engine has ended") from error

    def line(self, deadline: float) -> bytes:
        """The next line without its end; ``RendererError`` where it is longer than :data:`LONGEST`."""
        searched = 0
        while (end := self._held.find(b"\n", searched)) < 0:
            searched = len(self._held)
            if searched > LONGEST:
                raise RendererError(f"the engine sent a line of more than {LONGEST} bytes")
            self._held += self._read(1 << 16, deadline)
        found = bytes(self._held[:end])
        del self._held[: end + 1]
        return found

    def fill(self, view: memoryview, deadline: float) -> None:
        """Fill all of ``view``, writable bytes, with what comes next."""
        held = min(len(self._held), len(view))
        view[:held] = self._held[:held]
        del self._held[:held]
        view = view[held:]
        while view:
            self._wait(self.reading, select.POLLIN, deadline)
            try:
                got = os.readv(self.reading, [view])
            except BlockingIOError:
                continue
            except OSError:
                got = 0
            if not got:
                raise Ended("the engine has ended")
            view = view[got:]

    def _read(self, most: int, deadline: float) -> bytes:
        while True:
            self._wait(self.reading, select.POLLIN, deadline)
            try:
                data = os.read(self.reading, most)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if not data:
                raise Ended("the engine has ended")
            return data

    def _wait(self, descriptor: int, event: int, deadline: float) -> None:
        poll = select.poll()  # select itself knows no descriptor above 1023
        poll.register(descriptor, event)
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise Late("no answer within the time limit")
