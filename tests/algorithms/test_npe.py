"""Neural posterior estimation images alone give places; rounds, counting, states."""

from __future__ import annotations

import pytest
import torch

from algorithms.npe import Npe, NpeConfig
from autosim.env import Env
from autosim.learning.features.sources import FeatureSource
from autosim.learning.posterior.flow import Moments
from autosim.rendering.pool import LocalPool
from autosim.scenes.generator import ContinuousSummary
from autosim.session import Session
from autosim.testing import AlgorithmSuite
from autosim.testing.problems import Rectangles, RectanglesConfig
from tests.support.helpers import BlobConfig, BlobEnv, blob_session

pytest.importorskip("sbi")
pytestmark = pytest.mark.usefixtures("one_thread")


class TestNpe(AlgorithmSuite):
    def env(self) -> Env:
        return BlobEnv(BlobConfig())

    def session(self, seed: int = 0) -> Session:
        return blob_session(seed)

    def algorithm(self, session: Session) -> Npe:
        return Npe(session, NpeConfig(iterations=4, simulations=40, frames=2, epochs=2, width=8))


def test_two_rounds_find_where_the_target_has_its_rectangles_and_count_their_images() -> None:
    env = Rectangles(RectanglesConfig())
    session = Session(env, LocalPool(env.renderer()), workers=0, feature_source=FeatureSource(frames=100))
    algorithm = Npe(session, NpeConfig(iterations=2, simulations=120, frames=6, epochs=40))
    before = session.images
    metrics = [algorithm.step(i) for i in range(2)]
    assert session.images - before == 2 * 120 * 6
    assert metrics[0]["val_score"] is None and metrics[1]["val_score"] is not None
    boxes = [line["box"] for line in metrics]
    assert boxes[0] is not None and boxes[1] is not None and boxes[1] < boxes[0] < 1.0
    found = algorithm.generator.parameters_by_key()
    x, y = found["rectangle.x"], found["rectangle.y"]
    assert isinstance(x, ContinuousSummary) and isinstance(y, ContinuousSummary)
    # It starts at (.3, .6); of (.7, .4) there are twelve images.
    assert abs(x.mean - 0.7) < 0.12 and abs(y.mean - 0.4) < 0.15
    assert 0.0 <= algorithm.summary()["calibration_chance"] <= 1.0


def test_the_order_of_a_set_s_images_does_not_matter() -> None:
    session = blob_session()
    features = session.features.features.of_images(session.target.images.images[:6])
    moments = Moments(session.features)
    assert torch.allclose(moments(features, 6), moments(features[[3, 5, 0, 1, 4, 2]], 6), atol=1e-5)
    assert moments(features, 3).shape == (2, 2 * session.features.features.dimension)


def test_it_is_shown_images_alone() -> None:
    assert Npe.shown(NpeConfig()) == "images"
