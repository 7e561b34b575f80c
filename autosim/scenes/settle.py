"""Arrangements at rest: things are dropped, MuJoCo lets them fall, and the poses that they come to are kept.

A thing is the convex hull of its vertices. Poses are meant to become immutable attributes of a scene's nodes: once they
are drawn, no picture depends on the physics engine or its version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autosim.errors import UserError

# Seconds of a step, and of the stretch at the end in which nothing may move.
STEP, WATCH = 0.004, 0.4
# What counts as rest: metres and radians in that stretch.
STILL_METRES, STILL_RADIANS = 1e-3, 2e-2
# How deep two hulls may press into each other, in metres.
DEEPEST = 1e-3
# Kilograms for a cubic metre, and what slows a thing down where it does not slide: N·s/m and N·m·s.
DENSITY, DAMPING = 400.0, 1e-3
# Vertices of a hull; those beyond are left out, the ones that matter least first.
MOST_VERTICES = 256


@dataclass(frozen=True)
class Pose:
    """A place in metres, and a rotation as a unit quaternion (w, x, y, z)."""

    place: tuple[float, float, float]
    rotation: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)

    def apply(self, points: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Points (n, 3) of the thing's own frame, rotated and moved."""
        return np.asarray(points, dtype=np.float64) @ rotation_matrix(self.rotation).T + np.array(self.place)

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(4, 4), of homogeneous coordinates: from the thing's own frame to the world's."""
        found = np.eye(4)
        found[:3, :3], found[:3, 3] = rotation_matrix(self.rotation), self.place
        return found


def rotation_matrix(quaternion: Sequence[float]) -> NDArray[np.float64]:
    """(3, 3) of a quaternion (w, x, y, z), which need not have unit length."""
    w, x, y, z = np.asarray(quaternion, dtype=np.float64) / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def turned(pose: Pose, angle: float) -> Pose:
    """The pose turned about the vertical through the origin by ``angle`` radians."""
    c, s = float(np.cos(angle / 2)), float(np.sin(angle / 2))
    w, x, y, z = pose.rotation
    rotation = (c * w - s * z, c * x - s * y, c * y + s * x, c * z + s * w)
    px, py, pz = pose.place
    return Pose((px * np.cos(angle) - py * np.sin(angle), px * np.sin(angle) + py * np.cos(angle), pz), rotation)


def random_rotation(rng: np.random.Generator) -> tuple[float, float, float, float]:
    """A rotation drawn uniformly (Shoemake, "Uniform Random Rotations", Graphics Gems III, 1992)."""
    w, x, y, z = (float(value) for value in _unit(rng.standard_normal(4)))
    return w, x, y, z


def hull(vertices: NDArray[np.floating[Any]], most: int = MOST_VERTICES) -> NDArray[np.float64]:
    """Vertices (k, 3) of the convex hull of (n, 3), at most ``most``; ``ValueError`` where it has no volume."""
    from scipy.spatial import ConvexHull, QhullError

    points = np.asarray(vertices, dtype=np.float64)
    try:
        found = points[ConvexHull(points).vertices]
    except (QhullError, ValueError) as error:
        raise ValueError(f"hull: {len(points)} vertices enclose no volume") from error
    if len(found) <= most:
        return found
    # The farthest point from those chosen comes next, so that what is left out lies near the hull of what is kept.
    chosen = [int(np.argmax(np.linalg.norm(found - found.mean(axis=0), axis=1)))]
    distances = np.linalg.norm(found - found[chosen[0]], axis=1)
    while len(chosen) < most:
        chosen.append(int(np.argmax(distances)))
        distances = np.minimum(distances, np.linalg.norm(found - found[chosen[-1]], axis=1))
    return found[chosen]


def require_mujoco() -> None:
    """``UserError`` of one line where MuJoCo is not installed."""
    try:
        import mujoco  # noqa: F401
    except ImportError:
        raise UserError("mujoco is not installed, which arrangements at rest need: pip install mujoco") from None


class Settler:
    """Drops ``bodies`` onto the plane z = 0, and onto ``still`` ones, which do not move; both are lists of vertices
    (n, 3) in metres in a thing's own frame.

    Compiled once and then used again and again: equal starts give equal poses. ``UserError`` without MuJoCo.
    """

    def __init__(
        self, bodies: Sequence[NDArray[np.floating[Any]]], still: Sequence[NDArray[np.floating[Any]]] = ()
    ) -> None:
        require_mujoco()
        import mujoco

        self._mujoco: Any = mujoco
        self.count, self.still_count = len(bodies), len(still)
        self._model = mujoco.MjModel.from_xml_string(
            _description([hull(body) for body in [*bodies, *still]], len(bodies))
        )
        self._data = mujoco.MjData(self._model)

    def settle(self, starts: Sequence[Pose], still: Sequence[Pose] = (), seconds: float = 8.0) -> list[Pose] | None:
        """Poses at rest of bodies that begin at ``starts``; None where after ``seconds`` something still moves, or
        things press into each other.
        """
        if len(starts) != self.count or len(still) != self.still_count:
            expected = f"{self.count} bodies and {self.still_count} still ones"
            raise ValueError(f"settle: {len(starts)} starts and {len(still)} still poses for {expected}")
        mujoco, model, data = self._mujoco, self._model, self._data
        mujoco.mj_resetData(model, data)
        for i, pose in enumerate(starts):
            data.qpos[7 * i : 7 * i + 7] = (*pose.place, *pose.rotation)
        for i, pose in enumerate(still):
            data.mocap_pos[i], data.mocap_quat[i] = pose.place, pose.rotation
        before = np.array(data.qpos)
        for _ in range(max(1, round(seconds / WATCH))):
            mujoco.mj_step(model, data, nstep=round(WATCH / STEP))
            after = np.array(data.qpos)
            if _at_rest(before.reshape(-1, 7), after.reshape(-1, 7)):
                # Contacts as they are at these places; those in memory are a step old.
                mujoco.mj_forward(model, data)
                depth = -min((float(contact.dist) for contact in data.contact[: data.ncon]), default=0.0)
                return None if depth > DEEPEST else [_pose(row) for row in after.reshape(-1, 7)]
            before = after
        return None


def _at_rest(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
    moved = np.linalg.norm(before[:, :3] - after[:, :3], axis=1)
    between = np.abs((before[:, 3:] * after[:, 3:]).sum(axis=1)).clip(max=1.0)
    return bool((moved < STILL_METRES).all() and (2 * np.arccos(between) < STILL_RADIANS).all())


def _pose(row: NDArray[np.float64]) -> Pose:
    x, y, z = (float(value) for value in row[:3])
    a, b, c, d = (float(value) for value in _unit(row[3:]))
    return Pose((x, y, z), (a, b, c, d))


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return vector / np.linalg.norm(vector)


def _description(hulls: list[NDArray[np.float64]], moving: int) -> str:
    """MuJoCo's XML: a plane, bodies that move freely, and bodies that are put in place."""
    meshes, bodies = [], []
    for i, vertices in enumerate(hulls):
        numbers = " ".join(f"{value:.9g}" for value in vertices.ravel())
        meshes.append(f'<mesh name="m{i}" vertex="{numbers}" inertia="convex"/>')
        kind = "" if i < moving else ' mocap="true"'
        joint = f'<joint type="free" damping="{DAMPING}"/>' if i < moving else ""
        geom = f'<geom type="mesh" mesh="m{i}" density="{DENSITY}"/>'
        bodies.append(f'<body name="b{i}"{kind}>{joint}{geom}</body>')
    return f"""
<mujoco>
  <option timestep="{STEP}" integrator="implicitfast" cone="elliptic" impratio="10"/>
  <default><geom friction="0.9 0.02 0.002" condim="6" solref="0.01 1" solimp="0.95 0.99 0.0005"/></default>
  <asset>{"".join(meshes)}</asset>
  <worldbody><geom type="plane" size="0 0 1"/>{"".join(bodies)}</worldbody>
</mujoco>"""
