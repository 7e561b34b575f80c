"""Which object each pixel shows, and how much of each object is seen: rays through the centres of pixels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autosim.rendering.mitsuba.silhouettes import View
from autosim.scenes.settle import Pose, rotation_matrix
from envs.lmo.models import Model

# Pixels of an object that are looked at one by one; of larger ones every second in each direction, or every third, ….
FINEST = 2500
# How far an object's silhouette may reach beyond the picture to count as hidden there, in pictures.
BEYOND = 1


class Silhouettes:
    """Each object alone, for the pixels that it would take up if nothing were before it."""

    def __init__(self, mi: Any, models: Sequence[Model]) -> None:
        self._mi = mi
        self._models = tuple(models)
        self._scenes = [
            mi.load_dict({"type": "scene", "shape": mesh_of(mi, model)}, optimize=False) for model in models
        ]

    def pixels(self, index: int, pose: Pose, eye: NDArray[np.float64], rays: Rays) -> float:
        """How many pixels the object of ``index`` would take up at ``pose``, those beyond the picture included."""
        window = rays.window(pose.apply(self._models[index].vertices), BEYOND)
        if window is None:
            return 0.0
        top, left, bottom, right = window
        stride = max(1, int(np.ceil(np.sqrt((bottom - top) * (right - left) / FINEST))))
        rows, columns = np.mgrid[top:bottom:stride, left:right:stride]
        turn = rotation_matrix(pose.rotation)
        directions = rays.directions(rows.ravel(), columns.ravel()) @ turn
        origin = (eye - np.array(pose.place)) @ turn
        hits = sum(1 for hit in _hits(self._mi, self._scenes[index], origin, directions) if hit.is_valid())
        return float(hits * stride**2)


class Rays:
    """Rays of a camera whose ``to_world`` is ``matrix``, through pixels of a picture of (height, width)."""

    def __init__(self, matrix: NDArray[np.float64], field_of_view: float, height: int, width: int) -> None:
        self._turn, self.eye = matrix[:3, :3], matrix[:3, 3]
        self._focal = width / 2 / np.tan(np.radians(field_of_view) / 2)
        self._view = View(matrix, field_of_view, height, width)
        self.height, self.width = height, width

    def directions(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
        """Unit directions (n, 3) through the centres of pixels, which may lie beyond the picture."""
        x = (self.width / 2 - columns - 0.5) / self._focal
        y = (self.height / 2 - rows - 0.5) / self._focal
        seen = np.stack([x, y, np.ones_like(x)], axis=1)
        return np.asarray(seen @ self._turn.T / np.linalg.norm(seen, axis=1, keepdims=True))

    def window(self, points: NDArray[np.float64], beyond: int = 0) -> tuple[int, int, int, int] | None:
        """Top, left, bottom, right of the pixels that hold points, within the picture and ``beyond`` pictures around
        it; the whole picture where a point is not before the camera, None where no pixel is left.
        """
        places = self._view.pixels(points)
        if places is None:
            return 0, 0, self.height, self.width
        size = np.array([self.width, self.height])
        low = np.floor(places.min(axis=0)).clip(-beyond * size, (1 + beyond) * size).astype(int)
        high = np.ceil(places.max(axis=0)).clip(-beyond * size, (1 + beyond) * size).astype(int)
        return None if (low >= high).any() else (int(low[1]), int(low[0]), int(high[1]), int(high[0]))


def seen_instances(
    mi: Any, scene: Any, numbers: Mapping[Any, int], rays: Rays, groups: Sequence[NDArray[np.float64]]
) -> NDArray[np.uint16]:
    """(height, width): the number of the instance that each pixel's centre shows, 0 for what has none. Only pixels
    around ``groups``, the points of each object in the world, are looked at.
    """
    near = np.zeros((rays.height, rays.width), dtype=bool)
    for points in groups:
        if (window := rays.window(points)) is not None:
            near[window[0] : window[2], window[1] : window[3]] = True
    rows, columns = np.nonzero(near)
    found = np.zeros((rays.height, rays.width), dtype=np.uint16)
    hits = _hits(mi, scene, rays.eye, rays.directions(rows, columns))
    found[rows, columns] = [numbers.get(hit.instance, 0) if hit.is_valid() else 0 for hit in hits]
    return found


def _hits(mi: Any, scene: Any, origin: NDArray[np.float64], directions: NDArray[np.float64]) -> Iterator[Any]:
    start = mi.ScalarPoint3f(*origin.tolist())
    for direction in directions.tolist():
        yield scene.ray_intersect_preliminary(mi.Ray3f(start, mi.ScalarVector3f(direction)))


def mesh_of(mi: Any, model: Model) -> Any:
    """A model as a mesh of Mitsuba's, without colours."""
    mesh = mi.Mesh(model.name, len(model.vertices), len(model.faces))
    parameters = mi.traverse(mesh)
    parameters["vertex_positions"] = model.vertices.ravel()
    parameters["faces"] = model.faces.ravel()
    parameters.update()
    return mesh
