"""The environment suite finds what it is there to find."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autosim.env import Env
from autosim.learning.tasks.segmentation import IntersectionOverUnion, Segmentation
from autosim.learning.tasks.task import Task
from autosim.rendering.frames import Frame
from autosim.rendering.renderer import Renderer
from autosim.scenes.grammar import Grammar
from autosim.scenes.graph import NodeClass, SceneGraph, Schema
from autosim.testing import EnvSuite
from tests.support.helpers import BLOB_SCHEMA, BlobConfig, BlobEnv, BlobRenderer
from tests.testing.failing import failures

pytestmark = pytest.mark.usefixtures("one_thread")


class TestBlobEnv(EnvSuite):
    def env(self) -> Env:
        return BlobEnv(BlobConfig())


class Aimless(BlobEnv):
    """Leaves it to its users to say what the target is."""

    def target(self) -> Grammar | None:
        return None


class TestAimlessEnv(EnvSuite):
    def env(self) -> Env:
        return Aimless(BlobConfig())


class Mixing(Segmentation):
    """Normalises over the batch."""

    def network(self, seed: int) -> nn.Module:
        return nn.Sequential(nn.BatchNorm2d(3), super().network(seed))


class Dropping(Segmentation):
    """Drops activations out, which mixes nothing."""

    def network(self, seed: int) -> nn.Module:
        return nn.Sequential(nn.Dropout(0.5), super().network(seed))


class Unseeded(Segmentation):
    """Starts anywhere."""

    def network(self, seed: int) -> nn.Module:
        return super().network(int(torch.randint(2**31, ()).item()))


class AlwaysAlike(Segmentation):
    """Starts at one place for all seeds."""

    def network(self, seed: int) -> nn.Module:
        return super().network(0)


class Contrary(Segmentation):
    """Has a loss that does not depend on the network."""

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return super().losses(outputs.detach(), targets) + 0 * outputs.mean(dim=(1, 2, 3))


class Percent(Segmentation):
    """Scores from 0 to 100."""

    def scorer(self) -> IntersectionOverUnion:
        class Hundredfold(IntersectionOverUnion):
            def compute(self) -> float:
                return 100 * super().compute()

        return Hundredfold(self.classes)


@pytest.mark.parametrize(
    ("task", "found"),
    [
        (Mixing, ["test_a_sample_s_loss_does_not_depend_on_its_batch"]),
        (Dropping, []),
        (Unseeded, ["test_networks_start_equal_for_equal_seeds_only"]),
        (AlwaysAlike, ["test_networks_start_equal_for_equal_seeds_only"]),
        (Contrary, ["test_the_task_learns_from_frames_and_scores_in_range"]),
        (Percent, ["test_the_task_learns_from_frames_and_scores_in_range"]),
    ],
)
def test_an_environment_with_a_broken_task_is_found(task: type[Segmentation], found: list[str]) -> None:
    class Broken(BlobEnv):
        def task(self) -> Task:
            return task(("background", "first", "second"), width=8)

    class Suite(EnvSuite):
        def env(self) -> Env:
            return Broken(BlobConfig())

    assert failures(Suite()) == found


class AtTheTarget(BlobEnv):
    def prior(self) -> Grammar:
        target = self.target()
        assert target is not None
        return target


class SmallerRenderer(BlobRenderer):
    def render(self, scene: SceneGraph, seed: int) -> Frame:
        frame = super().render(scene, seed)
        return Frame(frame.image[1:], frame.annotations)


class OtherSize(BlobEnv):
    def renderer(self) -> Renderer:
        return SmallerRenderer(self.config.size)


class OtherSchema(BlobEnv):
    schema = Schema((*BLOB_SCHEMA.classes, NodeClass("fog")))


class Undescribed(BlobEnv):
    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "size": np.float32(1.0)}


@pytest.mark.parametrize(
    ("broken", "found"),
    [
        (AtTheTarget, "test_the_target_is_another_distribution_than_the_prior"),
        (OtherSize, "test_target_and_prior_have_frames_of_one_size"),
        (OtherSchema, "test_the_renderer_draws_the_schema_of_the_environment"),
        (Undescribed, "test_its_description_is_json_and_names_it"),
    ],
)
def test_a_broken_environment_is_found(broken: type[BlobEnv], found: str) -> None:
    class Suite(EnvSuite):
        def env(self) -> Env:
            return broken(BlobConfig())

    assert found in failures(Suite())
