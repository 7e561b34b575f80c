"""MNIST: one digit, rotated, or rotated and moved; classified (Meta-Sim §4.1, Table 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from autosim.env import Env, TargetSizes
from autosim.learning.schedule import TrainingSchedule
from autosim.ranges import Checked, Range
from autosim.rendering.annotations import Annotation, ClassLabel, ClassMask
from autosim.rendering.renderer import Renderer
from autosim.scenes.grammar import Constant, Emission, Grammar, Normal, Prior, Rule, Uniform
from autosim.scenes.graph import Categorical, Continuous, NodeClass, SceneGraph, Schema
from autosim.seeding import seed_sequence
from envs.digit_renderer import DIGITS, DigitRenderer
from envs.digits import EDGE, LABELS, VARIANTS, Source, Split, load_digits

if TYPE_CHECKING:
    from autosim.learning.tasks.task import Task

Case = Literal["rotation", "rotation-translation"]
# Edge of the picture in pixels.
CANVAS: dict[Case, int] = {"rotation": 32, "rotation-translation": 64}
TARGET_YAW = 90.0
# Standard deviations of the start: degrees and pixels.
START_YAW_STD = 5.0
START_PLACE_STD = 1.0


@dataclass(frozen=True)
class MnistConfig(Checked):
    """Options of the MNIST environment.

    Args:
        case: rotation (32 × 32 pixels; the target's digits are turned by 90°) or rotation-translation (64 × 64; turned,
            and in the lower left corner).
        digits: scikit-learn's bundled digits, or mnist from data_dir.
        data_dir: folder of MNIST's four idx files, compressed or not.
        yaw_std: standard deviation of the target's angles, in degrees.
        train_frames: frames that a network is trained on for the closing scores; 0 takes 2,000 for bundled digits and
            20,000 for MNIST.
        target_seed: which hidden target to recover; 0 is the one of the paper's experiments.
    """

    case: Case = "rotation"
    digits: Source = "bundled"
    data_dir: Path | None = None
    yaw_std: Annotated[float, Range(least=0, most=90)] = 0.0
    train_frames: Annotated[int, Range(least=0)] = 0
    target_seed: Annotated[int, Range(least=0)] = 0


class OneDigitRenderer(DigitRenderer):
    """One digit, which the mask tells from the background and the annotation ``label`` from the other nine."""

    annotations: Mapping[str, Annotation] = {"mask": ClassMask(("background", "digit")), "label": ClassLabel(DIGITS)}

    def __init__(self, schema: Schema, edge: int, source: Source, folder: Path | None) -> None:
        super().__init__(schema, edge, EDGE, source, folder)

    def mask_class(self, label: int) -> int:
        """1, whichever digit it is."""
        return 1

    def labels(self, scene: SceneGraph) -> Mapping[str, NDArray[np.generic]]:
        """``label`` of the digit."""
        (node,) = scene.find("digit")
        return {"label": np.array(int(node["label"]))}


class Mnist(Env):
    """Turn upright digits until a classifier trained on them knows the target's."""

    name: ClassVar[str] = "mnist"
    Config: ClassVar[type] = MnistConfig
    appearance = False

    def __init__(self, config: MnistConfig) -> None:
        load_digits(config.digits, config.data_dir)
        self.config = config
        self.edge = CANVAS[config.case]
        place = (Continuous(name, 0.0, 1.0, unit="of the canvas", step=1.0 / self.edge) for name in ("x", "y"))
        self.schema = Schema(
            (
                NodeClass(
                    "digit",
                    (
                        *(place if config.case == "rotation-translation" else ()),
                        Continuous("yaw", 0.0, 360.0, unit="°", periodic=True, step=4.0),
                        Continuous("variant", 0.0, 1.0, mutable=False),
                        Categorical("label", LABELS, mutable=False),
                    ),
                ),
            )
        )
        bundled = config.digits == "bundled"
        self.sizes = TargetSizes(validation=200, test=400) if bundled else TargetSizes(validation=1000, test=4000)
        # A digit's angle is harder to recognise where the digit may be anywhere.
        self.feature_frames = 6000 if config.case == "rotation" else 12_000
        self.train_frames = config.train_frames or (2000 if bundled else 20_000)
        self.schedule = TrainingSchedule(epochs=20 if bundled else 14, batch_size=32, learning_rate=2e-3)

    @classmethod
    def defaults(cls, algorithm: str, config: MnistConfig) -> Mapping[str, Any]:
        """The digit's angle is matched to a degree or two, for which the scenes of a batch are nearly alike."""
        if algorithm == "leap" and config.case == "rotation":
            # With a quarter of these a network tells a fifth of the angle of a digit that may be any of ten.
            return {"algo.broad": 6000}
        if algorithm == "attribute_descent" and config.case == "rotation":
            # There is one attribute: a dozen visits come down to the narrowest span and stay there.
            return {"algo.iterations": 12}
        if algorithm != "metasim":
            return {}
        exact = {"algo.std": 0.005, "algo.learning_rate": 0.01}
        if config.yaw_std:
            return {"algo.std": START_YAW_STD / 360, "algo.learn_spread": True, "algo.batch_size": 64}
        if config.case == "rotation":
            return {**exact, "algo.exploration": 0.0, "algo.task_steps": 16}
        # A digit out of place pulls its angle the wrong way; angles that are spread out get past that.
        found = {"algo.exploration": 0.15, "algo.iterations": 200, "algo.task_loss": False, "algo.score_every": 10}
        return {**exact, **found}

    def prior(self) -> Grammar:
        """Upright digits in the middle."""
        middle = Normal(0.5, START_PLACE_STD / self.edge)
        return self._grammar("train", Normal(0.0, START_YAW_STD), middle, middle)

    def target(self) -> Grammar:
        """Digits turned by 90°, in the lower left corner where they are moved, or as ``target_seed`` says; no image of
        them is in the prior's.
        """
        return self._target("test")

    def validation_target(self) -> Grammar:
        """The same with yet other images."""
        return self._target("validation")

    def oracle(self) -> Grammar:
        """The target's scenes with the images of digits that a method has."""
        return self._target("train")

    def renderer(self) -> Renderer:
        """Sprites on a black canvas."""
        return OneDigitRenderer(self.schema, self.edge, self.config.digits, self.config.data_dir)

    def task(self) -> Task:
        """Classification of the ten digits."""
        from autosim.learning.tasks.classification import Classification

        # Twice the edge has four times the pixels: half the filters keep the training as short.
        filters = (32, 64) if self.config.case == "rotation" else (16, 32)
        return Classification(len(DIGITS), self.edge, self.edge, filters)

    def _target(self, split: Split) -> Grammar:
        angle, x, y = target_place(self.config.target_seed, EDGE / 2 / self.edge)
        yaw = Normal(angle, self.config.yaw_std) if self.config.yaw_std else Constant(angle)
        return self._grammar(split, yaw, Constant(x), Constant(y))

    def _grammar(self, split: Split, yaw: Prior, x: Prior, y: Prior) -> Grammar:
        priors: dict[str, Prior] = {"digit.yaw": yaw, "digit.variant": Uniform(*VARIANTS[split])}
        if self.config.case == "rotation-translation":
            priors |= {"digit.x": x, "digit.y": y}
        return Grammar(self.schema, "Scene", (Rule("Scene", ("Digit",)),), {"Digit": Emission("digit")}, priors)


def target_place(seed: int, near: float) -> tuple[float, float, float]:
    """Angle in degrees and place as shares of the canvas, where ``near`` is as near to an edge as a whole digit can be.
    Seed 0 is the paper's; others are turned by at least 45° and a sixth of the canvas away from the middle.
    """
    if seed == 0:
        return TARGET_YAW, near, 1.0 - near
    rng = np.random.default_rng(seed_sequence(seed, "mnist target"))
    angle = float(rng.uniform(45.0, 315.0))
    while True:
        x, y = map(float, rng.uniform(near, 1.0 - near, 2))
        if np.hypot(x - 0.5, y - 0.5) >= 1 / 6 or near >= 1 / 3:
            return angle, x, y
