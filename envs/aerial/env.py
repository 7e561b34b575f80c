"""Aerial2D: where things are (Meta-Sim §4.2, Table 2), how many roads and cars there are (Meta-Sim2 §4.2, Fig. 8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from autosim.env import Env, TargetSizes
from autosim.learning.schedule import TrainingSchedule
from autosim.ranges import Checked, Range
from autosim.rendering.renderer import Renderer
from autosim.scenes.grammar import Constant, Emission, Grammar, Normal, Prior, Rule, Uniform
from autosim.scenes.graph import Continuous, NodeClass, SceneGraph, Schema
from envs.aerial.renderer import CLASSES, AerialRenderer
from envs.aerial.targets import Traffic, crossing, traffic

if TYPE_CHECKING:
    from collections.abc import Callable

    from autosim.learning.tasks.task import Task

Case = Literal["segmentation", "structure"]
CASES: tuple[Case, ...] = ("segmentation", "structure")
EDGES: dict[Case, int] = {"segmentation": 64, "structure": 128}
MOST_ROADS = 4
# Cars that have room on one of several roads.
MOST_CARS = 16
# Rules of the structure case, by index.
SCENE, MORE_ROADS, NO_MORE_ROADS, ROAD, MORE_CARS, NO_MORE_CARS = range(6)
# Part of the textures' variants that the prior draws from; the target draws from the rest.
SEEN = 0.75


@dataclass(frozen=True)
class AerialConfig(Checked):
    """Options of the aerial environment.

    Args:
        case: segmentation (one road with two cars, a tree and a house; where they are is learned) or structure (up to
            four roads; how many, and how many cars are on each, is learned).
        edge: edge of the canvas in pixels, a multiple of 8 from 32 to 512; 0 for the case's own, 64 or 128.
        train_frames: frames that a network is trained on for the closing scores.
        target_seed: which hidden target to recover; 0 is the one of the papers' experiments.
    """

    case: Case = "segmentation"
    edge: int = 0
    train_frames: Annotated[int, Range(least=1)] = 500
    target_seed: Annotated[int, Range(least=0)] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.edge and (self.edge % 8 or not 32 <= self.edge <= 512):
            raise ValueError(f"edge: {self.edge} is not 0 or a multiple of 8 from 32 to 512")


class Aerial(Env):
    """Learn to place cars, trees and houses as the target has them; or to have as many."""

    name: ClassVar[str] = "aerial"
    Config: ClassVar[type] = AerialConfig
    appearance = False

    def __init__(self, config: AerialConfig) -> None:
        self.config = config
        self.edge = config.edge or EDGES[config.case]
        learned = config.case == "segmentation"
        # No trees and houses stand beside several roads.
        self.classes = CLASSES if learned else CLASSES[:3]
        variant = Continuous("variant", 0.0, 1.0, mutable=False)

        def place(name: str, low: float, high: float, unit: str, mutable: bool = True) -> Continuous:
            return Continuous(name, low, high, unit=unit, step=0.02, mutable=mutable)

        def yaw() -> Continuous:
            return Continuous("yaw", 0.0, 360.0, unit="°", periodic=True, step=4.0)

        beside = (place("x", 0.0, 1.0, "of the width"), place("y", 0.0, 1.0, "of the height"), yaw(), variant)
        road = NodeClass("road", (place("offset", -0.5, 0.5, "of the height"), yaw(), variant))
        car = NodeClass(
            "car",
            (
                place("along", -0.5, 0.5, "of the width", mutable=learned),
                place("across", -1.5, 1.5, "of the road's width", mutable=learned),
                yaw(),
                variant,
            ),
            slots=2 if learned else 1,
        )
        besides = (NodeClass("tree", beside), NodeClass("house", beside)) if learned else ()
        self.schema = Schema((NodeClass("grass", (variant,)), road, car, *besides))
        self.sizes = TargetSizes(validation=400, test=400) if learned else TargetSizes(validation=2000, test=200)
        self.train_frames = config.train_frames
        self.feature_frames = 3000
        self.feature_edge = max(64, self.edge)
        self.schedule = TrainingSchedule(epochs=12, batch_size=16, learning_rate=5e-3)

    @classmethod
    def defaults(cls, algorithm: str, config: AerialConfig) -> Mapping[str, Any]:
        """The spread of the start is wide, and has far to come down; most places are worse than the middle, where it
        is.
        """
        if algorithm == "metasim2" and config.case == "structure":
            return {"algo.iterations": 80}
        if algorithm == "metasim" and config.case == "segmentation":
            slow = {"algo.learning_rate": 5e-3, "algo.iterations": 600}
            return {**slow, "algo.task_loss": False, "algo.score_every": 100}
        # After 20 passes some networks have not found cars yet: scores of the same scenes then differ by .13, after 40
        # by .02.
        if algorithm in ("bo", "optuna", "random"):
            start = {"algo.start": True} if algorithm == "random" else {}
            return {**start, "algo.epochs": 40, "algo.iterations": 10}
        if algorithm in ("cmaes", "lts"):
            return {"algo.epochs": 40, "algo.iterations": 3 if algorithm == "cmaes" else 6}
        if algorithm == "leap" and config.case == "segmentation":
            # Half the time at 64 pixels and 25 passes, and the target's things are found as exactly.
            return {"algo.edge": 48, "algo.epochs": 16}
        # What it learns does not depend on how long the task network is trained as it goes.
        return {"algo.epochs": 10} if algorithm == "influence_replay" else {}

    def prior(self) -> Grammar:
        """Things anywhere; or 0 to 4 roads and 0 to 8 cars on each, all numbers as likely."""
        if self.config.case == "structure":
            return self._roads(_prior_string, 0.0, SEEN)
        anywhere, turned = Uniform(0.1, 0.9), Uniform(0.0, 360.0)
        return self._crossing(
            {
                "road.offset": Normal(0.0, 0.12),
                "road.yaw": turned,
                "car.along": Uniform(-0.4, 0.4),
                "car.across": Uniform(-1.2, 1.2),
                "car.yaw": turned,
                **{f"{name}.{axis}": anywhere for name in ("tree", "house") for axis in "xy"},
            },
            0.0,
            SEEN,
        )

    def target(self) -> Grammar:
        """A road with a car on each lane, a tree and a house beside it; or more cars on the first road than on the
        others. Its textures are not the prior's.
        """
        return self._target(SEEN, 1.0)

    def oracle(self) -> Grammar:
        """The target's scenes with the textures that a method has."""
        return self._target(0.0, SEEN)

    def renderer(self) -> Renderer:
        """Sprites on a meadow."""
        # One place more than the target has roads: one too many has to show.
        roads = MOST_ROADS + 1 if self.config.case == "structure" else 1
        return AerialRenderer(self.schema, self.edge, roads, self.classes)

    def task(self) -> Task:
        """Segmentation into grass, road and car, and tree and house where there are some."""
        from autosim.learning.tasks.segmentation import Segmentation

        # Every pixel counts the same: with classes balanced, networks draw what is small too large.
        return Segmentation(self.classes, balance=0.0)

    def _target(self, low: float, high: float) -> Grammar:
        if self.config.case == "structure":
            return self._roads(partial(_target_string, traffic(self.config.target_seed)), low, high)
        return self._crossing(crossing(self.config.target_seed), low, high)

    def _crossing(self, priors: dict[str, Prior], low: float, high: float) -> Grammar:
        rules = (Rule("Scene", ("Grass", "Road", "Tree", "House")), Rule("Road", ("FirstCar", "SecondCar")))
        emissions = {
            "Grass": Emission("grass"),
            "Road": Emission("road"),
            "FirstCar": Emission("car", 0),
            "SecondCar": Emission("car", 1),
            "Tree": Emission("tree"),
            "House": Emission("house"),
        }
        variants = {f"{name}.variant": Uniform(low, high) for name in CLASSES}
        return Grammar(self.schema, "Scene", rules, emissions, {**priors, **variants})

    def _roads(self, strings: Callable[[np.random.Generator], list[int]], low: float, high: float) -> Grammar:
        rules = (
            Rule("Scene", ("Grass", "Roads")),
            Rule("Roads", ("Road", "Roads"), 2.0),
            Rule("Roads", ()),
            Rule("Road", ("Cars",)),
            Rule("Cars", ("Car", "Cars"), 4.0),
            Rule("Cars", ()),
        )
        emissions = {"Grass": Emission("grass"), "Road": Emission("road"), "Car": Emission("car")}
        priors: dict[str, Prior] = {
            "road.offset": Normal(0.0, 0.01),
            "road.yaw": Normal(0.0, 1.0),
            "car.across": Constant(0.0),
            "car.yaw": Normal(0.0, 1.0),
            **{f"{name}.variant": Uniform(low, high) for name in ("grass", "road", "car")},
        }
        return Grammar(
            self.schema, "Scene", rules, emissions, priors, strings=strings, arrange=in_traffic, max_steps=400
        )


