"""MultiMNIST: how many digits and which, on one canvas (Meta-Sim2 §4.1, Figures 6 and 7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from autosim.env import Env, TargetSizes
from autosim.learning.schedule import TrainingSchedule
from autosim.ranges import Checked, Range
from autosim.rendering.renderer import Renderer
from autosim.scenes.grammar import Constant, Emission, Grammar, Normal, Prior, Rule, Uniform
from autosim.scenes.graph import Categorical, Continuous, NodeClass, SceneGraph, Schema
from autosim.seeding import seed_sequence
from envs.digit_renderer import CLASSES, DigitRenderer
from envs.digits import LABELS, VARIANTS, Source, Split, load_digits

if TYPE_CHECKING:
    from autosim.learning.tasks.task import Task

MOST = 10
# Rules: Scene, one digit more, no more digits, and then which digit.
SCENE, MORE, END, FIRST_DIGIT = 0, 1, 2, 3
# Edge of a digit, distance of two neighbours in the target's line, standard deviation of its height: shares of the
# canvas.
DIGIT = 28 / 256
SPACING = 0.1
LINE_STD = 0.005


@dataclass(frozen=True)
class MultiMnistConfig(Checked):
    """Options of the MultiMNIST environment.

    Args:
        target_seed: which hidden distribution of counts and classes to recover.
        edge: edge of the canvas in pixels, a multiple of 8 from 64 to 512; a digit takes 28 of 256.
        digits: scikit-learn's bundled digits, or mnist from data_dir.
        data_dir: folder of MNIST's four idx files, compressed or not.
        train_frames: frames that a network is trained on for the closing scores.
        validation: frames of the target that methods see.
    """

    target_seed: Annotated[int, Range(least=0)] = 0
    edge: int = 128
    digits: Source = "bundled"
    data_dir: Path | None = None
    train_frames: Annotated[int, Range(least=1)] = 60
    validation: Annotated[int, Range(least=1)] = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.edge % 8 or not 64 <= self.edge <= 512:
            raise ValueError(f"edge: {self.edge} is not a multiple of 8 from 64 to 512")


def in_a_row(scene: SceneGraph, rng: np.random.Generator) -> SceneGraph:
    """The digits side by side in the middle, at the same distance."""
    places = [i for i, node in enumerate(scene.nodes) if node.node_class == "digit"]
    nodes = list(scene.nodes)
    for order, i in enumerate(places):
        x = 0.5 + SPACING * (order - (len(places) - 1) / 2)
        nodes[i] = replace(nodes[i], attributes={**nodes[i].attributes, "x": x})
    return replace(scene, nodes=tuple(nodes))


class MultiMnist(Env):
    """Learn how many digits there are and which."""

    name: ClassVar[str] = "multimnist"
    Config: ClassVar[type] = MultiMnistConfig

    def __init__(self, config: MultiMnistConfig) -> None:
        load_digits(config.digits, config.data_dir)
        self.config = config
        self.schema = Schema(
            (
                NodeClass("background"),
                NodeClass(
                    "digit",
                    (
                        Continuous("x", 0.0, 1.0, unit="of the width", step=0.01),
                        Continuous("y", 0.0, 1.0, unit="of the height", step=0.01),
                        Continuous("variant", 0.0, 1.0, mutable=False),
                        Categorical("label", LABELS, mutable=False),
                    ),
                ),
            )
        )
        self.sizes = TargetSizes(validation=config.validation, test=200)
        self.train_frames = config.train_frames
        # With many frames, networks that learn from any numbers and classes find all digits alike.
        self.schedule = TrainingSchedule(epochs=25, batch_size=2, learning_rate=5e-3)

    @classmethod
    def defaults(cls, algorithm: str, config: MultiMnistConfig) -> Mapping[str, Any]:
        """Numbers of digits are learned sooner by their length. Of attributes there are two, the places of digits: few
        rounds find them.
        """
        if algorithm == "metasim2":
            # Steps, not frames, are what its features lack to tell ten digits apart.
            features = {"algo.feature_frames": 3000, "algo.feature_batch": 8}
            return {"algo.lengths": True, "algo.bandwidth": 0.25, **features}
        if algorithm == "metasim":
            # A network that is trained for a while only is no judge of ten kinds of digits.
            return {"algo.task_loss": False, "algo.score_every": 20}
        if algorithm == "leap":
            # Digits are small: at half the resolution their number cannot be told.
            return {"algo.edge": 128, "algo.epochs": 8}
        if algorithm == "autosimulate":
            # Of a step with curvature and all validation frames, nine tenths are spent on these.
            return {"algo.iterations": 20, "algo.approximation": "linear", "algo.validation_frames": 100}
        if algorithm == "influence_replay":
            return {"algo.iterations": 20, "algo.epochs": 10}
        if algorithm in ("cmaes", "lts"):
            # Many data sets a round: smaller ones.
            return {"algo.iterations": 4 if algorithm == "cmaes" else 6, "algo.epochs": 10, "algo.frames": 50}
        return {"algo.iterations": 6, "algo.epochs": 10} if algorithm in ("bo", "optuna", "random") else {}

    def prior(self) -> Grammar:
        """0 to 10 digits, all numbers and classes as likely, anywhere, none of them cut off."""
        counts, classes = np.full(MOST + 1, 1 / (MOST + 1)), np.full(len(LABELS), 1 / len(LABELS))
        anywhere = Uniform(DIGIT / 2, 1.0 - DIGIT / 2)
        return self._grammar("train", counts, classes, anywhere, anywhere)

    def target(self) -> Grammar:
        """Hidden distributions of the count and the classes; on a horizontal line in the middle."""
        return self._target("test")

    def validation_target(self) -> Grammar:
        """The same with other images of digits."""
        return self._target("validation")

    @cached_property
    def target_counts(self) -> NDArray[np.float64]:
        """(11,) the target's probabilities of 0 to 10 digits."""
        rng = np.random.default_rng(seed_sequence(self.config.target_seed, "multimnist counts"))
        return rng.dirichlet(np.ones(MOST + 1))

    @cached_property
    def target_classes(self) -> NDArray[np.float64]:
        """(10,) the target's probabilities of the digits."""
        rng = np.random.default_rng(seed_sequence(self.config.target_seed, "multimnist classes"))
        return rng.dirichlet(np.ones(len(LABELS)))

    def oracle(self) -> Grammar:
        """The target's scenes with the images of digits that a method has."""
        return self._target("train")

    def renderer(self) -> Renderer:
        """Sprites on a black canvas."""
        return DigitRenderer(
            self.schema, self.config.edge, self.config.edge * DIGIT, self.config.digits, self.config.data_dir
        )

    def task(self) -> Task:
        """Segmentation into background and the ten digits, which count as often as they occur."""
        from autosim.learning.tasks.segmentation import Segmentation

        return Segmentation(CLASSES, average="foreground")

    def _target(self, split: Split) -> Grammar:
        x, y = Constant(0.5), Normal(0.5, LINE_STD)
        grammar = self._grammar(split, self.target_counts, self.target_classes, x, y)
        return replace(grammar, arrange=in_a_row)

    def _grammar(
        self, split: Split, counts: NDArray[np.float64], classes: NDArray[np.float64], x: Prior, y: Prior
    ) -> Grammar:
        def strings(rng: np.random.Generator) -> list[int]:
            rules = [SCENE]
            for label in rng.choice(len(LABELS), size=rng.choice(MOST + 1, p=counts), p=classes):
                rules += [MORE, FIRST_DIGIT + int(label)]
            return [*rules, END]

        rules = (
            Rule("Scene", ("Background", "Digits")),
            Rule("Digits", ("Digit", "Digits"), 5.0),
            Rule("Digits", ()),
            *(Rule("Digit", (f"digit {label}",)) for label in LABELS),
        )
        emissions = {"Background": Emission("background")}
        emissions |= {f"digit {label}": Emission("digit", 0, {"label": label}) for label in LABELS}
        priors: dict[str, Prior] = {"digit.x": x, "digit.y": y, "digit.variant": Uniform(*VARIANTS[split])}
        return Grammar(self.schema, "Scene", rules, emissions, priors, strings=strings)
