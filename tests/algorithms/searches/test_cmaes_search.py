"""The evolution strategy: better than chance, categories, its state made anew, what it says where it is missing."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import numpy as np
import pytest

from algorithms.searches.cmaes_search import CmaesSearch, CmaesSearchConfig
from algorithms.searches.random_search import RandomSearch, RandomSearchConfig
from autosim.env import Env
from autosim.errors import UserError
from autosim.scenes.parametric import ParametricGenerator
from autosim.session import Session
from autosim.testing import AlgorithmSuite
from tests.algorithms.searches.closed_form import bump, reached, scored_session
from tests.scenes.examples import table
from tests.support.helpers import BlobConfig, BlobEnv, blob_session

# It is not imported to find out: every process that collects tests would wait for it.
pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(find_spec("cmaes") is None, reason="needs cmaes"),
]
QUICK = CmaesSearchConfig(iterations=3, datasets=4, frames=8, epochs=1)


class TestCmaesSearch(AlgorithmSuite):
    def env(self) -> Env:
        return BlobEnv(BlobConfig())

    def algorithm(self, session: Session) -> CmaesSearch:
        return CmaesSearch(session, QUICK)


def test_it_climbs() -> None:
    search = CmaesSearch(scored_session(noise=0.01), CmaesSearchConfig())
    assert reached(search, evaluations=64) > bump(search.start.to_unit()) + 0.1


@pytest.mark.slow
def test_it_beats_random_search_with_as_many_data_sets() -> None:
    ours, random = [], []
    for seed in range(8):
        ours.append(reached(CmaesSearch(scored_session(seed, noise=0.01), CmaesSearchConfig()), evaluations=96))
        random.append(reached(RandomSearch(scored_session(seed, noise=0.01), RandomSearchConfig()), evaluations=96))
    assert np.mean(ours) > np.mean(random) + 0.03


def test_the_first_generation_is_around_the_start_and_categories_are_in_the_middle_of_their_bins() -> None:
    search = CmaesSearch(scored_session(), CmaesSearchConfig(datasets=40, sigma=0.05))
    search.start = ParametricGenerator(table())
    points, start = np.array(search.propose(0)), search.start.to_unit()
    assert points.shape == (40, len(start)) and points.min() >= 0 and points.max() <= 1
    assert any(search.sizes)
    for column, size in enumerate(search.sizes):
        if size:
            bins = points[:, column] * size - 0.5
            assert np.allclose(bins, bins.round()) and len(set(bins.round())) == size
        else:
            assert abs(points[:, column].mean() - start[column]) < 0.05


def test_what_is_proposed_follows_from_the_seed_and_the_scores() -> None:
    first, second = (CmaesSearch(scored_session(1), CmaesSearchConfig()) for _ in range(2))
    for iteration in range(3):
        first.step(iteration)
    second.load_state_dict(first.state_dict())
    assert np.array_equal(first.propose(3), second.propose(3))
    second.scores.reverse()
    assert not np.array_equal(first.propose(3), second.propose(3))


def test_a_failed_training_counts_as_the_worst() -> None:
    search = CmaesSearch(scored_session(1), CmaesSearchConfig())
    search.step(0)
    worst = int(np.argmin(search.scores))
    before = search.propose(1)
    search.scores[worst] = float("nan")
    search.scores[(worst + 1) % len(search.scores)] = min(s for s in search.scores if s == s)
    assert np.isfinite(np.array(search.propose(1))).all() and len(before) == search.config.datasets


def test_without_the_package_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cmaes", None)
    with pytest.raises(UserError, match=r"autosim-engine\[cmaes\]") as caught:
        CmaesSearch(blob_session(), QUICK)
    assert "\n" not in str(caught.value)


def test_a_target_without_labels_is_refused_in_one_line() -> None:
    with pytest.raises(UserError, match=r"^cmaes needs a labelled target"):
        CmaesSearch(blob_session(unlabelled=True), QUICK)


@pytest.mark.parametrize(("field", "value"), [("datasets", 3), ("sigma", 0.0)])
def test_options_out_of_range_are_named(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{field}: "):
        CmaesSearchConfig(**{field: value})  # type: ignore[arg-type]
