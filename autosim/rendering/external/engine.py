"""An engine's process: started under a guard, asked for frames, ended with the process that started it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from autosim.errors import RendererError
from autosim.ranges import Checked, Range
from autosim.rendering.external import guard
from autosim.rendering.external.channel import PIPE, Channel, Ended, Late
from autosim.rendering.usage import memory_held
from autosim.serve import PROTOCOL, SOCKET, TOKEN

Transport = Literal["pipe", "socket"]
# Characters of the engine's log that an error shows.
SHOWN = 160
# Bytes that the arrays of one answer may have.
MOST_BYTES = 1 << 32
# Types that arrays may have on their way.
TYPES = ("u1", "u2", "i4", "i8", "f4", "f8")


@dataclass(frozen=True)
class EngineSettings(Checked):
    """How an engine's process is started and how long it may take."""

    transport: Transport = "pipe"
    """Standard input and output, or a socket on loopback for engines that cannot use these."""
    start_seconds: Annotated[float, Range(above=0)] = 120.0
    """Seconds from the start of the process until it says what it draws."""
    frame_seconds: Annotated[float, Range(above=0)] = 60.0
    """Seconds that a frame may take."""
    logs: str = ""
    """Folder for what engines print, a file for each process; empty for autosim's folder of temporary files."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables added to the engine's environment."""


