"""What a scene of ``lmo`` is made of, and the distributions that scenes are drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np

from autosim.scenes.grammar import Choice, Emission, Grammar, Normal, Prior, Rule
from autosim.scenes.graph import Attribute, Categorical, Continuous, Node, NodeClass, SceneGraph, Schema
from autosim.scenes.settle import Pose, turned
from autosim.seeding import seed_sequence
from envs.lmo.arrangements import CLUTTER, Library
from envs.lmo.cells import CELLS, DRAWS, LOCATIONS, QUALITIES, ROOMS
from envs.lmo.models import CLASSES
from envs.lmo.standins import CLUTTER_COLOURS, CLUTTER_SHAPES

Profile = Literal["cells", "continuous"]
Start = Literal["poor", "uniform"]
PLACE, ROTATION = ("x", "y", "z"), ("qw", "qx", "qy", "qz")


def lmo_schema(profile: Profile) -> Schema:
    """Classes ``scene`` (the cell), ``camera``, ``object`` in eight slots and ``clutter``, whose poses are immutable;
    with continuous attributes ``light`` and ``table`` too, and room and quality in place of the cell.
    """
    pose: tuple[Attribute, ...] = (
        *(Continuous(name, -2.0, 2.0, unit="m", mutable=False) for name in PLACE),
        *(Continuous(name, -1.0, 1.0, mutable=False) for name in ROTATION),
    )
    objects = NodeClass("object", (Categorical("kind", CLASSES, mutable=False), *pose), slots=len(CLASSES))
    kinds = Categorical("kind", tuple(CLUTTER_SHAPES), mutable=False)
    colour = Categorical("colour", tuple(CLUTTER_COLOURS), mutable=False)
    clutter = NodeClass("clutter", (kinds, colour, *pose), slots=CLUTTER)
    draws = tuple(Continuous(name, 0.0, 1.0, mutable=False) for name in DRAWS)
    if profile == "cells":
        root = NodeClass("scene", (Categorical("cell", CELLS),))
        return Schema((root, NodeClass("camera", draws), objects, clutter))
    root = NodeClass("scene", (Categorical("room", tuple(ROOMS)), Categorical("quality", tuple(QUALITIES))))
    camera = NodeClass(
        "camera",
        (
            Continuous("elevation", 2.0, 85.0, unit="°", step=2.0),
            Continuous("distance", 0.4, 2.8, unit="m", step=0.04),
            *draws,
        ),
    )
    light = NodeClass("light", (Continuous("level", 0.02, 1.6, step=0.05), Continuous("warmth", 0.0, 1.0, step=0.1)))
    table = NodeClass("table", (Continuous("clutter", 0.0, 1.0, step=0.1), Continuous("pattern", 0.0, 1.0, step=0.1)))
    return Schema((root, camera, light, table, objects, clutter))


def lmo_grammar(schema: Schema, library: Library, priors: dict[str, Prior]) -> Grammar:
    """One structure; the poses are those of an arrangement of the library, turned about the vertical."""
    emissions = {"Scene": Emission("scene"), "Camera": Emission("camera")}
    for name in ("light", "table"):
        if name in schema.class_index:
            emissions[name.capitalize()] = Emission(name)
    emissions |= {name.capitalize(): Emission("object", slot, {"kind": name}) for slot, name in enumerate(CLASSES)}
    shapes = tuple(CLUTTER_SHAPES)
    emissions |= {
        f"Clutter{slot}": Emission("clutter", slot, {"kind": shapes[slot % len(shapes)]}) for slot in range(CLUTTER)
    }
    body = tuple(symbol for symbol in emissions if symbol != "Scene")
    return Grammar(
        schema, "Scene", (Rule("Scene", body),), emissions, priors, arrange=partial(arranged, library=library)
    )


def arranged(scene: SceneGraph, rng: np.random.Generator, library: Library) -> SceneGraph:
    """The scene with the poses of one arrangement, drawn and turned by ``rng``."""
    arrangements = library.arrangements
    chosen = arrangements[int(rng.integers(len(arrangements)))]
    angle = float(rng.uniform(0.0, 2 * np.pi))
    nodes = []
    for node in scene.nodes:
        if node.node_class in ("object", "clutter"):
            poses = chosen.objects if node.node_class == "object" else chosen.clutter
            node = replace(node, attributes={**node.attributes, **pose_values(turned(poses[node.slot], angle))})
        nodes.append(node)
    return replace(scene, nodes=tuple(nodes))


def pose_values(pose: Pose) -> dict[str, float]:
    """A pose as attributes of a node."""
    rotation = np.clip(pose.rotation, -1.0, 1.0)
    return dict(zip((*PLACE, *ROTATION), map(float, (*pose.place, *rotation)), strict=True))


def pose_of(node: Node) -> Pose:
    """The pose that a node's attributes say."""
    x, y, z = (float(node[name]) for name in PLACE)
    a, b, c, d = (float(node[name]) for name in ROTATION)
    return Pose((x, y, z), (a, b, c, d))


