"""Divergences between sets of feature vectors: the squared maximum mean discrepancy (MMD²) and its witness.

Meta-Sim (Kar et al., ICCV 2019), Eq. 1, whose printed form lacks the factor 2 of the cross term; Gretton et al.,
"A Kernel Two-Sample Test", JMLR 2012, Eq. 3 (unbiased), Eq. 5 (biased) and section 8 (median heuristic).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# The widest kernels have a gradient far from the target, the narrowest resolve small differences near it.
DEFAULT_SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """(n, m) squared Euclidean distances between the rows of ``x`` (n, d) and ``y`` (m, d), never negative."""
    # Subtracting the mean of one set avoids the rounding errors of an offset that all features share.
    centre = y.detach().mean(dim=0)
    x, y = x - centre, y - centre
    return ((x * x).sum(dim=1)[:, None] + (y * y).sum(dim=1)[None, :] - 2.0 * x @ y.T).clamp_min(0.0)


def gaussian_kernel(x: Tensor, y: Tensor, bandwidths: Tensor | Sequence[float]) -> Tensor:
    """(n, m) sum over the bandwidths ``h`` (> 0) of ``exp(-|x_i - y_j|² / (2 h²))``: values in [0, len(bandwidths)]."""
    distances = squared_distances(x, y)
    total = torch.zeros_like(distances)
    for bandwidth in bandwidths:
        total = total + torch.exp(distances / (-2.0 * bandwidth * bandwidth))
    return total


def mmd2(
    x: Tensor,
    y: Tensor,
    bandwidths: Tensor | Sequence[float],
    biased: bool = False,
    within_y: Tensor | None = None,
) -> Tensor:
    """Squared maximum mean discrepancy between ``x`` (n, d) and ``y`` (m, d); a scalar, differentiable in both.

    ``1/n² ΣΣ k(x_i, x_i') + 1/m² ΣΣ k(y_j, y_j') − 2/(nm) ΣΣ k(x_i, y_j)`` where ``biased``: never negative, and above
    0 by O(1/n) for two samples of one distribution. Otherwise the first two sums leave out the diagonal and are divided
    by n(n−1) and m(m−1): the mean over samples is the squared MMD of the distributions, and the value may be negative.
    ``within_y`` is the second term (:func:`mean_kernel`) where it is known; with many y it is the slowest one.

    Raises ``ValueError`` where shapes do not fit or a set is too small (1 vector if biased, 2 otherwise).
    """
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"mmd2: shapes {tuple(x.shape)} and {tuple(y.shape)} are not (n, d) and (m, d)")
    least = 1 if biased else 2
    if min(len(x), len(y)) < least:
        raise ValueError(f"mmd2: {len(x)} and {len(y)} vectors, but at least {least} of each are needed")
    within_y = mean_kernel(y, bandwidths, biased) if within_y is None else within_y
    return mean_kernel(x, bandwidths, biased) + within_y - 2.0 * gaussian_kernel(x, y, bandwidths).mean()


def mean_kernel(x: Tensor, bandwidths: Tensor | Sequence[float], biased: bool = False) -> Tensor:
    """Mean of the kernel among ``x`` (n, d), a scalar; without the diagonal unless ``biased``."""
    kernel = gaussian_kernel(x, x, bandwidths)
    if biased:
        return kernel.mean()
    n = len(kernel)
    return (kernel.sum() - kernel.diagonal().sum()) / (n * (n - 1))


class Standardiser:
    """Shifts and scales features to mean 0 and standard deviation 1 over a reference set (m, d), m >= 1.

    A feature that (up to rounding) does not vary over the reference set keeps its scale, so nothing is divided by 0.
    """

    def __init__(self, reference: Tensor) -> None:
        if reference.ndim != 2 or len(reference) == 0:
            raise ValueError(f"standardiser: reference of shape {tuple(reference.shape)} is not (m, d) with m >= 1")
        reference = reference.detach()
        self.mean = reference.mean(dim=0)
        std = reference.std(dim=0, unbiased=False)
        rounding = 16 * torch.finfo(reference.dtype).eps * reference.abs().amax(dim=0)
        self.std = torch.where(std > rounding, std, torch.ones_like(std))

    def __call__(self, features: Tensor) -> Tensor:
        """(n, d) standardised features, differentiable."""
        return (features - self.mean) / self.std


def median_bandwidths(features: Tensor, scales: Sequence[float] = DEFAULT_SCALES, limit: int = 1000) -> Tensor:
    """(len(scales),) kernel bandwidths: ``scales`` times the median distance between two different rows of (n, d).

    Pairs of equal rows are ignored, so that the median is above 0; it is 1 where all rows are equal. Of more than
    ``limit`` rows, evenly spaced ones are used.
    """
    if min(scales, default=0.0) <= 0:
        raise ValueError(f"bandwidth scales {tuple(scales)} must be non-empty and above 0")
    features = features.detach()
    if len(features) > limit:
        features = features[torch.linspace(0, len(features) - 1, limit).long()]
    # pdist subtracts before it squares: two equal rows are exactly 0 apart.
    distances = torch.pdist(features)
    distances = distances[distances > 0]
    median = distances.median() if len(distances) else features.new_ones(())
    return median * features.new_tensor(list(scales))


class DistributionMatcher:
    """MMD² between generated features and a fixed target set, group by group, as a loss and as a cost of each sample.

    Features are standardised over ``reference`` (r, d), a *broad* set of what can occur, frames over the attributes'
    full ranges say; by default the target itself. A broad reference matters: in units of a narrow target's spread,
    generated features would lie so far out that every kernel value is 0 and no gradient is left. Bandwidths follow from
    the median heuristic on the standardised reference. Each of ``groups`` (slices of the features; by default one) has
    bandwidths of its own, and the groups' MMD² values, times ``weights`` (1 by default), are summed: a small group
    counts as much as a large one.
    """

    def __init__(
        self,
        target: Tensor,
        reference: Tensor | None = None,
        groups: Sequence[slice] | None = None,
        weights: Sequence[float] | None = None,
        scales: Sequence[float] = DEFAULT_SCALES,
        biased: bool = False,
    ) -> None:
        reference = target if reference is None else reference
        if target.ndim != 2 or reference.ndim != 2 or target.shape[1] != reference.shape[1]:
            raise ValueError(f"target {tuple(target.shape)} and reference {tuple(reference.shape)} differ in features")
        self.groups = [slice(0, target.shape[1])] if groups is None else list(groups)
        self.weights = torch.ones(len(self.groups)) if weights is None else torch.tensor(list(weights))
        if len(self.weights) != len(self.groups):
            raise ValueError(f"{len(self.weights)} weights for {len(self.groups)} feature groups")
        self.weights = self.weights.to(target)
        self.biased = biased
        self.standardiser = Standardiser(reference)
        self.target = self.standardiser(target.detach())
        spread = self.standardiser(reference.detach())
        self.bandwidths = [median_bandwidths(spread[:, group], scales) for group in self.groups]
        self.within_target = [
            mean_kernel(self.target[:, group], bandwidths, biased)
            for group, bandwidths in zip(self.groups, self.bandwidths, strict=True)
        ]

    def __call__(self, features: Tensor) -> Tensor:
        """Weighted sum of :meth:`group_losses`, a scalar: the loss."""
        return (self.weights * self.group_losses(features)).sum()

    def group_losses(self, features: Tensor) -> Tensor:
        """(groups,) MMD² of each group, unweighted, for raw generated features (n, d); differentiable."""
        features = self.standardiser(features)
        values = [
            mmd2(features[:, group], self.target[:, group], bandwidths, self.biased, within)
            for group, bandwidths, within in zip(self.groups, self.bandwidths, self.within_target, strict=True)
        ]
        return torch.stack(values)

    def witness(self, features: Tensor, shares: Tensor | None = None, baseline: bool = False) -> Tensor:
        """(n,) weighted sum over groups of :meth:`group_witness`."""
        return self.weights @ self.group_witness(features, shares, baseline)

    @torch.no_grad()
    def group_witness(self, features: Tensor, shares: Tensor | None = None, baseline: bool = False) -> Tensor:
        """(groups, n) cost of each generated sample; its score-function estimate is the gradient of the group's MMD².

        The MMD² of the generating distribution q and the target p is ``E_q E_q k(s, s') − 2 E_q E_p k(s, y) + const``,
        so ``∇ MMD² = E_q[∇ log q(s) · 2 (E_q k(s, s') − E_p k(s, y))]`` (both places of the first term give the same,
        hence the 2). Sample i gets ``2 (1/(n−1) Σ_{i'≠i} k(x_i, x_i') − 1/m Σ_j k(x_i, y_j))``. Its own kernel is left
        out: the estimate is unbiased only where x_i' is independent of x_i.

        ``baseline`` subtracts from each sample's cost the mean cost of the *other* samples, among themselves: the
        estimate stays unbiased. With the plain mean of the others' costs it would not, because those contain k(x_i',
        x_i). Needs n >= 2, or 3 with ``baseline``; ``ValueError`` otherwise. ``shares`` (n,) above 0, without
        ``baseline``, are the samples' weights in the mean over i', equal by default.
        """
        n = len(features)
        least = 3 if baseline else 2
        if n < least:
            raise ValueError(f"witness: {n} samples, but at least {least} are needed")
        features = self.standardiser(features)
        costs = []
        for group, bandwidths in zip(self.groups, self.bandwidths, strict=True):
            x, y = features[:, group], self.target[:, group]
            kernel = gaussian_kernel(x, x, bandwidths)
            within = kernel.sum(dim=1) - kernel.diagonal()
            across = gaussian_kernel(x, y, bandwidths).mean(dim=1)
            own = within / (n - 1) - across
            if shares is not None:
                share = shares.to(kernel)
                own = (kernel @ share - kernel.diagonal() * share) / (share.sum() - share) - across
            if baseline:
                others_within = (within.sum() - 2.0 * within) / ((n - 1) * (n - 2))
                others_across = (across.sum() - across) / (n - 1)
                own = own - (others_within - others_across)
            costs.append(2.0 * own)
        return torch.stack(costs)
