"""Random search: uniform candidates, the best one kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from algorithms.searches.random_search import RandomSearch, RandomSearchConfig
from autosim.env import Env
from autosim.errors import UserError
from autosim.rendering.actors.pool import RayPool
from autosim.rendering.frames import Frames
from autosim.scenes.parametric import ParametricGenerator
from autosim.session import Session
from autosim.testing import AlgorithmSuite
from tests.support.helpers import BlobConfig, BlobEnv, BlobRenderer, blob_session

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = RandomSearchConfig(iterations=10, datasets=2, frames=8, epochs=6)


class TestRandomSearch(AlgorithmSuite):
    def env(self) -> Env:
        return BlobEnv(BlobConfig())

    def algorithm(self, session: Session) -> RandomSearch:
        return RandomSearch(session, QUICK)


class Searched:
    """A search whose data sets are scored by a list of numbers."""

    def __init__(self, scores: Sequence[float], **options: int) -> None:
        self.session = blob_session()
        left = list(scores)

        def score_datasets(datasets: Sequence[Frames], *_: Any, **__: Any) -> list[float]:
            return [left.pop(0) for _ in datasets]

        self.session.score_datasets = score_datasets  # type: ignore[method-assign]
        self.algorithm = RandomSearch(self.session, RandomSearchConfig(**{"frames": 1, **options}))  # type: ignore[arg-type]


def test_candidates_are_uniform_and_independent() -> None:
    from scipy.stats import kstest

    searched = Searched([0.0] * 400, datasets=100)
    for iteration in range(4):
        searched.algorithm.step(iteration)
    points = np.array(searched.algorithm.points)
    dimensions = searched.algorithm.start.unit_dimensions()
    assert points.shape == (400, len(dimensions)) and len(dimensions) == 9
    assert points.min() >= 0 and points.max() <= 1
    for column in points.T:
        assert kstest(column, "uniform").pvalue > 1e-4
    correlation = np.corrcoef(points.T)[np.triu_indices(9, 1)]
    assert np.abs(correlation).max() < 5 / np.sqrt(400)
    assert len({tuple(p) for p in points}) == 400


def test_the_best_candidate_is_kept() -> None:
    searched = Searched([0.2, float("nan"), 0.5, 0.5, 0.4, 0.3], datasets=2)
    assert searched.algorithm.generator is searched.algorithm.start
    reported = [searched.algorithm.step(i) for i in range(3)]
    assert [m["val_score"] for m in reported] == [0.2, 0.5, 0.5]
    assert [m["round_best"] for m in reported] == [0.2, 0.5, 0.4]
    assert [m["round_mean"] for m in reported] == pytest.approx([0.2, 0.5, 0.35])
    best = searched.algorithm.generator
    assert isinstance(best, ParametricGenerator)
    means = searched.algorithm.start.from_unit(searched.algorithm.points[2]).means
    assert best.means.tolist() == means.tolist()


def test_the_starting_point_may_be_tried_first() -> None:
    algorithm = RandomSearch(blob_session(), RandomSearchConfig(datasets=2, start=True))
    first, second = algorithm.propose(0)
    assert first.tolist() == algorithm.start.to_unit().tolist() != second.tolist()
    plain = RandomSearch(blob_session(), RandomSearchConfig(datasets=2)).propose(0)
    assert plain[0].tolist() != first.tolist() and plain[1].tolist() == second.tolist()
    algorithm.points = [first, second]
    assert algorithm.propose(1)[0].tolist() != first.tolist()


def test_a_resumed_search_knows_its_best() -> None:
    first = Searched([0.2, 0.6], datasets=2)
    first.algorithm.step(0)
    best = first.algorithm.generator
    second = Searched([0.5, 0.1], datasets=2)
    second.algorithm.load_state_dict(first.algorithm.state_dict())
    assert second.algorithm.step(1)["val_score"] == 0.6
    taken_up = second.algorithm.generator
    assert isinstance(best, ParametricGenerator) and isinstance(taken_up, ParametricGenerator)
    assert taken_up.to_unit().tolist() == best.to_unit().tolist()
    fresh = Searched([], datasets=2)
    fresh.algorithm.load_state_dict(Searched([], datasets=2).algorithm.state_dict())
    assert fresh.algorithm.generator is fresh.algorithm.start


def test_images_are_those_of_the_data_sets() -> None:
    session = blob_session()
    algorithm = RandomSearch(session, RandomSearchConfig(datasets=3, frames=5))
    assert session.images == 0
    algorithm.step(0)
    assert session.images == 15


def test_a_target_without_labels_is_refused_in_one_line() -> None:
    with pytest.raises(UserError, match="needs a labelled target") as caught:
        RandomSearch(blob_session(unlabelled=True), QUICK)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_numbers_do_not_depend_on_the_number_of_workers(ray_session: None) -> None:
    here = RandomSearch(blob_session(), QUICK)
    expected = here.step(0)
    assert 0 < float(expected["round_mean"] or 0) < 1
    with RayPool(BlobRenderer(BlobConfig().size, slots=2), 2) as pool:
        there = RandomSearch(blob_session(pool=pool, workers=2), QUICK)
        assert there.step(0) == expected
    assert there.scores == here.scores
