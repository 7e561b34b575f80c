"""An answer is corrected by what the same estimate makes of frames of it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosim.learning.inference.target_distribution import less_error
from autosim.scenes.generator import CategoricalSummary, ContinuousSummary
from autosim.scenes.graph import Categorical, Continuous

PLACE = Continuous("x", -2.0, 6.0)
ANGLE = Continuous("yaw", 0.0, 360.0, periodic=True)
COLOUR = Categorical("colour", ("red", "green", "blue"))


@given(st.sampled_from([PLACE, ANGLE]), st.floats(0.2, 0.8), st.floats(-0.09, 0.09), st.floats(0.05, 0.2), st.data())
def test_what_is_added_to_every_mean_and_variance_is_taken_off(
    spec: Continuous, place: float, off: float, spread: float, data: st.DataObject
) -> None:
    span = spec.high - spec.low
    mean, variance = spec.denormalise(place), (spread * span) ** 2
    # An answer of less than half the true variance would need more than twice its own.
    noise = variance * data.draw(st.floats(-0.45, 0.6))
    own = ContinuousSummary(spec.denormalise(place + off), math.sqrt(variance + noise))
    estimate = ContinuousSummary(spec.denormalise(place + 2 * off), math.sqrt(max(variance + 2 * noise, 0.0)))
    found = less_error(spec, own, estimate)
    assert isinstance(found, ContinuousSummary)
    assert spec.difference(found.mean, mean) == pytest.approx(0.0, abs=1e-6 * span)
    assert found.std == pytest.approx(math.sqrt(variance), rel=1e-6)


def test_corrections_have_bounds() -> None:
    far = less_error(PLACE, ContinuousSummary(0.0, 1.0), ContinuousSummary(4.0, 5.0))
    assert isinstance(far, ContinuousSummary)
    assert far.mean == pytest.approx(-0.8) and far.std == pytest.approx(0.5)
    narrow = less_error(PLACE, ContinuousSummary(0.0, 1.0), ContinuousSummary(0.0, 0.0))
    assert isinstance(narrow, ContinuousSummary) and narrow.std == pytest.approx(math.sqrt(2))


def test_probabilities_are_moved_the_other_way_and_stay_probabilities() -> None:
    found = less_error(COLOUR, CategoricalSummary((0.5, 0.3, 0.2)), CategoricalSummary((0.6, 0.3, 0.1)))
    assert isinstance(found, CategoricalSummary) and found.probabilities == pytest.approx((0.4, 0.3, 0.3))
    bounded = less_error(COLOUR, CategoricalSummary((0.2, 0.4, 0.4)), CategoricalSummary((0.9, 0.1, 0.0)))
    assert isinstance(bounded, CategoricalSummary)
    assert min(bounded.probabilities) > 0 and sum(bounded.probabilities) == pytest.approx(1.0)
