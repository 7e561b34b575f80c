"""Successive halving: which data sets go on, what they cost, and that those scored in full are as without rungs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from algorithms.searches.bo import BayesianOptimisation, BayesianOptimisationConfig
from algorithms.searches.lts import LearningToSimulate, LearningToSimulateConfig
from algorithms.searches.random_search import RandomSearch, RandomSearchConfig
from algorithms.searches.rungs import Rungs
from algorithms.searches.search import SearchConfig, finished
from autosim.env import Env
from autosim.learning.schedule import TrainingSchedule
from autosim.rendering.frames import Frames
from autosim.scenes.parametric import ParametricGenerator
from autosim.session import Session
from autosim.testing import AlgorithmSuite
from tests.support.helpers import BlobConfig, BlobEnv, blob_session

pytestmark = pytest.mark.usefixtures("one_thread")


class TestRandomSearchOnRungs(AlgorithmSuite):
    def env(self) -> Env:
        return BlobEnv(BlobConfig())

    def algorithm(self, session: Session) -> RandomSearch:
        return RandomSearch(session, RandomSearchConfig(datasets=4, frames=12, epochs=1, rungs=2))


@pytest.mark.slow
class TestLearningToSimulateOnRungs(AlgorithmSuite):
    def env(self) -> Env:
        return BlobEnv(BlobConfig())

    def algorithm(self, session: Session) -> LearningToSimulate:
        config = LearningToSimulateConfig(datasets=3, frames=9, epochs=1, rungs=2, keep_best=True)
        return LearningToSimulate(session, config)


def generators(session: Session, count: int) -> list[ParametricGenerator]:
    start = ParametricGenerator(session.env.prior())
    rng = np.random.default_rng(0)
    return [start.from_unit(rng.random(len(start.unit_dimensions()))) for _ in range(count)]


def test_those_that_reach_the_last_rung_have_the_scores_they_would_have_without() -> None:
    session = blob_session()
    tried = generators(session, 6)
    scores, given_up = Rungs(session, 2, frames=18, epochs=3).score(tried, iteration=2)
    assert session.images == 6 * 6 + 2 * 12
    assert len(given_up) == 4
    whole = blob_session().score_generators(tried, 18, 3, iteration=2)
    for i in set(range(6)) - set(given_up):
        assert scores[i] == whole[i]
    assert Rungs(blob_session(), 1, frames=18, epochs=3).score(tried, iteration=2) == (whole, [])


def on_scores(session: Session, table: dict[int, list[float]]) -> list[int]:
    """Data sets of so many frames are scored by the table, in order; returns the sizes of what was scored."""
    sizes: list[int] = []
    left = {size: list(scores) for size, scores in table.items()}

    def score_datasets(
        datasets: Sequence[Frames], against: Frames, schedule: TrainingSchedule | None = None
    ) -> list[float]:
        assert schedule is not None and schedule.epochs == 5
        sizes.extend(len(frames) for frames in datasets)
        return [left[len(frames)].pop(0) for frames in datasets]

    session.score_datasets = score_datasets  # type: ignore[method-assign]
    return sizes


def test_the_best_third_of_all_on_a_rung_goes_on_and_the_rest_is_given_what_it_may_have_come_to() -> None:
    session = blob_session()
    table = {2: [0.1, 0.4, 0.2, 0.3, 0.05, 0.15, 0.3, 0.5, 0.1], 6: [0.5, 0.6, 0.55, 0.7], 18: [0.8, 0.9]}
    sizes = on_scores(session, table)
    rungs = Rungs(session, 3, frames=18, epochs=5)
    scores, given_up = rungs.score(generators(session, 6), 0)
    # Of six the second and the fourth go on, of these two the better: the fourth.
    assert sizes == [2] * 6 + [6] * 2 + [18]
    assert given_up == [0, 1, 2, 4, 5] and scores[3] == 0.8
    first, second = np.mean([0.1, 0.3]), 0.2
    assert scores[0] == pytest.approx(0.1 + first + second)
    assert scores[1] == pytest.approx(0.5 + second)
    # The best three of nine are .5, .4 and .3, old and new; of the four on the second rung .7 is among the best two.
    scores, given_up = rungs.score(generators(session, 3), 1)
    assert sizes[9:] == [2] * 3 + [6] * 2 + [18]
    assert given_up == [0, 2] and scores[1] == 0.9 and max(scores) <= 0.9


def test_a_training_that_diverged_does_not_go_on() -> None:
    session = blob_session()
    on_scores(session, {3: [math.nan, 0.2, math.nan], 9: [math.nan]})
    scores, given_up = Rungs(session, 2, frames=9, epochs=5).score(generators(session, 3), 0)
    assert given_up == [0, 2] and all(math.isnan(score) for score in scores)


def test_the_result_is_one_that_was_scored_in_full() -> None:
    assert finished([0.1, 0.9, 0.5], [1])[0::2] == [0.1, 0.5] and math.isnan(finished([0.1, 0.9], [1])[1])
    session = blob_session()
    on_scores(session, {3: [0.5, 0.4, 0.1], 9: [0.2]})
    search = RandomSearch(session, RandomSearchConfig(datasets=3, frames=9, epochs=5, rungs=2))
    assert search.step(0)["val_score"] == 0.2
    assert np.array_equal(search.start.from_unit(search.points[0]).to_unit(), search.generator.to_unit())  # type: ignore[operator]
    assert search.scores[0] == max(search.scores)


def test_bo_returns_a_point_that_was_scored_in_full() -> None:
    session = blob_session()
    config = BayesianOptimisationConfig(frames=9, epochs=5, rungs=2, repeats=2, initial=4)
    on_scores(session, {3: [0.1, 0.1, 0.9, 0.8, 0.2, 0.3], 9: [0.1, 0.2]})
    search = BayesianOptimisation(session, config)
    search.step(0)
    assert search.given_up == [0, 1, 4, 5]
    assert any(np.array_equal(search.best_point(), search.points[i]) for i in (2, 3))


def test_more_rungs_than_frames_allow_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^rungs: 4 leave less than a frame of frames 20"):
        SearchConfig(frames=20, rungs=4)
    assert SearchConfig(frames=27, rungs=4).rungs == 4
