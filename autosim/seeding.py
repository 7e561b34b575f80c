"""Seeds: every random draw of a run is a function of (run seed, purpose, iteration, index) alone."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def seed_sequence(run_seed: int, purpose: str, iteration: int = 0, index: int = 0) -> np.random.SeedSequence:
    """Seed sequence for one draw; equal arguments give equal draws on any machine and in any order."""
    return np.random.SeedSequence(run_seed, spawn_key=(zlib.crc32(purpose.encode()), iteration, index))


def integer_seed(run_seed: int, purpose: str, iteration: int = 0, index: int = 0) -> int:
    """A 31-bit seed for libraries that take integers."""
    return int(seed_sequence(run_seed, purpose, iteration, index).generate_state(1)[0] >> 1)


def frame_seeds(run_seed: int, purpose: str, iteration: int, count: int) -> list[int]:
    """31-bit render seeds for ``count`` scenes of one batch."""
    state = seed_sequence(run_seed, purpose, iteration).generate_state(count)
    return [int(value >> 1) for value in state]


@contextmanager
def torch_seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Torch's global random state begins from ``seed`` inside, on the CPU and on ``device``; then it is as before.

    New weights and dropout draw from that state.
    """
    import torch  # not above: render workers need no torch

    cuda = torch.device(device).type == "cuda"
    with torch.random.fork_rng(devices=[device] if cuda else []):
        # ``torch.manual_seed`` would seed all other devices too, and nobody put their state back.
        torch.random.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
