"""Sinkhorn divergence between sets of feature vectors: optimal transport with an entropic term, debiased.

Cuturi, "Sinkhorn Distances", NeurIPS 2013; Feydy et al., "Interpolating between Optimal Transport and MMD using
Sinkhorn Divergences", AISTATS 2019, Eq. 3 (debiasing), section 3.1 (iterations in logarithms, symmetric ones within a
set), Prop. 2 (first variation).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from autosim.learning.divergence import DistributionMatcher, squared_distances

ITERATIONS = 200
# Potentials have converged where no step moves one by more than this share of epsilon.
TOLERANCE = 1e-3


def transport(cost: Tensor, epsilon: float, iterations: int = ITERATIONS) -> tuple[Tensor, Tensor]:
    """Potentials f (…, n) and g (…, m) of entropic transport between two uniform measures for a ``cost`` (…, n, m).

    ``min_P <P, cost> + epsilon KL(P | uniform)`` has the dual value ``mean(f) + mean(g)`` at these. Averaged updates;
    epsilon comes down from the largest cost by halves, which keeps the number of iterations small. Without gradient.
    """
    cost = cost.detach()
    turned = cost.transpose(-1, -2).contiguous()
    f, g = torch.zeros_like(cost[..., 0]), torch.zeros_like(turned[..., 0])
    temperature = max(float(cost.max()), epsilon)
    for _ in range(iterations):
        new_f, new_g = _softmin(cost, g, temperature), _softmin(turned, f, temperature)
        moved = max(float((new_f - f).abs().max()), float((new_g - g).abs().max()))
        f, g = (f + new_f) / 2, (g + new_g) / 2
        if temperature == epsilon and moved <= TOLERANCE * epsilon:
            break
        temperature = max(temperature / 2, epsilon)
    return f, g


def transport_within(cost: Tensor, epsilon: float, iterations: int = ITERATIONS) -> Tensor:
    """The potential (…, n) that both sides share where ``cost`` (…, n, n) is that of a set with itself."""
    cost = cost.detach()
    f = torch.zeros_like(cost[..., 0])
    for _ in range(iterations):
        new = _softmin(cost, f, epsilon)
        moved, f = float((new - f).abs().max()), (f + new) / 2
        if moved <= TOLERANCE * epsilon:
            break
    return f


def sinkhorn_divergence(x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """``OT(x, y) − OT(x, x) / 2 − OT(y, y) / 2`` for the cost ``|x − y|²``, between uniform measures on the rows of
    ``x`` (n, d) and ``y`` (m, d); a scalar, 0 for equal sets, differentiable in both.

    ``epsilon`` > 0 is in units of the cost. Towards 0 it is optimal transport, towards infinity the squared distance of
    the means. Raises ``ValueError`` where shapes do not fit, a set is empty or epsilon is not above 0.
    """
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or 0 in (len(x), len(y)):
        raise ValueError(f"sinkhorn: shapes {tuple(x.shape)} and {tuple(y.shape)} are not (n, d) and (m, d)")
    if not epsilon > 0:
        raise ValueError(f"sinkhorn: epsilon {epsilon} is not above 0")
    within = _half_within(squared_distances(x, x), epsilon) + _half_within(squared_distances(y, y), epsilon)
    return _across(squared_distances(x, y), epsilon) - within


def first_variation(across: Tensor, within: Tensor, epsilon: float) -> Tensor:
    """(…, n) cost of each sample x of the divergence, given squared distances ``across`` (…, n, m) to y and ``within``
    (…, n, n) the x: moving probability to where it is low lowers the divergence (Feydy et al., Prop. 2).
    """
    return transport(across, epsilon)[0] - transport_within(within, epsilon)


def _softmin(cost: Tensor, potential: Tensor, epsilon: float) -> Tensor:
    """(…, n) ``−epsilon log mean_j exp((potential_j − cost_ij) / epsilon)``."""
    logs = torch.logsumexp((potential[..., None, :] - cost) / epsilon, dim=-1)
    return -epsilon * (logs - math.log(cost.shape[-1]))


def _across(cost: Tensor, epsilon: float) -> Tensor:
    """(…) dual value. By the envelope theorem its gradient is that of one last update from fixed potentials: each cost
    by its share of the plan.
    """
    f, g = transport(cost, epsilon)
    forth, back = _softmin(cost, g, epsilon), _softmin(cost.transpose(-1, -2), f, epsilon)
    return (forth.mean(dim=-1) + back.mean(dim=-1) + f.mean(dim=-1) + g.mean(dim=-1)) / 2


def _half_within(cost: Tensor, epsilon: float) -> Tensor:
    """(…) half the dual value of a set with itself, with the gradient of the same kind."""
    f = transport_within(cost, epsilon)
    return (_softmin(cost, f, epsilon).mean(dim=-1) + f.mean(dim=-1)) / 2


class SinkhornMatcher(DistributionMatcher):
    """As :class:`DistributionMatcher`, with a Sinkhorn divergence of each group in the place of its MMD².

    Squared distances are in units of the group's squared median distance over the reference, so that groups of any
    dimension count alike. ``blur`` (> 0) is the square root of epsilon in these units: structure finer than it is not
    told apart.
    """

    def __init__(
        self,
        target: Tensor,
        reference: Tensor | None = None,
        groups: Sequence[slice] | None = None,
        weights: Sequence[float] | None = None,
        blur: float = 0.25,
    ) -> None:
        super().__init__(target, reference, groups, weights, scales=(1.0,))
        self.epsilon = blur * blur
        self.half_target = _half_within(self._distances(self.target, self.target), self.epsilon)

    def group_losses(self, features: Tensor) -> Tensor:
        """(groups,) divergence of each group, unweighted, for raw generated features (n, d); differentiable."""
        x = self.standardiser(features)
        across, within = self._distances(x, self.target), self._distances(x, x)
        return _across(across, self.epsilon) - _half_within(within, self.epsilon) - self.half_target

    @torch.no_grad()
    def group_witness(self, features: Tensor, shares: Tensor | None = None, baseline: bool = False) -> Tensor:
        """(groups, n) cost of each generated sample, by the first variation; with ``baseline`` minus the mean cost of
        the other samples. ``ValueError`` for ``shares``, or for fewer than two samples with a baseline.
        """
        n = len(features)
        if shares is not None:
            raise ValueError("witness: a Sinkhorn divergence takes no shares")
        if baseline and n < 2:
            raise ValueError(f"witness: {n} samples, but at least 2 are needed")
        x = self.standardiser(features)
        costs = first_variation(self._distances(x, self.target), self._distances(x, x), self.epsilon)
        return (costs - costs.mean(dim=1, keepdim=True)) * (n / (n - 1)) if baseline else costs

    def _distances(self, x: Tensor, y: Tensor) -> Tensor:
        """(groups, n, m) squared distances of standardised features, in units of each group's median."""
        pairs = zip(self.groups, self.bandwidths, strict=True)
        return torch.stack([squared_distances(x[:, group] / scale, y[:, group] / scale) for group, (scale,) in pairs])
