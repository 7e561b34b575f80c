"""Four strangers' parts, one file and one entry point each, laid out as pip would."""

from __future__ import annotations

from pathlib import Path

ENVIRONMENT = '''
"""Environment ``bars``: where is the bar?"""
from dataclasses import dataclass

import numpy as np

from autosim.env import Env, TargetSizes
from autosim.learning.schedule import TrainingSchedule
from autosim.rendering.annotations import ClassMask
from autosim.rendering.sprites import Sprite, SpriteRenderer
from autosim.scenes.grammar import Emission, Grammar, Normal, Rule
from autosim.scenes.graph import Continuous, NodeClass, Schema

SCHEMA = Schema((NodeClass("bar", (Continuous("x", 0.0, 16.0, step=0.5),)),))


def bars(x):
    return Grammar(SCHEMA, "Scene", (Rule("Scene", ("Bar",)),), {"Bar": Emission("bar")}, {"bar.x": Normal(x, 1.0)})


class BarRenderer(SpriteRenderer):
    annotations = {"mask": ClassMask(("ground", "bar"))}

    def textures(self):
        return {"bar": np.full((1, 4, 4), 255, dtype=np.uint8)}

    def sprites(self, scene):
        return [Sprite("bar", 0, float(bar["x"]), 8.0, 4, 12, mask_class=1) for bar in scene.find("bar")]


@dataclass(frozen=True)
class BarsConfig:
    x: float = 11.0
    """Where the target's bars are, in pixels."""


class Bars(Env):
    """Bars are at the left; the target's are further to the right."""

    name, Config, schema = "bars", BarsConfig, SCHEMA
    sizes = TargetSizes(validation=6, test=8)
    train_frames = 8
    schedule = TrainingSchedule(epochs=10, batch_size=4, learning_rate=0.02)

    def __init__(self, config):
        self.config = config

    def prior(self):
        return bars(5.0)

    def target(self):
        return bars(self.config.x)

    def renderer(self):
        return BarRenderer(SCHEMA, 16, 16)

    def task(self):
        from autosim.learning.tasks.segmentation import Segmentation

        return Segmentation(("ground", "bar"), width=4)
'''

RENDERER = '''
"""Renderer by arithmetic instead of sprites, on the environment ``bars``: the environment ``drawn-bars`` names it."""
import numpy as np

from autosim.rendering.annotations import ClassMask
from autosim.rendering.renderer import Renderer
from stranger_bars import SCHEMA, Bars


class DrawnBarRenderer(Renderer):
    schema, height, width = SCHEMA, 16, 16
    annotations = {"mask": ClassMask(("ground", "bar"))}

    def build(self):
        self.columns = np.arange(16) + 0.5

    def draw(self, scene, seed, effort=1.0):
        (bar,) = scene.find("bar")
        row = np.clip(2.5 - np.abs(self.columns - bar["x"]), 0, 1)
        noise = np.random.default_rng(seed).normal(0, 0.02, (16, 16, 3))
        return np.clip(np.broadcast_to(row[None, :, None], (16, 16, 3)) + noise, 0, 1).astype(np.float32)

    def annotate(self, scene):
        (bar,) = scene.find("bar")
        mask = np.broadcast_to(np.abs(self.columns - bar["x"]) < 2, (16, 16))
        return {"mask": mask.astype(np.uint8)}


class DrawnBars(Bars):
    """Bars as above, drawn by arithmetic."""

    name = "drawn-bars"

    def renderer(self):
        return DrawnBarRenderer()
'''

TASK = '''
"""Task of telling the ground from bars by the colour of a pixel alone: the environment ``pixels`` names it."""
import torch

from autosim.learning.tasks.segmentation import Segmentation
from autosim.seeding import torch_seeded
from stranger_bars import Bars


class PixelTask(Segmentation):
    def network(self, seed):
        with torch_seeded(seed):
            return torch.nn.Conv2d(3, 2, 1)


class Pixels(Bars):
    """Bars as above, told from the ground pixel by pixel."""

    name = "pixels"

    def task(self):
        return PixelTask(("ground", "bar"))
'''

ALGORITHM = '''
"""Algorithm ``shift``: shift the parameters at random, and stay where the validation score rises."""
from dataclasses import dataclass

import numpy as np

from autosim.algorithm import Algorithm
from autosim.errors import UserError
from autosim.scenes.parametric import ParametricGenerator


@dataclass(frozen=True)
class ShiftConfig:
    iterations: int = 3
    """Shifts to try."""


class Shift(Algorithm):
    """Random shifts of the parameters, of which those that help are kept."""

    name, Config = "shift", ShiftConfig

    def __init__(self, session, config):
        super().__init__(session, config)
        if not session.target.labelled:
            raise UserError("shift needs a labelled target")
        self.start = ParametricGenerator(session.env.prior())
        self.point, self.score = self.start.to_unit(), -1.0

    @property
    def generator(self):
        return self.start.from_unit(self.point)

    def step(self, iteration):
        rng = np.random.default_rng(self.session.seed_sequence("shift", iteration))
        point = np.clip(self.point + 0.2 * rng.normal(size=len(self.point)), 0, 1)
        (score,) = self.session.score_generators([self.start.from_unit(point)], 6, 1, iteration)
        if score > self.score:
            self.point, self.score = point, score
        return {"val_score": max(self.score, 0.0), "tried": score}

    def state_dict(self):
        return {"point": self.point.tolist(), "score": self.score}

    def load_state_dict(self, state):
        self.point, self.score = np.array(state["point"]), state["score"]
'''

BROKEN = '''
"""Environment ``broken-bars``: one check takes for ever, one ends the process, and its images are no float32."""
import os
import time

from stranger_bars import BarRenderer, Bars, SCHEMA
from stranger_pixels import PixelTask


class DoubleRenderer(BarRenderer):
    def draw(self, scene, seed, effort=1.0):
        return super().draw(scene, seed, effort).astype("float64")


class EndingTask(PixelTask):
    def network(self, seed):
        if seed == 3:
            os._exit(7)
        return super().network(seed)


class BrokenBars(Bars):
    """Bars that keep no contract."""

    name = "broken-bars"

    def describe(self):
        print("this must not be seen")
        time.sleep(600)

    def renderer(self):
        return DoubleRenderer(SCHEMA, 16, 16)

    def task(self):
        return EndingTask(("ground", "bar"))
'''

# Each file's module, its text, and its one entry point.
PARTS = {
    "environment": ("stranger_bars", ENVIRONMENT, "autosim.envs", "bars = stranger_bars:Bars"),
    "renderer": ("stranger_drawn", RENDERER, "autosim.envs", "drawn-bars = stranger_drawn:DrawnBars"),
    "task": ("stranger_pixels", TASK, "autosim.envs", "pixels = stranger_pixels:Pixels"),
    "algorithm": ("stranger_shift", ALGORITHM, "autosim.algorithms", "shift = stranger_shift:Shift"),
    "broken": ("stranger_broken", BROKEN, "autosim.envs", "broken-bars = stranger_broken:BrokenBars"),
}


def install(folder: Path, *names: str) -> None:
    """Lay out some of the parts in ``folder``, each as a distribution of its own."""
    for name in names:
        module, text, group, point = PARTS[name]
        metadata = folder / f"{module}-0.1.dist-info"
        metadata.mkdir(parents=True)
        (folder / f"{module}.py").write_text(text.lstrip(), encoding="utf-8")
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 0.1\n")
        (metadata / "entry_points.txt").write_text(f"[{group}]\n{point}\n")
