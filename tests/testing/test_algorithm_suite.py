"""The algorithm suite finds what it is there to find."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from algorithms.searches.random_search import RandomSearch, RandomSearchConfig
from autosim.algorithm import Algorithm, Metrics
from autosim.env import Env
from autosim.scenes.generator import SceneGenerator
from autosim.scenes.parametric import ParametricGenerator
from autosim.session import Session
from autosim.testing import AlgorithmSuite
from tests.support.helpers import BlobConfig, BlobEnv, blob_session
from tests.testing.failing import failures

pytestmark = pytest.mark.usefixtures("one_thread")


class Climber(Algorithm):
    """Moves the means along random directions, with momentum: every breach below is a small change to this one."""

    name = "climber"
    Config = RandomSearchConfig
    scored = True

    def __init__(self, session: Session, config: RandomSearchConfig) -> None:
        super().__init__(session, config)
        self.found = ParametricGenerator(session.env.prior())
        self.momentum = torch.zeros_like(self.found.means)

    @property
    def generator(self) -> SceneGenerator:
        return self.found

    def direction(self, iteration: int) -> Tensor:
        generator = torch.Generator().manual_seed(self.session.integer_seed("direction", iteration))
        return torch.randn(len(self.momentum), generator=generator)

    def step(self, iteration: int) -> Metrics:
        session = self.session
        samples = self.found.sample(4, session.seed_sequence("scenes", iteration))
        frames = session.render(samples.scenes, "frames", iteration)
        with torch.no_grad():
            self.momentum.mul_(0.5).add_(self.direction(iteration), alpha=0.01)
            self.found.means.add_(self.momentum)
        self.found.project()
        labelled = session.target.labelled
        score = session.task.evaluate(session.network(), session.validation) if labelled else None
        return {"val_score": score, "brightness": float(frames.images.mean())}

    def state_dict(self) -> dict[str, Any]:
        return {"found": self.found.state_dict(), "momentum": self.momentum}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.found.load_state_dict(state["found"])
        self.momentum = state["momentum"].clone()


class Forgetful(Climber):
    """Does not save its momentum."""

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "momentum": torch.zeros_like(self.momentum)}


class Impulsive(Climber):
    """Draws directions from torch's own random numbers."""

    def direction(self, iteration: int) -> Tensor:
        return torch.randn(len(self.momentum))


class Stubborn(Climber):
    """Does not heed the run's seed."""

    def __init__(self, session: Session, config: RandomSearchConfig) -> None:
        session.seed = 0
        super().__init__(session, config)


class Idle(Climber):
    """Renders nothing that counts."""

    def step(self, iteration: int) -> Metrics:
        with self.session.uncounted():
            return super().step(iteration)


class Exotic(Climber):
    """Saves what can only be read by running code."""

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "session": RandomSearchConfig()}


class Hoarding(Climber):
    """Saves the frames of its last step."""

    def step(self, iteration: int) -> Metrics:
        scenes = self.found.sample(4, self.session.seed_sequence("scenes", iteration)).scenes
        self.kept = self.session.render(scenes, "frames", iteration)
        return super().step(iteration)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "frames": [{"images": torch.from_numpy(self.kept.images)}]}


class Wasteful(Climber):
    """Renders where it takes up a state, and has it counted."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.session.render(self.found.sample(2, self.session.seed_sequence("again")).scenes, "again")


class Divided(Climber):
    """Reports a figure that is not finite."""

    def step(self, iteration: int) -> Metrics:
        return {**super().step(iteration), "ratio": float("nan")}


class Presuming(Climber):
    """Takes labels for granted."""

    def step(self, iteration: int) -> Metrics:
        score = self.session.task.evaluate(self.session.network(), self.session.validation)
        return {**super().step(iteration), "val_score": score}


@pytest.mark.parametrize(
    ("broken", "found"),
    [
        (Climber, []),
        (Forgetful, ["test_a_saved_state_is_taken_up_as_if_never_stopped"]),
        (Stubborn, ["test_different_seeds_give_different_runs"]),
        (Idle, ["test_steps_render_count_and_report_a_validation_score"]),
        (Hoarding, ["test_a_saved_state_holds_scenes_and_seeds_but_no_frames"]),
        (Wasteful, ["test_taking_up_a_state_costs_no_images"]),
        (Divided, ["test_steps_render_count_and_report_a_validation_score"]),
        (Presuming, ["test_without_labels_it_refuses_or_reports_no_score"]),
        (Exotic, ["test_a_saved_state_is_taken_up_as_if_never_stopped"]),
        (Impulsive, ["test_a_saved_state_is_taken_up_as_if_never_stopped", "test_equal_seeds_give_equal_runs"]),
    ],
)
def test_a_broken_algorithm_is_found(broken: type[Climber], found: list[str]) -> None:
    class Suite(AlgorithmSuite):
        def env(self) -> Env:
            return BlobEnv(BlobConfig())

        def session(self, seed: int = 0) -> Session:
            return blob_session(seed)

        def algorithm(self, session: Session) -> Algorithm:
            return broken(session, RandomSearchConfig())

    failed = failures(Suite())
    assert set(found) <= set(failed)
    assert bool(found) == bool(failed)


def test_an_algorithm_that_refuses_to_go_without_labels_passes() -> None:
    class Suite(AlgorithmSuite):
        def env(self) -> Env:
            return BlobEnv(BlobConfig())

        def algorithm(self, session: Session) -> Algorithm:
            return RandomSearch(session, RandomSearchConfig(datasets=1, frames=4))

    Suite().test_without_labels_it_refuses_or_reports_no_score()
