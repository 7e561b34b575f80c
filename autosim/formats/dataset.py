"""Data sets as autosim holds them, whatever format they came in: pictures on disk, labels in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autosim.errors import UserError
from autosim.files import fault, read_bytes
from autosim.formats.pictures import (
    encode_depth,
    encode_png,
    picture_size,
    read_depth,
    read_index_mask,
    read_picture,
)
from autosim.formats.reading import inner_name
from autosim.formats.shapes import Shape, check_mask_size

# Pixels of a class mask that count for nothing.
VOID = 255


@dataclass(frozen=True, eq=False)
class ClassMaskFile:
    """A class mask in a file: 0 is the background, i + 1 the i-th class of the data set, 255 void.

    ``highest`` is the largest class allowed. ``values``, uint8 (256,), says what each number of the file means where
    that differs.
    """

    path: Path
    highest: int
    values: NDArray[np.uint8] | None = None

    def read(self, height: int, width: int) -> NDArray[np.uint8]:
        """uint8 (height, width); ``UserError`` where the file has another size or classes beyond ``highest``."""
        mask = read_index_mask(self.path)
        check_mask_size(self.path, mask, height, width)
        if self.values is not None:
            mask = self.values[mask]
        unknown = mask[(mask > self.highest) & (mask != VOID)]
        if len(unknown):
            raise fault(self.path, f"has class {unknown.max()}; allowed are 0 to {self.highest}, and {VOID} for void")
        return mask


@dataclass(frozen=True, eq=False)
class DepthFile:
    """Depth in a grey PNG, whose values times ``scale`` are distances; 0 where nothing is seen or known."""

    path: Path
    scale: float

    def read(self, height: int, width: int) -> NDArray[np.float32]:
        """float32 (height, width); ``UserError`` where the file has another size."""
        depth = read_depth(self.path, self.scale)
        check_mask_size(self.path, depth, height, width)
        return depth


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """One picture and what is known about it. The picture stays on disk until :meth:`read`.

    name:       of the picture within its data set, with slashes, without suffix
    picture:    its file, or its pixels, uint8 (H, W, 3)
    boxes:      float32 (n, 4), (x0, y0, x1, y1) in pixels, (0, 0) the upper left corner of the picture; a box may reach
                beyond the picture
    classes:    int64 (n,), indices into the data set's classes
    ignore:     bool (n,), objects that count neither as found nor as missed: regions nobody looked at, crowds, objects
                called difficult or hardly visible; None where there are none (:attr:`ignored` is an array always)
    shapes:     the pixels of each object, where known; () where of none
    class_mask: a class for each pixel: a file, or uint8 (H, W) with 0 the background, i + 1 the i-th class, 255 void
    depth:      distance from the camera along its axis for each pixel, 0 where nothing is seen: a file, or float32
                (H, W)
    details:    what else a format says about each object, arrays of length n by name
    camera:     projection into pixels, (3, 3) or (3, 4), where known
    size:       (height, width) as the labels say; a picture of another size is refused
    upright:    whether boxes belong to the picture turned as EXIF says, or as it is stored; ``size`` decides where only
                one of the two has it
    source:     the file that the labels come from, for messages
    stored:     whether the picture's file is a PNG of just these pixels, which is copied where a data set is written
    """

    name: str
    picture: Path | NDArray[np.uint8]
    boxes: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 4), dtype=np.float32))
    classes: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    ignore: NDArray[np.bool_] | None = None
    shapes: tuple[Shape | None, ...] = ()
    class_mask: ClassMaskFile | NDArray[np.uint8] | None = None
    depth: DepthFile | NDArray[np.float32] | None = None
    details: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    camera: NDArray[np.float64] | None = None
    size: tuple[int, int] | None = None
    upright: bool = True
    source: str = ""
    stored: bool = False

    def __post_init__(self) -> None:
        count = len(self.boxes)
        columns = {"classes": self.classes, "ignore": self.ignored, **self.details}
        if self.shapes:
            columns["shapes"] = np.empty(len(self.shapes))
        for name, values in columns.items():
            if len(values) != count:
                raise ValueError(f"{self.name}: {name} has {len(values)} entries for {count} boxes")
        if self.name != inner_name(self.name):
            raise ValueError(f"name {self.name!r} leaves its folder")

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def ignored(self) -> NDArray[np.bool_]:
        """``ignore``, or that none is to be ignored where it is not given."""
        return np.zeros(len(self.boxes), dtype=bool) if self.ignore is None else self.ignore

    def read(self) -> NDArray[np.uint8]:
        """The picture as RGB, uint8 (H, W, 3), as its labels refer to it; ``UserError`` where it is damaged."""
        if not isinstance(self.picture, Path):
            return self.picture
        return read_picture(self.picture, self.size, self.upright)

    def encoded(self) -> bytes:
        """The picture as PNG."""
        if self.stored and isinstance(self.picture, Path):
            return read_bytes(self.picture)
        return encode_png(self.read())

    def read_size(self) -> tuple[int, int]:
        """(height, width) that the labels refer to, without decoding the picture."""
        if self.size is not None:
            return self.size
        if not isinstance(self.picture, Path):
            return self.picture.shape[0], self.picture.shape[1]
        return picture_size(self.picture, self.upright)

    def shape_mask(self, index: int) -> NDArray[np.bool_] | None:
        """The pixels of one object, bool (H, W); None where they are not known."""
        shape = self.shapes[index] if self.shapes else None
        return None if shape is None else shape.mask(*self.read_size())

    def read_depth(self) -> NDArray[np.float32] | None:
        """Depth, float32 (H, W); None where it is not known."""
        return self.depth.read(*self.read_size()) if isinstance(self.depth, DepthFile) else self.depth

    def encoded_depth(self) -> tuple[bytes, float] | None:
        """Depth as grey PNG, and the scale that its values are multiplied with; None where it is not known."""
        if isinstance(self.depth, DepthFile):
            return read_bytes(self.depth.path), self.depth.scale
        return None if self.depth is None else encode_depth(self.depth)

    def read_class_mask(self) -> NDArray[np.uint8] | None:
        """The class of each pixel, uint8 (H, W): as given, or else from the shapes of the objects, later ones on top.

        None where there is no class mask and any object that counts has no shape.
        """
        if isinstance(self.class_mask, ClassMaskFile):
            return self.class_mask.read(*self.read_size())
        if self.class_mask is not None:
            return self.class_mask
        if not self.shapes and len(self):
            return None
        mask = np.zeros(self.read_size(), dtype=np.uint8)
        for i in range(len(self)):
            pixels = self.shape_mask(i)
            if pixels is not None:
                mask[pixels] = VOID if self.ignored[i] else self.classes[i] + 1
            elif not self.ignored[i]:
                return None
        return mask


@dataclass(frozen=True, eq=False)
class DataSet:
    """Labelled images and the names of their classes (the background is none of them).

    ``notes`` are sentences on what was left out or taken for granted, to be shown to the user.
    """

    classes: tuple[str, ...]
    images: Sequence[LabelledImage]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)


def file_stems(data: DataSet, folders: bool) -> list[str]:
    """Names of the images as names of files without suffix; ``UserError`` where two would be one file.

    Without ``folders``, for formats that have all files in one folder, slashes become underscores.
    """
    stems = [image.name if folders else image.name.replace("/", "_") for image in data.images]
    twice = [stem for stem, count in Counter(stems).items() if count > 1]
    if twice:
        raise UserError(f"{twice[0]}: two images of the data set would be written to this name")
    return stems


def check_classes(path: Path, names: Sequence[object]) -> tuple[str, ...]:
    """Names of classes read from a file; ``UserError`` where one is empty, no text, or there twice."""
    for i, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            raise fault(path, f"class {i} is {name!r}; a class has a name")
        if name in names[:i]:
            raise fault(path, f"class {name!r} is there twice")
    return tuple(str(name) for name in names)
