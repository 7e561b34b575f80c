"""Folders that one process works in at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autosim.errors import UserError


@contextmanager
def locked(path: Path, option: str = "--resume") -> Iterator[None]:
    """Holds a folder for this process, until it ends at the latest; ``UserError``, led by the ``option`` that named the
    folder, where another one works in it.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path / ".lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise UserError(f"{option} {path}: another process is at work in this folder") from None
    try:
        yield
    finally:
        lock.release()