def start_priors(profile: Profile, start: Start, others: float = 0.4) -> dict[str, Prior]:
    """``uniform`` over everything that can be learned, or ``poor``: mostly coarse pictures from places that show
    little; of the cells, all ``others`` have this probability together.
    """
    if start == "uniform":
        return {}
    if profile == "cells":
        good = sum(map(is_good, CELLS))
        shares = {True: others / good, False: (1 - others) / (len(CELLS) - good)}
        return {"scene.cell": Choice([shares[is_good(cell)] for cell in CELLS])}
    return {
        "scene.quality": Choice((0.9, 0.1)),
        "camera.elevation": Normal(8.0, 6.0),
        "camera.distance": Normal(2.2, 0.3),
        "light.level": Normal(0.2, 0.1),
        "light.warmth": Normal(0.8, 0.15),
        "table.clutter": Normal(0.1, 0.1),
        "table.pattern": Normal(0.15, 0.1),
    }


def is_good(cell: str) -> bool:
    """Whether a cell is none of those that the poor start is on: a good location, or a fine picture."""
    _, where, quality = cell.split("/")
    return LOCATIONS[where].good or quality != next(iter(QUALITIES))


def target_priors(profile: Profile, target_seed: int) -> dict[str, Prior]:
    """A hidden configuration: fine pictures of one or two rooms, from the good locations in unequal shares."""
    rng = np.random.default_rng(seed_sequence(target_seed, "lmo target"))
    rooms = rng.permutation([0.75, 0.2, 0.05])
    if profile == "cells":
        shares = dict(zip(ROOMS, rooms, strict=True))
        good = [name for name, location in LOCATIONS.items() if location.good]
        where = dict(zip(good, rng.dirichlet(np.full(len(good), 2.0)), strict=True))
        return {"scene.cell": Choice([_share(cell, shares, where) for cell in CELLS])}
    return {
        "scene.room": Choice(list(rooms)),
        "scene.quality": Choice((0.05, 0.95)),
        "camera.elevation": Normal(float(rng.uniform(28.0, 50.0)), 12.0),
        "camera.distance": Normal(float(rng.uniform(0.85, 1.05)), 0.12),
        "light.level": Normal(float(rng.uniform(0.8, 1.2)), 0.12),
        "light.warmth": Normal(float(rng.uniform(0.2, 0.7)), 0.1),
        "table.clutter": Normal(float(rng.uniform(0.5, 0.9)), 0.12),
        "table.pattern": Normal(float(rng.uniform(0.6, 0.95)), 0.1),
    }


def _share(cell: str, rooms: dict[str, float], where: dict[str, float]) -> float:
    room, location, quality = cell.split("/")
    return rooms[room] * where.get(location, 0.0) * float(quality == tuple(QUALITIES)[-1])


def poses_in(scene: SceneGraph, node_class: str) -> Sequence[Pose]:
    """The poses of a class's nodes, slot by slot."""
    return [pose_of(node) for node in sorted(scene.find(node_class), key=lambda node: node.slot)]
