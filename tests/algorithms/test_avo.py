"""Adversarial variational optimisation: its gradient in closed form, and that images alone lead it to the target."""

from __future__ import annotations

import copy

import pytest
import torch

from algorithms.avo import Avo, AvoConfig, less_the_others
from autosim.env import Env
from autosim.rendering.pool import LocalPool
from autosim.scenes.generator import ContinuousSummary
from autosim.session import Session
from autosim.testing import AlgorithmSuite
from autosim.testing.problems import Rectangles, RectanglesConfig
from tests.support.helpers import BlobConfig, BlobEnv, blob_session

pytestmark = pytest.mark.usefixtures("one_thread")


class TestAvo(AlgorithmSuite):
    def env(self) -> Env:
        return BlobEnv(BlobConfig())

    def algorithm(self, session: Session) -> Avo:
        return Avo(session, AvoConfig(iterations=4, batch_size=6, critic_width=4, critic_steps=1))


def test_it_moves_rectangles_to_where_the_target_has_them() -> None:
    env = Rectangles(RectanglesConfig())
    session = Session(env, LocalPool(env.renderer()), workers=0)
    algorithm = Avo(session, AvoConfig(iterations=30, batch_size=24, learning_rate=0.05, critic_width=8))
    for iteration in range(30):
        metrics = algorithm.step(iteration)
    found = algorithm.proposal.parameters_by_key()
    x, y = (found[f"rectangle.{name}"] for name in ("x", "y"))
    assert isinstance(x, ContinuousSummary) and isinstance(y, ContinuousSummary)
    # From (.3, .6) to (.7, .4).
    assert x.mean > 0.55 and y.mean < 0.52
    assert metrics["val_score"] is not None


def test_its_gradient_is_that_of_the_score_function_with_the_entropy() -> None:
    gradients = []
    for entropy in (0.0, 0.5):
        session = blob_session()
        algorithm = Avo(session, AvoConfig(batch_size=8, critic_steps=1, critic_width=4, entropy=entropy))
        before = copy.deepcopy(algorithm.proposal)
        algorithm.step(0)
        assert algorithm.proposal.means.grad is not None
        gradients.append(algorithm.proposal.means.grad)
        samples = before.sample(8, session.seed_sequence("scenes", 0))
        cost = -algorithm.critic.logits(session.render(samples.scenes, "frames", 0).images).double()
        cost = cost - entropy * before.log_prob(samples).detach()
        (less_the_others(cost) * before.log_prob(samples, "continuous")).mean().backward()
        assert before.means.grad is not None
        assert torch.allclose(gradients[-1], before.means.grad, atol=1e-4, rtol=1e-3)
    assert not torch.allclose(gradients[0], gradients[1], atol=1e-3)


def test_the_baseline_of_each_is_the_mean_of_the_others() -> None:
    cost = torch.tensor([1.0, 2.0, 6.0])
    assert torch.allclose(less_the_others(cost), torch.tensor([1.0 - 4.0, 2.0 - 3.5, 6.0 - 1.5]))


def test_the_spread_starts_wide_and_is_learned() -> None:
    algorithm = Avo(blob_session(), AvoConfig(batch_size=6, critic_width=4, spread=0.2, entropy=5.0, iterations=8))
    assert float(algorithm.proposal.log_spreads.detach().exp().min()) == pytest.approx(0.2)
    spreads = [algorithm.step(i)["spread"] for i in range(8)]
    assert spreads[0] is not None and spreads[-1] is not None and spreads[-1] < spreads[0]


def test_it_is_shown_images_alone() -> None:
    assert Avo.shown(AvoConfig()) == "images"
    assert Avo(blob_session(unlabelled=True), AvoConfig(iterations=1, batch_size=4)).step(0)["val_score"] is None
