"""The search on Optuna: better than chance, its view of the dimensions, what it says where Optuna is missing."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from algorithms.searches.optuna_search import OptunaSearch, OptunaSearchConfig, to_params, to_point
from algorithms.searches.random_search import RandomSearch, RandomSearchConfig
from autosim.env import Env
from autosim.errors import UserError
from autosim.scenes.parametric import ParametricGenerator
from autosim.session import Session
from autosim.testing import AlgorithmSuite
from tests.algorithms.searches.closed_form import bump, reached, scored_session
from tests.scenes.examples import table
from tests.support.helpers import BlobConfig, BlobEnv, blob_session

optuna = pytest.importorskip("optuna")
pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = OptunaSearchConfig(iterations=5, datasets=2, frames=8, epochs=2, initial=3)


class TestOptunaSearch(AlgorithmSuite):
    def env(self) -> Env:
        return BlobEnv(BlobConfig())

    def algorithm(self, session: Session) -> OptunaSearch:
        return OptunaSearch(session, QUICK)


def test_it_climbs() -> None:
    search = OptunaSearch(scored_session(noise=0.01), OptunaSearchConfig())
    assert reached(search, evaluations=48) > bump(search.start.to_unit()) + 0.1


@pytest.mark.slow
def test_it_beats_random_search_with_as_many_data_sets() -> None:
    ours, random = [], []
    for seed in range(12):
        ours.append(reached(OptunaSearch(scored_session(seed, noise=0.01), OptunaSearchConfig()), evaluations=48))
        random.append(reached(RandomSearch(scored_session(seed, noise=0.01), RandomSearchConfig()), evaluations=48))
    assert np.mean(ours) > np.mean(random) + 0.03
    assert np.median(ours) > np.median(random)


def test_the_start_comes_first_and_the_points_of_a_batch_differ() -> None:
    search = OptunaSearch(scored_session(), OptunaSearchConfig(datasets=4, initial=4))
    for iteration in range(3):
        search.step(iteration)
    assert search.points[0] == pytest.approx(search.start.to_unit())
    points = np.array(search.points)
    assert points.shape == (12, 9) and points.min() >= 0 and points.max() <= 1
    assert len({tuple(point) for point in search.points}) == 12


def test_attributes_of_more_than_two_choices_are_categories() -> None:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    search = OptunaSearch(scored_session(), OptunaSearchConfig())
    search.start = ParametricGenerator(table())
    distributions = search.distributions()
    assert list(distributions) == search.start.unit_dimensions()
    assert distributions["scene.samples"] == CategoricalDistribution(range(3))
    assert distributions["object.0.material"] == FloatDistribution(0.0, 1.0)
    assert distributions["object.0.x"] == FloatDistribution(0.0, 1.0)
    point = np.linspace(0, 1, len(distributions))
    there = to_params(point, distributions)
    assert there["scene.samples"] == 0 and isinstance(there["scene.samples"], int)
    back = to_point(there, distributions)
    same = search.start.from_unit(point), search.start.from_unit(back)
    assert same[0].parameters_by_key() == same[1].parameters_by_key()
    assert to_params(np.ones(len(distributions)), distributions)["scene.samples"] == 2


def test_failures_count_as_the_worst_score(monkeypatch: pytest.MonkeyPatch) -> None:
    known: list[float] = []
    original = optuna.trial.create_trial

    def create_trial(**options: Any) -> Any:
        known.append(options["value"])
        return original(**options)

    def failing(point: NDArray[np.float64]) -> float:
        return float("nan") if point[0] > 0.6 else bump(point)

    search = OptunaSearch(scored_session(score=failing), OptunaSearchConfig(datasets=16))
    metrics = search.step(0)
    scores = np.array(search.scores)
    assert np.isnan(scores).any() and metrics["val_score"] == np.nanmax(scores)
    monkeypatch.setattr(optuna.trial, "create_trial", create_trial)
    search.step(1)
    assert known == np.where(np.isnan(scores), np.nanmin(scores), scores).tolist()


def test_without_the_package_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"autosim-engine\[optuna\]") as caught:
        OptunaSearch(blob_session(), QUICK)
    assert "\n" not in str(caught.value)


def test_a_target_without_labels_is_refused_in_one_line() -> None:
    with pytest.raises(UserError, match=r"^optuna needs a labelled target"):
        OptunaSearch(blob_session(unlabelled=True), QUICK)


@pytest.mark.parametrize("field", ["initial", "datasets"])
def test_options_out_of_range_are_named(field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}: 0 is below 1"):
        OptunaSearchConfig(**{field: 0})
