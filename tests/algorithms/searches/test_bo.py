"""Bayesian optimisation: better than chance, aware of noise, unshaken by failures, repeatable."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from algorithms.searches.bo import BayesianOptimisation, BayesianOptimisationConfig
from algorithms.searches.random_search import RandomSearch, RandomSearchConfig
from autosim.env import Env
from autosim.errors import UserError
from autosim.scenes.parametric import ParametricGenerator
from autosim.session import Session
from autosim.testing import AlgorithmSuite
from tests.algorithms.searches.closed_form import bump, reached, scored_session
from tests.support.helpers import BlobConfig, BlobEnv, blob_session

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = BayesianOptimisationConfig(iterations=5, datasets=2, frames=8, epochs=2, repeats=2, initial=2)


class TestBayesianOptimisation(AlgorithmSuite):
    def env(self) -> Env:
        return BlobEnv(BlobConfig())

    def algorithm(self, session: Session) -> BayesianOptimisation:
        return BayesianOptimisation(session, QUICK)


def test_it_climbs() -> None:
    search = BayesianOptimisation(scored_session(noise=0.01), BayesianOptimisationConfig())
    assert reached(search, evaluations=24) > bump(search.start.to_unit()) + 0.1


@pytest.mark.slow
def test_it_beats_random_search_with_as_many_data_sets() -> None:
    ours, random = [], []
    for seed in range(3):
        bo = BayesianOptimisation(scored_session(seed, noise=0.01), BayesianOptimisationConfig())
        ours.append(reached(bo, evaluations=30))
        random.append(reached(RandomSearch(scored_session(seed, noise=0.01), RandomSearchConfig()), evaluations=30))
    assert np.mean(ours) > np.mean(random) + 0.05
    assert min(ours) > np.mean(random)


def test_the_first_round_is_the_start_repeated_and_points_spread_evenly() -> None:
    search = BayesianOptimisation(scored_session(), BayesianOptimisationConfig(repeats=3, initial=8))
    search.step(0)
    points = np.array(search.points)
    assert points.shape == (11, 9)
    assert (points[:3] == search.start.to_unit()).all()
    # A Sobol sequence has as many points in the lower half of every dimension as in the upper.
    assert ((points[3:] < 0.5).sum(axis=0) == 4).all()
    other = BayesianOptimisation(scored_session(seed=1), BayesianOptimisationConfig(repeats=3, initial=8))
    other.step(0)
    assert not np.array_equal(other.points[3], search.points[3])


def test_the_noise_of_a_score_is_measured_by_repeated_points() -> None:
    search = BayesianOptimisation(blob_session(), BayesianOptimisationConfig())
    draws = np.random.default_rng(0).standard_normal(2000)
    first, second = search.start.to_unit(), np.full(9, 0.5)
    search.points = [first] * 1000 + [second] * 1000 + [np.zeros(9)]
    search.scores = (
        [0.3 + 0.02 * float(d) for d in draws[:1000]] + [0.6 + 0.02 * float(d) for d in draws[1000:]] + [0.9]
    )
    points, means, noise = search.observations()
    assert points.tolist() == [first.tolist(), second.tolist(), [0.0] * 9]
    assert means == pytest.approx([0.3, 0.6, 0.9], abs=0.003)
    assert noise == pytest.approx(0.02**2, rel=0.15)
    assert search.summary() == {"score_noise": pytest.approx(0.02, rel=0.08)}
    search.points, search.scores = [first, first, second], [0.1, 0.3, 0.7]
    assert search.observations()[2] == pytest.approx(0.02)


def test_the_noise_reaches_the_process_in_the_units_of_its_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.gaussian_process import GaussianProcessRegressor

    fitted: list[tuple[float, NDArray[np.float64]]] = []
    original = GaussianProcessRegressor.fit

    def fit(process: Any, points: NDArray[np.float64], scores: NDArray[np.float64]) -> Any:
        fitted.append((process.alpha, scores))
        return original(process, points, scores)

    search = BayesianOptimisation(
        scored_session(noise=0.05), BayesianOptimisationConfig(datasets=1, repeats=3, initial=8)
    )
    search.step(0)
    monkeypatch.setattr(GaussianProcessRegressor, "fit", fit)
    search.step(1)
    alpha, scores = fitted[0]
    own = np.array([np.mean(search.scores[:3]), *search.scores[3:11]])
    assert scores == pytest.approx((own - own.mean()) / own.std())
    assert alpha == pytest.approx(np.var(search.scores[:3], ddof=1) / own.var())


def test_the_result_is_the_point_of_best_posterior_mean_and_not_the_luckiest_score() -> None:
    search = BayesianOptimisation(scored_session(), BayesianOptimisationConfig())
    assert search.generator is search.start
    good, poor = np.full(9, 0.6), np.full(9, 0.1)
    rng = np.random.default_rng(0)
    near = [np.clip(good + 0.03 * rng.standard_normal(9), 0, 1) for _ in range(6)]
    far = [np.clip(poor + 0.03 * rng.standard_normal(9), 0, 1) for _ in range(6)]
    # Where six scores of .3 are, one of .62 is luck.
    search.points = [search.start.to_unit()] * 4 + near + far
    search.scores = [0.3, 0.42, 0.5, 0.38, *[0.6, 0.58, 0.59, 0.61, 0.6, 0.57], *[0.3, 0.28, 0.62, 0.31, 0.3, 0.29]]
    assert isinstance(search.generator, ParametricGenerator)
    assert np.linalg.norm(search.generator.to_unit() - good) < 0.2
    assert search.generator.to_unit() == pytest.approx(search.best_point(), abs=1e-6)


def test_points_of_a_batch_differ() -> None:
    search = BayesianOptimisation(scored_session(), BayesianOptimisationConfig(datasets=4))
    search.step(0)
    search.step(1)
    batch = np.array(search.points[-4:])
    distances = np.linalg.norm(batch[:, None] - batch[None], axis=2)[np.triu_indices(4, 1)]
    assert distances.min() > 0.05


def test_failures_count_as_the_worst_score_and_are_avoided() -> None:
    def failing(point: NDArray[np.float64]) -> float:
        return float("nan") if point[0] > 0.5 else bump(point)

    search = BayesianOptimisation(scored_session(score=failing), BayesianOptimisationConfig(initial=8))
    for iteration in range(5):
        metrics = search.step(iteration)
    failed = np.isnan(search.scores)
    assert failed[:12].sum() == 4 and metrics["val_score"] == np.nanmax(search.scores)
    assert failed[-8:].mean() < 0.5
    points, means, _ = search.observations()
    lost = points[:, 0] > 0.5
    assert lost.any() and (means[lost] == np.nanmin(search.scores)).all()


def test_all_scores_alike_or_lost_are_survived() -> None:
    for constant in (0.3, float("nan")):
        search = BayesianOptimisation(scored_session(score=lambda _, c=constant: c), QUICK)  # type: ignore[misc]
        for iteration in range(3):
            search.step(iteration)
        assert np.isfinite(np.array(search.points)).all()


def test_a_point_that_comes_again_is_no_error_and_prints_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bayes_opt.acquisition import ExpectedImprovement

    monkeypatch.setattr(ExpectedImprovement, "suggest", lambda *_, **__: np.ones(9))
    search = BayesianOptimisation(
        scored_session(noise=0.01), BayesianOptimisationConfig(datasets=3, repeats=3, initial=8)
    )
    for iteration in range(3):
        search.step(iteration)
    assert (np.array(search.points[-6:]) == 1).all()
    assert len(search.observations()[0]) == 1 + 8 + 1
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("options", [{"acquisition": "ucb"}, {"length_scales": "own"}])
def test_variants_run_and_repeat_themselves(options: dict[str, Any]) -> None:
    runs = []
    for _ in range(2):
        search = BayesianOptimisation(scored_session(), BayesianOptimisationConfig(datasets=1, initial=4, **options))
        runs.append([search.step(i) for i in range(3)])
    assert runs[0] == runs[1]


def test_a_target_without_labels_is_refused_in_one_line() -> None:
    with pytest.raises(UserError, match=r"^bo needs a labelled target") as caught:
        BayesianOptimisation(blob_session(unlabelled=True), QUICK)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("field", "value"), [("repeats", 1), ("initial", 0), ("kappa", -1.0), ("datasets", 0)])
def test_options_out_of_range_are_named(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{field}: "):
        BayesianOptimisationConfig(**{field: value})  # type: ignore[arg-type]
