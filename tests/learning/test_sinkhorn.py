"""Sinkhorn divergence: closed forms, exact assignment, its gradient, its first variation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from autosim.learning.divergence import DistributionMatcher
from autosim.learning.sinkhorn import SinkhornMatcher, first_variation, sinkhorn_divergence

pytestmark = pytest.mark.usefixtures("one_thread")


def points(count: int, seed: int, dimensions: int = 3) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(count, dimensions)))


@pytest.mark.parametrize("epsilon", [1e-3, 0.1, 10.0])
def test_between_two_points_it_is_their_squared_distance(epsilon: float) -> None:
    x, y = torch.tensor([[1.0, 2.0]]), torch.tensor([[4.0, -2.0]])
    assert float(sinkhorn_divergence(x, y, epsilon)) == pytest.approx(25.0, rel=1e-5)
    assert float(sinkhorn_divergence(x.expand(3, 2), y.expand(5, 2), epsilon)) == pytest.approx(25.0, rel=1e-5)


def test_for_small_epsilon_it_is_the_cost_of_the_exact_assignment() -> None:
    x, y = points(20, 0), points(20, 1) + 1.0
    cost = torch.cdist(x, y).square().numpy()
    exact = cost[linear_sum_assignment(cost)].mean()
    assert float(sinkhorn_divergence(x, y, 1e-2)) == pytest.approx(exact, rel=0.02)


def test_for_large_epsilon_it_is_the_squared_distance_of_the_means() -> None:
    x, y = points(9, 0), points(14, 1) + 1.0
    exact = float((x.mean(dim=0) - y.mean(dim=0)).square().sum())
    assert float(sinkhorn_divergence(x, y, 1e4)) == pytest.approx(exact, rel=1e-2)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 99), st.sampled_from([0.03, 0.5, 4.0]))
@settings(max_examples=25)
def test_it_is_never_negative_symmetric_and_0_for_equal_sets(n: int, m: int, seed: int, epsilon: float) -> None:
    x, y = points(n, seed), points(m, seed + 100)
    value = float(sinkhorn_divergence(x, y, epsilon))
    assert value > -1e-3 * epsilon
    assert float(sinkhorn_divergence(y, x, epsilon)) == pytest.approx(value, abs=2e-3 * epsilon)
    assert float(sinkhorn_divergence(x, x[torch.randperm(n)], epsilon)) == pytest.approx(0.0, abs=2e-3 * epsilon)


def test_its_gradient_is_that_of_differences() -> None:
    x, y = points(6, 0).requires_grad_(), points(8, 1)
    (gradient,) = torch.autograd.grad(sinkhorn_divergence(x, y, 0.5), x)
    for i, j in ((0, 0), (3, 2), (5, 1)):
        step = torch.zeros_like(y[:6])
        step[i, j] = 1e-2
        fixed = x.detach()
        slope = (sinkhorn_divergence(fixed + step, y, 0.5) - sinkhorn_divergence(fixed - step, y, 0.5)) / 2e-2
        assert float(gradient[i, j]) == pytest.approx(float(slope), rel=0.05, abs=2e-3)


def test_the_first_variation_says_what_moving_probability_does() -> None:
    first, second, y = points(1, 0), points(1, 1), points(10, 2)

    def mixture(count: int) -> torch.Tensor:
        return torch.cat([first.expand(count, 3), second.expand(40 - count, 3)])

    x = mixture(20)
    cost = first_variation(torch.cdist(x, y).square(), torch.cdist(x, x).square(), 0.5)
    slope = sinkhorn_divergence(mixture(21), y, 0.5) - sinkhorn_divergence(mixture(19), y, 0.5)
    assert float(cost[0] - cost[-1]) == pytest.approx(float(slope) * 40 / 2, rel=0.05)


def test_a_matcher_weighs_groups_and_reaches_further_than_mmd() -> None:
    target, reference = points(30, 0, 5).float(), 3 * points(60, 1, 5).float()
    groups = [slice(0, 3), slice(3, 5)]
    sinkhorn = SinkhornMatcher(target, reference, groups, (1.0, 0.5))
    mmd = DistributionMatcher(target, reference, groups, (1.0, 0.5))
    losses = sinkhorn.group_losses(target + 1.0)
    assert float(sinkhorn(target + 1.0)) == pytest.approx(float(losses[0] + 0.5 * losses[1]))
    assert float(sinkhorn(target)) == pytest.approx(0.0, abs=1e-3)
    slopes = []
    for matcher in (sinkhorn, mmd):
        far = (target + 100.0).requires_grad_()
        slopes.append(float(torch.autograd.grad(matcher(far), far)[0].sum(dim=0).min()))
    # All of them together still go towards the target.
    assert slopes[0] > 1.0 and abs(slopes[1]) < 1e-3
    witness = sinkhorn.witness(target + 1.0, baseline=True)
    assert witness.shape == (30,) and float(witness.mean()) == pytest.approx(0.0, abs=1e-4)


def test_what_does_not_fit_is_named() -> None:
    x = points(3, 0)
    with pytest.raises(ValueError, match="shapes"):
        sinkhorn_divergence(x, points(3, 0, 2), 1.0)
    with pytest.raises(ValueError, match=r"epsilon 0\.0"):
        sinkhorn_divergence(x, x, 0.0)
    with pytest.raises(ValueError, match="shares"):
        SinkhornMatcher(x).witness(x, torch.ones(3))
