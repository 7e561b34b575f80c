"""Kernel densities of feature vectors, and the logarithm of the ratio of two: Meta-Sim2's signal for a scene.

Devaranjan, Kar and Fidler, "Meta-Sim2", ECCV 2020, §3.2: the Kullback-Leibler divergence between the features of
generated and of target images, both densities estimated by Gaussian kernels with covariance ``H = d I``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from autosim.learning.divergence import squared_distances


def log_kernel_density(
    x: Tensor, samples: Tensor, variance: float, own: bool = False, weights: Tensor | None = None
) -> Tensor:
    """(n,) log of the mean over samples y (m, d) of the density at x (n, d) of a normal around y with covariance
    ``variance · I`` (variance above 0); weighted with ``weights`` (m,), if given.

    With ``own`` the first n samples are ``x`` itself, and each point's own kernel is left out: a density estimated from
    a point is large at that point whatever the distribution. Raises ``ValueError`` where no kernel is left.
    """
    n, m = len(x), len(samples)
    if m - own < 1 or (own and m < n):
        raise ValueError(f"log_kernel_density: {m} samples leave no kernel")
    exponents = squared_distances(x, samples) / (-2.0 * variance)
    if own:
        exponents = exponents.masked_fill(torch.eye(n, m, dtype=torch.bool, device=x.device), -math.inf)
    scale = 0.5 * x.shape[1] * math.log(2.0 * math.pi * variance)
    if weights is None:
        return torch.logsumexp(exponents, dim=1) - math.log(m - own) - scale
    total = weights.sum() - weights[:n] if own else weights.sum()
    return torch.logsumexp(exponents + weights.log(), dim=1) - total.log() - scale


class DensityRatio:
    """``log q(φ) − log p(φ)`` at generated features φ, for a fixed target set with density p.

    In each of ``groups`` (slices; by default one of all) kernels have variance ``bandwidth² · d_g``, d_g the number of
    its features; with one group and ``bandwidth`` 1 that is the paper's ``H = d I``. The groups' ratios are summed: the
    sum of the groups' separate divergences needs far fewer samples than the divergence of all features together, and
    ignores how the groups depend on each other.

    The density q is estimated from the generated features, each without its own kernel.
    """

    def __init__(self, target: Tensor, groups: Sequence[slice] | None = None, bandwidth: float = 1.0) -> None:
        if bandwidth <= 0:
            raise ValueError(f"bandwidth: {bandwidth} is not above 0")
        self.groups = [slice(0, target.shape[1])] if groups is None else list(groups)
        self.target = target.detach()
        self.bandwidth = bandwidth

    @torch.no_grad()
    def __call__(self, features: Tensor, weights: Tensor | None = None) -> Tensor:
        """(n,) for generated features (n, d), n at least 2: what each scene adds to the divergence. ``weights`` (n,)
        above 0 are the scenes' weights, equal by default.
        """
        total = features.new_zeros(len(features))
        for group in self.groups:
            x, y = features[:, group], self.target[:, group]
            variance = self.bandwidth**2 * x.shape[1]
            total = total + log_kernel_density(x, x, variance, own=True, weights=weights)
            total = total - log_kernel_density(x, y, variance)
        return total
