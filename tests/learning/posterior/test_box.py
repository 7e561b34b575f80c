"""Boxes: local coordinates and back, round the circle too; a smaller box lies within and holds the points."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from autosim.learning.posterior.box import NARROWEST, Box

PERIODIC = np.array([False, True, False])


@given(st.integers(0, 10_000), st.sampled_from([0.001, 0.05, 0.4]), st.floats(0, 1))
@settings(max_examples=60)
def test_boxes_shrink_around_points_one_within_the_other(seed: int, spread: float, centre: float) -> None:
    rng = np.random.default_rng(seed)
    box = Box.whole(PERIODIC)
    for _ in range(3):
        points = box.points(np.clip(rng.normal(centre, spread, (200, 3)), 0, 1))
        smaller = box.around(points, 0.1)
        assert (smaller.width >= NARROWEST - 1e-9).all() and (smaller.width <= box.width + 1e-9).all()
        local = rng.random((50, 3))
        drawn = smaller.points(local)
        assert ((drawn >= 0) & (drawn <= 1)).all()
        assert np.allclose(smaller.local(drawn), local, atol=1e-6) or (smaller.width >= 1).any()
        inner = smaller.points(0.01 + 0.98 * local)
        assert box.inside(inner).all() and smaller.inside(inner).all()
        assert smaller.inside(points).mean() > 0.6
        box = smaller


def test_points_across_the_seam_make_a_small_box() -> None:
    points = np.array([[0.5, value % 1.0, 0.2] for value in np.linspace(-0.03, 0.05, 40)])
    box = Box.whole(PERIODIC).around(points, 0.02)
    assert box.width[1] < 0.12 and box.inside(np.array([[0.5, 0.0, 0.2]]))[0]
    assert not box.inside(np.array([[0.5, 0.5, 0.2]]))[0]
    assert abs((box.mean(points)[1] + 0.5) % 1.0 - 0.5 - 0.01) < 1e-3
