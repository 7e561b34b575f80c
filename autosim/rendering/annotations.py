"""Annotations: the ground truth beside an image, declared by kind, and the check of every frame against them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from autosim.errors import RendererError
from autosim.rendering.frames import Frame

# What every value of an unused row of boxes is.
UNUSED = -1.0
# How far a box may reach beyond the picture, in pixels.
MARGIN = 0.5


class Annotation(ABC):
    """One kind of ground truth. Type and shape of its array are known before anything is drawn.

    An impossible declaration raises ``ValueError`` when it is made.
    """

    @property
    @abstractmethod
    def dtype(self) -> np.dtype[Any]:
        """Type of the array."""

    @abstractmethod
    def array_shape(self, height: int, width: int) -> tuple[int, ...]:
        """Shape of the array of one image of (height, width)."""

    @abstractmethod
    def fault(self, values: NDArray[Any], height: int, width: int) -> str | None:
        """What is wrong with values of the right type and shape, in words, and what is allowed; None where nothing is
        wrong.
        """

    def check(self, name: str, values: object, height: int, width: int) -> NDArray[Any]:
        """``values`` as an array; ``RendererError`` of one line that names the annotation, what was found and what is
        allowed, where they are not of this kind.
        """
        array, shape = np.asarray(values), self.array_shape(height, width)
        if array.dtype != self.dtype or array.shape != shape:
            found, allowed = f"{array.dtype} {array.shape}", f"{self.dtype} {shape}"
            raise RendererError(f"annotation {name!r} is {found} instead of {allowed}")
        if (fault := self.fault(array, height, width)) is not None:
            raise RendererError(f"annotation {name!r} {fault}")
        return array


@dataclass(frozen=True)
class ClassMask(Annotation):
    """The class of each pixel: uint8 (H, W), an index into ``classes``, the background first."""

    classes: tuple[str, ...]
    dtype: ClassVar[np.dtype[Any]] = np.dtype(np.uint8)

    def __post_init__(self) -> None:
        _check_classes(self.classes)
        if len(self.classes) > 256:
            raise ValueError(f"classes: {len(self.classes)} are more than the 256 that a mask can tell apart")

    def array_shape(self, height: int, width: int) -> tuple[int, ...]:
        """(height, width)"""
        return height, width

    def fault(self, values: NDArray[Any], height: int, width: int) -> str | None:
        """Classes that are not declared."""
        return _out_of_range(values, len(self.classes) - 1)


@dataclass(frozen=True)
class InstanceMask(Annotation):
    """The object that each pixel shows: uint16 (H, W), 1 to ``most``, and 0 where there is none."""

    most: int
    dtype: ClassVar[np.dtype[Any]] = np.dtype(np.uint16)

    def __post_init__(self) -> None:
        if not 1 <= self.most <= 65535:
            raise ValueError(f"most: {self.most} is not in [1, 65535]")

    def array_shape(self, height: int, width: int) -> tuple[int, ...]:
        """(height, width)"""
        return height, width

    def fault(self, values: NDArray[Any], height: int, width: int) -> str | None:
        """More instances than declared."""
        return _out_of_range(values, self.most)


@dataclass(frozen=True)
class Boxes(Annotation):
    """Upright boxes, any number up to ``most``: float32 (most, 5), a row (x0, y0, x1, y1, class) for each.

    x0 <= x1 and y0 <= y1 are in pixels, (0, 0) the upper left corner of the picture; no box reaches further than half a
    pixel beyond it. The class is an index into ``classes``. Rows that are not used come last and are -1 throughout.
    """

    classes: tuple[str, ...]
    most: int
    dtype: ClassVar[np.dtype[Any]] = np.dtype(np.float32)

    def __post_init__(self) -> None:
        _check_classes(self.classes)
        if self.most < 1:
            raise ValueError(f"most: {self.most} is below 1")

    def array_shape(self, height: int, width: int) -> tuple[int, ...]:
        """(most, 5)"""
        return self.most, 5

    def fault(self, values: NDArray[Any], height: int, width: int) -> str | None:
        """The first row that is neither a box nor padding behind all boxes."""
        used = ~(values == UNUSED).all(axis=1)
        x0, y0, x1, y1, kind = values.T
        high, wide = height + MARGIN, width + MARGIN
        in_order = (x0 <= x1) & (y0 <= y1)
        inside = (x0 >= -MARGIN) & (y0 >= -MARGIN) & (x1 <= wide) & (y1 <= high)
        known = (kind >= 0) & (kind < len(self.classes)) & (kind == np.floor(kind))
        for wrong, allowed in (
            (~np.isfinite(values).all(axis=1), "finite numbers"),
            (~in_order, "x0 <= x1 and y0 <= y1"),
            (~inside, f"x from -{MARGIN} to {wide} and y from -{MARGIN} to {high}"),
            (~known, f"a class from 0 to {len(self.classes) - 1}"),
        ):
            rows = np.flatnonzero(wrong & used)
            if len(rows):
                row = int(rows[0])
                return f"has row {row} {[float(f'{value:.6g}') for value in values[row]]}; allowed are {allowed}"
        if used[np.count_nonzero(used) :].any():
            unused = int(np.flatnonzero(~used)[0])
            return f"has the unused row {unused} before row {int(np.flatnonzero(used)[-1])}; unused rows come last"
        return None


@dataclass(frozen=True)
class RatedBoxes(Annotation):
    """Boxes of labels that also say what counts: float32 (most, 6), a row (x0, y0, x1, y1, class, level) for each.

    Boxes, classes and padding are as in :class:`Boxes`, but regions where anything may be have the class -1. ``level``
    is the easiest of KITTI's levels at which the object counts, 0 to 2, or 3 where it may be found but need not be.
    """

    classes: tuple[str, ...]
    most: int
    dtype: ClassVar[np.dtype[Any]] = np.dtype(np.float32)

    def array_shape(self, height: int, width: int) -> tuple[int, ...]:
        """(most, 6)"""
        return self.most, 6

    def fault(self, values: NDArray[Any], height: int, width: int) -> str | None:
        """The first row that is no box, of no class or of no level."""
        used = values[~(values == UNUSED).all(axis=1)]
        known = (used[:, 4] >= UNUSED) & (used[:, 4] < len(self.classes)) & (used[:, 5] >= 0) & (used[:, 5] <= 3)
        wrong = ~(known & (used[:, 0] <= used[:, 2]) & (used[:, 1] <= used[:, 3]))
        if not wrong.any():
            return None
        found = [float(f"{value:.6g}") for value in used[wrong][0]]
        return f"has {found}; allowed are a box, a class from -1 to {len(self.classes) - 1} and a level from 0 to 3"


@dataclass(frozen=True)
class Depth(Annotation):
    """Distance from the camera along its axis in the scene's unit: float32 (H, W), 0 where nothing is seen."""

    dtype: ClassVar[np.dtype[Any]] = np.dtype(np.float32)

    def array_shape(self, height: int, width: int) -> tuple[int, ...]:
        """(height, width)"""
        return height, width

    def fault(self, values: NDArray[Any], height: int, width: int) -> str | None:
        """Values that are not finite, or are below 0."""
        if (fault := _not_finite(values)) is not None:
            return fault
        below = int(np.count_nonzero(values < 0))
        return f"has {below} values below 0; allowed are 0 and above" if below else None


