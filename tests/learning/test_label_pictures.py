"""Pictures of labels: colours by class, boxes over one another, nothing of the image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosim.learning.label_pictures import colours, label_pictures, labels_are_shown
from autosim.rendering.annotations import Annotation, Boxes, ClassLabel, ClassMask, InstanceMask
from autosim.rendering.frames import Frames

BOXES: dict[str, Annotation] = {"boxes": Boxes(("cup", "can"), 3)}
UNUSED = [-1.0] * 5


def of_boxes(*rows: list[float]) -> np.ndarray:
    filled = [*rows, *[UNUSED] * (3 - len(rows))]
    frames = Frames(np.zeros((1, 12, 16, 3), np.uint8), {"boxes": np.array([filled], np.float32)})
    return label_pictures(frames, BOXES).images[0]


def test_masks_are_shown_in_their_classes_colours_whatever_the_image() -> None:
    generator = np.random.default_rng(0)
    mask = generator.integers(0, 3, (4, 8, 6)).astype(np.uint8)
    declared = {"mask": ClassMask(("background", "a", "b"))}
    images = [generator.integers(0, 256, (4, 8, 6, 3)).astype(np.uint8) for _ in range(2)]
    first, second = (label_pictures(Frames(each, {"mask": mask}), declared) for each in images)
    assert first.images.dtype == np.uint8 and first.images.shape == images[0].shape
    assert np.array_equal(first.images, second.images) and first.annotations["mask"] is mask
    assert np.array_equal(first.images, colours(2)[mask])


def test_a_box_is_filled_and_has_a_dark_edge() -> None:
    picture, colour = of_boxes([2, 3, 9, 8, 0]), colours(2)[1]
    assert (picture[4:7, 3:8] == colour).all()
    assert (picture[3, 2:9] == colour // 2).all() and (picture[3:8, 8] == colour // 2).all()
    assert not picture[:3].any() and not picture[8:].any() and not picture[:, 9:].any()


def test_small_boxes_lie_over_large_ones_and_classes_differ() -> None:
    large, small = [0.0, 0.0, 16.0, 12.0, 0.0], [4.0, 4.0, 8.0, 8.0, 1.0]
    for rows in ((large, small), (small, large)):
        picture = of_boxes(*rows)
        assert (picture[6, 6] == colours(2)[2]).all() and (picture[2, 2] == colours(2)[1]).all()


def test_no_box_is_a_black_picture() -> None:
    assert not of_boxes().any()


@given(st.floats(-0.5, 16), st.floats(-0.5, 12), st.floats(0, 17), st.floats(0, 13), st.integers(0, 1))
def test_boxes_at_and_beyond_the_edge_stay_within_the_picture(
    x: float, y: float, w: float, h: float, kind: int
) -> None:
    picture = of_boxes([x, y, min(x + w, 16.5), min(y + h, 12.5), float(kind)])
    assert picture.shape == (12, 16, 3)
    shown = {tuple(pixel) for pixel in picture.reshape(-1, 3)} - {(0, 0, 0)}
    assert shown <= {tuple(colours(2)[1 + kind]), tuple(colours(2)[1 + kind] // 2)}


@given(st.integers(0, 40))
def test_every_class_has_a_colour_of_its_own(classes: int) -> None:
    found = colours(classes)
    assert found.shape == (1 + classes, 3) and len(np.unique(found, axis=0)) == 1 + classes


def test_labels_that_say_nothing_of_places_are_no_picture() -> None:
    declared: dict[str, Annotation] = {"label": ClassLabel(("a", "b")), "instances": InstanceMask(3)}
    assert not labels_are_shown(declared) and labels_are_shown(BOXES)
    frames = Frames(np.zeros((1, 4, 4, 3), np.uint8), {"label": np.zeros(1, np.int64)})
    with pytest.raises(ValueError, match=r"^label pictures: \['instances', 'label'\] say nothing of where things are$"):
        label_pictures(frames, declared)
