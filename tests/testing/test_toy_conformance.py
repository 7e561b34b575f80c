"""The conformance suites on the third party's package: what its own tests would look like."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from autosim.env import Env
from autosim.rendering.renderer import Renderer
from autosim.scenes.graph import SceneGraph
from autosim.testing import AlgorithmSuite, EnvSuite, RendererSuite
from tests.support.toy import ROOT

if TYPE_CHECKING:
    from autosim.algorithm import Algorithm
    from autosim.session import Session

pytestmark = pytest.mark.usefixtures("one_thread", "toy_sim")


@pytest.fixture(scope="module")
def toy_sim() -> Any:
    """The package within reach."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tests" / "toy_package"))
        yield
    for name in [name for name in sys.modules if name.split(".")[0] == "toy_sim"]:
        del sys.modules[name]


def spot(**options: Any) -> Env:
    module = importlib.import_module("toy_sim.spot")
    env: Env = module.Spot(module.SpotConfig(**options))
    return env


class TestSpot(EnvSuite):
    def env(self) -> Env:
        return spot()


class TestSpotRenderer(RendererSuite):
    def renderer(self) -> Renderer:
        return spot().renderer()

    def scenes(self) -> Sequence[SceneGraph]:
        return spot().prior().sample_many(3, np.random.SeedSequence(0))


class TestWalk(AlgorithmSuite):
    def env(self) -> Env:
        return spot()

    def algorithm(self, session: Session) -> Algorithm:
        module = importlib.import_module("toy_sim.walk")
        walk: Algorithm = module.Walk(session, module.WalkConfig())
        return walk
