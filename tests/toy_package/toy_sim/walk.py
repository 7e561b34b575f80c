"""Algorithm ``walk``: move the mean of every attribute at random and keep what brings the mean image nearer."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from autosim.algorithm import Algorithm, Metrics
from autosim.rendering.frames import Frames
from autosim.scenes.generator import Part, Samples, SceneGenerator
from autosim.scenes.grammar import Grammar
from autosim.search_space import LogUniformRange, OneOf, tunable
from autosim.session import Session


@dataclass(frozen=True)
class WalkConfig:
    """Options of the algorithm."""

    iterations: int = 8
    """Steps of the walk."""
    step_size: float = tunable(0.15, LogUniformRange(0.02, 0.6))
    """Standard deviation of a step, as a fraction of each attribute's range."""
    scenes: int = tunable(4, OneOf((2, 4, 8)))
    """Scenes drawn to judge a step."""
    pause_seconds: float = 0.0
    """Seconds to wait in each step."""
    task_loss: bool = True
    """Report a validation score."""

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise ValueError(f"iterations: {self.iterations} is below 1")


class ShiftedGrammar(SceneGenerator):
    """Scenes of a grammar with every mutable continuous attribute moved by one learned shift each."""

    def __init__(self, grammar: Grammar) -> None:
        super().__init__()
        self.grammar, self.schema = grammar, grammar.schema
        scene = grammar.sample(np.random.SeedSequence(0))
        self.shift = torch.nn.Parameter(torch.zeros(len(self.schema.values(scene)), dtype=torch.float64))

    def sample(self, count: int, seed: np.random.SeedSequence) -> Samples:
        sources = self.grammar.sample_many(count, seed)
        values = torch.stack([torch.from_numpy(self.schema.values(scene)) for scene in sources]) + self.shift
        pairs = zip(sources, values.detach().numpy(), strict=True)
        scenes = tuple(self.schema.with_values(scene, value) for scene, value in pairs)
        return Samples(scenes, values.flatten(), tuple(sources))

    def log_prob(self, samples: Samples, part: Part = "all") -> Tensor:
        """Zeros: nothing is random but what the grammar draws, which is not learned."""
        return torch.zeros(len(samples), dtype=torch.float64)


class Walk(Algorithm):
    """A random walk that only goes where the mean image is nearer to the target's."""

    name: ClassVar[str] = "walk"
    Config: ClassVar[type] = WalkConfig

    def __init__(self, session: Session, config: WalkConfig) -> None:
        super().__init__(session, config)
        self._generator = ShiftedGrammar(session.env.prior())
        self._goal = session.target.images.images.mean(axis=0)
        self._best = self._distance(self._draw(0))
        self._first = self._best

    @property
    def generator(self) -> SceneGenerator:
        return self._generator

    def step(self, iteration: int) -> Metrics:
        time.sleep(self.config.pause_seconds)
        shift = self._generator.shift
        before = shift.detach().clone()
        noise = np.random.default_rng(self.session.seed_sequence("walk", iteration)).normal(size=len(before))
        with torch.no_grad():
            shift.add_(self.config.step_size * torch.from_numpy(noise))
        frames = self._draw(iteration + 1)
        distance = self._distance(frames)
        if distance < self._best:
            self._best = distance
        else:
            with torch.no_grad():
                shift.copy_(before)
        val_score = None
        if self.config.task_loss and self.session.target.labelled:
            val_score = self.session.score_datasets([frames], self.session.validation)[0]
        return {"val_score": val_score, "distance": distance, "best_distance": self._best}

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self._generator.state_dict(), "best": self._best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._generator.load_state_dict(state["generator"])
        self._best = state["best"]

    def summary(self) -> dict[str, float]:
        return {"distance_start": self._first, "distance_end": self._best}

    def _draw(self, iteration: int) -> Frames:
        samples = self._generator.sample(self.config.scenes, self.session.seed_sequence("scenes", iteration))
        return self.session.render(samples.scenes, "frames", iteration)

    def _distance(self, frames: Frames) -> float:
        return float(np.abs(frames.images.mean(axis=0) - self._goal).mean())
