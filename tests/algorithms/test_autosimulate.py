"""AutoSimulate as published, on two blobs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import torch

from algorithms.autosimulate import AutoSimulate, AutoSimulateConfig
from autosim.env import Env
from autosim.errors import UserError
from autosim.learning.influence.curvature import LossSurface, Product
from autosim.learning.influence.direction import LEAST_DAMPING, Approximation, influence_direction
from autosim.learning.influence.scale import RunningScale
from autosim.rendering.frames import Frames
from autosim.scenes.generator import ContinuousSummary, summarise
from autosim.scenes.parametric import ParametricGenerator
from autosim.seeding import seed_sequence
from autosim.session import Session
from autosim.testing import AlgorithmSuite
from tests.support.helpers import BlobConfig, BlobEnv, blob_session

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = AutoSimulateConfig(iterations=4, frames=8, epochs=1, products=3)


class TestAutoSimulate(AlgorithmSuite):
    def env(self) -> Env:
        return BlobEnv(BlobConfig())

    def algorithm(self, session: Session) -> AutoSimulate:
        return AutoSimulate(session, QUICK)


def moved(config: AutoSimulateConfig, seed: int) -> float:
    """The share of its way that the first blob goes; it starts at x = -0.4 and belongs at 0.4."""
    algorithm = AutoSimulate(blob_session(seed), config)
    for iteration in range(config.iterations):
        algorithm.step(iteration)
    scenes = algorithm.generator.sample(200, seed_sequence(7, "look")).scenes
    found = summarise(algorithm.session.env.schema, scenes)["blob.0.x"]
    assert isinstance(found, ContinuousSummary)
    return (found.mean + 0.4) / 0.8


def test_it_moves_the_blobs_towards_the_target_and_without_validation_it_does_not() -> None:
    config = AutoSimulateConfig(iterations=6, frames=24, epochs=1, rate=0.4)
    ways = [moved(config, seed) for seed in range(2)]
    blind = [moved(replace(config, approximation="none"), seed) for seed in range(2)]
    assert sum(ways) / 2 > 0.15 and sum(ways) > sum(blind) + 0.1, (ways, blind)


def test_scenes_to_learn_from_and_what_is_learned_spread_as_asked_or_as_the_start() -> None:
    for spread, kept in ((0.3, 0.0), (0.0, 0.0), (0.3, 0.2)):
        algorithm = AutoSimulate(blob_session(), replace(QUICK, spread=spread, learned_spread=kept))
        assert isinstance(algorithm.psi, ParametricGenerator)
        start = algorithm.psi.log_spreads.exp().tolist()
        algorithm.step(0)
        assert algorithm.psi.log_spreads.exp().tolist() == pytest.approx([max(spread, each) for each in start])
        learned = algorithm.generator
        assert isinstance(learned, ParametricGenerator)
        assert learned.log_spreads.exp().tolist() == pytest.approx([max(kept, each) for each in start])
        assert torch.equal(learned.means, algorithm.psi.means)


@pytest.mark.parametrize("fresh", [False, True])
def test_fresh_influences_are_measured_before_the_network_sees_the_scenes(
    monkeypatch: pytest.MonkeyPatch, fresh: bool
) -> None:
    algorithm = AutoSimulate(blob_session(), replace(QUICK, fresh=fresh))
    assert isinstance(algorithm.psi, ParametricGenerator)
    told: list[str] = []
    fine_tune, influences = algorithm.fine_tune, algorithm.probe.influences

    def tuned(frames: Frames, iteration: int) -> None:
        told.append("tuned")
        fine_tune(frames, iteration)

    def measured(frames: Frames) -> torch.Tensor:
        told.append("measured")
        return influences(frames)

    monkeypatch.setattr(algorithm, "fine_tune", tuned)
    monkeypatch.setattr(algorithm.probe, "influences", measured)
    means = [algorithm.psi.means.detach().clone()]
    for iteration in range(2):
        algorithm.step(iteration)
        means.append(algorithm.psi.means.detach().clone())
    assert told == (["measured", "tuned"] if fresh else ["tuned", "measured"]) * 2
    assert torch.equal(means[0], means[1]) == fresh and not torch.equal(means[1], means[2])


@pytest.mark.parametrize("restart", [False, True])
def test_a_restarted_network_is_that_of_its_step_alone(restart: bool) -> None:
    whole, last = (AutoSimulate(blob_session(), replace(QUICK, restart=restart)) for _ in range(2))
    for iteration in range(3):
        frames = whole.session.draw(
            whole.psi.sample(8, seed_sequence(0, "x", iteration)).scenes, "frames", iteration
        ).frames
        whole.fine_tune(frames, iteration)
    last.fine_tune(frames, 2)
    same = [torch.equal(a, b) for a, b in zip(whole.network.parameters(), last.network.parameters(), strict=True)]
    assert all(same) == restart
    # Influences are measured at the same network.
    assert whole.probe.network is whole.network


def test_permuted_labels_are_those_of_other_images() -> None:
    algorithm = AutoSimulate(blob_session(), replace(QUICK, permute=True))
    own, permuted = algorithm.session.validation, algorithm.validation
    assert np.array_equal(own.images, permuted.images)
    assert np.array_equal(permuted.annotations["mask"][1:], own.annotations["mask"][:-1])
    assert not np.array_equal(permuted.annotations["mask"], own.annotations["mask"])


def test_a_step_takes_other_validation_frames_or_all_of_them() -> None:
    """Blobs have 12 of them."""
    algorithm = AutoSimulate(blob_session(), replace(QUICK, validation_frames=5))
    known = {image.tobytes(): i for i, image in enumerate(algorithm.validation.images)}
    drawn = [[known[image.tobytes()] for image in algorithm.validation_of(i).images] for i in (0, 1, 0)]
    assert drawn[0] == drawn[2] != drawn[1]
    assert all(len(set(places)) == 5 and places == sorted(places) for places in drawn)
    for number in (0, len(known), 100):
        everything = AutoSimulate(blob_session(), replace(QUICK, validation_frames=number))
        assert everything.validation_of(0) is everything.validation


@pytest.mark.parametrize("approximation", get_args(Approximation))
def test_every_approximation_runs_and_says_what_it_cost(approximation: Any) -> None:
    algorithm = AutoSimulate(blob_session(), replace(QUICK, approximation=approximation))
    figures = algorithm.step(0)
    for name in ("damping", "products", "cg_residual", "gradient_dot_v", "curvature_seconds", "influence_seconds"):
        value = figures[name]
        assert value is not None and value == value
    assert figures["damping"] == (0.0 if approximation in ("approximate", "linear", "none") else QUICK.damping)
    assert algorithm.summary()["rendering_seconds"] > 0


def test_the_option_names_all_approximations() -> None:
    hints = get_type_hints(AutoSimulateConfig)
    assert get_args(hints["approximation"]) == get_args(Approximation)


def test_chance_moves_a_mean_by_the_rate_in_its_standard_deviations() -> None:
    """Influences that have nothing to do with scenes: independent ones, in the place of those measured."""
    config = replace(QUICK, frames=25, rate=0.1)
    algorithm = AutoSimulate(blob_session(), config)
    assert isinstance(algorithm.psi, ParametricGenerator)
    start, spreads = algorithm.psi.means.detach().clone(), algorithm.psi.log_spreads.exp()
    steps = []
    for i in range(60):
        with torch.no_grad():
            algorithm.psi.means.copy_(start)
        samples = algorithm.psi.sample(config.frames, seed_sequence(i, "scenes"))
        signal = torch.randn(config.frames, generator=torch.Generator().manual_seed(i))
        signal = RunningScale()(signal - signal.mean())
        algorithm.mover(algorithm.psi.score_function_loss(samples, signal, enumerate_choices=True))
        steps.append((algorithm.psi.means.detach() - start) / spreads)
    # Means that are near a bound of their range or wrap around it are left out.
    inner = (start > 0.2) & (start < 0.8)
    assert float(torch.stack(steps)[:, inner].std()) == pytest.approx(0.1, rel=0.15)


def test_a_step_whose_influences_are_not_finite_is_left_out_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    algorithm = AutoSimulate(blob_session(), QUICK)
    assert isinstance(algorithm.psi, ParametricGenerator)
    start = algorithm.psi.means.detach().clone()
    with monkeypatch.context() as patch:
        patch.setattr(algorithm.probe, "influences", lambda frames: torch.full((len(frames),), float("inf")))
        assert algorithm.step(0)["skipped"] == 1
    assert torch.equal(algorithm.psi.means, start)
    assert algorithm.step(1)["skipped"] == 1
    assert not torch.equal(algorithm.psi.means, start) and algorithm.summary()["skipped"] == 1


def test_adam_goes_on_from_step_to_step() -> None:
    algorithm = AutoSimulate(blob_session(), QUICK)
    for iteration in range(2):
        algorithm.step(iteration)
    states = algorithm.optimiser.state_dict()["state"].values()
    batches = -(-QUICK.frames // algorithm.session.env.schedule.batch_size)
    assert {int(state["step"]) for state in states} == {2 * batches}


def test_a_running_scale_divides_by_the_root_of_the_mean_square() -> None:
    scale = RunningScale()
    assert torch.allclose(scale(torch.tensor([3.0, -3.0])), torch.tensor([1.0, -1.0]))
    assert torch.allclose(scale(torch.zeros(2)), torch.zeros(2)) and scale.square == pytest.approx(8.1)
    assert torch.equal(RunningScale()(torch.zeros(3)), torch.zeros(3))
    with pytest.raises(ValueError, match="not finite"):
        scale(torch.tensor([float("nan"), 1.0]))


def test_quadratic_solves_the_damped_gauss_newton_system() -> None:
    session = blob_session()
    network, task = session.network(), session.task
    surface = LossSurface(task, network, *task.prepare(session.validation))
    g = surface.gradient()
    found = influence_direction(surface, g, "quadratic", damping=0.1, limit=60)
    left = surface.gauss_newton()(found.v) + found.damping * found.v - g
    assert float(left.norm() / g.norm()) == pytest.approx(found.residual, abs=1e-3)
    assert found.residual < 0.02 and found.alignment > 0
    assert torch.equal(influence_direction(surface, g, "linear").v, g)
    approximate = influence_direction(surface, g, "approximate").v
    assert torch.allclose(approximate, surface.hessian()(g), atol=1e-5)
    blind = influence_direction(surface, g, "none").v
    assert float(blind.min()) == float(blind.max())
    assert float(blind.norm()) == pytest.approx(float(g.norm()), rel=1e-4)


def test_influences_are_directional_derivatives() -> None:
    session = blob_session()
    network, task, frames = session.network(), session.task, session.validation
    surface = LossSurface(task, network, *task.prepare(frames))
    v = surface.gradient()
    found, expected = surface.influences(v), surface.sample_gradients() @ v
    assert torch.allclose(found, expected, atol=1e-5)
    assert float(found.mean()) == pytest.approx(float(v @ v), rel=1e-3)


def test_an_unlabelled_target_is_refused() -> None:
    with pytest.raises(UserError, match="labelled"):
        AutoSimulate(blob_session(unlabelled=True), QUICK)


@pytest.mark.parametrize(("option", "value"), [("frames", 1), ("rate", 0.0), ("damping", -1.0), ("epochs", 0)])
def test_options_out_of_range_are_named(option: str, value: float) -> None:
    with pytest.raises(ValueError, match=option):
        AutoSimulateConfig(**{option: value})  # type: ignore[arg-type]


def test_without_curvature_damping_has_a_floor() -> None:
    """A relative one would vanish with it, and leave a system without a solution."""

    class Flat:
        def gauss_newton(self, linearise: bool = True) -> Product:
            return torch.zeros_like

    surface: Any = Flat()
    found = influence_direction(surface, torch.tensor([1.0, -2.0, 0.5]), "quadratic", damping=0.01)
    assert found.damping == LEAST_DAMPING and found.residual < 1e-3
    assert torch.allclose(found.v * LEAST_DAMPING, torch.tensor([1.0, -2.0, 0.5]).to(found.v), rtol=1e-3)
