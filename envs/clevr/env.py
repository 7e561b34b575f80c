"""CLEVR: three objects on a plane under two learnable lights, segmented by shape (AutoSimulate supplement, Table 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from autosim.env import Env, TargetSizes
from autosim.errors import UserError
from autosim.learning.schedule import TrainingSchedule
from autosim.learning.tasks.detector_settings import DetectorSettings
from autosim.ranges import Checked, Range
from autosim.rendering.blender.installed import choose_blender
from autosim.rendering.differences import GradientSettings
from autosim.rendering.mitsuba.variant import Variant, choose_variant
from autosim.rendering.renderer import Renderer
from autosim.scenes.grammar import Grammar
from envs.clevr.blender import ClevrBlender
from envs.clevr.renderer import ClevrRenderer
from envs.clevr.scene import CLASSES, PROFILES, clevr_grammar, clevr_schema, start_priors, target_priors

if TYPE_CHECKING:
    from autosim.learning.tasks.task import Task

# Of the picture's edge, an object's width and height in the middle of the scene.
BOX_SHARE = 0.15
# As many data sets or steps as are made in some five minutes on two cores, and what of a method suits these pictures.
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "bo": {"algo.iterations": 16},
    "optuna": {"algo.iterations": 16},
    "random": {"algo.iterations": 20},
    "lts": {"algo.iterations": 8},
    "cmaes": {"algo.iterations": 10, "algo.frames": 50, "algo.epochs": 10},
    "influence_replay": {"algo.iterations": 55},
    # Networks that begin anew, and learn for a short while: those that go on learning soon see no way to the target.
    "autosimulate": {
        "algo.iterations": 110,
        "algo.restart": True,
        "algo.epochs": 2,
        "algo.choice_rate": 0.4,
        "algo.learned_spread": 0.1,
        "algo.damping": 1.0,
        "algo.products": 3,
    },
}


@dataclass(frozen=True)
class ClevrConfig(Checked):
    """Options of the CLEVR environment.

    Args:
        profile: ``default`` renders 16, 32 or 64 pixels with up to 32 samples; ``paper`` has the published ranges.
        target_seed: which hidden target configuration to recover.
        edge: edge length in pixels of the images that networks see; 0 takes the profile's.
        train_frames: frames that a network is trained on for the closing scores.
        variant: of Mitsuba's: scalar_rgb, llvm_ad_rgb, or auto for LLVM's where it renders correctly, which is written
            to the run's configuration as what it was.
        engine: what draws: mitsuba, in process, or blender (Cycles), in a process of its own beside each worker.
        blender: which Blender: a name as bpy-5.3.0, set up by `autosim blender setup`, or the path of an executable; by
            default the newest that is set up, which is written to the run's configuration.
        task: what networks learn: the shape of each pixel (segmentation), or boxes of the shapes (detection).
        detector: which detector learns, where the task is detection.
        windows: draw differences of an object's place in the part of the picture that holds it and its shadows; mitsuba
            alone.
    """

    profile: Literal["default", "paper"] = "default"
    target_seed: Annotated[int, Range(least=0)] = 0
    edge: int = 0
    train_frames: Annotated[int, Range(least=1)] = 200
    variant: Variant = "auto"
    engine: Literal["mitsuba", "blender"] = "mitsuba"
    blender: str = ""
    task: Literal["segmentation", "detection"] = "segmentation"
    detector: DetectorSettings = field(default_factory=DetectorSettings)
    windows: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            object.__setattr__(self, "variant", choose_variant(self.variant))
        except ValueError as error:
            raise ValueError(f"variant: {error}") from None
        if self.engine == "blender":
            try:
                object.__setattr__(self, "blender", choose_blender(self.blender))
            except UserError as error:
                raise ValueError(f"blender: {error}") from None
            if self.windows:
                raise ValueError("windows: engine blender draws whole pictures only; allowed is false")
        elif self.blender:
            raise ValueError(f"blender: {self.blender!r} is given, but engine is {self.engine}; needed is blender")
        if self.edge % 8 or (self.edge and not 16 <= self.edge <= 1024):
            raise ValueError(f"edge: {self.edge} is neither 0 nor a multiple of 8 from 16 to 1024")
        if self.task == "segmentation" and self.detector != DetectorSettings():
            raise ValueError("detector: task segmentation has none (--env.task detection)")


class Clevr(Env):
    """Move a dark, coarse, misplaced randomiser to a hidden well-lit configuration."""

    name: ClassVar[str] = "clevr"
    Config: ClassVar[type] = ClevrConfig
    # An eighth of the samples makes a step far cheaper; benchmarks/checks.py measures what it costs in accuracy.
    gradient: ClassVar[GradientSettings] = GradientSettings(effort=0.125)

    def __init__(self, config: ClevrConfig) -> None:
        self.config = config
        self.profile = PROFILES[config.profile]
        self.edge = config.edge or self.profile.edge
        self.schema = clevr_schema(self.profile)
        self.sizes = TargetSizes(validation=30, test=200)
        self.train_frames = config.train_frames
        epochs = 40 if config.task == "detection" and config.detector.network == "scratch" else 20
        self.schedule = TrainingSchedule(epochs=epochs, batch_size=8, learning_rate=5e-3)

    @classmethod
    def defaults(cls, algorithm: str, config: ClevrConfig) -> Mapping[str, Any]:
        """What leap reads off these pictures at their own size is learned fast, no crop shows more of it, and one round
        around the jump is enough.
        """
        if algorithm != "leap":
            return SETTINGS.get(algorithm, {})
        looks = {} if config.edge or config.profile != "default" else {"algo.second_looks": False}
        training = {"algo.rate": 6e-3, "algo.epochs": 10, "algo.batch": 16, "algo.even": True}
        return {"algo.iterations": 3, **training, **looks}

    def prior(self) -> Grammar:
        """Dark, coarse, and the objects in a row far behind."""
        return clevr_grammar(self.schema, start_priors(self.profile))

    def target(self) -> Grammar:
        """Well lit, good quality, objects in the middle; drawn by ``target_seed``."""
        return clevr_grammar(self.schema, target_priors(self.profile, self.config.target_seed))

    def renderer(self) -> Renderer:
        """A renderer of this profile by the chosen engine."""
        profile, config = self.profile, self.config
        boxes = config.task == "detection"
        if config.engine == "blender":
            return ClevrBlender(self.schema, self.edge, config.blender, boxes)
        return ClevrRenderer(
            self.schema, profile.sizes, profile.bounces, self.edge, config.variant, config.windows, boxes
        )

    def task(self) -> Task:
        """Segmentation into background and the three shapes, or detection of these."""
        if self.config.task == "detection":
            size = BOX_SHARE * self.edge
            return self.config.detector.task(CLASSES[1:], 2 if self.edge < 96 else 4, (size, size))
        from autosim.learning.tasks.segmentation import Segmentation

        return Segmentation(CLASSES)
