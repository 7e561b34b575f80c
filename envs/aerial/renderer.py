"""Draws aerial scenes: grass, roads, then what stands on them, in road coordinates, and what stands beside."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from autosim.rendering.annotations import ClassMask
from autosim.rendering.sprites import Sprite, SpriteRenderer
from autosim.scenes.graph import Node, SceneGraph, Schema
from envs.aerial import textures

CLASSES = ("grass", "road", "car", "tree", "house")
ROAD, CAR = 1, 2
# Sizes are shares of the canvas.
ROAD_WIDTH, ROAD_LENGTH = 0.24, 1.6
CAR_SIZE = (0.15, 0.075)
# What stands beside the road: size, number of textures, class in the mask.
BESIDE = {"tree": (0.2, textures.TREES, 3), "house": (0.26, textures.HOUSES, 4)}
# Of each of several roads.
ROW_WIDTH, ROW_CAR_SIZE = 0.13, (0.055, 0.03)


class AerialRenderer(SpriteRenderer):
    """The mask holds ``classes``, the first few of :data:`CLASSES`. Roads lie one below another, ``roads`` at most; a
    car's ``along`` and ``across`` are shares of the canvas and of the road's width from the road's middle, its ``yaw``
    is counted from the road's.
    """

    def __init__(self, schema: Schema, edge: int, roads: int, classes: tuple[str, ...]) -> None:
        super().__init__(schema, edge, edge)
        self.roads = roads
        self.annotations = {"mask": ClassMask(classes)}

    def textures(self) -> Mapping[str, NDArray[np.uint8]]:
        """Roads, cars, trees and houses."""
        return {
            "road": textures.roads(),
            "car": textures.cars(),
            "tree": textures.trees(),
            "house": textures.houses(),
        }

    def backdrops(self) -> NDArray[np.float32]:
        """Meadows."""
        return textures.grasses(self.height, self.width)

    def backdrop(self, scene: SceneGraph) -> int:
        """The meadow of the scene's grass."""
        (grass,) = scene.find("grass")
        return _chosen(grass, textures.GRASSES)

    def sprites(self, scene: SceneGraph) -> Sequence[Sprite]:
        """Roads first, then cars, trees and houses."""
        edge, several = float(self.width), self.roads > 1
        road_width = (ROW_WIDTH if several else ROAD_WIDTH) * edge
        car_length, car_width = (size * edge for size in (ROW_CAR_SIZE if several else CAR_SIZE))
        frames: dict[int, tuple[float, float, float]] = {}
        roads, rest = [], []
        for i, node in enumerate(scene.nodes):
            if node.node_class == "road":
                middle = (len(frames) + 0.5) / self.roads + float(node["offset"])
                frames[i] = (edge / 2, middle * edge, math.radians(float(node["yaw"])))
                x, y, yaw = frames[i]
                texture = _chosen(node, textures.ROADS)
                roads.append(Sprite("road", texture, x, y, ROAD_LENGTH * edge, road_width, yaw, mask_class=ROAD))
            elif node.node_class == "car":
                x, y, yaw = frames[scene.parents[i]]
                along, across = float(node["along"]) * edge, float(node["across"]) * road_width
                # Angles are counter-clockwise, but y points down.
                x += along * math.cos(yaw) + across * math.sin(yaw)
                y += across * math.cos(yaw) - along * math.sin(yaw)
                yaw += math.radians(float(node["yaw"]))
                texture = _chosen(node, textures.CARS)
                rest.append(Sprite("car", texture, x, y, car_length, car_width, yaw, mask_class=CAR))
            elif node.node_class in BESIDE:
                share, count, mask_class = BESIDE[node.node_class]
                x, y, yaw = float(node["x"]) * edge, float(node["y"]) * edge, math.radians(float(node["yaw"]))
                size, texture = share * edge, _chosen(node, count)
                rest.append(Sprite(node.node_class, texture, x, y, size, size, yaw, mask_class=mask_class))
        return [*roads, *rest]


def _chosen(node: Node, count: int) -> int:
    """Which of ``count`` textures a node's variant in [0, 1] stands for."""
    return min(int(float(node["variant"]) * count), count - 1)