@dataclass(frozen=True)
class ClassLabel(Annotation):
    """The class of a whole image: an int64 scalar, an index into ``classes``."""

    classes: tuple[str, ...]
    dtype: ClassVar[np.dtype[Any]] = np.dtype(np.int64)

    def __post_init__(self) -> None:
        _check_classes(self.classes)

    def array_shape(self, height: int, width: int) -> tuple[int, ...]:
        """()"""
        return ()

    def fault(self, values: NDArray[Any], height: int, width: int) -> str | None:
        """A class that is not declared."""
        return _out_of_range(values, len(self.classes) - 1)


@dataclass(frozen=True)
class Values(Annotation):
    """Numbers of any meaning: float64 of ``shape``, all finite; int64 with ``whole``."""

    shape: tuple[int, ...] = ()
    whole: bool = False

    def __post_init__(self) -> None:
        if any(length < 1 for length in self.shape):
            raise ValueError(f"shape: {self.shape} has a length below 1")

    @property
    def dtype(self) -> np.dtype[Any]:
        """float64, or int64 with ``whole``."""
        return np.dtype(np.int64 if self.whole else np.float64)

    def array_shape(self, height: int, width: int) -> tuple[int, ...]:
        """``shape``"""
        return self.shape

    def fault(self, values: NDArray[Any], height: int, width: int) -> str | None:
        """Values that are not finite."""
        return _not_finite(values)


def check_frame(declared: Mapping[str, Annotation], frame: object, height: int, width: int) -> Frame:
    """``frame`` with its annotations as arrays, in the order in which they are declared.

    ``RendererError`` of one line where it is not a frame, where its image is not uint8 (height, width, 3), and where an
    annotation is missing, is not declared or is not as declared.
    """
    if not isinstance(frame, Frame):
        raise RendererError(f"render gave {type(frame).__name__} instead of a Frame")
    check_image(frame.image, height, width)
    for name in frame.annotations:
        if name not in declared:
            raise RendererError(f"annotation {name!r} is not declared; declared are {sorted(declared)}")
    for name in declared:
        if name not in frame.annotations:
            raise RendererError(f"annotation {name!r} is missing; given are {sorted(frame.annotations)}")
    checked = {name: kind.check(name, frame.annotations[name], height, width) for name, kind in declared.items()}
    return Frame(frame.image, checked)


def check_image(image: object, height: int, width: int) -> None:
    """``RendererError`` unless ``image`` is a uint8 array (height, width, 3)."""
    expected = (height, width, 3)
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape != expected:
        found = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise RendererError(f"image is {found} instead of uint8 {expected}")


def class_mask(declared: Mapping[str, Annotation]) -> tuple[str, ClassMask] | None:
    """The first class mask that is declared, with its name; None where there is none."""
    return next(((name, kind) for name, kind in declared.items() if isinstance(kind, ClassMask)), None)


def first_boxes(declared: Mapping[str, Annotation]) -> tuple[str, Boxes] | None:
    """The first boxes that are declared, with their name; None where there are none."""
    return next(((name, kind) for name, kind in declared.items() if isinstance(kind, Boxes)), None)


def large_first(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Boxes (k, 4 or more columns) in the order in which they are painted: small ones over large ones."""
    areas = (rows[:, 2] - rows[:, 0]) * (rows[:, 3] - rows[:, 1])
    return rows[np.argsort(-areas, kind="stable")]


def _check_classes(classes: Sequence[str]) -> None:
    if isinstance(classes, str) or not all(isinstance(name, str) and name for name in classes) or not classes:
        raise ValueError(f"classes: {classes!r} are not one name or more, none of them empty")
    if len(set(classes)) < len(classes):
        raise ValueError(f"classes: {list(classes)} are not distinct")


def _out_of_range(values: NDArray[Any], highest: int) -> str | None:
    low, high = int(values.min()), int(values.max())
    if low >= 0 and high <= highest:
        return None
    return f"has values from {low} to {high}; allowed are 0 to {highest}"


def _not_finite(values: NDArray[Any]) -> str | None:
    bad = int(np.count_nonzero(~np.isfinite(values)))
    return f"has {bad} values that are not finite" if bad else None
