"""Kernel densities against the formula and SciPy; the ratio is 0 for equal distributions and points the right way."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from autosim.learning.density import DensityRatio, log_kernel_density

pytestmark = pytest.mark.usefixtures("one_thread")


def normal(count: int, dimension: int, seed: int) -> torch.Tensor:
    return torch.randn(count, dimension, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(d=st.integers(1, 4), variance=st.floats(0.05, 20.0), seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=30)
def test_a_density_is_the_mean_of_normals(d: int, variance: float, seed: int) -> None:
    x, y = normal(3, d, seed), normal(5, d, seed + 1)
    found = log_kernel_density(x, y, variance)
    expected = [
        math.log(sum(multivariate_normal(sample.numpy(), variance).pdf(point.numpy()) for sample in y) / len(y))
        for point in x
    ]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9)


def test_a_sample_s_own_kernel_is_left_out() -> None:
    x = normal(6, 2, 0)
    found = log_kernel_density(x, x, 0.5, own=True)
    for i in range(len(x)):
        others = torch.cat([x[:i], x[i + 1 :]])
        torch.testing.assert_close(found[i], log_kernel_density(x[i : i + 1], others, 0.5)[0])


@pytest.mark.parametrize(("count", "samples", "own"), [(1, 1, True), (3, 2, True), (2, 0, False)])
def test_without_kernels_there_is_no_density(count: int, samples: int, own: bool) -> None:
    with pytest.raises(ValueError, match="kernel"):
        log_kernel_density(normal(count, 2, 0), normal(samples, 2, 0), 1.0, own)


def test_one_group_of_bandwidth_1_is_the_paper_s() -> None:
    """H = d I."""
    target, x = normal(40, 3, 0), normal(10, 3, 1)
    expected = log_kernel_density(x, x, 3.0, own=True) - log_kernel_density(x, target, 3.0)
    torch.testing.assert_close(DensityRatio(target)(x), expected)


def test_groups_add_up() -> None:
    target, x = normal(40, 3, 0), normal(10, 3, 1)
    together = DensityRatio(target, [slice(0, 2), slice(2, 3)], bandwidth=0.5)(x)
    apart = DensityRatio(target[:, :2], bandwidth=0.5)(x[:, :2])
    apart += DensityRatio(target[:, 2:], bandwidth=0.5)(x[:, 2:])
    torch.testing.assert_close(together, apart)


def test_it_is_about_0_where_both_are_alike_and_tells_where_too_many_are() -> None:
    target = normal(2000, 1, 0)
    alike = DensityRatio(target, bandwidth=0.3)(normal(2000, 1, 1))
    assert abs(float(alike.mean())) < 0.05
    shifted = normal(2000, 1, 2) + 1.0
    found = DensityRatio(target, bandwidth=0.3)(shifted)
    right = shifted[:, 0] > 1.5
    assert float(found[right].mean()) > 0.3 and float(found[~right].mean()) < float(found[right].mean()) - 0.5


def test_weights_stand_for_repeated_samples() -> None:
    """Twice the weight is the sample twice, but for its own kernel, which is left out."""
    x, y = normal(4, 2, 0), normal(5, 2, 1)
    weights = torch.tensor([1.0, 2.0, 1.0, 3.0, 1.0], dtype=torch.float64)
    repeated = y.repeat_interleave(weights.long(), dim=0)
    torch.testing.assert_close(log_kernel_density(x, y, 0.7, weights=weights), log_kernel_density(x, repeated, 0.7))
    own = log_kernel_density(y, y, 0.7, own=True, weights=weights)
    for i in range(len(y)):
        kept = torch.arange(len(y)) != i
        others = log_kernel_density(y[i : i + 1], y[kept], 0.7, weights=weights[kept])
        torch.testing.assert_close(own[i], others[0])


def test_equal_weights_change_nothing() -> None:
    target, x = normal(40, 3, 0), normal(10, 3, 1)
    ratio = DensityRatio(target, bandwidth=0.5)
    torch.testing.assert_close(ratio(x, torch.full((10,), 0.1, dtype=torch.float64)), ratio(x))


def test_the_bandwidth_is_checked() -> None:
    with pytest.raises(ValueError, match="bandwidth"):
        DensityRatio(normal(4, 2, 0), bandwidth=0.0)
