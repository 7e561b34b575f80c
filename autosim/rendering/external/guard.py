"""Keeps an engine from outliving the process that started it: ``python guard.py DESCRIPTOR COMMAND …``.

Runs the command, and ends it with all its processes once the other end of the pipe DESCRIPTOR is closed, which happens
however the process that holds it ends. Imports nothing of autosim, so that it starts in milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading


def main(arguments: list[str]) -> int:
    """Exit code of the command; 127 where it cannot be started."""
    life, command = int(arguments[0]), arguments[1:]
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the process that started the engine decides when it ends
    try:
        engine = subprocess.Popen(command, start_new_session=True)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    # Its own copies would keep the engine's pipes open after the engine has closed them.
    os.close(0)
    os.close(1)
    ended, tell = os.pipe()

    def wait() -> None:
        engine.wait()
        os.close(tell)

    threading.Thread(target=wait, daemon=True).start()
    select.select([life, ended], [], [])
    with contextlib.suppress(ProcessLookupError):
        os.killpg(engine.pid, signal.SIGKILL)  # its own processes too, where it has ended by itself
    return engine.wait()


if __name__ == "__main__":
    code = main(sys.argv[1:])
    os._exit(code if code >= 0 else 128 - code)
