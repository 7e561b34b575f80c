"""Environment ``spot``: a bright disc on a dark ground, drawn by numpy; find where the target's discs are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from autosim.env import Env, TargetSizes
from autosim.learning.schedule import TrainingSchedule
from autosim.learning.tasks.task import Scorer, Task
from autosim.rendering.frames import Frames
from autosim.rendering.renderer import Renderer
from autosim.scenes.grammar import Grammar

from .drawing import EDGE, SCHEMA, SpotRenderer, spot_grammar


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

    def found(self, network: nn.Module, frames: Frames, device: torch.device | str = "cpu") -> Frames:
        masks = [outputs.argmax(dim=1).cpu() for outputs, _ in self.predict(network, frames, device)]
        return Frames(frames.images, {"mask": torch.cat(masks).numpy().astype(np.uint8)})

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
