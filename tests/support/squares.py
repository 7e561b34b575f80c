"""An environment whose scenes differ in how many things there are: 0 to 3 white squares on a small canvas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from autosim.env import Env, TargetSizes
from autosim.learning.schedule import TrainingSchedule
from autosim.rendering.annotations import Annotation, ClassMask
from autosim.rendering.renderer import Renderer
from autosim.rendering.sprites import Sprite, SpriteRenderer
from autosim.scenes.grammar import Emission, Grammar, Rule
from autosim.scenes.graph import Continuous, NodeClass, SceneGraph, Schema

if TYPE_CHECKING:
    from autosim.learning.tasks.task import Task

EDGE, MOST = 32, 3
CLASSES = ("background", "square")
SCHEMA = Schema((NodeClass("square", (Continuous("x", 4.0, 28.0), Continuous("y", 4.0, 28.0))),))
# Rules: the scene, one square more, no more squares.
SCENE, MORE, END = range(3)
TARGET_SHARES = (0.05, 0.1, 0.75, 0.1)


@dataclass(frozen=True)
class SquaresConfig:
    """Options: frames that a network is trained on."""

    train_frames: int = 16


class SquareRenderer(SpriteRenderer):
    """Squares of five pixels."""

    annotations: Mapping[str, Annotation] = {"mask": ClassMask(CLASSES)}

    def textures(self) -> Mapping[str, NDArray[np.uint8]]:
        return {"square": np.full((1, 4, 4), 255, dtype=np.uint8)}

    def sprites(self, scene: SceneGraph) -> Sequence[Sprite]:
        return [Sprite("square", 0, float(n["x"]), float(n["y"]), 5, 5, mask_class=1) for n in scene.find("square")]


class SquaresEnv(Env):
    """How many squares?"""

    name: ClassVar[str] = "squares"
    Config: ClassVar[type] = SquaresConfig
    schema = SCHEMA
    sizes = TargetSizes(validation=200, test=20)
    schedule = TrainingSchedule(epochs=2)

    def __init__(self, config: SquaresConfig) -> None:
        self.config = config
        self.train_frames = config.train_frames

    def prior(self) -> Grammar:
        return squares(np.full(MOST + 1, 1 / (MOST + 1)))

    def target(self) -> Grammar:
        return squares(np.array(TARGET_SHARES))

    def renderer(self) -> Renderer:
        return SquareRenderer(SCHEMA, EDGE, EDGE)

    def task(self) -> Task:
        from autosim.learning.tasks.segmentation import Segmentation

        return Segmentation(CLASSES, width=4)


def squares(shares: NDArray[np.float64]) -> Grammar:
    """Scenes with 0, 1, 2, … squares; ``shares`` are the probabilities of these numbers."""

    def strings(rng: np.random.Generator) -> list[int]:
        return [SCENE, *[MORE] * int(rng.choice(len(shares), p=shares)), END]

    rules = (Rule("Scene", ("Squares",)), Rule("Squares", ("Square", "Squares")), Rule("Squares", ()))
    return Grammar(SCHEMA, "Scene", rules, {"Square": Emission("square")}, strings=strings)
