"""Polygons and run lengths give the masks of the COCO tools, to the pixel."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as tools

from autosim.errors import UserError
from autosim.formats.shapes import (
    Pixels,
    Polygons,
    RunLengths,
    bounding_box,
    decode_text,
    encode_text,
    run_lengths,
)
from tests.formats.examples import refusal

SIZE = (19, 23)


def coordinates() -> st.SearchStrategy[float]:
    return st.one_of(st.floats(-4, 30), st.integers(-4, 30).map(float))


@settings(max_examples=150)
@given(points=st.lists(st.tuples(coordinates(), coordinates()), min_size=3, max_size=9))
def test_a_polygon_is_filled_as_by_the_coco_tools(points: list[tuple[float, float]]) -> None:
    ring = np.array(points, dtype=np.float64)
    theirs = tools.decode(tools.frPyObjects([ring.ravel().tolist()], *SIZE))[..., 0]
    assert (Polygons((ring,)).mask(*SIZE) == theirs.astype(bool)).all()


def test_polygons_of_one_object_are_joined() -> None:
    square = np.array([[1, 1], [5, 1], [5, 5], [1, 5]], dtype=np.float64)
    both = Polygons((square, square + 8))
    assert (both.mask(*SIZE) == Polygons((square,)).mask(*SIZE) | Polygons((square + 8,)).mask(*SIZE)).all()
    assert both.box() == (1, 1, 13, 13)
    assert Polygons((square,)).mask(*SIZE).sum() == 16


@st.composite
def random_masks(draw: st.DrawFn) -> np.ndarray[Any, np.dtype[np.bool_]]:
    height, width = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    bits = draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    return np.array(bits, dtype=bool).reshape(height, width)


@settings(max_examples=150)
@given(mask=random_masks())
def test_run_lengths_and_their_text_are_those_of_the_coco_tools(mask: np.ndarray[Any, np.dtype[np.bool_]]) -> None:
    counts = run_lengths(mask)
    text = encode_text(counts)
    assert text.encode() == tools.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
    assert decode_text(text) == counts
    for given_counts in (text, tuple(counts)):
        assert (RunLengths(given_counts, *mask.shape).mask(*mask.shape) == mask).all()


def test_long_runs_take_several_characters() -> None:
    counts = [70_000, 33, 1_000_000, 2, 5, 123_456]
    assert decode_text(encode_text(counts)) == counts


@settings(max_examples=200)
@given(text=st.text(alphabet=st.characters(min_codepoint=40, max_codepoint=120), max_size=30))
def test_any_text_is_run_lengths_or_refused(text: str) -> None:
    try:
        assert RunLengths(text, 7, 5).mask(7, 5).shape == (7, 5)
    except UserError as error:
        assert "counts" in str(error)


def test_shapes_that_do_not_fit_their_picture_are_refused() -> None:
    far = Polygons((np.array([[0, 0], [1e5, 0], [0, 9]]),), "labels.json: annotations[3].segmentation")
    refusal(lambda: far.mask(*SIZE), "labels.json: annotations[3].segmentation", "100000", "23×19")
    refusal(lambda: RunLengths((10, 5), 3, 5, "f").mask(5, 3), "size is [3, 5]", "[5, 3]")
    wrong: tuple[tuple[int, ...], ...] = ((10, 6), (-1, 16), (10**30, 5), ())
    for counts in wrong:
        refusal(partial(RunLengths(counts, 3, 5, "f").mask, 3, 5), "counts")
    with pytest.raises(ValueError, match="a mask of"):
        Pixels(np.zeros((2, 2), dtype=bool)).mask(3, 3)


def test_the_box_around_a_mask_ends_at_the_edges_of_its_pixels() -> None:
    mask = np.zeros(SIZE, dtype=bool)
    assert bounding_box(mask) == (0, 0, 0, 0)
    mask[3:5, 7] = True
    assert bounding_box(mask) == (7, 3, 8, 5)