def in_traffic(scene: SceneGraph, rng: np.random.Generator) -> SceneGraph:
    """Each road's cars on places of their own, in either lane."""
    nodes = list(scene.nodes)
    for road in (i for i, node in enumerate(nodes) if node.node_class == "road"):
        own = [i for i, parent in enumerate(scene.parents) if parent == road]
        # More cars than there are places share them.
        count = max(MOST_CARS, len(own))
        for i, spot in zip(own, rng.permutation(count), strict=False):
            along = (spot + 0.5 + rng.uniform(-0.1, 0.1)) / count - 0.5
            across = 0.22 if rng.random() < 0.5 else -0.22
            nodes[i] = replace(nodes[i], attributes={**nodes[i].attributes, "along": along, "across": across})
    return replace(scene, nodes=tuple(nodes))


def structure_string(cars: list[int]) -> list[int]:
    """Rules of a scene with a road for each entry, and so many cars on it."""
    rules = [SCENE]
    for count in cars:
        rules += [MORE_ROADS, ROAD, *[MORE_CARS] * count, NO_MORE_CARS]
    return [*rules, NO_MORE_ROADS]


def _prior_string(rng: np.random.Generator) -> list[int]:
    return structure_string([int(rng.integers(0, 9)) for _ in range(rng.integers(0, MOST_ROADS + 1))])


def _target_string(numbers: Traffic, rng: np.random.Generator) -> list[int]:
    roads = 1 + int(rng.choice(MOST_ROADS, p=numbers.roads))
    means = [numbers.first] + [numbers.others] * (roads - 1)
    return structure_string([min(int(rng.poisson(mean)), MOST_CARS) for mean in means])
