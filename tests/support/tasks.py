"""Tasks for Ray in a module that is imported at once: a process that has died is replaced by one that has to do so."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def trained(seed: int) -> tuple[int, int, float]:
    """(process, torch threads, a number that depends on the order of summation)."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(300, 300, generator=generator)
    return os.getpid(), torch.get_num_threads(), float((matrix @ matrix @ matrix).sum())


def dies(place: tuple[Path, int, int]) -> int:
    """Kills its own process the first ``times`` times that ``number`` is asked for."""
    folder, number, times = place
    seen = len(list(folder.glob(f"{number}-*")))
    if seen < times:
        (folder / f"{number}-{seen}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def late_first(index: int) -> int:
    time.sleep(0.3 if index == 0 else 0.0)
    if index in (1, 3):
        raise LookupError(f"item {index}")
    return index


def meet(place: tuple[Path, int]) -> int:
    """Waits until a second task has started; how many are at work now."""
    folder, number = place
    (folder / f"started-{number}").touch()
    (folder / f"working-{number}").touch()
    deadline = time.monotonic() + 30
    while len(list(folder.glob("started-*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    at_work = len(list(folder.glob("working-*")))
    (folder / f"working-{number}").unlink()
    return at_work


def busy(seconds: float) -> None:
    """Computes for so many seconds of its processor time."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def rests(seconds: float) -> float:
    """Sleeps, and says for how long."""
    time.sleep(seconds)
    return seconds
