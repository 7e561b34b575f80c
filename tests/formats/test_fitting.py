"""Pictures brought to another size, their boxes and masks with them."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from autosim.formats.fitting import STRETCHED, Fit, own_size, place
from autosim.formats.shapes import bounding_box

FITS: tuple[Fit, ...] = ("pad", "crop", "own")


def block(height: int, width: int, box: tuple[int, int, int, int]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    x0, y0, x1, y1 = box
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[y0:y1, x0:x1] = 1
    return mask


@st.composite
def cases(draw: st.DrawFn) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int], Fit]:
    height, width = draw(st.integers(2, 60)), draw(st.integers(2, 60))
    x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    x1, y1 = draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height))
    target = (draw(st.integers(1, 60)), draw(st.integers(1, 60)))
    return (height, width), target, (x0, y0, x1, y1), draw(st.sampled_from(FITS))


@settings(max_examples=300)
@given(case=cases())
def test_a_box_stays_around_its_mask(
    case: tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int], Fit],
) -> None:
    source, target, box, fit = case
    placement = place(source, target, fit)
    mask = placement.mask(block(*source, box), fill=0).astype(bool)
    (found,), (left,) = placement.boxes(np.array([box], dtype=np.float32))
    assert mask.shape == target
    assert (found >= 0).all() and (found <= np.array([target[1], target[0]] * 2)).all()
    if mask.any():
        assert left and np.abs(found - bounding_box(mask)).max() <= 0.5 + 1e-4
    else:  # outside, or too thin to cover the centre of a pixel
        assert not left or min(found[2] - found[0], found[3] - found[1]) < 1 + 1e-4


@settings(max_examples=60)
@given(case=cases())
def test_a_picture_lies_where_its_mask_lies(
    case: tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int], Fit],
) -> None:
    source, _, box, fit = case
    # Twice the size, so that nothing is averaged away, in a frame of another aspect.
    target = (2 * source[0] + 8, 2 * source[1])
    placement = place(source, target, fit)
    mask = block(*source, box)
    picture = placement.picture(np.repeat(mask[..., None] * np.uint8(255), 3, axis=2))
    assert picture.shape == (*target, 3)
    agree = (picture[..., 0] > 127) == (placement.mask(mask) == 1)
    assert agree.mean() > 0.8
    if mask.all():
        assert (picture == 255).all()


def test_padding_repeats_the_edges_and_keeps_the_aspect() -> None:
    wide = np.zeros((20, 60, 3), dtype=np.uint8)
    wide[0] = (255, 0, 0)
    wide[-1] = (0, 255, 0)
    placement = place((20, 60), (40, 60))
    picture = placement.picture(wide)
    assert (picture[:11] == (255, 0, 0)).all() and (picture[29:] == (0, 255, 0)).all()
    boxes, left = placement.boxes(np.array([[0, 0, 60, 20], [10, 5, 20, 10]], dtype=np.float32))
    assert boxes.tolist() == [[0, 10, 60, 30], [10, 15, 20, 20]] and left.all()
    mask = block(20, 60, (0, 0, 60, 1))
    assert placement.mask(mask)[:11].all() and not placement.mask(mask)[11:].any()
    assert placement.mask(mask, fill=0).sum() == 60


def test_a_crop_cuts_both_sides_alike_clips_boxes_and_leaves_out_what_is_outside() -> None:
    placement = place((20, 60), (20, 20), "crop")
    boxes = np.array([[0, 0, 10, 10], [15, 5, 25, 10], [20, 0, 40, 20], [45, 0, 60, 20]], dtype=np.float32)
    found, left = placement.boxes(boxes)
    assert left.tolist() == [False, True, True, False]
    assert found[left].tolist() == [[0, 5, 5, 10], [0, 0, 20, 20]]
    picture = np.zeros((20, 60, 3), dtype=np.uint8)
    picture[:, 20:40] = 200
    assert (placement.picture(picture) == 200).all()


def test_a_box_that_reaches_beyond_the_picture_ends_with_it() -> None:
    boxes, left = place((10, 10), (20, 10)).boxes(np.array([[-5, -5, 4, 25]], dtype=np.float32))
    assert boxes.tolist() == [[0, 5, 4, 15]] and left.all()


def test_the_same_size_changes_nothing_and_another_fit_is_refused() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    for fit in FITS:
        placement = place((9, 7), (9, 7), fit)
        assert (placement.picture(noise) == noise).all() and (placement.mask(noise[..., 0]) == noise[..., 0]).all()
    with pytest.raises(ValueError, match="is none of"):
        place((9, 7), (9, 7), cast(Fit, "stretch"))


def test_a_very_thin_picture_still_has_a_pixel() -> None:
    picture = np.full((1, 2000, 3), 7, dtype=np.uint8)
    for fit in FITS:
        found = place((1, 2000), (8, 8), fit).picture(picture)
        assert found.shape == (8, 8, 3) and (found == 7).all()


@settings(max_examples=200)
@given(st.floats(0.3, 3.3), st.sampled_from([28, 48, 64, 128, 256, 480]))
@example(aspect=0.78125, edge=28)
def test_frames_of_the_photographs_aspect_have_as_many_pixels_and_are_filled(aspect: float, edge: int) -> None:
    photograph = (1000, round(1000 * aspect))
    height, width = own_size([photograph, photograph, (10, 200)], (edge, edge))
    slack = 1.1 if edge >= 128 else 1.25
    assert edge**2 / slack <= height * width <= slack * edge**2 and height % 2 == width % 2 == 0
    assert min(height, width) >= 16
    placement = place(photograph, (height, width), "own")
    apart = abs(np.log(width / height / (photograph[1] / photograph[0])))
    filled = (placement.left, placement.top) == (0, 0) and np.allclose(
        [placement.scale_y * photograph[0], placement.scale_x * photograph[1]], [height, width]
    )
    # With few pixels not every aspect can be met.
    assert filled or apart > STRETCHED
    assert apart <= (0.01 if edge >= 128 else 0.08)


def test_frames_that_have_the_aspect_stay_as_they_are() -> None:
    assert own_size([(100, 100), (3000, 3010), (20, 90)], (64, 64)) == (64, 64)
    assert own_size([(480, 640)], (54, 72)) == (54, 72)
    assert own_size([(1, 1000)], (64, 64)) == (16, 256)