class Engine:
    """A running engine. Raises ``RendererError`` where it does not start, or says something else than the protocol.

    Whatever goes wrong with a request, the engine is ended: it may be in any state.
    """

    def __init__(self, command: Sequence[str], settings: EngineSettings) -> None:
        self._settings = settings
        self._number = 0
        folder = Path(settings.logs or Path(tempfile.gettempdir(), "autosim-engines"))
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / f"engine-{os.getpid()}-{secrets.token_hex(3)}.log"
        life, self._life = os.pipe()
        started = [sys.executable, "-I", "-S", str(Path(guard.__file__)), str(life), *command]
        environment = {**os.environ, **settings.environment}
        deadline = time.monotonic() + settings.start_seconds
        try:
            if settings.transport == "socket":
                self._connect(started, life, environment, deadline)
            else:
                self._pipe(started, life, environment)
            os.close(life)
            self.hello = self._message(deadline, None)
        except BaseException:
            self.close()
            raise
        if self.hello["autosim"] != PROTOCOL:
            self.close()
            raise RendererError(
                f"the engine speaks version {self.hello['autosim']} of the protocol instead of {PROTOCOL}"
            )

    def ask(
        self, what: str, scenes: Sequence[Mapping[str, Any]], seeds: Sequence[int], **options: Any
    ) -> dict[str, NDArray[Any]]:
        """Arrays by name, each with one entry for each scene; ``what`` is ``render`` or ``draw``."""
        self._number += 1
        request = {"autosim": PROTOCOL, "id": self._number, "do": what, "scenes": list(scenes), "seeds": list(seeds)}
        deadline = time.monotonic() + self._settings.frame_seconds * len(scenes)
        try:
            self._channel.send(json.dumps({**request, **options}).encode() + b"\n", deadline)
            answer = self._message(deadline, self._number)
            if "error" in answer:
                error = RendererError(" ".join(str(answer["error"]).split())[:200])
                place = answer.get("scene")
                error.place = place if isinstance(place, int) and 0 <= place < len(scenes) else None
                raise error
            return self._arrays(answer, len(scenes), deadline)
        except (Ended, Late) as error:
            given = f"{self._settings.frame_seconds * len(scenes):g} s ({len(scenes)} scenes)"
            late = f"the engine gave no answer within {given}" if isinstance(error, Late) else "the engine has ended"
            self.close()
            raise RendererError(f"{late}{self._last_words()}") from error

    @property
    def ended(self) -> bool:
        """Whether it has been ended."""
        return self._life < 0

    def core_seconds(self) -> float:
        """CPU seconds of the engine's process so far; 0 where the system does not tell."""
        return _core_seconds(self._process.pid) if self._process.poll() is None else self._used

    def memory_held(self) -> int:
        """Bytes of memory that the engine's process holds; 0 where the system does not tell."""
        return sum(map(memory_held, _with_children(self._process.pid)))

    def close(self) -> None:
        """End the engine and all of its processes."""
        if self._life < 0:
            return
        process = getattr(self, "_process", None)
        self._used = _core_seconds(process.pid) if process is not None else 0.0
        os.close(self._life)
        self._life = -1
        if (channel := getattr(self, "_channel", None)) is not None:
            for descriptor in {channel.reading, channel.writing}:
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        if process is not None:
            process.wait()

    _process: subprocess.Popen[bytes]
    _channel: Channel
    _used = 0.0

    def _pipe(self, command: Sequence[str], life: int, environment: Mapping[str, str]) -> None:
        requests, asking = os.pipe()
        hearing, answers = os.pipe()
        for descriptor in (asking, hearing):
            with contextlib.suppress(OSError):  # more than the system allows: the pipe stays as it is
                fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE)
        self._channel = Channel(hearing, asking)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=requests, stdout=answers, stderr=log, pass_fds=[life], env=environment
            )
        os.close(requests)
        os.close(answers)

    def _connect(self, command: Sequence[str], life: int, environment: dict[str, str], deadline: float) -> None:
        token = secrets.token_hex(16)
        with socket.create_server(("127.0.0.1", 0), backlog=1) as server, self.log.open("ab") as log:
            address = f"127.0.0.1:{server.getsockname()[1]}"
            command = [part.replace("{socket}", address).replace("{token}", token) for part in command]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[life],
                env={**environment, SOCKET: address, TOKEN: token},
            )
            while True:
                server.settimeout(max(0.01, min(0.2, deadline - time.monotonic())))
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    if self._process.poll() is not None:
                        raise RendererError(f"the engine has ended{self._last_words()}") from None
                    if time.monotonic() > deadline:
                        late = f"the engine did not connect within {self._settings.start_seconds:g} s"
                        raise RendererError(f"{late}{self._last_words()}") from None
                    continue
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                descriptor = connection.detach()
                channel = Channel(descriptor, descriptor)
                try:
                    said = channel.line(min(deadline, time.monotonic() + 5))
                except RendererError:
                    said = b""
                if secrets.compare_digest(said.strip(), token.encode()):
                    self._channel = channel
                    return
                os.close(descriptor)  # somebody else on this machine

    def _message(self, deadline: float, number: int | None) -> dict[str, Any]:
        """The next message, the answer to a request of this number or the first of all; what else is printed goes to
        the log.
        """
        while True:
            try:
                line = self._channel.line(deadline)
            except (Ended, Late) as error:
                if number is not None:
                    raise
                late = f"the engine did not say what it draws within {self._settings.start_seconds:g} s"
                said = late if isinstance(error, Late) else "the engine has ended"
                raise RendererError(f"{said}{self._last_words()}") from error
            message = _parsed(line)
            if message is not None and (number is None or message.get("id") == number):
                return message
            with self.log.open("ab") as log:
                log.write(line + b"\n")

    def _arrays(self, answer: Mapping[str, Any], count: int, deadline: float) -> dict[str, NDArray[Any]]:
        arrays: dict[str, NDArray[Any]] = {}
        described = answer.get("arrays")
        if not isinstance(described, list):
            raise self._nonsense(f"its answer has no arrays: {str(answer)[:80]}")
        for entry in described:
            try:
                name, kind, shape = entry
                right = isinstance(name, str) and kind in TYPES and all(isinstance(n, int) and n > 0 for n in shape)
                size = int(np.prod(shape, dtype=np.float64)) if right else 0
            except (TypeError, ValueError):
                right = False
            if not right or shape[0] != count or size * 8 > MOST_BYTES:
                needed = f"a name, one of {', '.join(TYPES)}, and a shape that begins with {count}"
                raise self._nonsense(f"an array of its answer is {str(entry)[:80]}; needed are {needed}")
            arrays[name] = np.empty(shape, dtype=np.dtype(f"<{kind}"))
            self._channel.fill(arrays[name].data.cast("B"), deadline)
        if self._channel.line(deadline) != b"":
            raise self._nonsense("its answer has more bytes than it said")
        return arrays

    def _nonsense(self, what: str) -> RendererError:
        self.close()
        return RendererError(f"the engine's answer makes no sense: {what}")

    def _last_words(self) -> str:
        """The end of its log, and where the whole is."""
        try:
            text = self.log.read_bytes()[-4000:].decode("utf-8", "replace")
        except OSError:
            text = ""
        lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
        said = f": {lines[-1][-SHOWN:]}" if lines else ""
        return f"{said} (log: {self.log})"


def _parsed(line: bytes) -> dict[str, Any] | None:
    """A message of the protocol, or None for whatever else."""
    if not line.startswith(b"{"):
        return None
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) and "autosim" in message else None


def _core_seconds(process: int) -> float:
    """Of a guard's process and those it has started, as Linux's /proc tells; 0 elsewhere."""
    ticks = os.sysconf("SC_CLK_TCK")
    total = 0.0
    try:
        for number in _with_children(process):
            fields = Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()
            total += sum(int(value) for value in fields[11:15]) / ticks
    except (OSError, ValueError, IndexError):
        return total
    return total


def _with_children(process: int) -> list[int]:
    """A process and those that it has started, as Linux's /proc tells."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return [process]
    return [process, *map(int, children)]
