"""A labelled image brought to another size: picture, boxes and masks follow one placement."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

Fit = Literal["pad", "crop", "own"]
# How far aspects may be apart (logarithms of width by height): of frames that are drawn as photographs are, and of a
# photograph that is stretched to a frame.
ALIKE, STRETCHED = 0.01, 0.02
# The most that frames drawn as photographs are may have of the pixels that they had, and one by the least; and where
# they have so few that no frame has nearly as many and the aspect too.
MORE_PIXELS, MORE_OF_FEW = 1.1, 1.25
SHORTEST = 16
Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class Placement:
    """Where a picture of ``source`` (height, width) lies within one of ``target``.

    A point (x, y) of the source is at (x · scale_x + left, y · scale_y + top) of the target, in pixels.
    """

    source: tuple[int, int]
    target: tuple[int, int]
    scale_x: float
    scale_y: float
    left: float
    top: float

    def picture(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 (H, W, 3) of the target's size, resampled (bicubic); edges are repeated outside the source."""
        from PIL import Image

        (height, width), (high, wide) = self.target, self.source
        if self.source == self.target and self.scale_x == self.scale_y == 1:
            return pixels
        # What is seen of the source, in pixels of the target; outside of it edges are repeated.
        left, top = max(0, round(self.left)), max(0, round(self.top))
        right = min(width, round(self.left + wide * self.scale_x))
        bottom = min(height, round(self.top + high * self.scale_y))
        start = (max(0.0, (left - self.left) / self.scale_x), max(0.0, (top - self.top) / self.scale_y))
        end = (
            min(wide, start[0] + (right - left) / self.scale_x),
            min(high, start[1] + (bottom - top) / self.scale_y),
        )
        size = (right - left, bottom - top)
        resized = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC, box=(*start, *end))
        border = ((top, height - bottom), (left, width - right), (0, 0))
        return np.pad(np.asarray(resized, dtype=np.uint8), border, mode="edge")

    def boxes(self, boxes: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Boxes xyxy (n, 4) clipped to the source and then to the target, and which of them are left, bool (n,).

        A box with no area inside is not left.
        """
        ends = np.array([self.source[1], self.source[0]] * 2, dtype=np.float64)
        scale = np.array([self.scale_x, self.scale_y] * 2)
        placed = np.clip(boxes.astype(np.float64), 0, ends) * scale + np.array([self.left, self.top] * 2)
        height, width = self.target
        clipped = np.clip(placed, 0, np.array([width, height] * 2)).astype(np.float32)
        return clipped, (clipped[:, 2] > clipped[:, 0]) & (clipped[:, 3] > clipped[:, 1])

    def mask(self, values: NDArray[Scalar], fill: Any = None) -> NDArray[Scalar]:
        """A mask (H, W) of the target's size by nearest pixels; ``fill`` outside the source, or edges repeated."""
        rows = self._nearest(0, self.scale_y, self.top)
        columns = self._nearest(1, self.scale_x, self.left)
        high, wide = self.source
        placed = values[np.clip(rows, 0, high - 1)[:, None], np.clip(columns, 0, wide - 1)]
        if fill is not None:
            placed[(rows < 0) | (rows >= high)] = fill
            placed[:, (columns < 0) | (columns >= wide)] = fill
        return placed

    def _nearest(self, axis: int, scale: float, shift: float) -> NDArray[np.int64]:
        centres = np.arange(self.target[axis]) + 0.5
        return np.floor((centres - shift) / scale).astype(np.int64)


def place(source: tuple[int, int], target: tuple[int, int], fit: Fit = "pad", zoom: float | None = None) -> Placement:
    """How a picture of ``source`` (height, width) comes to ``target`` with its aspect kept, in the middle.

    ``pad``: all of it is seen, and the rest is filled. ``crop``: the target is filled, and what juts out on two sides
    is cut off alike. ``own``, for a target of :func:`own_size`: a picture of about the same aspect is stretched by up
    to 2 % and fills it; others are padded. Where ``zoom`` is given it decides instead of ``fit``: the longer edge of
    the picture has ``zoom`` times the target's width; what is missing is filled, what juts out is cut off.
    ``ValueError`` for another ``fit``.
    """
    (high, wide), (height, width) = source, target
    if fit == "own" and zoom is None and _apart((height, width), wide / high) <= STRETCHED:
        return Placement(source, target, width / wide, height / high, 0, 0)
    if fit in ("pad", "own") or zoom is not None:
        scale = min(height / high, width / wide) if zoom is None else zoom * width / max(high, wide)
        inner_height, inner_width = max(1, round(high * scale)), max(1, round(wide * scale))
        before = (width - inner_width) // 2, (height - inner_height) // 2
        return Placement(source, target, inner_width / wide, inner_height / high, *before)
    if fit == "crop":
        scale = max(height / high, width / wide)
        left, top = min(0.0, (width - wide * scale) / 2), min(0.0, (height - high * scale) / 2)
        return Placement(source, target, scale, scale, left, top)
    raise ValueError(f"fit: {fit!r} is none of 'pad', 'crop' and 'own'")


def own_size(sizes: Sequence[tuple[int, int]], here: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of frames in the median aspect of photographs of ``sizes``, (height, width) each, with about as
    many pixels as ``here`` has (10 % more or fewer): ``here`` itself where it has that aspect.

    Edges are multiples of 8, of 4 or of 2, the first with which the aspect is within 1 %: networks halve pictures. With
    few pixels the nearest multiples of 2 have to do, with at most 25 % more or fewer pixels where there are such.
    """
    pixels = here[0] * here[1]
    aspects = sorted(wide / high for high, wide in sizes)
    most = pixels / SHORTEST**2
    aspect = min(max(aspects[len(aspects) // 2], 1 / most), most)
    if _apart(here, aspect) <= ALIKE:
        return here

    def loss(size: tuple[int, int]) -> float:
        # A tenth of the pixels weighs as much as a hundredth of the aspect.
        return _apart(size, aspect) + 0.1 * more(size)

    def more(size: tuple[int, int]) -> float:
        return abs(math.log(size[0] * size[1] / pixels))

    for step in (8, 4, 2):
        found = [
            (height, max(columns * step, SHORTEST))
            for height in range(SHORTEST, pixels // SHORTEST + step, step)
            for columns in (math.floor(height * aspect / step), math.ceil(height * aspect / step))
        ]
        good = [size for size in found if _apart(size, aspect) <= ALIKE and more(size) <= math.log(MORE_PIXELS)]
        if good:
            return min(good, key=loss)
    return min([size for size in found if more(size) <= math.log(MORE_OF_FEW)] or found, key=loss)


def _apart(size: tuple[int, int], aspect: float) -> float:
    return abs(math.log(size[1] / size[0] / aspect))
