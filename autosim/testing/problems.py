"""Toy problems with known answers, drawn quickly by numpy, for trying out a method or a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from autosim.env import Env, TargetSizes
from autosim.learning.schedule import TrainingSchedule
from autosim.rendering.annotations import UNUSED, Annotation, Boxes, ClassMask
from autosim.rendering.renderer import Renderer
from autosim.scenes.grammar import Emission, Grammar, Normal, Prior, Rule
from autosim.scenes.graph import Categorical, Continuous, NodeClass, SceneGraph, Schema

if TYPE_CHECKING:
    from autosim.learning.tasks.task import Task

KINDS = ("red", "blue")
MOST = 3
SCHEMA = Schema(
    (
        NodeClass("room"),
        NodeClass(
            "rectangle",
            (
                Continuous("x", 0.0, 1.0, unit="of the width", step=0.02),
                Continuous("y", 0.0, 1.0, unit="of the height", step=0.02),
                Continuous("size", 0.1, 0.4, unit="of the height", mutable=False),
                Categorical("kind", KINDS, mutable=False),
            ),
        ),
    )
)
# Centres of the rectangles at the start and in the target, as shares of width and height.
START, TARGET = (0.3, 0.6), (0.7, 0.4)
SPREAD = 0.1


class RectangleRenderer(Renderer):
    """Red and blue rectangles, twice as wide as high, on a grey ground with a little noise.

    ``boxes`` are those of the rectangles, clipped to the picture, ``mask`` is the kind that each pixel shows. The last
    node is on top. Edges are soft over a pixel, so that images change when a rectangle moves by less than a pixel.
    """

    schema = SCHEMA
    annotations: Mapping[str, Annotation] = {
        "boxes": Boxes(KINDS, MOST),
        "mask": ClassMask(("background", *KINDS)),
    }

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width

    def build(self) -> None:
        """There is nothing to build."""

    def draw(self, scene: SceneGraph, seed: int, effort: float = 1.0) -> NDArray[np.float32]:
        """The image."""
        noise = np.random.default_rng(seed).normal(0.0, 0.02, (self.height, self.width, 3))
        image = 0.3 + noise
        for (x0, y0, x1, y1), kind in self._rectangles(scene):
            across = np.clip(np.minimum(np.arange(self.width) + 1 - x0, x1 - np.arange(self.width)), 0, 1)
            down = np.clip(np.minimum(np.arange(self.height) + 1 - y0, y1 - np.arange(self.height)), 0, 1)
            cover = (down[:, None] * across)[..., None]
            image = image * (1 - cover) + cover * np.array([0.9, 0.2, 0.1] if kind == 0 else [0.1, 0.2, 0.9])
        return np.clip(image, 0.0, 1.0).astype(np.float32)

    def annotate(self, scene: SceneGraph) -> Mapping[str, NDArray[np.generic]]:
        """Boxes and mask."""
        boxes = np.full((MOST, 5), UNUSED, dtype=np.float32)
        mask = np.zeros((self.height, self.width), dtype=np.uint8)
        rows, columns = np.arange(self.height)[:, None] + 0.5, np.arange(self.width) + 0.5
        for i, ((x0, y0, x1, y1), kind) in enumerate(self._rectangles(scene)):
            boxes[i] = (max(x0, 0), max(y0, 0), min(x1, self.width), min(y1, self.height), kind)
            mask[(rows >= y0) & (rows < y1) & (columns >= x0) & (columns < x1)] = kind + 1
        return {"boxes": boxes, "mask": mask}

    def _rectangles(self, scene: SceneGraph) -> list[tuple[tuple[float, float, float, float], int]]:
        """Left, top, right and bottom edge in pixels, and the kind, of each rectangle."""
        found = []
        for node in scene.find("rectangle"):
            x, y = float(node["x"]) * self.width, float(node["y"]) * self.height
            high = float(node["size"]) * self.height
            found.append(((x - high, y - high / 2, x + high, y + high / 2), KINDS.index(str(node["kind"]))))
        return found


def rectangle_grammar(x: float, y: float) -> Grammar:
    """One to three rectangles, all numbers equally likely, of any size and kind, around (x, y) in shares of the
    picture.
    """
    priors: dict[str, Prior] = {"rectangle.x": Normal(x, SPREAD), "rectangle.y": Normal(y, SPREAD)}
    rules = tuple(Rule("Scene", ("Rectangle",) * count) for count in range(1, MOST + 1))
    return Grammar(SCHEMA, "Scene", rules, {"Scene": Emission("room"), "Rectangle": Emission("rectangle")}, priors)


@dataclass(frozen=True)
class RectanglesConfig:
    """Options of the problem.

    Args:
        height: of the pictures in pixels (at least 12).
        width: of the pictures in pixels (at least 12).
        task: what is asked of pictures: the kind of each pixel (mask), or where the rectangles are, with the truth as
            lists of boxes (list) or as padded arrays (dense).
    """

    height: int = 26
    width: int = 42
    task: Literal["mask", "list", "dense"] = "mask"

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            if getattr(self, name) < 12:
                raise ValueError(f"{name}: {getattr(self, name)} is below 12")
        if self.task not in ("mask", "list", "dense"):
            raise ValueError(f"task: {self.task!r} is not one of ['mask', 'list', 'dense']")


class Rectangles(Env):
    """Move rectangles from the lower left to the upper right.

    The answer: ``rectangle.x`` has mean .7 and ``rectangle.y`` mean .4, with the standard deviation .1 of the start.
    """

    name: ClassVar[str] = "rectangles"
    Config: ClassVar[type] = RectanglesConfig
    schema = SCHEMA
    sizes = TargetSizes(validation=12, test=16)
    train_frames = 24
    schedule = TrainingSchedule(epochs=12, batch_size=8, learning_rate=5e-3)

    def __init__(self, config: RectanglesConfig) -> None:
        self.config = config

    def prior(self) -> Grammar:
        """Rectangles at the lower left."""
        return rectangle_grammar(*START)

    def target(self) -> Grammar | None:
        """Rectangles at the upper right."""
        return rectangle_grammar(*TARGET)

    def renderer(self) -> Renderer:
        """Pictures of ``height`` × ``width``."""
        return RectangleRenderer(self.config.height, self.config.width)

    def task(self) -> Task:
        """What the options ask for."""
        from autosim.learning.tasks.segmentation import Segmentation
        from autosim.testing.centres import DenseCentres, ListedCentres

        if self.config.task == "mask":
            return Segmentation(("background", *KINDS), width=4)
        return (ListedCentres if self.config.task == "list" else DenseCentres)(KINDS)
