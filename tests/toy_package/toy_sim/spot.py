"""Environment ``spot``: a bright disc on a dark ground, drawn by numpy; find where the target's discs are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from autosim.env import Env, TargetSizes
from autosim.learning.schedule import TrainingSchedule
from autosim.learning.tasks.task import Scorer, Task
from autosim.rendering.annotations import Annotation, ClassMask
from autosim.rendering.frames import Frames
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


class SpotTask(Task):
    """Which pixels are the disc's? Position is an input, so that networks do best on discs where theirs were."""

    score_name = "IoU"

    def network(self, seed: int) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return nn.Sequential(nn.Conv2d(5, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1))

    def prepare(self, frames: Frames, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        images = torch.from_numpy(np.array(frames.images)).permute(0, 3, 1, 2).float() / 255.0
        line = torch.linspace(-1.0, 1.0, EDGE)
        position = torch.stack(torch.meshgrid(line, line, indexing="ij")).expand(len(images), -1, -1, -1)
        masks = torch.from_numpy(np.array(frames.annotations["mask"])).long()
        return torch.cat([images, position], dim=1).to(device), masks.to(device)

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs, targets, reduction="none").mean(dim=(1, 2))

    def scorer(self) -> SpotScorer:
        return SpotScorer()


class SpotScorer(Scorer):
    """Pixels of the discs that are found, as a share of those that are there or predicted."""

    def __init__(self) -> None:
        self.common = self.either = 0

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        found, wanted = outputs.argmax(dim=1) == 1, targets == 1
        self.common += int((found & wanted).sum())
        self.either += int((found | wanted).sum())

    def compute(self) -> float:
        return self.common / max(self.either, 1)


@dataclass(frozen=True)
class SpotConfig:
    """Options of the environment."""

    contrast: float = 0.8
    """How much brighter than the ground the disc is, in (0, 1]."""

    def __post_init__(self) -> None:
        if not 0 < self.contrast <= 1:
            raise ValueError(f"contrast: {self.contrast} is not in (0, 1]")


class Spot(Env):
    """Discs start at the upper left; the target's are at the lower right."""

    name: ClassVar[str] = "spot"
    Config: ClassVar[type] = SpotConfig
    schema = SCHEMA
    sizes = TargetSizes(validation=8, test=16)
    train_frames = 24
    schedule = TrainingSchedule(epochs=12, batch_size=8, learning_rate=0.02)

    def __init__(self, config: SpotConfig) -> None:
        self.config = config

    def prior(self) -> Grammar:
        return spot_grammar(4.0, 4.0)

    def target(self) -> Grammar:
        return spot_grammar(11.0, 10.0)

    def renderer(self) -> Renderer:
        return SpotRenderer(self.config.contrast)

    def task(self) -> Task:
        return SpotTask()
