"""What methods that score whole data sets share: the scoring itself, the best of what was tried, failures."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import pytest

from algorithms.searches.bo import BayesianOptimisation
from algorithms.searches.lts import LearningToSimulate
from algorithms.searches.optuna_search import OptunaSearch
from algorithms.searches.random_search import RandomSearch, RandomSearchConfig
from algorithms.searches.search import SearchConfig, best_of, penalised, round_metrics
from autosim.algorithm import Algorithm
from autosim.learning.schedule import TrainingSchedule
from autosim.rendering.frames import Frames
from autosim.scenes.parametric import ParametricGenerator
from autosim.search_space import draw
from tests.support.helpers import BlobEnv, blob_session

pytestmark = pytest.mark.usefixtures("one_thread")
NAN = float("nan")


def generators_of(env: BlobEnv) -> list[ParametricGenerator]:
    target = env.target()
    assert target is not None
    return [ParametricGenerator(env.prior()), ParametricGenerator(target)]


def test_each_generator_is_scored_by_frames_of_its_own() -> None:
    session = blob_session()
    assert isinstance(session.env, BlobEnv)
    start, target = generators_of(session.env)
    seen: list[Sequence[Frames]] = []
    original = session.score_datasets

    def score_datasets(
        datasets: Sequence[Frames], against: Frames, schedule: TrainingSchedule | None = None
    ) -> list[float]:
        seen.append(datasets)
        assert schedule == TrainingSchedule(epochs=8, batch_size=8, learning_rate=5e-3)
        assert against is session.validation
        return original(datasets, against, schedule)

    session.score_datasets = score_datasets  # type: ignore[method-assign]
    scores = session.score_generators([start, target, start], 16, 8, iteration=3)
    assert session.images == 48 and [len(frames) for frames in seen[0]] == [16, 16, 16]
    assert scores[1] > max(scores[0], scores[2])
    brightness = [float(frames.images.mean()) for frames in seen[0]]
    assert brightness[1] > 1.2 * max(brightness[0], brightness[2])
    assert not np.array_equal(seen[0][0].images, seen[0][2].images)
    assert session.score_generators([start, target, start], 16, 8, iteration=3) == scores
    assert session.score_generators([start, target, start], 16, 8, iteration=4) != scores


def test_a_training_that_diverges_is_scored_nan_and_survived() -> None:
    session = blob_session()
    session.env.schedule = TrainingSchedule(epochs=1, batch_size=8, learning_rate=1e12)
    search = RandomSearch(session, RandomSearchConfig(datasets=2, frames=8, epochs=2))
    metrics = search.step(0)
    assert all(math.isnan(score) for score in search.scores) and len(search.scores) == 2
    assert metrics == {"val_score": None, "round_best": None, "round_mean": None, "failed": 2.0}
    assert search.generator is search.start


def test_failures_are_never_the_best_and_count_as_the_worst() -> None:
    assert best_of([NAN, 0.2, 0.5, NAN, 0.5]) == 2
    assert best_of([NAN]) is None and best_of([]) is None
    assert penalised([NAN, 0.2, 0.5, NAN]) == [0.2, 0.2, 0.5, 0.2]
    assert penalised([NAN, NAN]) == [0.0, 0.0]
    metrics = round_metrics([0.6, 0.1, NAN, 0.3], [0.1, NAN, 0.3])
    assert metrics == {"val_score": 0.6, "round_best": 0.3, "round_mean": 0.2, "failed": 1.0}


@pytest.mark.parametrize("algorithm", [RandomSearch, BayesianOptimisation, OptunaSearch, LearningToSimulate])
def test_what_can_be_tuned_are_options_and_any_draw_is_allowed(algorithm: type[Algorithm]) -> None:
    space = algorithm.search_space()
    fields = {field.name for field in dataclasses.fields(algorithm.Config)}
    assert {"datasets", "frames", "epochs"} <= set(space) <= fields
    for seed in range(20):
        algorithm.Config(**draw(space, np.random.default_rng(seed)))


def test_methods_that_score_data_sets_do_so_under_the_same_conditions() -> None:
    configs = [a.Config() for a in (RandomSearch, BayesianOptimisation, OptunaSearch, LearningToSimulate)]
    assert len({(config.frames, config.epochs) for config in configs}) == 1


@pytest.mark.parametrize("field", ["iterations", "datasets", "frames", "epochs"])
def test_options_out_of_range_are_named(field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}: 0 is below 1"):
        SearchConfig(**{field: 0})
