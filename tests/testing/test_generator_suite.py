"""The generators of the engine hold the generators' contract, and the suite finds what breaks it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from autosim.scenes.generator import Part, Samples, SceneGenerator
from autosim.scenes.graph import Node, SceneGraph
from autosim.scenes.parametric import ParametricGenerator
from autosim.scenes.policy import GrammarPolicy
from autosim.scenes.transformer import DistributionTransformer
from autosim.testing import GeneratorSuite
from tests.scenes.examples import digits, roads, table
from tests.testing.failing import failures


class TestParametric(GeneratorSuite):
    def generator(self) -> SceneGenerator:
        return ParametricGenerator(table(), learn_spread=True)


class TestTransformer(GeneratorSuite):
    def generator(self) -> SceneGenerator:
        return DistributionTransformer(digits(), hidden=8, learn_spread=True)


class TestPolicy(GeneratorSuite):
    def generator(self) -> SceneGenerator:
        return GrammarPolicy(roads(), width=8)


class Unseeded(ParametricGenerator):
    def sample(self, count: int, seed: np.random.SeedSequence) -> Samples:
        return super().sample(count, np.random.SeedSequence())


class OutOfRange(ParametricGenerator):
    def sample(self, count: int, seed: np.random.SeedSequence) -> Samples:
        samples = super().sample(count, seed)
        scenes = tuple(_brightened(scene) for scene in samples.scenes)
        return Samples(scenes, samples.values, samples.sources)


def _brightened(scene: SceneGraph) -> SceneGraph:
    nodes = [
        Node(node.node_class, {**node.attributes, "intensity": 101.0}, node.slot) if node.node_class == "back" else node
        for node in scene.nodes
    ]
    return SceneGraph(tuple(nodes), scene.parents, scene.derivation)


class Shifted(ParametricGenerator):
    def sample(self, count: int, seed: np.random.SeedSequence) -> Samples:
        samples = super().sample(count, seed)
        return Samples(samples.scenes, samples.values * 0.9, samples.sources)


class Detached(ParametricGenerator):
    def log_prob(self, samples: Samples, part: Part = "all") -> Tensor:
        found = super().log_prob(samples, part)
        return 2 * found - found.detach()


class OneNumber(ParametricGenerator):
    def picture_log_prob(self, samples: Samples) -> Tensor:
        return super().picture_log_prob(samples).mean()


class DoubleParts(ParametricGenerator):
    def log_prob(self, samples: Samples, part: Part = "all") -> Tensor:
        return super().log_prob(samples, "all")


class Unsigned(ParametricGenerator):
    def score_function_loss(self, samples: Samples, signal: Tensor, *arguments: Any, **options: Any) -> Tensor:
        return super().score_function_loss(samples, signal.abs(), *arguments, **options)


class Drifting(ParametricGenerator):
    @torch.no_grad()
    def project(self) -> None:
        self.means.mul_(0.9)


class Explorer(ParametricGenerator):
    def explore(self, spread: float, share: float) -> None:
        super().explore(max(spread, self.spread_so_far), share)
        self.spread_so_far = spread

    spread_so_far = 0.0


class Reluctant(ParametricGenerator):
    def move_towards(self, other: SceneGenerator, share: float) -> None:
        super().move_towards(other, share / 2)


class Forgetful(ParametricGenerator):
    def load_state_dict(self, *arguments: Any, **options: Any) -> Any:
        return None


@pytest.mark.parametrize(
    ("broken", "found"),
    [
        (Unseeded, "test_equal_seeds_give_equal_scenes"),
        (OutOfRange, "test_scenes_are_of_the_schema"),
        (Shifted, "test_values_are_those_of_the_scenes"),
        (OneNumber, "test_log_probabilities_are_one_finite_number_a_scene"),
        (DoubleParts, "test_parts_of_the_log_probability_add_up"),
        (Detached, "test_the_gradient_of_the_log_probability_is_that_of_differences"),
        (Unsigned, "test_the_score_function_loss_has_the_gradient_of_weighted_log_probabilities"),
        (Drifting, "test_parameters_come_back_into_their_bounds"),
        (Explorer, "test_exploring_keeps_scenes_valid_and_ends"),
        (Reluctant, "test_moving_towards_another_gets_there"),
        (Forgetful, "test_a_saved_state_draws_the_same_scenes"),
    ],
)
def test_a_broken_generator_is_found(broken: type[ParametricGenerator], found: str) -> None:
    class Suite(GeneratorSuite):
        def generator(self) -> SceneGenerator:
            return broken(table())

    assert found in failures(Suite())
