"""Synthetic frames: discs and squares at random places under a light, drawn by numpy, with scenes and masks."""

from __future__ import annotations

import numpy as np

from autosim.rendering.annotations import ClassMask
from autosim.rendering.frames import Frames
from autosim.scenes.graph import Categorical, Continuous, Node, NodeClass, SceneGraph, Schema

KINDS = ("disc", "square")
SHAPES_ANNOTATIONS = {"mask": ClassMask(("background", *KINDS))}
SHAPES_SCHEMA = Schema(
    (
        NodeClass("camera", (Categorical("noise", ("low", "high")), Categorical("only", ("one",)))),
        NodeClass("light", (Continuous("power", 0.0, 10.0), Continuous("hue", 0.0, 360.0, periodic=True))),
        NodeClass(
            "shape",
            (Continuous("x", 0.0, 1.0), Continuous("y", 0.0, 1.0), Categorical("kind", KINDS)),
            slots=3,
        ),
    )
)


def random_scene(rng: np.random.Generator, power: float | None = None, x: float | None = None) -> SceneGraph:
    """One to three shapes; ``power`` and ``x`` (of all shapes) may be fixed."""
    nodes = [
        Node("camera", {"noise": ("low", "high")[rng.integers(2)], "only": "one"}),
        Node("light", {"power": rng.uniform(0, 10) if power is None else power, "hue": rng.uniform(0, 360)}),
    ]
    for slot in range(int(rng.integers(1, 4))):
        place = {"x": rng.uniform(0.1, 0.9) if x is None else x, "y": rng.uniform(0.1, 0.9)}
        nodes.append(Node("shape", {**place, "kind": KINDS[rng.integers(2)]}, slot))
    return SceneGraph(tuple(nodes), (-1, *[0] * (len(nodes) - 1)))


def draw_shapes(scenes: list[SceneGraph], seed: int, size: int = 32) -> Frames:
    """Frames with masks: 0 background, 1 disc, 2 square."""
    rng = np.random.default_rng(seed)
    images = np.zeros((len(scenes), size, size, 3))
    masks = np.zeros((len(scenes), size, size), dtype=np.uint8)
    axis = (np.arange(size) + 0.5) / size
    across, down = np.meshgrid(axis, axis)
    for image, mask, scene in zip(images, masks, scenes, strict=True):
        camera, light = scene.nodes[:2]
        angle = np.deg2rad(float(light["hue"]) + np.array([0, 120, 240]))
        tint = (0.2 + 0.08 * float(light["power"])) * (0.7 + 0.3 * np.cos(angle))
        image[:] = 0.3 * tint
        for node in scene.find("shape"):
            u, v = across - float(node["x"]), down - float(node["y"])
            inside = u * u + v * v < 0.12**2 if node["kind"] == "disc" else np.maximum(abs(u), abs(v)) < 0.11
            image[inside] = tint
            mask[inside] = KINDS.index(str(node["kind"])) + 1
        image += rng.normal(0, 0.01 if camera["noise"] == "low" else 0.06, image.shape)
    return Frames(np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8), {"mask": masks})


def shape_frames(
    count: int, seed: int, size: int = 32, power: float | None = None, x: float | None = None
) -> tuple[list[SceneGraph], Frames]:
    """Random scenes and their frames."""
    rng = np.random.default_rng(seed)
    scenes = [random_scene(rng, power, x) for _ in range(count)]
    return scenes, draw_shapes(scenes, seed, size)
