"""Seeds: every random draw of a run is a function of (run seed, purpose, iteration, index) alone."""

import zlib

import numpy as np


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
