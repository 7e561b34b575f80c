"""Batches put together from parts: in whatever order these come."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosim.errors import RendererError
from autosim.rendering.frame_collector import FrameCollector
from autosim.rendering.frames import Frames


def numbered(start: int, stop: int, width: int = 3) -> Frames:
    """Frames that tell their places."""
    places = np.arange(start, stop)
    images = np.broadcast_to(places[:, None, None, None], (stop - start, 2, 4, 3)).astype(np.uint8)
    return Frames(images, {"label": places, "box": np.repeat(places[:, None], width, axis=1).astype(np.float32)})


@given(cuts=st.sets(st.integers(1, 19), max_size=8), rng=st.randoms(use_true_random=False))
def test_parts_in_any_order_make_the_batch(cuts: set[int], rng: np.random.RandomState) -> None:
    edges = [0, *sorted(cuts), 20]
    pairs = list(pairwise(edges))
    rng.shuffle(pairs)
    assembly = FrameCollector(20, "Numbers")
    for start, stop in pairs:
        assembly.put(start, numbered(start, stop))
    found, expected = assembly.whole(), numbered(0, 20)
    np.testing.assert_array_equal(found.images, expected.images)
    assert found.images.dtype == np.uint8 and found.images.flags.writeable
    for name in ("label", "box"):
        np.testing.assert_array_equal(found.annotations[name], expected.annotations[name])
        assert found.annotations[name].dtype == expected.annotations[name].dtype


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_first_scene_that_is_not_like_the_first_is_named(order: tuple[int, ...]) -> None:
    parts = {0: numbered(0, 4), 1: numbered(4, 8, width=5), 2: numbered(8, 12, width=4)}
    assembly = FrameCollector(12, "Numbers")
    for number in order:
        assembly.put(4 * number, parts[number])
    with pytest.raises(RendererError, match=r"^Numbers: scene 4: annotations .*\[5\].* differ from .*\[3\]") as caught:
        assembly.whole()
    assert caught.value.place == 4
