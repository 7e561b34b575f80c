"""Angles that are read off pictures: as densities on a circle, which may have several modes.

A thing that looks the same turned by half a circle has two likely angles, and the mean of both is neither. A
prediction is a mixture of normals at anchors round the circle, and is used on a grid. Angles are in turns, [0, 1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Components of a mixture, and points of the grid.
ANCHORS, GRID = 8, 360
# How far a component's mean can be from its anchor, in turns.
REACH = 0.15
LEAST_SIGMA, MOST_SIGMA = 0.01, 0.3
# Whole and half turns after which things often look the same.
SYMMETRIES = (1, 2)
# What a direction counts for in the weights: a network learns few numbers sooner than the weights of all components.
DIRECTION = 8.0
# Numbers that predict an angle: of each component a weight, a mean and a standard deviation, and a direction for each
# symmetry.
OUTPUTS = 3 * ANCHORS + 2 * len(SYMMETRIES)
# Width of the kernel of a density of known angles, in turns.
KERNEL = 0.02
POINTS: NDArray[np.float64] = np.arange(GRID) / GRID


@dataclass(frozen=True)
class AngleMixture:
    """Mixtures of normals on the circle: ``log_weights``, ``means`` in turns and ``log_sigmas``, all (…, ANCHORS)."""

    log_weights: Tensor
    means: Tensor
    log_sigmas: Tensor

    @classmethod
    def of(cls, outputs: Tensor) -> AngleMixture:
        """From a network's predictions (…, OUTPUTS)."""
        weights, shifts, logs, directions = outputs.split([ANCHORS] * 3 + [2 * len(SYMMETRIES)], dim=-1)
        anchors = torch.arange(ANCHORS, device=outputs.device) / ANCHORS
        turned = 2 * math.pi * anchors * torch.tensor(SYMMETRIES, device=outputs.device)[:, None]
        weights = weights + DIRECTION * directions @ torch.cat([turned.sin(), turned.cos()])
        sigmas = (logs - 2.0).clamp(math.log(LEAST_SIGMA), math.log(MOST_SIGMA))
        return cls(weights.log_softmax(dim=-1), anchors + REACH * torch.tanh(shifts), sigmas)

    def log_prob(self, angles: Tensor) -> Tensor:
        """(…) log-density of true angles (…), in turns; shapes broadcast."""
        gap = (angles[..., None] - self.means + 0.5) % 1.0 - 0.5
        each = -0.5 * (gap / self.log_sigmas.exp()) ** 2 - self.log_sigmas - 0.5 * math.log(2 * math.pi)
        return torch.logsumexp(self.log_weights + each, dim=-1)

    def select(self, index: Any) -> AngleMixture:
        """Some of them: anything that indexes a tensor."""
        return AngleMixture(self.log_weights[index], self.means[index], self.log_sigmas[index])

    def densities(self) -> NDArray[np.float64]:
        """(…, GRID) densities at the points of the grid, with a mean of 1."""
        points = torch.from_numpy(POINTS).to(self.means)
        return normalised(self.select((..., None, slice(None))).log_prob(points).exp().double().cpu().numpy())


def wrapped(gap: NDArray[np.float64]) -> NDArray[np.float64]:
    """Differences of angles, along the shorter way: [-.5, .5)."""
    return np.asarray((gap + 0.5) % 1.0 - 0.5)


def normalised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(…, GRID) scaled to a mean of 1; even where they are 0."""
    raised = values + 1e-9
    return np.asarray(raised / raised.mean(axis=-1, keepdims=True), dtype=np.float64)


def normals(means: NDArray[np.float64], stds: NDArray[np.float64]) -> NDArray[np.float64]:
    """(…, GRID) densities of normals with ``means`` and ``stds`` (…), in turns, with a mean of 1."""
    gap = wrapped(POINTS - means[..., None])
    return normalised(np.exp(-0.5 * (gap / stds[..., None]) ** 2))


def density_of(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """(GRID,) smoothed density of known angles (n,), in turns, mixed with an even one; even where there are none."""
    if not len(angles):
        return np.ones(GRID)
    counts = np.bincount(np.round(angles * GRID).astype(np.int64) % GRID, minlength=GRID)
    kernel = normals(np.zeros(()), np.array(KERNEL)) / GRID
    smooth = np.fft.irfft(np.fft.rfft(counts) * np.fft.rfft(kernel), GRID) * GRID / len(angles)
    return normalised(0.95 * np.maximum(smooth, 0.0) + 0.05)


def entropy_of(angles: NDArray[np.float64]) -> float:
    """How badly known angles (n,), in turns, are told by the others, or by the normal that fits them, if that is
    better: minus the mean log-density, in nats, 0 where they are even.
    """
    if len(angles) < 2:
        return 0.0
    kernel = normals(np.zeros(()), np.array(KERNEL))
    gaps = np.round((angles[:, None] - angles) * GRID).astype(np.int64) % GRID
    others = (kernel[gaps].sum(axis=1) - kernel[0]) / (len(angles) - 1)
    mean, std = circular(
        np.bincount(np.round(angles * GRID).astype(np.int64) % GRID, minlength=GRID).astype(np.float64)
    )
    fitted = at(np.broadcast_to(normals(mean, np.maximum(std, 1 / GRID)), (len(angles), GRID)), angles)
    return -max(float(np.mean(np.log(density))) for density in (0.9 * others + 0.1, fitted))


def at(densities: NDArray[np.float64], angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) densities (n, GRID) at ``angles`` (n,), in turns."""
    places = np.round(angles * GRID).astype(np.int64) % GRID
    return np.asarray(densities[np.arange(len(angles)), places])


def tempered_densities(densities: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """(…, GRID) densities with their logarithms divided by ``temperature``."""
    return normalised(np.maximum(densities, 1e-9) ** (1 / temperature))


def circular(weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means and standard deviations (…), in turns, of weights (…, GRID) on the grid: the mean direction, and the root
    of the mean squared distance from it.
    """
    shares = weights / np.maximum(weights.sum(axis=-1, keepdims=True), 1e-300)
    means = np.angle(shares @ np.exp(2j * np.pi * POINTS)) / (2 * np.pi) % 1.0
    gap = wrapped(POINTS - means[..., None])
    return np.asarray(means), np.sqrt((shares * gap**2).sum(axis=-1))
