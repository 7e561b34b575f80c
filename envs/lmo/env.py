"""Eight objects of Linemod-Occluded on tables, to be detected (AutoSimulate §5.2): which of 54 simulators is best?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from autosim.env import Env, TargetSizes
from autosim.learning.schedule import TrainingSchedule
from autosim.learning.tasks.detector_settings import DetectorSettings
from autosim.ranges import Checked, Range
from autosim.rendering.differences import GradientSettings
from autosim.rendering.renderer import Renderer
from autosim.scenes.grammar import Grammar
from envs.lmo.arrangements import ARRANGEMENTS, Library
from envs.lmo.models import CLASSES, NUMBERS, Model, read_models
from envs.lmo.renderer import LmoRenderer
from envs.lmo.rooms import environment_maps
from envs.lmo.scene import Profile, Start, lmo_grammar, lmo_schema, start_priors, target_priors
from envs.lmo.standins import clutter_models, stand_ins

if TYPE_CHECKING:
    from autosim.learning.tasks.task import Task

# Of the picture's width, a usual box's width and height.
BOX_SHARE = 0.11


@dataclass(frozen=True)
class LmoConfig(Checked):
    """Options of the environment ``lmo``.

    Args:
        profile: ``cells`` learns one choice of 54, 3 scenes × 9 locations × 2 render qualities; ``continuous`` learns
            the camera's elevation and distance, light, clutter and pattern, and a scene and a quality.
        start: ``poor`` begins mostly on cells that show little, coarse; ``uniform`` on all.
        start_share: probability of all other cells together in the poor start; below about .2 methods that draw cells
            one by one rarely meet a good one.
        target_seed: which hidden target configuration to recover, where no images are given.
        meshes: folder of BOP models, obj_000001.ply and so on, with colours at their vertices; by default eight
            stand-ins made by code.
        hdri: folder of environment maps (.hdr), of which the first three by name stand in for the rooms' walls.
        width: of the images that networks see, in pixels, a multiple of 32; they are three quarters as high.
        arrangements: how many arrangements at rest scenes are made from.
        train_frames: frames that a network is trained on for the closing scores.
        detector: which detector learns.
    """

    profile: Profile = "cells"
    start: Start = "poor"
    start_share: Annotated[float, Range(least=0, below=1)] = 0.4
    target_seed: Annotated[int, Range(least=0)] = 0
    meshes: Path | None = None
    hdri: Path | None = None
    width: Annotated[int, Range(least=64, most=1280)] = 160
    arrangements: Annotated[int, Range(least=1, most=1000)] = ARRANGEMENTS
    train_frames: Annotated[int, Range(least=1)] = 120
    detector: DetectorSettings = field(default_factory=DetectorSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % 32:
            raise ValueError(f"width: {self.width} is not a multiple of 32")
        for name in ("meshes", "hdri"):
            if (folder := getattr(self, name)) is not None:
                # Absolute, so that a configuration means the same in another working directory.
                object.__setattr__(self, name, folder.expanduser().absolute())


class Lmo(Env):
    """Find the scenes, places and quality whose pictures teach a detector most about photographs of eight objects."""

    name: ClassVar[str] = "lmo"
    Config: ClassVar[type] = LmoConfig
    gradient: ClassVar[GradientSettings] = GradientSettings(effort=0.25)
    class_aliases: Mapping[str, str] = {f"obj_{number:06d}": name for number, name in NUMBERS.items()}

    def __init__(self, config: LmoConfig) -> None:
        self.config = config
        self.width, self.height = config.width, config.width * 3 // 4
        self.schema = lmo_schema(config.profile)
        self.objects = _objects(config.meshes)
        self.maps = None if config.hdri is None else environment_maps(config.hdri)
        self.library = Library(self.objects, clutter_models(), config.arrangements)
        self.sizes = TargetSizes(validation=40, test=80)
        self.train_frames = config.train_frames
        self.feature_frames = 600
        self.feature_edge = 96
        # On what is trained already, steps count for more than images seen.
        epochs, batch_size = (24, 8) if config.detector.network == "scratch" else (12, 4)
        self.schedule = TrainingSchedule(epochs, batch_size, learning_rate=5e-3)

    @classmethod
    def defaults(cls, algorithm: str, config: LmoConfig) -> Mapping[str, Any]:
        """Cells are 54, each is drawn seldom: it takes larger steps, and directions that cost no curvature leave more
        of them. Networks begin anew in each step: one that has learned what cells show gains most from those that show
        nothing. Data sets take longer to draw and to train on than elsewhere: there are fewer of them. Leap reads
        labels, which tell places from one another in photographs too.
        """
        if algorithm == "autosimulate":
            cheap = {"algo.iterations": 30, "algo.approximation": "linear"}
            if config.profile == "continuous":
                return {**cheap, "algo.choice_rate": 0.4}
            return {**cheap, "algo.choice_rate": 1.5, "algo.restart": True, "algo.epochs": 2}
        if algorithm == "lts":
            return {"algo.iterations": 5, "algo.datasets": 4, "algo.frames": 50, "algo.epochs": 10}
        if algorithm == "avo":
            return {"algo.iterations": 40}
        if algorithm == "npe":
            return {"algo.iterations": 2, "algo.simulations": 110, "algo.frames": 5}
        if algorithm == "attribute_descent" and config.profile != "continuous":
            # There is one attribute, and each visit looks at all 54 of its choices.
            return {"algo.iterations": 2, "algo.frames": 12}
        if algorithm == "leap":
            reading = {"algo.reads": "labels", "algo.second_looks": False}
            return {**reading, "algo.iterations": 1, "algo.broad": 1000, "algo.epochs": 15}
        if algorithm == "cmaes":
            return {"algo.iterations": 2, "algo.frames": 50, "algo.epochs": 10}
        if algorithm == "influence_replay":
            return {"algo.iterations": 30, "algo.epochs": 5}
        if algorithm in ("bo", "optuna", "random"):
            # The first round of bo has as many data sets as four of the others'.
            return {"algo.iterations": 3 if algorithm == "bo" else 4, "algo.epochs": 10}
        return {}

    def prior(self) -> Grammar:
        """Mostly coarse pictures from places that show little, or all cells alike."""
        config = self.config
        priors = start_priors(config.profile, config.start, config.start_share)
        return lmo_grammar(self.schema, self.library, priors)

    def target(self) -> Grammar:
        """Fine pictures from good places; drawn by ``target_seed``."""
        return lmo_grammar(self.schema, self.library, target_priors(self.config.profile, self.config.target_seed))

    def renderer(self) -> Renderer:
        """Three rooms in Mitsuba."""
        return LmoRenderer(self.schema, self.objects, self.library.clutter, self.height, self.width, self.maps)

    def task(self) -> Task:
        """Detection of the eight objects."""
        size = BOX_SHARE * self.width
        return self.config.detector.task(CLASSES, 2 if self.width < 96 else 4, (size, size))


@cache
def _objects(folder: Path | None) -> tuple[Model, ...]:
    return stand_ins() if folder is None else read_models(folder)
