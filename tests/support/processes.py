"""Commands of autosim in processes of their own, forked from one that has imported what they need.

Importing PyTorch and Ray takes a process 5 s, more than a toy run does. ``tests/cli/test_third_party.py`` starts the
command as a shell does.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path


class ForkedCommand:
    """``autosim ARGUMENTS``, or a script, as ``subprocess.Popen`` with pipes would run it.

    It leads a process group of its own. SIGINT is as it is in this process: ignored, or not.
    """

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], cwd: Path, script: Path | None = None
    ) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.support.preloaded"])
        self._folder = tempfile.TemporaryDirectory()
        self._output = str(Path(self._folder.name) / "output")
        self.args = ["autosim", *arguments]
        ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        call = (self.args, dict(environment), str(cwd), self._output, ignored, script)
        self._process = context.Process(target=_run, args=call)
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if (code := self.poll()) is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it has printed, and its errors, once it has ended."""
        self.wait(timeout)
        return Path(self._output).read_text(), Path(f"{self._output}.errors").read_text()


def autosim(
    arguments: Sequence[str], environment: Mapping[str, str], cwd: Path, timeout: float = 120.0
) -> subprocess.CompletedProcess[str]:
    """Run the command ``autosim`` to its end; killed after ``timeout`` seconds."""
    process = ForkedCommand(arguments, environment, cwd)
    try:
        output, errors = process.communicate(timeout)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.wait(), output, errors)


def _run(
    command: list[str], environment: dict[str, str], cwd: str, output: str, ignored: bool, script: Path | None
) -> None:
    os.setsid()
    for number, name in ((0, os.devnull), (1, output), (2, f"{output}.errors")):
        opened = os.open(name, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.path[:0] = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.argv = command
    signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.default_int_handler)
    try:
        if script is None:
            from autosim.cli.main import main

            sys.exit(main(command[1:]))
        import runpy

        runpy.run_path(str(script), run_name="__main__")
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
