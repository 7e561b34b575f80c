"""Attribute descent: it finds means, angles and choices by images alone; what it tries; what it costs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from algorithms.attribute_descent import AttributeDescent, AttributeDescentConfig
from autosim.env import Env
from autosim.scenes.generator import CategoricalSummary, ContinuousSummary
from autosim.scenes.graph import Continuous
from autosim.session import Session
from autosim.testing import AlgorithmSuite
from tests.support.helpers import BlobConfig, BlobEnv, blob_session

pytestmark = pytest.mark.usefixtures("one_thread")


class TestAttributeDescent(AlgorithmSuite):
    def env(self) -> Env:
        return BlobEnv(BlobConfig())

    def session(self, seed: int = 0) -> Session:
        return blob_session(seed)

    def algorithm(self, session: Session) -> AttributeDescent:
        return AttributeDescent(session, AttributeDescentConfig(iterations=4, frames=4, candidates=2))


@pytest.mark.parametrize("divergence", ["mmd", pytest.param("sinkhorn", marks=pytest.mark.slow)])
def test_two_passes_find_what_images_show(divergence: str) -> None:
    session = blob_session()
    algorithm = AttributeDescent(session, AttributeDescentConfig(frames=8, divergence=divergence))  # type: ignore[arg-type]
    start, target = algorithm.answer.parameters_by_key(), session.env.target()
    assert target is not None
    for iteration in range(2 * len(algorithm.keys)):
        algorithm.step(iteration)
    found = algorithm.answer.parameters_by_key()
    for key, wanted in {
        "light.power": 8.0,
        "blob.0.x": 0.4,
        "blob.1.x": 0.4,
        "blob.0.hue": 40.0,
        "blob.1.hue": 40.0,
    }.items():
        spec = session.env.schema.node_class(key.split(".")[0]).attribute(key.split(".")[-1])
        before, after = start[key], found[key]
        assert isinstance(spec, Continuous)
        assert isinstance(before, ContinuousSummary) and isinstance(after, ContinuousSummary)
        # Candidates for a hue are 34 degrees apart, and the start's is 60 off.
        assert abs(spec.difference(wanted, after.mean)) < 0.6 * abs(spec.difference(wanted, before.mean)), key
        assert after.std == pytest.approx(before.std)
    figures = algorithm.summary()
    name = "mmd2" if divergence == "mmd" else "sinkhorn"
    assert figures[f"{name}_end"] < 0.3 * figures[f"{name}_start"]


def test_a_visit_tries_values_of_one_attribute_and_counts_their_images() -> None:
    session = blob_session()
    algorithm = AttributeDescent(session, AttributeDescentConfig(frames=5, candidates=3))
    numbers = [i for i, key in enumerate(algorithm.keys) if not key.endswith("sign")]
    for visit in (numbers[0], algorithm.keys.index("blob.0.sign")):
        before, images = algorithm.answer.parameters_by_key(), session.images
        algorithm.step(visit)
        after = algorithm.answer.parameters_by_key()
        assert [key for key in before if before[key] != after[key]] in ([], [algorithm.keys[visit]])
        assert session.images - images == 5 * (1 + (3 if visit in numbers else 2))


def test_values_span_the_range_at_first_and_less_later_round_the_circle_too() -> None:
    algorithm = AttributeDescent(blob_session(), AttributeDescentConfig(candidates=4))

    def means(key: str, span: float) -> list[float]:
        return [round(c.mean, 3) for c in algorithm.candidates(key, span) if isinstance(c, ContinuousSummary)]

    assert means("light.power", 1.0) == [1.25, 3.75, 6.25, 8.75]
    assert means("light.power", 0.4) == [2.5, 3.5, 4.5, 5.5]
    # 340 degrees is the middle.
    assert means("blob.0.hue", 0.5) == [272.5, 317.5, 2.5, 47.5]
    algorithm.answer.set_parameters({"light.power": ContinuousSummary(9.9, 0.5)})
    assert means("light.power", 0.4) == [6.5, 7.5, 8.5, 9.5]
    tried = algorithm.candidates("blob.0.sign", 0.5)
    chances = [c.probabilities for c in tried if isinstance(c, CategoricalSummary)]
    assert np.allclose(chances, [(0.65, 0.35), (0.15, 0.85)], atol=1e-3)


def test_it_is_shown_images_alone_and_works_without_labels() -> None:
    assert AttributeDescent.shown(AttributeDescentConfig()) == "images"
    algorithm = AttributeDescent(blob_session(unlabelled=True), AttributeDescentConfig(iterations=1, frames=4))
    assert algorithm.step(0)["val_score"] is None


def test_options_out_of_range_are_named() -> None:
    with pytest.raises(ValueError, match=r"^narrowing: "):
        dataclasses.replace(AttributeDescentConfig(), narrowing=0.0)
