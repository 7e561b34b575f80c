"""Folders that one process works in at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autosim.errors import UserError


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds a folder for this process, until it ends at the latest; ``UserError`` where another one works in it."""
    import fcntl

    with (path / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(f"--resume {path}: another process is at work in this folder") from error
        yield
