"""Scalar distributions against integrals, scipy and finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from autosim.scenes.distributions import Bernoulli, Categorical, CensoredNormal, WrappedNormal

MEANS, STDS = st.floats(0, 1), st.floats(0.005, 0.5)


def _tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@settings(max_examples=50)
@given(mean=MEANS, std=STDS)
def test_censored_normal_has_mass_one(mean: float, std: float) -> None:
    x = torch.linspace(1e-5, 1 - 1e-5, 20001, dtype=torch.float64)
    distribution = CensoredNormal(_tensor(mean), _tensor(std))
    inside = torch.trapezoid(distribution.log_prob(x).exp(), x)
    bounds = distribution.log_prob(_tensor(0, 1)).exp().sum()
    assert float(inside + bounds) == pytest.approx(1, abs=2e-3)
    assert distribution.log_prob(_tensor(0, 1)).tolist() == pytest.approx(
        [norm.logcdf(0, mean, std), norm.logsf(1, mean, std)], rel=1e-9
    )


def test_censored_normal_is_stable_far_in_the_tail_and_near_a_bound() -> None:
    mean = _tensor(1.0).requires_grad_()
    far = CensoredNormal(mean, _tensor(0.005)).log_prob(_tensor(0.0))
    far.sum().backward()
    assert float(far.detach()) == pytest.approx(norm.logcdf(-200), rel=1e-9)
    assert mean.grad is not None and float(mean.grad) == pytest.approx(-200 / 0.005, rel=1e-3)
    single = CensoredNormal(torch.tensor([0.3]), torch.tensor([0.1]))
    rounded = torch.tensor([1e-9, 1 - 1e-9], dtype=torch.float64)
    assert torch.equal(single.log_prob(rounded), single.log_prob(_tensor(0, 1)))


@settings(max_examples=50)
@given(mean=st.floats(-2, 2), std=STDS, turns=st.integers(-3, 3))
def test_wrapped_normal_integrates_to_one_and_is_periodic(mean: float, std: float, turns: int) -> None:
    x = torch.linspace(0, 1, 20001, dtype=torch.float64)
    distribution = WrappedNormal(_tensor(mean), _tensor(std))
    assert float(torch.trapezoid(distribution.log_prob(x).exp(), x)) == pytest.approx(1, abs=2e-3)
    assert torch.allclose(distribution.log_prob(x), distribution.log_prob(x + turns), atol=1e-6)


@settings(max_examples=100)
@given(mean=st.floats(0.02, 0.98), std=STDS, at=st.floats(0, 1), kind=st.sampled_from([CensoredNormal, WrappedNormal]))
def test_log_prob_gradients_are_those_of_differences(
    mean: float, std: float, at: float, kind: type[CensoredNormal] | type[WrappedNormal]
) -> None:
    m, s = _tensor(mean).requires_grad_(), _tensor(std).requires_grad_()
    found = torch.autograd.grad(kind(m, s).log_prob(_tensor(at)).sum(), [m, s])

    def value(a: float, b: float) -> float:
        return float(kind(_tensor(a), _tensor(b)).log_prob(_tensor(at)))

    h = 1e-6 * std
    expected = [
        (value(mean + h, std) - value(mean - h, std)) / (2 * h),
        (value(mean, std + h) - value(mean, std - h)) / (2 * h),
    ]
    assert [float(g) for g in found] == pytest.approx(expected, rel=1e-3, abs=1e-3 / std**2)


def test_samples_follow_the_density_and_pass_the_gradient() -> None:
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal(20000))
    mean, std = _tensor(0.9).requires_grad_(), _tensor(0.2).requires_grad_()
    censored = CensoredNormal(mean, std)
    x = censored.rsample(noise)
    assert float(x.detach().min()) >= 0 and float(x.detach().max()) == 1
    assert float((x == 1).double().mean()) == pytest.approx(norm.sf(0.5), abs=0.02)
    grads = torch.autograd.grad(x.sum(), [mean, std])
    assert float(grads[0]) == pytest.approx(20000) and float(grads[1]) == pytest.approx(float(noise.sum()))
    y = WrappedNormal(mean, std).rsample(noise)
    assert float(y.detach().min()) >= 0 and float(y.detach().max()) < 1
    assert float((y < 0.4).double().mean()) == pytest.approx(norm.cdf(2.5) - norm.cdf(0.5), abs=0.02)
    assert float(torch.autograd.grad(y.sum(), [mean])[0]) == pytest.approx(20000)


@settings(max_examples=50)
@given(logits=st.lists(st.floats(-6, 6), min_size=2, max_size=6), log_odds=st.floats(-30, 30))
def test_choices_have_probabilities_that_sum_to_one(logits: list[float], log_odds: float) -> None:
    several = Categorical(_tensor(*logits))
    all_of_them = torch.arange(len(logits))
    assert float(several.log_prob(all_of_them).exp().sum()) == pytest.approx(1)
    assert torch.allclose(several.log_prob(all_of_them).exp(), several.probabilities)
    two = Bernoulli(_tensor(log_odds)[0])
    assert two.log_prob(torch.tensor([0, 1])).tolist() == pytest.approx(
        [-math.log1p(math.exp(log_odds)), -math.log1p(math.exp(-log_odds))], rel=1e-9
    )


def test_choices_are_drawn_by_inversion() -> None:
    uniform = torch.linspace(0, 1 - 1e-4, 10000, dtype=torch.float64)
    several = Categorical(_tensor(0.2, 0.5, 0.3).log())
    assert (torch.bincount(several.sample(uniform)) / 1e4).tolist() == pytest.approx([0.2, 0.5, 0.3], abs=1e-3)
    rows = Categorical(_tensor(0.2, 0.5, 0.3).log().repeat(10000, 1))
    assert torch.equal(rows.sample(uniform), several.sample(uniform))
    two = Bernoulli(torch.logit(_tensor(0.7))[0])
    assert float(two.sample(uniform).double().mean()) == pytest.approx(0.7, abs=1e-3)
