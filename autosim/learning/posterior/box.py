"""A part of a cube that draws are restricted to, and that shrinks to where a posterior is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Narrowest side of a box.
NARROWEST = 0.02
# Local coordinates may be as far off.
ROUNDING = 1e-9
# What is added on either side of the samples' range, as a share of it.
MARGIN = 0.1


@dataclass(frozen=True)
class Box:
    """The points ``low`` + ``width`` · u for u in [0, 1]^D; sides of ``periodic`` (D,) dimensions go round the circle
    [0, 1). u are the *local* coordinates: uniform ones are draws from the uniform distribution on the box.
    """

    low: NDArray[np.float64]
    width: NDArray[np.float64]
    periodic: NDArray[np.bool_]

    @staticmethod
    def whole(periodic: NDArray[np.bool_]) -> Box:
        """The whole cube."""
        return Box(np.zeros(len(periodic)), np.ones(len(periodic)), periodic)

    @property
    def circles(self) -> NDArray[np.bool_]:
        """(D,) which sides are whole circles."""
        return np.asarray(self.periodic & (self.width >= 1.0))

    def points(self, local: NDArray[np.float64]) -> NDArray[np.float64]:
        """(…, D) points of local coordinates."""
        points = self.low + self.width * local
        return np.where(self.periodic, points % 1.0, np.clip(points, 0.0, 1.0))

    def local(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(…, D) local coordinates of points; outside [0, 1] where a point is not in the box."""
        offset = points - self.low
        # Half of what is not in the box lies before it, and half after it.
        before = (1.0 - self.width) / 2
        return np.where(self.periodic, (offset + before) % 1.0 - before, offset) / self.width

    def inside(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(n,) which points (n, D) are in the box."""
        local = self.local(points)
        return np.asarray(((local >= -ROUNDING) & (local <= 1 + ROUNDING)).all(axis=-1))

    def mean(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(D,) mean of points (n, D), that of the circle where a dimension is one."""
        turned = np.angle(np.exp(2j * np.pi * points).mean(axis=0)) / (2 * np.pi) % 1.0
        return np.where(self.periodic, turned, points.mean(axis=0))

    def around(self, points: NDArray[np.float64], outside: float) -> Box:
        """The box within this one that holds, in each dimension by itself, all but a share ``outside`` of points (n, D)
        in this one, and a margin.
        """
        # A whole circle is cut open opposite of the mean.
        opened = Box(np.where(self.circles, self.mean(points) - 0.5, self.low) % 1.0, self.width, self.periodic)
        first, last = np.quantile(opened.local(points), (outside / 2, 1 - outside / 2), axis=0)
        least = NARROWEST / self.width
        margin = np.maximum(MARGIN * (last - first), (least - (last - first)) / 2)
        first = np.clip(first - margin, 0.0, 1.0 - least)
        last = np.clip(last + margin, first + least, 1.0)
        low = opened.low + self.width * first
        return Box(np.where(self.periodic, low % 1.0, low), self.width * (last - first), self.periodic)
