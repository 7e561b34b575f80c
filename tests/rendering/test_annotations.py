"""Declared annotations: what fits is let through as it is, what does not is named in one line."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from autosim.errors import RendererError
from autosim.rendering.annotations import (
    Annotation,
    Boxes,
    ClassLabel,
    ClassMask,
    Depth,
    InstanceMask,
    Values,
    check_frame,
    class_mask,
)
from autosim.rendering.frames import Frame

HEIGHT, WIDTH = 12, 20
BOXES = Boxes(("cat", "dog"), 5)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: ClassMask(()), "classes"),
        (lambda: ClassMask(("a", "b", "a")), "classes"),
        (lambda: ClassMask(("a", "")), "classes"),
        (lambda: ClassMask("ab"), "classes"),  # type: ignore[arg-type]
        (lambda: ClassMask(tuple(map(str, range(257)))), "classes"),
        (lambda: ClassLabel(()), "classes"),
        (lambda: Boxes(("a", "a"), 3), "classes"),
        (lambda: Boxes(("a",), 0), "most"),
        (lambda: InstanceMask(0), "most"),
        (lambda: InstanceMask(65536), "most"),
        (lambda: Values((2, 0)), "shape"),
    ],
)
def test_declarations_that_make_no_sense_are_refused(make: Callable[[], Annotation], field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}: "):
        make()


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (ClassMask(("a", "b")), np.eye(HEIGHT, WIDTH, dtype=np.uint8)),
        (InstanceMask(300), np.full((HEIGHT, WIDTH), 300, np.uint16)),
        (Depth(), np.zeros((HEIGHT, WIDTH), np.float32)),
        (ClassLabel(("a", "b")), np.array(1)),
        (ClassLabel(("a", "b")), 1),
        (Values((2, 3)), np.full((2, 3), -7.5)),
        (Values((3,), whole=True), np.array([-1, 0, 2**40])),
        (BOXES, np.full((5, 5), -1, np.float32)),
    ],
)
def test_what_is_as_declared_is_let_through(kind: Annotation, values: NDArray[np.generic]) -> None:
    found = kind.check("truth", values, HEIGHT, WIDTH)
    np.testing.assert_array_equal(found, values)
    assert found.dtype == kind.dtype and found.shape == kind.array_shape(HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (ClassMask(("a", "b")), np.full((HEIGHT, WIDTH), 2, np.uint8), "has values from 2 to 2; allowed are 0 to 1"),
        (ClassMask(("a", "b")), np.zeros((HEIGHT, WIDTH), bool), "is bool (12, 20) instead of uint8 (12, 20)"),
        (ClassMask(("a", "b")), np.zeros((WIDTH, HEIGHT), np.uint8), "is uint8 (20, 12) instead of uint8 (12, 20)"),
        (InstanceMask(3), np.full((HEIGHT, WIDTH), 4, np.uint16), "has values from 4 to 4; allowed are 0 to 3"),
        (Depth(), np.full((HEIGHT, WIDTH), -2, np.float32), "has 240 values below 0; allowed are 0 and above"),
        (Depth(), np.full((HEIGHT, WIDTH), np.nan, np.float32), "has 240 values that are not finite"),
        (ClassLabel(("a",)), np.array(1), "has values from 1 to 1; allowed are 0 to 0"),
        (ClassLabel(("a",)), np.array(-1), "has values from -1 to -1; allowed are 0 to 0"),
        (ClassLabel(("a",)), np.array([0]), "is int64 (1,) instead of int64 ()"),
        (Values(), np.array(np.inf), "has 1 values that are not finite"),
        (Values(), np.array(1), "is int64 () instead of float64 ()"),
    ],
)
def test_what_is_not_as_declared_is_named(kind: Annotation, values: NDArray[np.generic], message: str) -> None:
    with pytest.raises(RendererError) as caught:
        kind.check("truth", values, HEIGHT, WIDTH)
    assert str(caught.value) == f"annotation 'truth' {message}"


def in_picture(length: int) -> st.SearchStrategy[tuple[float, float]]:
    edge = st.floats(-0.5, length + 0.5, width=32)
    return st.tuples(edge, edge).map(lambda pair: (min(pair), max(pair)))


@st.composite
def boxes(draw: st.DrawFn, least: int = 0) -> NDArray[np.float32]:
    """Any boxes that are as declared, ``least`` or more."""
    rows = []
    for _ in range(draw(st.integers(least, BOXES.most))):
        (x0, x1), (y0, y1) = draw(in_picture(WIDTH)), draw(in_picture(HEIGHT))
        rows.append((x0, y0, x1, y1, draw(st.integers(0, len(BOXES.classes) - 1))))
    return np.array([*rows, *[[-1] * 5] * (BOXES.most - len(rows))], dtype=np.float32)


@given(boxes())
def test_any_boxes_in_the_picture_are_let_through(values: NDArray[np.float32]) -> None:
    np.testing.assert_array_equal(BOXES.check("boxes", values, HEIGHT, WIDTH), values)


@given(
    values=boxes(least=1),
    row=st.integers(0, BOXES.most - 1),
    change=st.sampled_from(["left", "top", "right", "bottom", "turned", "unknown", "between", "unused", "nan", "inf"]),
    by=st.floats(0.125, 1024, width=32),
)
def test_one_wrong_row_is_named(values: NDArray[np.float32], row: int, change: str, by: float) -> None:
    row %= int(np.count_nonzero(values[:, 4] >= 0))
    broken = values.copy()
    x0, y0, x1, y1, kind = broken[row]
    broken[row] = {
        "left": (-0.5 - by, y0, x1, y1, kind),
        "top": (x0, -0.5 - by, x1, y1, kind),
        "right": (x0, y0, WIDTH + 0.5 + by, y1, kind),
        "bottom": (x0, y0, x1, HEIGHT + 0.5 + by, kind),
        "turned": (x1 + by, y0, x0, y1, kind),
        "unknown": (x0, y0, x1, y1, len(BOXES.classes)),
        "between": (x0, y0, x1, y1, 0.5),
        "unused": (x0, y0, x1, y1, -1),
        "nan": (x0, np.nan, x1, y1, kind),
        "inf": (x0, y0, np.inf, y1, kind),
    }[change]
    with pytest.raises(RendererError, match=rf"^annotation 'boxes' has row {row} \[.*\]; allowed are ") as caught:
        BOXES.check("boxes", broken, HEIGHT, WIDTH)
    assert "\n" not in str(caught.value)


@given(values=boxes(least=1), place=st.integers(0, BOXES.most - 1))
def test_unused_rows_come_last(values: NDArray[np.float32], place: int) -> None:
    used = int(np.count_nonzero(values[:, 4] >= 0))
    place %= used
    shifted = np.insert(values, place, -1, axis=0)
    declared = Boxes(BOXES.classes, BOXES.most + 1)
    with pytest.raises(RendererError, match=f"has the unused row {place} before row {used}; unused rows come last"):
        declared.check("boxes", shifted, HEIGHT, WIDTH)


def test_a_frame_has_the_declared_annotations_in_the_declared_order() -> None:
    declared: dict[str, Annotation] = {"label": ClassLabel(("a", "b")), "depth": Depth()}
    depth = np.ones((HEIGHT, WIDTH), np.float32)
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    frame = check_frame(declared, Frame(image, {"depth": depth, "label": np.array(1)}), HEIGHT, WIDTH)
    assert list(frame.annotations) == ["label", "depth"]
    assert frame.image is image and frame.annotations["depth"] is depth


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (None, "render gave NoneType instead of a Frame"),
        (Frame(np.zeros((HEIGHT, WIDTH, 4), np.uint8)), "image is uint8 (12, 20, 4) instead of uint8 (12, 20, 3)"),
        (Frame(np.zeros((HEIGHT, WIDTH), np.uint8)), "image is uint8 (12, 20) instead of uint8 (12, 20, 3)"),
        (Frame(np.zeros((HEIGHT, WIDTH, 3), np.uint8)), "annotation 'depth' is missing; given are []"),
        (
            Frame(np.zeros((HEIGHT, WIDTH, 3), np.uint8), {"heat": np.array(1)}),
            "annotation 'heat' is not declared; declared are ['depth']",
        ),
    ],
)
def test_a_frame_of_another_kind_is_refused(frame: Frame | None, message: str) -> None:
    with pytest.raises(RendererError) as caught:
        check_frame({"depth": Depth()}, frame, HEIGHT, WIDTH)
    assert str(caught.value) == message


def test_the_class_mask_is_found_under_whatever_name() -> None:
    mask = ClassMask(("a", "b"))
    assert class_mask({"depth": Depth(), "semantic": mask, "other": ClassMask(("c",))}) == ("semantic", mask)
    assert class_mask({"depth": Depth()}) is None
