"""Jobs in processes of their own: a few at once, one thread each, none of them able to stop the others.

Processes are kept from job to job, so that libraries are imported once. They do not share the terminal's Ctrl-C: the
process that waits for them ends them, and they end by themselves where it is gone.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar

from autosim.errors import UserError
from autosim.parallel import one_thread_each
from autosim.registry import one_line

Item = TypeVar("Item")

# Seconds between two checks of how far the jobs are, and how long an ended process is waited for.
INTERVAL = 1.0
PATIENCE = 5.0


@dataclass(frozen=True)
class Event:
    """Job ``index`` has started, is done or has failed. ``cause`` says why in one line; ``mendable``: by the user."""

    kind: Literal["started", "done", "failed"]
    index: int
    cause: str = ""
    mendable: bool = False


class WorkerProcesses:
    """A context manager over ``workers`` processes, started when first needed; with 0, jobs are done in this one.

    Each calls ``first`` before its first job. What they print, and the traceback of what fails, goes to the file
    ``log``. Ctrl-C ends them at once.
    """

    def __init__(self, workers: int, log: Path, first: Callable[[], object] | None = None) -> None:
        self._workers = workers
        self._log = log
        self._first = first
        self._processes: list[_Process] = []

    def __enter__(self) -> WorkerProcesses:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.end()

    def run(
        self,
        function: Callable[[Item], object],
        items: Sequence[Item],
        report: Callable[[Event], None],
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        """Call ``function`` on every item, in order; both are sent by pickle. ``report`` hears of every job; ``tick``
        is called about once a second while jobs run, but not where they run in this process.
        """
        if self._workers == 0:
            self._run_here(function, items, report)
            return
        following = 0
        while following < len(items) or any(process.index is not None for process in self._processes):
            while following < len(items) and (idle := self._idle()) is not None:
                idle.give(following, function, items[following])
                report(Event("started", following))
                following += 1
            busy: dict[Any, _Process] = {p.connection: p for p in self._processes if p.index is not None}
            for connection in wait(list(busy), timeout=INTERVAL):
                process = busy[connection]
                event = process.answer()
                if process.gone:
                    self._processes.remove(process)
                report(event)
            tick()

    def _idle(self) -> _Process | None:
        for process in self._processes:
            if process.index is None:
                return process
        if len(self._processes) < self._workers:
            self._processes.append(_Process(self._log, self._first))
            return self._processes[-1]
        return None

    def _run_here(
        self, function: Callable[[Item], object], items: Sequence[Item], report: Callable[[Event], None]
    ) -> None:
        for index, item in enumerate(items):
            report(Event("started", index))
            with self._log.open("a", encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
                cause, mendable = _attempt(function, item)
            report(Event("failed", index, cause, mendable) if cause else Event("done", index))


class _Process:
    """A process that does one job at a time; ``index`` is that job's, None where there is none."""

    def __init__(self, log: Path, first: Callable[[], object] | None) -> None:
        self.index: int | None = None
        self.gone = False
        # Not forked: threads of libraries that are loaded here already would not survive it.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(target=_serve, args=(theirs, log, first), daemon=True)
        with one_thread_each():
            self._process.start()
        theirs.close()

    def give(self, index: int, function: Callable[[Any], object], item: Any) -> None:
        self.index = index
        self.connection.send((function, item))

    def answer(self) -> Event:
        """What became of the job, once there is something to read."""
        assert self.index is not None
        index, self.index = self.index, None
        try:
            cause, mendable = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.gone = True
            self.end()
            return Event("failed", index, f"its process ended with exit code {self._process.exitcode}")
        return Event("failed", index, cause, mendable) if cause else Event("done", index)

    def end(self) -> None:
        self._process.join(0 if not self.gone else PATIENCE)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join(PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self.connection.close()


def _serve(connection: Connection, log: Path, first: Callable[[], object] | None) -> None:
    """What a process does: jobs, until the other end is closed."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with log.open("a", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if first is not None:
        first()
    while True:
        try:
            function, item = connection.recv()
        except EOFError:
            return
        connection.send(_attempt(function, item))


def _attempt(function: Callable[[Any], object], item: Any) -> tuple[str, bool]:
    """Why the job failed, in one line (empty where it did not), and whether that is the user's to mend."""
    try:
        function(item)
    except UserError as error:
        return " ".join(str(error).split()) or "failed", True
    except Exception as error:
        traceback.print_exc()
        return one_line(error), False
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return "", False


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
