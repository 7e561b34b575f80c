"""Means over targets with their intervals, and the area under checkpoints."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autosim.comparison.statistics import area, mean_interval, median

FIGURES = st.lists(st.floats(-1.0, 2.0), min_size=3, max_size=12)


@given(FIGURES)
@settings(deadline=None, max_examples=25)
def test_an_interval_lies_around_the_mean_and_within_the_values(values: list[float]) -> None:
    found = mean_interval(values)
    assert found is not None and found["mean"] is not None
    assert found["low"] is not None and found["high"] is not None
    assert found["mean"] == pytest.approx(np.mean(values), abs=1e-5)
    assert min(values) - 1e-5 <= found["low"] <= found["mean"] + 1e-5
    assert found["mean"] - 1e-5 <= found["high"] <= max(values) + 1e-5
    assert mean_interval(values) == found


def test_it_covers_the_true_mean_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(3)
    held = 0
    for _ in range(100):
        found = mean_interval(list(generator.normal(1.0, 0.5, 20)))
        assert found is not None and found["low"] is not None and found["high"] is not None
        held += found["low"] <= 1.0 <= found["high"]
    assert 85 <= held <= 100


def test_few_values_have_a_mean_alone_and_none_has_nothing() -> None:
    assert mean_interval([0.25, None, 0.75]) == {"mean": 0.5, "low": None, "high": None}
    assert mean_interval([None]) is None and mean_interval([]) is None
    assert median([None, 3.0, 1.0, 2.0]) == 2.0 and median([None]) is None


def test_the_area_is_the_mean_over_the_budget() -> None:
    assert area([0.5, 1.0], [1.0, 1.0]) == pytest.approx(0.75)  # rises from 0 in the first half
    assert area([1.0], [1.0]) == pytest.approx(0.5)
    assert area([0.25, 1.0], [-0.4, 0.6]) == pytest.approx(0.25 * -0.2 + 0.75 * 0.1)
