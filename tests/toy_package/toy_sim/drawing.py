"""Scenes of the environment ``spot`` and their renderer, free of torch: processes that only draw start faster."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from autosim.rendering.annotations import Annotation, ClassMask
from autosim.rendering.renderer import Renderer
from autosim.scenes.grammar import Choice, Emission, Grammar, Normal, Prior, Rule
from autosim.scenes.graph import Categorical, Continuous, NodeClass, SceneGraph, Schema

EDGE = 16
TINTS = {"warm": (1.0, 0.6, 0.3), "cold": (0.3, 0.6, 1.0)}
SCHEMA = Schema(
    (
        NodeClass(
            "spot",
            (
                Continuous("x", 0.0, 16.0, unit="px", step=0.5),
                Continuous("y", 0.0, 16.0, unit="px", step=0.5),
                Categorical("tint", tuple(TINTS), mutable=False),
            ),
        ),
    )
)


def spot_grammar(x: float, y: float) -> Grammar:
    """One disc about (x, y), in pixels."""
    priors: dict[str, Prior] = {"spot.x": Normal(x, 0.7), "spot.y": Normal(y, 0.7), "spot.tint": Choice((0.5, 0.5))}
    return Grammar(SCHEMA, "Scene", (Rule("Scene", ("Spot",)),), {"Spot": Emission("spot")}, priors)


class SpotRenderer(Renderer):
    """A soft disc of radius 3 pixels with a little noise."""

    schema = SCHEMA
    height = width = EDGE
    annotations: Mapping[str, Annotation] = {"mask": ClassMask(("ground", "disc"))}

    def __init__(self, contrast: float) -> None:
        self.contrast = contrast

    def build(self) -> None:
        """There is nothing to build."""

    def draw(self, scene: SceneGraph, seed: int, effort: float = 1.0) -> NDArray[np.float32]:
        tint = np.array(TINTS[str(next(scene.find("spot"))["tint"])])
        disc = 1.0 / (1.0 + np.exp(2.0 * (self._distance(scene) - 3.0)))
        noise = np.random.default_rng(seed).normal(0.0, 0.01, (EDGE, EDGE, 3))
        return np.clip(0.1 + self.contrast * disc[..., None] * tint + noise, 0.0, 1.0).astype(np.float32)

    def annotate(self, scene: SceneGraph) -> Mapping[str, NDArray[np.generic]]:
        return {"mask": (self._distance(scene) <= 3.0).astype(np.uint8)}

    def instances(self, scene: SceneGraph) -> NDArray[np.uint16]:
        return (self._distance(scene) <= 3.0).astype(np.uint16)

    def _distance(self, scene: SceneGraph) -> NDArray[np.float64]:
        spot = next(scene.find("spot"))
        rows, columns = np.mgrid[:EDGE, :EDGE] + 0.5
        return np.hypot(columns - float(spot["x"]), rows - float(spot["y"]))
