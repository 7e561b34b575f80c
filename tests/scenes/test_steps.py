"""Step rules against what a step should be."""

from __future__ import annotations

import pytest
import torch

from autosim.scenes.parametric import ParametricGenerator
from autosim.scenes.steps import AdamStep, GradientStep
from autosim.seeding import seed_sequence
from tests.scenes.examples import table


def wide() -> ParametricGenerator:
    generator = ParametricGenerator(table())
    with torch.no_grad():
        generator.means.fill_(0.5)
    generator.explore(0.1, 0.0)
    return generator


def test_a_natural_step_is_in_units_of_the_variance() -> None:
    generator = wide()
    with torch.no_grad():
        generator.log_spreads[0] -= 1.0
    before, variance = generator.means.detach().clone(), generator.log_spreads.exp().square().detach()
    GradientStep(generator, rate=0.5, choice_rate=0.1)(generator.means.sum())
    assert torch.allclose(generator.means, before - 0.5 * variance, atol=1e-6)


def test_a_natural_step_follows_the_correlation_of_signal_and_attribute() -> None:
    """A signal that is an attribute's standardised value moves that mean by rate standard deviations, others not."""
    generator = wide()
    samples = generator.sample(4000, seed_sequence(0, "steps"))
    columns = len(samples.values) // len(samples)
    values = samples.values.detach().view(-1, columns)[:, 0].double()
    signal = (values - values.mean()) / values.std()
    before = generator.means.detach().clone()
    loss = generator.score_function_loss(samples, -signal, "continuous")
    GradientStep(generator, rate=0.5, choice_rate=0.1)(loss)
    moved = (generator.means.detach() - before) / generator.log_spreads.exp().detach()
    largest = int(moved.abs().argmax())
    assert float(moved[largest]) == pytest.approx(0.5, abs=0.06)
    assert float(moved[torch.arange(len(moved)) != largest].abs().max()) < 0.05


def test_a_step_that_may_be_chance_is_shrunk_or_not_made() -> None:
    """Correlations of 0.3 and 0.1 where chance alone gives a variance of 0.2²."""
    generator = wide()
    before, spreads = generator.means.detach().clone(), generator.log_spreads.exp().detach()
    correlations = torch.zeros(len(before))
    correlations[0], correlations[1] = 0.3, 0.1
    loss = -(correlations / spreads * generator.means).sum()
    GradientStep(generator, rate=0.5, choice_rate=0.1)(loss, noise=0.04)
    expected = before.clone()
    expected[0] += 0.5 * spreads[0] * 0.3 * (1 - 0.04 / 0.09)
    assert torch.allclose(generator.means, expected, atol=1e-6)


def test_logits_have_a_rate_of_their_own_and_stay_within_the_floor() -> None:
    generator = wide()
    rule = GradientStep(generator, rate=0.1, choice_rate=50.0)
    means = generator.means.detach().clone()
    rule(generator.logits[0] * 1.0)
    assert torch.equal(generator.means, means)
    for choice in generator.choices():
        assert float(choice.probabilities.detach().min()) >= generator.floor * 0.999


def test_exploring_widens_and_ends_where_it_began() -> None:
    generator = ParametricGenerator(table())
    start = {name: value.clone() for name, value in generator.state_dict().items()}
    generator.explore(0.3, 0.2)
    assert float(generator.log_spreads.exp().min()) >= 0.3 - 1e-6
    for choice in generator.choices():
        assert float(choice.probabilities.detach().min()) >= 0.2 - 1e-6
    generator.explore(0.0, 0.0)
    assert torch.allclose(generator.log_spreads, start["log_spreads"])


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_exploring_keeps_no_choice_from_being_preferred(share: float) -> None:
    """Three choices have 0.25 each at least, two 0.375, however large the share that is asked for."""
    generator = ParametricGenerator(table())
    with torch.no_grad():
        generator.logits.zero_()
        generator.logits[0] = 20.0
    generator.explore(0.0, share)
    first = generator.choices()[0].probabilities.detach()
    assert float(first.min()) == pytest.approx(min(share, 0.25), abs=1e-5)
    assert float(first[0]) == pytest.approx(1 - 2 * min(share, 0.25), abs=1e-5)


@pytest.mark.parametrize("share", [-0.1, 0.51, 0.9])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share"):
        ParametricGenerator(table()).explore(0.1, share)


def test_adam_takes_up_its_state() -> None:
    first, second = wide(), wide()
    one, other = AdamStep(first, 0.01), AdamStep(second, 0.01)
    for _ in range(3):
        one((first.means**2).sum())
    second.load_state_dict(first.state_dict())
    other.load_state_dict(one.state_dict())
    one((first.means**2).sum())
    other((second.means**2).sum())
    assert torch.equal(first.means, second.means)
