"""A library of arrangements at rest: the eight objects and clutter among them, as they lie on a table.

Each scene's poses are those of an arrangement of the library, drawn uniformly and turned about the vertical, which
leaves it at rest. They are immutable attributes of the scene's nodes, filled in where the grammar draws the scene
(``Grammar.arrange``): so a scene is complete, needs no physics to be drawn, and no method can move an object into
another. A library rather than a fall for each scene, because a fall takes as long as an image, and would happen in the
one process that samples.

Clutter falls one thing after another, each onto what already rests: the first n of it are at rest for every n, so that
the number of things may be learned.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from autosim.errors import UserError
from autosim.scenes.settle import Pose, Settler, random_rotation, require_mujoco
from autosim.seeding import seed_sequence
from envs.lmo.models import Model

# Things of clutter, and how many arrangements there are.
CLUTTER, ARRANGEMENTS = 12, 48
# Share of the arrangements in which objects are tumbled and not upright.
TUMBLED = 0.25
# Standard deviations of places, in metres: of objects (drawn for each arrangement), of clutter.
SPREAD, CLUTTER_SPREAD = (0.08, 0.22), 0.24
# Things stand apart by this at the start; nothing may end farther away than this. Metres.
GAP, FARTHEST = 0.004, 0.8
ATTEMPTS, PLACES = 60, 200
# Upright objects begin no nearer than this share of the radii that hold them: hollows may face each other.
NEAREST = 0.75


@dataclass(frozen=True)
class Arrangement:
    """Poses at rest on the plane z = 0 around the origin, in metres, in the order of the models."""

    objects: tuple[Pose, ...]
    clutter: tuple[Pose, ...]


class Library:
    """``count`` arrangements of ``objects`` with :data:`CLUTTER` things, the shapes of ``clutter`` in turn.

    Made when first asked for, some .07 s each, once in a process. ``UserError`` where MuJoCo is missing.
    """

    def __init__(self, objects: Sequence[Model], clutter: Sequence[Model], count: int = ARRANGEMENTS) -> None:
        require_mujoco()
        self.objects, self.count = tuple(objects), count
        self.clutter = tuple(clutter[i % len(clutter)] for i in range(CLUTTER))

    @property
    def arrangements(self) -> tuple[Arrangement, ...]:
        """All of them, in order."""
        return _made(self)

    @cached_property
    def key(self) -> str:
        """What the arrangements depend on, as a hash."""
        digest = hashlib.sha256(str(self.count).encode())
        for model in (*self.objects, *self.clutter):
            digest.update(model.hull.tobytes())
        return digest.hexdigest()

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Library) and other.key == self.key

    def compute(self) -> list[Arrangement]:
        """All of them anew; arrangement i does not depend on how many there are."""
        models = (*self.objects, *self.clutter)
        hulls, first = [model.hull for model in models], len(self.objects)
        falls = [Settler(hulls[:first])]
        falls += [Settler([hulls[i]], hulls[:i]) for i in range(first, len(models))]
        return [_arrangement(falls, models, first, number) for number in range(self.count)]


@cache
def _made(library: Library) -> tuple[Arrangement, ...]:
    return tuple(library.compute())


def _arrangement(falls: Sequence[Settler], models: Sequence[Model], first: int, number: int) -> Arrangement:
    for attempt in range(ATTEMPTS):
        rng = np.random.default_rng(seed_sequence(number, "lmo arrangement", attempt))
        tumbled, spread = bool(rng.random() < TUMBLED), float(rng.uniform(*SPREAD))
        starts = _starts(models[:first], rng, tumbled, spread)
        poses = None if starts is None else falls[0].settle(starts)
        for i in range(first, len(models)):
            if poses is None:
                break
            start = _beside(models[i], list(zip(models, poses, strict=False)), rng)
            rested = None if start is None else falls[1 + i - first].settle([start], poses)
            poses = None if rested is None else [*poses, *rested]
        if poses is not None and max(math.hypot(*pose.place[:2]) for pose in poses) < FARTHEST:
            return Arrangement(tuple(poses[:first]), tuple(poses[first:]))
    raise UserError(
        f"arrangement {number} of the objects did not come to rest in {ATTEMPTS} attempts; other meshes may"
    )


def _starts(models: Sequence[Model], rng: np.random.Generator, tumbled: bool, spread: float) -> list[Pose] | None:
    """Objects a little above the table: upright, apart from one another; or turned anyhow, one above the other."""
    order, poses = rng.permutation(len(models)), dict[int, Pose]()
    taken: list[tuple[float, float, float]] = []
    height = 0.0
    for i in order:
        model = models[i]
        room = _reach(model) if tumbled else NEAREST * model.radius
        place = _free(rng, room, spread, taken)
        if place is None:
            return None
        taken.append((*place, room))
        if tumbled:
            height += 0.02
            poses[int(i)] = Pose((*place, room + height), random_rotation(rng))
        else:
            poses[int(i)] = Pose((*place, GAP - float(model.vertices[:, 2].min())), _yaw(rng))
    return [poses[i] for i in range(len(models))]


def _beside(model: Model, others: list[tuple[Model, Pose]], rng: np.random.Generator) -> Pose | None:
    taken = [(*_middle(each, pose), _reach(each)) for each, pose in others]
    place = _free(rng, model.radius, CLUTTER_SPREAD, taken)
    if place is None:
        return None
    return Pose((*place, GAP - float(model.vertices[:, 2].min())), _yaw(rng))


def _free(
    rng: np.random.Generator, room: float, spread: float, taken: Sequence[tuple[float, float, float]]
) -> tuple[float, float] | None:
    for attempt in range(PLACES):
        # Where it is crowded, farther out.
        x, y = (float(value) for value in rng.normal(0.0, spread * (1 + attempt / PLACES), 2))
        near = any(math.hypot(x - a, y - b) < room + other + GAP for a, b, other in taken)
        if not near and math.hypot(x, y) + room < FARTHEST:
            return x, y
    return None


def _middle(model: Model, pose: Pose) -> tuple[float, float]:
    """Where a thing that may lie on its side is, seen from above."""
    points = pose.apply(model.hull)
    low, high = points.min(axis=0), points.max(axis=0)
    return float(low[0] + high[0]) / 2, float(low[1] + high[1]) / 2


def _reach(model: Model) -> float:
    return float(np.linalg.norm(model.hull, axis=1).max())


def _yaw(rng: np.random.Generator) -> tuple[float, float, float, float]:
    angle = float(rng.uniform(0.0, math.pi))
    return math.cos(angle), 0.0, 0.0, math.sin(angle)
