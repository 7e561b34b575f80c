"""A renderer that gives image and ground truth at once, of every kind. Ray workers import this module."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from autosim.rendering.annotations import (
    Annotation,
    Boxes,
    ClassLabel,
    ClassMask,
    Depth,
    InstanceMask,
    Values,
)
from autosim.rendering.frames import Frame
from autosim.rendering.renderer import Renderer, eight_bits
from autosim.scenes.graph import Categorical, Continuous, Node, NodeClass, SceneGraph, Schema

HEIGHT, WIDTH, MOST = 20, 28, 3
KINDS = ("ball", "coin")
COLOURS = {"ball": (0.9, 0.5, 0.2), "coin": (0.2, 0.6, 0.9)}
SCHEMA = Schema(
    (
        NodeClass(
            "disc",
            (
                Continuous("x", 0.0, WIDTH, unit="px", step=0.5),
                Continuous("y", 0.0, HEIGHT, unit="px", step=0.5),
                Continuous("distance", 1.0, 10.0, mutable=False),
                Categorical("kind", KINDS),
            ),
            slots=MOST,
        ),
    )
)


class DiscRenderer(Renderer):
    """Discs of radius 4 pixels, the nearer before the further. ``fault`` breaks its declaration."""

    schema, height, width = SCHEMA, HEIGHT, WIDTH
    annotations: Mapping[str, Annotation] = {
        "mask": ClassMask(("ground", *KINDS)),
        "instances": InstanceMask(MOST),
        "boxes": Boxes(KINDS, MOST),
        "depth": Depth(),
        "nearest": ClassLabel(("nothing", *KINDS)),
        "centres": Values((MOST, 2)),
        "number": Values(whole=True),
    }

    def __init__(self, fault: str = "") -> None:
        self.fault = fault

    def build(self) -> None:
        """There is nothing to build."""

    def render(self, scene: SceneGraph, seed: int) -> Frame:
        image = np.full((HEIGHT, WIDTH, 3), 0.1)
        mask, instances = np.zeros((HEIGHT, WIDTH), np.uint8), np.zeros((HEIGHT, WIDTH), np.uint16)
        depth, boxes = np.zeros((HEIGHT, WIDTH), np.float32), np.full((MOST, 5), -1, np.float32)
        centres, nearest = np.zeros((MOST, 2)), 0
        rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
        discs = list(scene.find("disc"))
        for disc in sorted(discs, key=lambda disc: -float(disc["distance"])):
            x, y, kind = float(disc["x"]), float(disc["y"]), KINDS.index(str(disc["kind"]))
            outside = np.hypot(columns - x, rows - y) - 4
            alpha = 1 / (1 + np.exp(3 * outside))[..., None]
            image = image * (1 - alpha) + np.array(COLOURS[KINDS[kind]]) * alpha
            mask[outside < 0], instances[outside < 0] = kind + 1, disc.slot + 1
            depth[outside < 0] = float(disc["distance"])
            nearest = kind + 1
        for row, disc in enumerate(discs):
            x, y = float(disc["x"]), float(disc["y"])
            boxes[row] = (max(0, x - 4), max(0, y - 4), min(WIDTH, x + 4), min(HEIGHT, y + 4), self._kind(disc))
            centres[row] = x, y
        given: dict[str, NDArray[np.generic]] = {
            "mask": mask,
            "instances": instances,
            "boxes": boxes,
            "depth": depth,
            "nearest": np.array(nearest),
            "centres": centres,
            "number": np.array(len(discs)),
        }
        return Frame(eight_bits(np.clip(image, 0, 1).astype(np.float32)), self._broken(given))

    def _kind(self, disc: Node) -> int:
        return KINDS.index(str(disc["kind"]))

    def _broken(self, given: dict[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        boxes = np.array(given["boxes"], np.float32)
        if self.fault == "missing":
            del given["depth"]
        if self.fault == "undeclared":
            given["normals"] = np.zeros((HEIGHT, WIDTH, 3), np.float32)
        if self.fault == "class":
            given["mask"] = np.where(np.asarray(given["mask"]) == 0, 3, given["mask"]).astype(np.uint8)
        if self.fault == "instance":
            given["instances"] = np.where(np.asarray(given["mask"]) > 0, 9, 0).astype(np.uint16)
        if self.fault == "type":
            given["instances"] = given["instances"].astype(np.int32)
        if self.fault == "turned":
            given["mask"] = np.asarray(given["mask"]).T
        if self.fault == "rows":
            given["boxes"] = boxes[boxes[:, 4] >= 0][:2]
        if self.fault == "corners":
            given["boxes"] = np.where(boxes[:, 4:] >= 0, boxes[:, [2, 3, 0, 1, 4]], -1).astype(np.float32)
        if self.fault == "beyond":
            given["boxes"] = np.where(boxes[:, 4:] >= 0, boxes + np.array([0, 0, WIDTH, 0, 0]), -1).astype(np.float32)
        if self.fault == "padding":
            given["boxes"] = np.concatenate([np.full((1, 5), -1, np.float32), boxes[:-1]])
        if self.fault == "sky":
            given["depth"] = np.where(np.asarray(given["mask"]) > 0, given["depth"], np.inf).astype(np.float32)
        return given


def disc_scene(*discs: tuple[float, float, float, str]) -> SceneGraph:
    """Discs given as (x, y, distance, kind), three at most."""
    names = ("x", "y", "distance", "kind")
    nodes = tuple(Node("disc", dict(zip(names, disc, strict=True)), slot) for slot, disc in enumerate(discs))
    return SceneGraph(nodes, (-1,) * len(nodes))


DISC_SCENES = [
    disc_scene((8, 9, 3, "ball")),
    disc_scene((6, 6, 2, "coin"), (20, 13, 4, "ball")),
    disc_scene((10, 10, 5, "ball"), (12, 11, 2, "coin"), (22, 8, 7, "coin")),
]
# The faults of a renderer of discs, and what the line about each says.
DISC_FAULTS = {
    "missing": f"annotation 'depth' is missing; given are {sorted({*DiscRenderer.annotations} - {'depth'})}",
    "undeclared": f"annotation 'normals' is not declared; declared are {sorted(DiscRenderer.annotations)}",
    "class": "annotation 'mask' has values from 1 to 3; allowed are 0 to 2",
    "instance": "annotation 'instances' has values from 0 to 9; allowed are 0 to 3",
    "type": "annotation 'instances' is int32 (20, 28) instead of uint16 (20, 28)",
    "turned": "annotation 'mask' is uint8 (28, 20) instead of uint8 (20, 28)",
    "rows": "annotation 'boxes' is float32 (1, 5) instead of float32 (3, 5)",
    "corners": "annotation 'boxes' has row 0 [12.0, 13.0, 4.0, 5.0, 0.0]; allowed are x0 <= x1 and y0 <= y1",
    "beyond": "annotation 'boxes' has row 0 [4.0, 5.0, 40.0, 13.0, 0.0]; allowed are x from -0.5 to 28.5 and y from "
    "-0.5 to 20.5",
    "padding": "annotation 'boxes' has the unused row 0 before row 1; unused rows come last",
    "sky": "annotation 'depth' has 508 values that are not finite",
}
