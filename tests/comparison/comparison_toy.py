"""An environment with several targets and quick methods, one of which fails, for tests of comparisons."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from autosim.algorithm import Algorithm, Metrics
from autosim.scenes.generator import ContinuousSummary, SceneGenerator
from autosim.scenes.grammar import Grammar
from autosim.scenes.parametric import ParametricGenerator
from autosim.session import Session
from tests.toy_package.toy_sim.spot import Spot, SpotConfig, spot_grammar

ENTRY_POINTS = """
[autosim.algorithms]
hop = tests.comparison.comparison_toy:Hop
crawl = tests.comparison.comparison_toy:Crawl
stumble = tests.comparison.comparison_toy:Stumble

[autosim.envs]
spots = tests.comparison.comparison_toy:Spots
"""


def install_comparison_toy(folder: Path) -> None:
    """Lay out the metadata of a package that offers what is here."""
    metadata = folder / "comparison_toy-0.1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: comparison-toy\nVersion: 0.1\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)


@dataclass(frozen=True)
class SpotsConfig(SpotConfig):
    """Options of the environment."""

    target_seed: int = 0
    """Which target."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.target_seed < 4:
            raise ValueError(f"target_seed: {self.target_seed} is not in [0, 4)")


class Spots(Spot):
    """Discs that belong lower and lower."""

    name: ClassVar[str] = "spots"
    Config: ClassVar[type] = SpotsConfig
    train_frames = 24
    config: SpotsConfig

    def target(self) -> Grammar:
        return spot_grammar(11.0, 10.0 + self.config.target_seed)


@dataclass(frozen=True)
class ClimbConfig:
    """Options of the methods here."""

    iterations: int = 5
    """Most iterations."""
    frames: int = 5
    """Frames rendered in a step."""
    pace: Literal["brisk", "idle"] = "brisk"
    """How fast the score rises."""


class Climb(Algorithm):
    """Renders frames and reports a score that rises with the iterations, as told; it goes to where discs belong once
    that is above .7.
    """

    Config: ClassVar[type] = ClimbConfig
    slope: ClassVar[float]

    def __init__(self, session: Session, config: ClimbConfig) -> None:
        super().__init__(session, config)
        self._generator = ParametricGenerator(session.env.prior())

    @property
    def generator(self) -> SceneGenerator:
        return self._generator

    def step(self, iteration: int) -> Metrics:
        samples = self._generator.sample(self.config.frames, self.session.seed_sequence("scenes", iteration))
        self.session.render(samples.scenes, "frames", iteration)
        slope = self.slope * (1.0 if self.config.pace == "brisk" else 0.5) * (1 + 0.1 * self.session.seed)
        score = min(0.9, slope * (iteration + 1))
        if score > 0.7:
            target = {"spot.x": 11.0, "spot.y": 10.0 + self.session.env.config.target_seed}
            self._generator.set_parameters({key: ContinuousSummary(mean, 0.7) for key, mean in target.items()})
        return {"val_score": score, "cg_residual": 0.5 * (iteration + 1)}

    @classmethod
    def shown(cls, config: ClimbConfig) -> str:
        return f"{config.pace} images"

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self._generator.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._generator.load_state_dict(state["generator"])


class Hop(Climb):
    """The fast one."""

    name: ClassVar[str] = "hop"
    slope = 0.2


class Crawl(Climb):
    """The slow one."""

    name: ClassVar[str] = "crawl"
    slope = 0.05


class Stumble(Climb):
    """Fails in its second step where the seed is 1."""

    name: ClassVar[str] = "stumble"
    slope = 0.1

    def step(self, iteration: int) -> Metrics:
        if self.session.seed == 1 and iteration == 1:
            raise FloatingPointError("the step\nis not finite")
        return super().step(iteration)
