"""Distributions of one attribute each, element by element over tensors, and differentiable in their parameters.

Continuous attributes are normalised: [0, 1], or the circle [0, 1) where periodic. Noise is an argument, so that every
draw is a function of explicit seeds. Log-probabilities are computed in double precision.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

BOUND_TOLERANCE = 1e-6
"""Values this close to 0 or 1 count as censored: denormalising and normalising again moves a bound by rounding."""

WINDINGS = 3
"""Turns either way that a wrapped normal sums over: more than six standard deviations at the largest, half a turn."""


def _log_normal(difference: Tensor, std: Tensor) -> Tensor:
    return -0.5 * (difference / std) ** 2 - std.log() - 0.5 * math.log(2 * math.pi)


def _with_gradient_of(raw: Tensor, value: Tensor) -> Tensor:
    """Exactly ``value``, with the gradient of ``raw``."""
    return value.detach() + (raw - raw.detach())


@dataclass(frozen=True)
class CensoredNormal:
    """Normal whose values below 0 become 0 and those above 1 become 1: a density inside, a mass on each bound.

    ``mean`` and ``std`` (> 0) have equal shapes.
    """

    mean: Tensor
    std: Tensor

    def rsample(self, noise: Tensor) -> Tensor:
        """``clip(mean + std · noise)`` for standard normal ``noise``.

        The gradient is that of ``mean + std · noise`` for clipped values too (straight-through): with exact clipping a
        value at its bound would have gradient 0 and stay there, though the mean could bring it back.
        """
        raw = self.mean + self.std * noise
        return _with_gradient_of(raw, raw.clamp(0, 1))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density inside (0, 1); on a bound the logarithm of its mass."""
        value, mean, std = value.double(), self.mean.double(), self.std.double()
        below = torch.special.log_ndtr(-mean / std)
        above = torch.special.log_ndtr((mean - 1) / std)
        inside = _log_normal(value - mean, std)
        inside = torch.where(value >= 1 - BOUND_TOLERANCE, above, inside)
        return torch.where(value <= BOUND_TOLERANCE, below, inside)


@dataclass(frozen=True)
class WrappedNormal:
    """Normal wrapped round the circle [0, 1): values that are whole turns apart are the same.

    ``mean`` (any real number) and ``std`` in (0, 0.5] have equal shapes.
    """

    mean: Tensor
    std: Tensor

    def rsample(self, noise: Tensor) -> Tensor:
        """``(mean + std · noise) mod 1`` for standard normal ``noise``, with the gradient of the sum."""
        raw = self.mean + self.std * noise
        wrapped = torch.remainder(raw, 1.0)
        return _with_gradient_of(raw, torch.where(wrapped < 1, wrapped, torch.zeros_like(wrapped)))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density on the circle."""
        value, mean, std = value.double(), self.mean.double(), self.std.double()
        difference = value - mean
        nearest = difference - difference.detach().round()
        turns = torch.arange(-WINDINGS, WINDINGS + 1, dtype=torch.float64, device=value.device)
        return torch.logsumexp(_log_normal(nearest[..., None] + turns, std[..., None]), dim=-1)


@dataclass(frozen=True)
class Bernoulli:
    """Two choices; ``logits`` are the log-odds of choice 1."""

    logits: Tensor

    @property
    def probabilities(self) -> Tensor:
        """(…, 2) probability of each choice."""
        return torch.stack([torch.sigmoid(-self.logits), torch.sigmoid(self.logits)], dim=-1)

    def sample(self, uniform: Tensor) -> Tensor:
        """Choice indices for ``uniform`` draws from [0, 1)."""
        return (uniform >= torch.sigmoid(-self.logits)).long()

    def log_prob(self, index: Tensor) -> Tensor:
        """Log-probability of choice indices."""
        return torch.nn.functional.logsigmoid((2 * index - 1) * self.logits.double())


@dataclass(frozen=True)
class Categorical:
    """k choices by ``logits`` (…, k), up to an additive constant; one row of logits serves any number of draws."""

    logits: Tensor

    @property
    def probabilities(self) -> Tensor:
        """(…, k) probability of each choice."""
        return torch.softmax(self.logits, dim=-1)

    def sample(self, uniform: Tensor) -> Tensor:
        """Choice indices for ``uniform`` draws from [0, 1), by inverting the cumulative probabilities."""
        cumulative = self.probabilities.detach().double().cumsum(dim=-1)
        return (uniform[..., None] >= cumulative[..., :-1]).sum(dim=-1)

    def log_prob(self, index: Tensor) -> Tensor:
        """Log-probability of choice indices."""
        logs = torch.log_softmax(self.logits.double(), dim=-1)
        return logs.expand(*index.shape, -1).gather(-1, index[..., None])[..., 0]
