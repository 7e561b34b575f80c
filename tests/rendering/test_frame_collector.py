"""Batches put together from parts: in whatever order these come."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from autosim.rendering.actors.frame_collector import FrameCollector
from autosim.rendering.annotations import Annotation, Depth, Values
from autosim.rendering.frames import Frames

DECLARED: dict[str, Annotation] = {"label": Values(whole=True), "depth": Depth()}


def numbered(start: int, stop: int) -> Frames:
    """Frames that tell their places."""
    places = np.arange(start, stop)
    images = np.broadcast_to(places[:, None, None, None], (stop - start, 2, 4, 3)).astype(np.uint8)
    return Frames(images, {"label": places, "depth": images[..., 0].astype(np.float32)})


@given(cuts=st.sets(st.integers(1, 19), max_size=8), rng=st.randoms(use_true_random=False))
def test_parts_in_any_order_make_the_batch(cuts: set[int], rng: np.random.RandomState) -> None:
    edges = [0, *sorted(cuts), 20]
    pairs = list(pairwise(edges))
    rng.shuffle(pairs)
    collector = FrameCollector(20, 2, 4, DECLARED)
    for start, stop in pairs:
        collector.put(start, numbered(start, stop))
    found, expected = collector.frames, numbered(0, 20)
    np.testing.assert_array_equal(found.images, expected.images)
    assert found.images.dtype == np.uint8 and found.images.flags.writeable
    for name in ("label", "depth"):
        np.testing.assert_array_equal(found.annotations[name], expected.annotations[name])
        assert found.annotations[name].dtype == expected.annotations[name].dtype
