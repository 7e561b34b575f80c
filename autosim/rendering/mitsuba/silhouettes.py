"""Where solids are seen: windows of a picture that hold their projections, and those of their shadows on the ground."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autosim.rendering.windows import Window

# Points this near to the camera's plane, or behind it, are not projected.
_NEAREST = 1e-6


class View:
    """A perspective camera: ``matrix`` (4, 4) is its ``to_world``, looking along z with y upwards and x to the left, as
    Mitsuba's do; ``field_of_view`` is the horizontal one in degrees, of a picture of (height, width) pixels.
    """

    def __init__(self, matrix: NDArray[np.floating], field_of_view: float, height: int, width: int) -> None:
        self._to_camera = np.linalg.inv(np.asarray(matrix, dtype=np.float64).reshape(4, 4))
        self._focal = width / 2 / np.tan(np.radians(field_of_view) / 2)
        self._height, self._width = height, width

    def pixels(self, points: NDArray[np.floating]) -> NDArray[np.float64] | None:
        """Columns and rows (n, 2), in pixels from the upper left corner, where points (n, 3) are seen; None where one
        of them is not in front of the camera.
        """
        seen = np.asarray(points, dtype=np.float64) @ self._to_camera[:3, :3].T + self._to_camera[:3, 3]
        if (seen[:, 2] <= _NEAREST).any():
            return None
        columns = self._width / 2 - self._focal * seen[:, 0] / seen[:, 2]
        rows = self._height / 2 - self._focal * seen[:, 1] / seen[:, 2]
        return np.stack([columns, rows], axis=1)

    def window(self, points: NDArray[np.floating], margin: int = 1) -> Window | None:
        """The window that holds the hull of points (n, 3), and ``margin`` pixels around it; clipped to the picture.
        None, the whole picture, where a point is not in front of the camera.
        """
        found = self.pixels(points)
        if found is None:
            return None
        # Places far outside the picture are limited to its size beyond the edge: they may exceed an integer's range.
        limits = np.array([self._width, self._height])
        left, top = np.floor(np.clip(found.min(axis=0), -limits, 2 * limits)).astype(int) - margin
        right, bottom = np.ceil(np.clip(found.max(axis=0), -limits, 2 * limits)).astype(int) + margin
        return Window(int(top), int(left), int(bottom - top), int(right - left)).clipped(self._height, self._width)


def box_corners(centre: Sequence[float], halves: Sequence[float], turn: float = 0.0) -> NDArray[np.float64]:
    """The corners (8, 3) of an upright box about ``centre``, of half sides ``halves``, turned about the vertical by
    ``turn`` radians. A sphere's box has its radius for each half side.
    """
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))
    corners = signs * np.asarray(halves, dtype=np.float64)
    cosine, sine = np.cos(turn), np.sin(turn)
    turned = np.stack(
        [
            cosine * corners[:, 0] - sine * corners[:, 1],
            sine * corners[:, 0] + cosine * corners[:, 1],
            corners[:, 2],
        ],
        axis=1,
    )
    return turned + np.asarray(centre, dtype=np.float64)


def ground_shadow(
    points: NDArray[np.floating], light: Sequence[float], distant: bool = False, ground: float = 0.0
) -> NDArray[np.float64] | None:
    """Where the shadows of points (n, 3) fall on the plane z = ``ground``: (n, 3).

    ``light`` is the place of a light, or the direction in which a ``distant`` one shines. Points at or below the ground
    are their own shadow. None where a point casts no shadow on the ground, because the light is not above it.
    """
    points = np.asarray(points, dtype=np.float64)
    source = np.asarray(light, dtype=np.float64)
    rays = np.broadcast_to(source, points.shape) if distant else points - source
    raised = points[:, 2] > ground
    if (rays[raised, 2] >= -_NEAREST).any():
        return None
    lengths = np.where(raised, (ground - points[:, 2]) / np.where(raised, rays[:, 2], 1.0), 0.0)
    return points + lengths[:, None] * rays
