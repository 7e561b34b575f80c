"""Influence replay as a whole, on two blobs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any, get_args, get_type_hints

import pytest
import torch

from algorithms.influence_replay import InfluenceReplay, InfluenceReplayConfig
from autosim.env import Env
from autosim.errors import UserError
from autosim.learning.influence.direction import Approximation
from autosim.scenes import pretraining
from autosim.scenes.generator import ContinuousSummary, summarise
from autosim.scenes.parametric import ParametricGenerator
from autosim.scenes.transformer import DistributionTransformer
from autosim.seeding import seed_sequence
from autosim.session import Session
from autosim.testing import AlgorithmSuite
from tests.support.helpers import BlobConfig, BlobEnv, blob_session

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = InfluenceReplayConfig(
    iterations=4, frames=8, epochs=1, products=3, memory=24, warm_up=0, renewal=16, passes=64, exploration=0.1
)


class TestInfluenceReplay(AlgorithmSuite):
    def env(self) -> Env:
        return BlobEnv(BlobConfig())

    def algorithm(self, session: Session) -> InfluenceReplay:
        return InfluenceReplay(session, QUICK)


@pytest.mark.slow
class TestWithTheTransformer(AlgorithmSuite):
    @pytest.fixture(scope="class", autouse=True)
    def short_pretraining(self) -> Iterator[None]:
        """The suite does not look at how well the transformer reproduces the prior."""
        short = partial(pretraining.pretrain, settings=pretraining.PretrainSettings(max_steps=20))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pretraining, "pretrain", short)
            yield

    def env(self) -> Env:
        return BlobEnv(BlobConfig())

    def algorithm(self, session: Session) -> InfluenceReplay:
        return InfluenceReplay(session, replace(QUICK, generator="transformer"))


def mean_of(algorithm: InfluenceReplay, key: str) -> float:
    scenes = algorithm.generator.sample(200, seed_sequence(7, "look")).scenes
    found = summarise(algorithm.session.env.schema, scenes)[key]
    assert isinstance(found, ContinuousSummary)
    return found.mean


@pytest.mark.parametrize("generator", ["parametric", pytest.param("transformer", marks=pytest.mark.slow)])
def test_it_moves_the_blobs_towards_the_target(generator: Any) -> None:
    """Blobs start at x = -0.4 and belong at 0.4; the choice of generator does not matter to the method."""
    moved = []
    for seed in range(3):
        config = InfluenceReplayConfig(
            iterations=8,
            frames=16,
            epochs=4,
            memory=256,
            warm_up=32,
            renewal=32,
            passes=200,
            generator=generator,
        )
        algorithm = InfluenceReplay(blob_session(seed), config)
        expected = ParametricGenerator if generator == "parametric" else DistributionTransformer
        assert isinstance(algorithm.generator, expected)
        before = mean_of(algorithm, "blob.0.x") if generator == "parametric" else -0.4
        for iteration in range(config.iterations):
            algorithm.step(iteration)
        moved.append((mean_of(algorithm, "blob.0.x") - before) / 0.8)
    assert sum(moved) / len(moved) > 0.25, moved


@pytest.mark.parametrize("approximation", get_args(Approximation))
def test_every_approximation_runs_and_says_what_it_cost(approximation: Any) -> None:
    algorithm = InfluenceReplay(blob_session(), replace(QUICK, approximation=approximation))
    figures = algorithm.step(0)
    for name in ("damping", "products", "cg_residual", "gradient_dot_v", "curvature_seconds", "influence_seconds"):
        value = figures[name]
        assert value is not None and value == value
    products = figures["products"]
    assert products is not None and products <= QUICK.products
    assert (products == 0) == (approximation in ("linear", "none"))
    summary = algorithm.summary()
    assert summary["products"] == products and summary["rendering_seconds"] > 0


def test_the_option_names_all_approximations() -> None:
    hints = get_type_hints(InfluenceReplayConfig)
    assert get_args(hints["approximation"]) == get_args(Approximation)


def test_probes_are_renewed_and_look_at_all_scenes_held() -> None:
    """At 8, 24 and 40 images; scenes of the steps between are looked at as they come."""
    algorithm, counts, probes = InfluenceReplay(blob_session(), replace(QUICK, memory=100, warm_up=8)), [], []
    for iteration in range(5):
        algorithm.step(iteration)
        counts.append([len(batch.looks) for batch in algorithm.replay.batches])
        probes.append(torch.cat([weights.detach().flatten() for weights in algorithm.probe.network.parameters()]))
    assert counts == [[1], [1, 1], [2, 2, 2], [2, 2, 2, 1], [3, 3, 3, 2, 2]]
    assert torch.equal(probes[0], probes[1]) and not torch.equal(probes[1], probes[2])
    assert torch.equal(probes[2], probes[3]) and not torch.equal(probes[3], probes[4])


def test_nothing_moves_before_the_warm_up_ends() -> None:
    algorithm = InfluenceReplay(blob_session(), replace(QUICK, warm_up=17, shrinkage=0.0))
    assert isinstance(algorithm.psi, ParametricGenerator)
    start = algorithm.psi.means.detach().clone()
    algorithm.step(0)
    algorithm.step(1)
    assert torch.equal(algorithm.psi.means, start)
    algorithm.step(2)
    assert not torch.equal(algorithm.psi.means, start)


def test_the_result_is_an_average_of_the_steps_that_favours_the_later_ones() -> None:
    """The weight of step t = 0, 1, … of polynomial-decay averaging with η = 3 goes as (t + 1)(t + 2)(t + 3)."""
    algorithm, steps = InfluenceReplay(blob_session(), QUICK), []
    for iteration in range(4):
        algorithm.step(iteration)
        assert isinstance(algorithm.psi, ParametricGenerator)
        steps.append(algorithm.psi.means.detach().clone())
    means = torch.stack(steps)
    expected = torch.tensor([6.0, 24.0, 60.0, 120.0]) @ means / 210
    assert isinstance(algorithm.generator, ParametricGenerator)
    unwrapped = means.amax(0) - means.amin(0) < 0.5  # a periodic mean may have passed the end of its range
    assert int(unwrapped.sum()) >= 5
    assert torch.allclose(algorithm.generator.means[unwrapped], expected[unwrapped], atol=1e-6)


@pytest.mark.parametrize("left", [0.0, 0.4])
def test_exploration_is_let_down_with_the_run(left: float) -> None:
    session = blob_session()
    algorithm = InfluenceReplay(session, replace(QUICK, exploration_left=left))
    assert isinstance(algorithm.generator, ParametricGenerator)
    prior = ParametricGenerator(session.env.prior()).log_spreads
    algorithm.step(0)
    assert bool((algorithm.generator.log_spreads.exp() >= 0.1 - 1e-6).all())
    algorithm.step(QUICK.iterations)
    least = max(left * QUICK.exploration, algorithm.generator.min_spread)
    assert torch.allclose(algorithm.generator.log_spreads.exp(), prior.exp().clamp(min=least))


def test_an_unlabelled_target_is_refused() -> None:
    with pytest.raises(UserError, match="labelled"):
        InfluenceReplay(blob_session(unlabelled=True), QUICK)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("frames", 0),
        ("rate", 0.0),
        ("exploration", 0.6),
        ("choice_exploration", 0.5),
        ("damping", -1.0),
        ("memory", -1),
    ],
)
def test_options_out_of_range_are_named(option: str, value: float) -> None:
    with pytest.raises(ValueError, match=option):
        InfluenceReplayConfig(**{option: value})  # type: ignore[arg-type]
