"""A session whose data sets are scored in closed form, so that searches can be tested without rendering."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from algorithms.searches.search import Search
from autosim.scenes.generator import SceneGenerator
from autosim.scenes.parametric import ParametricGenerator
from autosim.seeding import seed_sequence
from autosim.session import Session
from tests.support.helpers import blob_session

Score = Callable[[NDArray[np.float64]], float]
PEAK = np.array([0.75, 0.7, 0.4, 0.2, 0.8, 0.7, 0.6, 0.3, 0.8])
"""Where :func:`bump` is largest: 9 dimensions, as the view of the blobs has."""


def bump(point: NDArray[np.float64]) -> float:
    """Score in (0, 1] that falls off around :data:`PEAK`."""
    return math.exp(-float(((point - PEAK) ** 2).sum()) / 1.5)


def scored_session(seed: int = 0, score: Score = bump, noise: float = 0.0) -> Session:
    """A session on blobs that gives a data set the score of its generator's parameters, and noise of that deviation."""
    session = blob_session(seed=seed)

    def score_generators(
        generators: Sequence[SceneGenerator], frames_each: int, epochs: int, iteration: int = 0
    ) -> list[float]:
        draws = np.random.default_rng(seed_sequence(seed, "noise", iteration)).standard_normal(len(generators))
        points = [generator.to_unit() for generator in generators if isinstance(generator, ParametricGenerator)]
        return [score(point) + noise * float(draw) for point, draw in zip(points, draws, strict=True)]

    session.score_generators = score_generators  # type: ignore[method-assign]
    return session


def reached(search: Search, evaluations: int) -> float:
    """The noise-free score of the generator after as many data sets."""
    iteration = 0
    while len(search.scores) < evaluations:
        search.step(iteration)
        iteration += 1
    assert isinstance(search.generator, ParametricGenerator)
    return bump(search.generator.to_unit())
