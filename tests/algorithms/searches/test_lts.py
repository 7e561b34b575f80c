"""Learning to simulate: its gradient in closed form, its baseline, that it climbs, what it gives in the end."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from algorithms.searches.lts import LearningToSimulate, LearningToSimulateConfig
from autosim.env import Env
from autosim.errors import UserError
from autosim.scenes.parametric import ParametricGenerator
from autosim.session import Session
from autosim.testing import AlgorithmSuite
from tests.algorithms.searches.closed_form import PEAK, bump, scored_session
from tests.scenes.examples import table
from tests.support.helpers import BlobConfig, BlobEnv, blob_session

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = LearningToSimulateConfig(iterations=5, datasets=2, frames=8, epochs=2)


class TestLearningToSimulate(AlgorithmSuite):
    def env(self) -> Env:
        return BlobEnv(BlobConfig())

    def algorithm(self, session: Session) -> LearningToSimulate:
        return LearningToSimulate(session, QUICK)


@pytest.mark.slow
class TestWithTheBestParameters(AlgorithmSuite):
    def env(self) -> Env:
        return BlobEnv(BlobConfig())

    def algorithm(self, session: Session) -> LearningToSimulate:
        return LearningToSimulate(session, LearningToSimulateConfig(datasets=2, frames=8, epochs=2, keep_best=True))


def on_a_table(datasets: int, spread: float = 0.1) -> LearningToSimulate:
    """The policy over attributes of two and of three choices, with logits away from their start."""
    session = scored_session()
    session.env.prior = table  # type: ignore[method-assign]
    algorithm = LearningToSimulate(session, LearningToSimulateConfig(datasets=datasets, spread=spread))
    with torch.no_grad():
        algorithm.policy.logits.copy_(torch.linspace(-0.8, 0.8, len(algorithm.policy.logits)))
    return algorithm


def test_the_gradient_is_that_of_the_score_function_in_closed_form() -> None:
    algorithm = on_a_table(datasets=3)
    policy = algorithm.policy
    means, choices = algorithm.draw(0)
    scores = [0.1, 0.7, 0.4]
    algorithm.loss(means, choices, scores).backward()
    advantages = np.array(scores) - 0.4
    offsets = (means - policy.means.detach()).double().numpy()
    by_hand = -(advantages[:, None] * offsets / 0.1**2).mean(axis=0)
    assert policy.means.grad is not None and policy.logits.grad is not None
    assert policy.means.grad.numpy() == pytest.approx(by_hand, rel=1e-4)
    expected: list[float] = []
    for i, choice in enumerate(policy.choices()):
        probabilities = choice.probabilities.detach().double().numpy()
        residuals = np.eye(len(probabilities))[choices[:, i].numpy()] - probabilities
        column = -(advantages[:, None] * residuals).mean(axis=0)
        expected += list(column) if len(probabilities) > 2 else [column[1]]
    assert len(expected) == 3 + 1 + 3 + 3
    assert policy.logits.grad.numpy() == pytest.approx(np.array(expected), abs=1e-6)


def test_the_gradient_is_unbiased() -> None:
    algorithm = on_a_table(datasets=40_000)
    policy = algorithm.policy
    means, choices = algorithm.draw(0)
    slopes = torch.linspace(-1, 1, means.shape[1])
    rewards = means @ slopes + 0.5 * (choices[:, 0] == 2) + 0.3 * choices[:, 1]
    algorithm.loss(means, choices, rewards.tolist()).backward()
    assert policy.means.grad is not None and policy.logits.grad is not None
    # A mean's gradient is the reward's slope; a probability's is p times (its reward less the expected one).
    assert -policy.means.grad.numpy() == pytest.approx(slopes.numpy(), abs=0.15)
    first, second = (choice.probabilities.detach() for choice in policy.choices()[:2])
    gained = 0.5 * first * (torch.tensor([0.0, 0.0, 1.0]) - first[2])
    assert -policy.logits.grad[:3].numpy() == pytest.approx(gained.numpy(), abs=0.02)
    assert -float(policy.logits.grad[3]) == pytest.approx(0.3 * float(second.prod()), abs=0.02)
    assert np.abs(policy.logits.grad[4:].numpy()).max() < 0.02


def test_draws_follow_the_policy() -> None:
    algorithm = on_a_table(datasets=20_000, spread=0.2)
    means, choices = algorithm.draw(0)
    assert means.mean(dim=0).numpy() == pytest.approx(algorithm.policy.means.detach().numpy(), abs=0.01)
    assert means.std(dim=0).numpy() == pytest.approx(np.full(means.shape[1], 0.2), rel=0.05)
    for i, choice in enumerate(algorithm.policy.choices()):
        drawn = np.bincount(choices[:, i].numpy()) / len(choices)
        assert drawn == pytest.approx(choice.probabilities.detach().numpy(), abs=0.02)
    assert not torch.equal(algorithm.draw(1)[0], means)


def test_a_data_set_has_the_parameters_that_were_drawn() -> None:
    policy = on_a_table(datasets=1).policy
    means = torch.linspace(-0.2, 1.2, len(policy.means))
    choices = torch.tensor([2, 1, 0, 1, 0, 1])
    generator = policy.with_parameters(means, choices)
    assert generator.means.tolist() == pytest.approx(means.clamp(0, 1).tolist())
    for choice, chosen in zip(generator.choices(), choices.tolist(), strict=True):
        assert float(choice.probabilities[chosen].detach()) > 0.99
    assert generator.log_spreads.tolist() == policy.log_spreads.tolist()
    with pytest.raises(ValueError, match=r"expected \(8,\) means and \(6,\) choices"):
        policy.with_parameters(means[1:], choices)
    with pytest.raises(ValueError, match=r"^scene.samples: index 3 is not below 3"):
        policy.with_parameters(means, torch.tensor([3, 1, 0, 1, 0, 1]))


@pytest.mark.parametrize("seed", range(3))
def test_it_climbs(seed: int) -> None:
    algorithm = LearningToSimulate(scored_session(seed, noise=0.03), LearningToSimulateConfig(datasets=10))
    before = bump(algorithm.policy.to_unit())
    for iteration in range(60):
        algorithm.step(iteration)
    assert bump(algorithm.policy.to_unit()) - before > 0.2
    probability = algorithm.policy.to_unit()[np.array([4, 8])]
    assert (probability > 0.5).all(), "both signs belong on the second choice"


def test_the_baseline_starts_at_the_first_mean_and_follows_slowly() -> None:
    algorithm = LearningToSimulate(scored_session(), LearningToSimulateConfig(baseline_decay=0.8))
    means, choices = algorithm.draw(0)
    log_prob = algorithm.log_prob(means, choices)
    for scores, baseline in (
        ([0.1, 0.2, 0.3, 0.4, 0.5], 0.3),
        ([0.5, 0.5, 0.5, 0.5, 0.5], 0.3),
        ([0.0, 0.0, 0.0, 0.0, 0.0], 0.8 * 0.3 + 0.2 * 0.5),
    ):
        expected = -float(((torch.tensor(scores) - baseline) * log_prob).mean().detach())
        assert float(algorithm.loss(means, choices, scores).detach()) == pytest.approx(expected)


def test_standardised_advantages_do_not_depend_on_the_unit_of_the_score() -> None:
    losses = []
    for unit in (1.0, 100.0):
        algorithm = LearningToSimulate(scored_session(), LearningToSimulateConfig(standardise=True))
        drawn = algorithm.draw(0)
        losses.append(float(algorithm.loss(*drawn, [unit * s for s in (0.1, 0.2, 0.4, 0.3, 0.0)]).detach()))
        assert math.isfinite(float(algorithm.loss(*drawn, [unit] * 5).detach()))
    assert losses[1] == pytest.approx(losses[0])


def test_failures_count_as_the_worst_score() -> None:
    def failing(point: NDArray[np.float64]) -> float:
        return float("nan") if point[0] > 0.4 else 0.3 + 0.1 * float(point[1])

    algorithm = LearningToSimulate(scored_session(score=failing), LearningToSimulateConfig(datasets=16))
    means, choices = algorithm.draw(0)
    metrics = algorithm.step(0)
    scores = np.array(algorithm.scores)
    failed = np.isnan(scores)
    assert failed.any() and not failed.all() and metrics["failed"] == failed.sum()
    assert metrics["val_score"] == np.nanmax(scores)
    taken = algorithm.policy.means.grad
    again = LearningToSimulate(scored_session(), LearningToSimulateConfig(datasets=16))
    again.loss(means, choices, np.where(failed, np.nanmin(scores), scores).tolist()).backward()
    assert taken is not None and again.policy.means.grad is not None
    assert torch.equal(taken, again.policy.means.grad)


def test_the_policy_stays_within_bounds_and_angles_go_round() -> None:
    def push(point: NDArray[np.float64]) -> float:
        return float(point[0] + math.cos(2 * math.pi * (point[3] - 0.1)))

    algorithm = LearningToSimulate(scored_session(score=push), LearningToSimulateConfig(datasets=30))
    hues = [algorithm.policy.to_unit()[3]]
    for iteration in range(25):
        algorithm.step(iteration)
        assert bool(((algorithm.policy.means >= 0) & (algorithm.policy.means <= 1)).all())
        hues.append(algorithm.policy.to_unit()[3])
    assert algorithm.policy.to_unit()[0] > 0.9
    # Up across the seam at 1, never the long way round through the middle.
    assert hues[0] > 0.9 and abs(hues[-1] - 0.1) < 0.1
    assert not any(0.4 < hue < 0.7 for hue in hues)


def test_the_result_is_the_policy_or_where_wished_the_best_that_was_tried() -> None:
    for keep_best in (False, True):
        algorithm = LearningToSimulate(scored_session(), LearningToSimulateConfig(keep_best=keep_best))
        assert algorithm.generator is algorithm.policy
        for iteration in range(4):
            metrics = algorithm.step(iteration)
        generator = algorithm.generator
        assert isinstance(generator, ParametricGenerator)
        if keep_best:
            assert bump(generator.to_unit()) == pytest.approx(metrics["val_score"])
        else:
            assert generator is algorithm.policy
    assert len(PEAK) == len(generator.to_unit())


def test_a_target_without_labels_is_refused_in_one_line() -> None:
    with pytest.raises(UserError, match=r"^lts needs a labelled target"):
        LearningToSimulate(blob_session(unlabelled=True), QUICK)


@pytest.mark.parametrize(
    ("field", "value"),
    [("spread", 0.0), ("learning_rate", -1.0), ("choice_rate", 0.0), ("baseline_decay", 1.0), ("datasets", 0)],
)
def test_options_out_of_range_are_named(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{field}: "):
        LearningToSimulateConfig(**{field: value})  # type: ignore[arg-type]
