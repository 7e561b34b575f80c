"""Schedules: what falls over a run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosim.learning.schedule import half_cosine


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(0, 1))
def test_it_falls_from_one_to_its_end_and_stays_there(first: float, second: float, end: float) -> None:
    early, late = sorted((first, second))
    assert half_cosine(early, end) >= half_cosine(late, end) - 1e-12
    assert end - 1e-12 <= half_cosine(first, end) <= 1 + 1e-12


def test_it_is_half_way_in_the_middle() -> None:
    assert half_cosine(0.5, 0.2) == pytest.approx(0.6)
    assert half_cosine(-1, 0.2) == 1.0 and half_cosine(7, 0.2) == pytest.approx(0.2)
