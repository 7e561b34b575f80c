"""The prior over generators: ranges, uniform probabilities, what every dimension is."""

from __future__ import annotations

import numpy as np
import pytest

from autosim.learning.posterior.generator_prior import GeneratorPrior
from autosim.scenes.generator import CategoricalSummary, ContinuousSummary
from autosim.scenes.graph import Categorical, Continuous
from autosim.scenes.parametric import ParametricGenerator
from tests.scenes.examples import table
from tests.support.helpers import BlobConfig, BlobEnv


def test_a_point_gives_means_spreads_and_probabilities() -> None:
    prior = GeneratorPrior(ParametricGenerator(BlobEnv(BlobConfig()).prior()), least=0.01, most=0.25)
    at = dict.fromkeys(prior.names, 0.5)
    at |= {"light.power mean": 0.3, "light.power spread": 0.0, "blob.0.x spread": 1.0, "blob.1.sign choice 0": 0.2}
    assert [name for name, circle in zip(prior.names, prior.periodic, strict=True) if circle] == [
        "blob.0.hue mean",
        "blob.1.hue mean",
    ]
    found = prior.generator(np.array([at[name] for name in prior.names])).parameters_by_key()
    power, place, sign = found["light.power"], found["blob.0.x"], found["blob.1.sign"]
    assert isinstance(power, ContinuousSummary) and isinstance(place, ContinuousSummary)
    assert isinstance(sign, CategoricalSummary)
    assert (power.mean, power.std) == pytest.approx((3.0, 0.1), rel=1e-4)
    assert (place.mean, place.std) == pytest.approx((0.0, 0.5), rel=1e-4, abs=1e-6)
    assert sign.probabilities == pytest.approx((0.2, 0.8), abs=1e-4)


def test_uniform_points_are_uniform_probabilities() -> None:
    prior = GeneratorPrior(ParametricGenerator(table()))
    keys = {
        k.key: len(k.attribute.choices)
        for k in prior.start.grammar.attributes()
        if isinstance(k.attribute, Categorical)
    }
    key, count = next((key, count) for key, count in keys.items() if count > 2)
    rng = np.random.default_rng(0)
    chances = []
    for _ in range(600):
        summary = prior.generator(rng.random(len(prior.names))).parameters_by_key()[key]
        assert isinstance(summary, CategoricalSummary)
        chances.append(summary.probabilities)
    # Each of k uniform probabilities has mean 1 / k and variance (k − 1) / (k² (k + 1)).
    assert np.mean(chances, axis=0) == pytest.approx([1 / count] * count, abs=0.05)
    assert np.var(chances, axis=0) == pytest.approx([(count - 1) / count**2 / (count + 1)] * count, rel=0.25)


def test_points_that_do_not_fit_are_refused() -> None:
    prior = GeneratorPrior(ParametricGenerator(table()))
    assert any(isinstance(k.attribute, Continuous) for k in prior.start.grammar.attributes())
    for point in (np.zeros(2), np.full(len(prior.names), 1.5)):
        with pytest.raises(ValueError, match="generator prior: expected"):
            prior.generator(point)
