"""MMD², its bandwidths and its witness, against loops, finite differences and exact enumeration."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from autosim.learning.divergence import (
    DistributionMatcher,
    Standardiser,
    gaussian_kernel,
    median_bandwidths,
    mmd2,
)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def kernel_by_hand(a: Tensor, b: Tensor, bandwidths: list[float]) -> float:
    distance = sum((float(p) - float(q)) ** 2 for p, q in zip(a, b, strict=True))
    return sum(math.exp(-distance / (2 * h * h)) for h in bandwidths)


def mmd2_by_hand(x: Tensor, y: Tensor, bandwidths: list[float], biased: bool) -> float:
    def within(z: Tensor) -> float:
        pairs = [(i, j) for i in range(len(z)) for j in range(len(z)) if biased or i != j]
        return sum(kernel_by_hand(z[i], z[j], bandwidths) for i, j in pairs) / len(pairs)

    across = sum(kernel_by_hand(a, b, bandwidths) for a in x for b in y) / (len(x) * len(y))
    return within(x) + within(y) - 2 * across


@given(n=st.integers(2, 6), m=st.integers(2, 6), d=st.integers(1, 4), seed=st.integers(0, 2**31), biased=st.booleans())
@settings(max_examples=30)
def test_matrix_form_equals_double_loop(n: int, m: int, d: int, seed: int, biased: bool) -> None:
    x, y = normal(seed, n, d), normal(seed + 1, m, d) + 0.5
    bandwidths = [0.5, 1.5]
    expected = mmd2_by_hand(x, y, bandwidths, biased)
    assert float(mmd2(x, y, bandwidths, biased)) == pytest.approx(expected, abs=1e-12)


def test_cross_term_counts_twice() -> None:
    # Two pairs of equal points, infinitely far apart for the kernel: 1 + 1 - 2 * 0; and at one place: 1 + 1 - 2 * 1.
    x, far = torch.zeros(2, 1), torch.full((2, 1), 1e3)
    assert float(mmd2(x, far, [1.0])) == pytest.approx(2.0)
    assert float(mmd2(x, x, [1.0])) == pytest.approx(0.0, abs=1e-7)


def test_biased_is_zero_for_equal_sets_and_never_negative() -> None:
    x = normal(0, 20, 3)
    assert float(mmd2(x, x[torch.randperm(20)], [0.3, 1.0], biased=True)) == pytest.approx(0.0, abs=1e-12)
    for seed in range(10):
        assert float(mmd2(normal(seed, 5, 3), normal(seed + 100, 7, 3), [0.3, 1.0], biased=True)) >= 0


def test_unbiased_has_mean_zero_for_one_distribution_and_biased_has_not() -> None:
    unbiased, biased = [], []
    for seed in range(400):
        x, y = normal(2 * seed, 8, 2), normal(2 * seed + 1, 8, 2)
        unbiased.append(mmd2(x, y, [1.0]))
        biased.append(mmd2(x, y, [1.0], biased=True))
    values = torch.stack(unbiased)
    standard_error = float(values.std()) / math.sqrt(len(values))
    assert abs(float(values.mean())) < 4 * standard_error
    assert float(torch.stack(biased).mean()) > 10 * standard_error


@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 2**31))
@settings(max_examples=20)
def test_scaling_features_and_bandwidths_together_changes_nothing(scale: float, seed: int) -> None:
    x, y = normal(seed, 6, 3), normal(seed + 1, 5, 3)
    bandwidths = median_bandwidths(y, (0.5, 1.0))
    scaled = median_bandwidths(scale * y, (0.5, 1.0))
    torch.testing.assert_close(scaled, scale * bandwidths)
    torch.testing.assert_close(mmd2(scale * x, scale * y, scaled), mmd2(x, y, bandwidths))


def test_a_common_offset_costs_no_precision() -> None:
    x, y = normal(0, 10, 4), normal(1, 12, 4)
    moved = mmd2(x.float() + 1e3, y.float() + 1e3, [1.0])
    assert float(moved) == pytest.approx(float(mmd2(x, y, [1.0])), abs=2e-3)


@pytest.mark.parametrize("biased", [False, True])
def test_gradient_against_finite_differences(biased: bool) -> None:
    x, y = normal(0, 5, 3).requires_grad_(), normal(1, 6, 3)
    assert torch.autograd.gradcheck(lambda x: mmd2(x, y, [0.7, 2.0], biased), (x,))


def test_gradient_is_finite_for_coinciding_points() -> None:
    x = torch.zeros(3, 2, requires_grad=True)
    mmd2(x, torch.zeros(4, 2), [1.0]).backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.zeros(3, 2))


def test_wrong_shapes_and_small_sets_are_refused() -> None:
    with pytest.raises(ValueError, match="shapes"):
        mmd2(torch.zeros(3, 2), torch.zeros(3, 4), [1.0])
    with pytest.raises(ValueError, match="at least 2"):
        mmd2(torch.zeros(1, 2), torch.zeros(3, 2), [1.0])
    with pytest.raises(ValueError, match="above 0"):
        median_bandwidths(torch.zeros(3, 2), (0.0,))
    with pytest.raises(ValueError, match="reference"):
        Standardiser(torch.zeros(0, 2))


def test_standardiser_has_mean_zero_spread_one_and_leaves_constants_finite() -> None:
    reference = normal(0, 50, 3) * torch.tensor([1e-6, 1.0, 1e6]) + torch.tensor([5.0, 0.0, -3.0])
    reference[:, 1] = 0.1
    standardise = Standardiser(reference)
    result = standardise(reference)
    torch.testing.assert_close(result.mean(dim=0), torch.zeros(3, dtype=torch.float64), atol=1e-7, rtol=0)
    torch.testing.assert_close(result.std(dim=0, unbiased=False)[[0, 2]], torch.ones(2, dtype=torch.float64))
    assert float(result[:, 1].abs().max()) < 1e-12
    assert float(standardise(torch.tensor([[5.0, 1.1, -3.0]], dtype=torch.float64))[0, 1]) == pytest.approx(1.0)


def test_median_bandwidth_of_three_points_and_of_equal_rows() -> None:
    points = torch.tensor([[0.0], [1.0], [5.0], [5.0]])
    # Distances of different rows: 1, 5, 5, 4, 4.
    assert median_bandwidths(points, (1.0, 0.5)).tolist() == [4.0, 2.0]
    assert median_bandwidths(torch.full((4, 2), 7.0), (2.0,)).tolist() == [2.0]


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_kernels_do_not_degenerate_on_wildly_scaled_features(scale: float) -> None:
    columns = torch.logspace(-3, 3, 60, dtype=torch.float64) * scale
    reference = normal(0, 200, 60) * columns + 100 * columns
    x = normal(1, 20, 60) * columns + 100 * columns
    matcher = DistributionMatcher(reference[:30], reference)
    kernel = gaussian_kernel(matcher.standardiser(x), matcher.target, matcher.bandwidths[0]) / len(
        matcher.bandwidths[0]
    )
    assert 0.05 < float(kernel.mean()) < 0.95
    x.requires_grad_()
    matcher(x).backward()
    assert x.grad is not None
    pull = (x.grad * columns).abs()
    assert float(pull.max()) < 1e3 * float(pull.median())


def test_groups_add_up_with_their_weights() -> None:
    reference, target, x = normal(0, 40, 5), normal(1, 10, 5), normal(2, 8, 5) + 1
    groups = [slice(0, 4), slice(4, 5)]
    matcher = DistributionMatcher(target, reference, groups, weights=[0.5, 2.0])
    apart = [float(DistributionMatcher(target[:, g], reference[:, g])(x[:, g])) for g in groups]
    assert matcher.group_losses(x).tolist() == pytest.approx(apart)
    assert float(matcher(x)) == pytest.approx(0.5 * apart[0] + 2.0 * apart[1])
    assert matcher.witness(x).tolist() == pytest.approx((matcher.weights @ matcher.group_witness(x)).tolist())
    equal = torch.full((len(x),), 0.2, dtype=x.dtype)
    torch.testing.assert_close(matcher.witness(x, equal), matcher.witness(x))
    # Twice the share is the sample twice, in the eyes of the others.
    shares = torch.ones(len(x), dtype=x.dtype)
    shares[0] = 2.0
    doubled = matcher.witness(torch.cat([x[:1], x]))
    torch.testing.assert_close(matcher.witness(x, shares)[1:], doubled[2:])


def test_a_small_group_is_not_drowned_by_a_large_one() -> None:
    target = normal(0, 30, 101)
    x = normal(1, 30, 101)
    x[:, 100] += 3.0
    together = DistributionMatcher(target)
    apart = DistributionMatcher(target, groups=[slice(0, 100), slice(100, 101)])
    still = x.clone()
    still[:, 100] -= 3.0
    assert float(apart(x) - apart(still)) > 5 * float(together(x) - together(still))


def test_matcher_refuses_features_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="differ in features"):
        DistributionMatcher(torch.zeros(3, 2), torch.zeros(3, 4))
    with pytest.raises(ValueError, match="weights"):
        DistributionMatcher(normal(0, 3, 2), weights=[1.0, 1.0])


@pytest.mark.parametrize("baseline", [False, True])
def test_witness_gives_the_gradient_of_expected_mmd2(baseline: bool) -> None:
    # Categorical q over three scenes with fixed features: every draw of n scenes is enumerated with its probability.
    features = normal(0, 3, 2)
    matcher = DistributionMatcher(normal(1, 5, 2) + 1, groups=[slice(0, 1), slice(1, 2)], weights=[1.0, 0.3])
    logits = torch.tensor([0.3, -0.5, 0.1], dtype=torch.float64, requires_grad=True)
    n = 3

    q = logits.softmax(dim=0)
    expected = torch.zeros((), dtype=torch.float64)
    estimate = torch.zeros(3, dtype=torch.float64)
    for draw in itertools.product(range(3), repeat=n):
        index = torch.tensor(draw)
        probability = q[index].prod()
        expected = expected + probability * matcher(features[index])
        cost = matcher.witness(features[index], baseline=baseline)
        surrogate = (cost * logits.log_softmax(dim=0)[index]).mean()
        (gradient,) = torch.autograd.grad(surrogate, logits)
        estimate += float(probability.detach()) * gradient
    (exact,) = torch.autograd.grad(expected, logits)
    torch.testing.assert_close(estimate, exact)
    assert float(exact.abs().max()) > 1e-2


def test_baseline_lowers_the_variance_of_the_estimate() -> None:
    # Far from the target all costs are alike, so nearly all of the estimate is noise that a baseline takes away.
    matcher = DistributionMatcher(normal(1, 20, 1))
    logits = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    features = torch.tensor([[3.0], [3.1], [3.2]], dtype=torch.float64)
    spread = []
    for baseline in (False, True):
        estimates = []
        for draw in itertools.product(range(3), repeat=4):
            index = torch.tensor(draw)
            surrogate = (matcher.witness(features[index], baseline=baseline) * logits.log_softmax(dim=0)[index]).mean()
            estimates.append(torch.autograd.grad(surrogate, logits)[0])
        spread.append(float(torch.stack(estimates).var(dim=0).sum()))
    assert spread[1] < 0.1 * spread[0]


def test_witness_needs_others() -> None:
    matcher = DistributionMatcher(normal(0, 5, 2))
    with pytest.raises(ValueError, match="at least 2"):
        matcher.witness(normal(1, 1, 2))
    with pytest.raises(ValueError, match="at least 3"):
        matcher.witness(normal(1, 2, 2), baseline=True)
