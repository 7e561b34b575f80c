"""Outlines of objects: polygons, run lengths, mask files and arrays, each a mask when it is asked for one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from autosim.files import fault
from autosim.formats.pictures import read_index_mask
from autosim.formats.reading import modified

# Polygons are followed at this many points a pixel.
FINENESS = 5


class Shape(Protocol):
    """The pixels of one object."""

    def mask(self, height: int, width: int) -> NDArray[np.bool_]:
        """(height, width); ``UserError`` where the shape does not fit a picture of that size."""


@dataclass(frozen=True, eq=False)
class Pixels:
    """A mask in memory: bool (H, W)."""

    values: NDArray[np.bool_]

    def mask(self, height: int, width: int) -> NDArray[np.bool_]:
        """The mask itself."""
        if self.values.shape != (height, width):
            raise ValueError(f"a mask of {self.values.shape} for a picture of {(height, width)}")
        return self.values


@dataclass(frozen=True)
class MaskFile:
    """A mask in a file: its pixels of ``value``, or all that are not 0."""

    path: Path
    value: int | None = None

    def mask(self, height: int, width: int) -> NDArray[np.bool_]:
        """Read from the file."""
        values = _recent_mask(self.path, modified(self.path))
        check_mask_size(self.path, values, height, width)
        return values != 0 if self.value is None else values == self.value


@dataclass(frozen=True, eq=False)
class Polygons:
    """One or more polygons, each float64 (k, 2) of x, y in pixels, and all pixels within any of them."""

    rings: tuple[NDArray[np.float64], ...]
    source: str = ""

    def mask(self, height: int, width: int) -> NDArray[np.bool_]:
        """Pixels inside, by the rule of the COCO tools to the pixel."""
        found = np.zeros((height, width), dtype=bool)
        for ring in self.rings:
            reach = 2 * max(height, width)
            if np.abs(ring).max(initial=0) > reach:
                raise fault(self.source, f"a polygon reaches {np.abs(ring).max():g}; the picture is {width}×{height}")
            found |= _fill(ring, height, width)
        return found

    def box(self) -> tuple[float, float, float, float]:
        """The smallest upright box around all of it, xyxy."""
        points = np.concatenate(self.rings)
        (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
        return float(x0), float(y0), float(x1), float(y1)


@dataclass(frozen=True)
class RunLengths:
    """COCO's run lengths: pixels column by column, runs of 0 and 1 in turn, as numbers or as COCO's text."""

    counts: tuple[int, ...] | str
    height: int
    width: int
    source: str = ""

    def runs(self) -> NDArray[np.int64]:
        """The lengths of the runs; ``UserError`` where they do not add up to the picture."""
        values = decode_text(self.counts, self.source) if isinstance(self.counts, str) else self.counts
        if min(values, default=0) < 0 or sum(values) != self.height * self.width:
            raise fault(self.source, f"counts do not add up to the {self.height}×{self.width} pixels of size")
        return np.array(values, dtype=np.int64)

    def mask(self, height: int, width: int) -> NDArray[np.bool_]:
        """The runs laid out."""
        if (self.height, self.width) != (height, width):
            raise fault(self.source, f"size is {[self.height, self.width]}; the picture is {[height, width]}")
        runs = self.runs()
        values = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
        return values.reshape(width, height).T


def check_mask_size(path: Path, values: NDArray[np.generic], height: int, width: int) -> None:
    """``UserError`` unless a mask has its picture's size."""
    if values.shape != (height, width):
        raise fault(path, f"is {values.shape[1]}×{values.shape[0]}; its picture is {width}×{height}")


def bounding_box(mask: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """The box around a mask's pixels, xyxy, both ends at the outer edges of pixels; all 0 for an empty mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return 0.0, 0.0, 0.0, 0.0
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def outline(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """One polygon around the pixels of a mask (H, W): float64 (k, 2) of x, y, along the pixels' edges.

    As a mask again (:class:`Polygons`) it is the same to the pixel: parts and holes are joined by lines there and back.
    (0, 2) for an empty mask.
    """
    rings = _rings(mask)
    if not rings:
        return np.zeros((0, 2))
    joined = rings[0]
    if len(rings) > 1:
        from scipy.spatial import cKDTree
    for ring in rings[1:]:
        distances, nearest = cKDTree(joined).query(ring)
        there = int(np.argmin(distances))
        here = int(nearest[there])
        turned = np.roll(ring, -there, axis=0)
        joined = np.concatenate([joined[: here + 1], turned, turned[:1], joined[here:]])
    return joined


def run_lengths(mask: NDArray[np.bool_]) -> list[int]:
    """COCO's run lengths of a mask (H, W): column by column, a run of 0 first (which may have length 0)."""
    values = np.concatenate([[False], mask.T.ravel()])
    changes = np.flatnonzero(values[1:] != values[:-1])
    return [int(length) for length in np.diff(np.concatenate([[0], changes, [mask.size]]))]


def encode_text(counts: list[int]) -> str:
    """Run lengths as COCO's text: from the third on less the one but one before, five bits a character."""
    letters = []
    for i, count in enumerate(counts):
        value = count - counts[i - 2] if i > 2 else count
        more = True
        while more:
            bits = value & 31
            value >>= 5
            more = value != (-1 if bits & 16 else 0)
            letters.append(chr((bits | 32 if more else bits) + 48))
    return "".join(letters)


def decode_text(text: str, source: str = "") -> list[int]:
    """What :func:`encode_text` wrote; ``UserError`` where it cannot have written it."""
    counts: list[int] = []
    value, shift = 0, 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise fault(source, f"counts holds {letter!r}, which is not run lengths")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value, shift = 0, 0
    if shift:
        raise fault(source, "counts is cut short")
    return counts


def _rings(mask: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """The closed lines between a mask's pixels and the others, each float64 (k, 2) of x, y at its corners."""
    padded = np.pad(mask, 1)
    above, below = padded[:-1], padded[1:]
    odd = above[:, :-1] ^ above[:, 1:] ^ below[:, :-1] ^ below[:, 1:]
    # Where only two pixels meet that lie across, two corners do.
    across = (above[:, :-1] == below[:, 1:]) & (above[:, 1:] == below[:, :-1]) & (above[:, :-1] != above[:, 1:])
    corners = np.repeat(np.argwhere(odd | across), (odd + 2 * across)[odd | across], axis=0)
    # On each line of the grid, one side of the outline ends where the next corner is: the first with the second, the
    # third with the fourth, and so on.
    down = np.lexsort((np.arange(len(corners)), corners[:, 0], corners[:, 1]))
    partner = np.empty(len(corners), dtype=np.int64)
    partner[down] = down[np.arange(len(corners)) ^ 1]
    rings, left = [], np.full(len(corners), True)
    for start in range(len(corners)):
        if left[start]:
            ring, corner = [], start
            while left[corner]:
                ring += [corner, corner ^ 1]
                left[[corner, corner ^ 1]] = False
                corner = int(partner[corner ^ 1])
            rings.append(corners[ring][:, ::-1].astype(np.float64))
    return rings


def _fill(ring: NDArray[np.float64], height: int, width: int) -> NDArray[np.bool_]:
    """Pixels inside a polygon: its outline is followed in fifths of a pixel, and where it passes the centre line of a
    column, inside and outside change places below.
    """
    corners = np.trunc(FINENESS * ring + 0.5).astype(np.int64)
    start, end = corners, np.roll(corners, -1, axis=0)
    reach = np.abs(end - start)
    along_x = reach[:, 0] >= reach[:, 1]
    steps = np.maximum(reach[:, 0], reach[:, 1])
    # Each side is followed from its smaller to its larger end, so that both ways round give the same points.
    turned = np.where(along_x, start[:, 0] > end[:, 0], start[:, 1] > end[:, 1])
    first, last = np.where(turned[:, None], end, start), np.where(turned[:, None], start, end)
    rise = last - first
    slope = np.where(along_x, rise[:, 1], rise[:, 0]) / np.maximum(steps, 1)
    side = np.repeat(np.arange(len(ring)), steps + 1)
    place = np.arange(len(side)) - np.repeat(np.cumsum(steps + 1) - (steps + 1), steps + 1)
    step = np.where(turned[side], steps[side] - place, place)
    across = np.trunc(np.where(along_x, first[:, 1], first[:, 0])[side] + slope[side] * step + 0.5).astype(np.int64)
    along = step + np.where(along_x, first[:, 0], first[:, 1])[side]
    x, y = np.where(along_x[side], along, across), np.where(along_x[side], across, along)
    moved = x[1:] != x[:-1]
    column = (np.where(x[1:] < x[:-1], x[1:], x[1:] - 1)[moved] + 0.5) / FINENESS - 0.5
    row = np.ceil(np.clip((np.minimum(y[1:], y[:-1])[moved] + 0.5) / FINENESS - 0.5, 0, height))
    on_centre = (np.floor(column) == column) & (column >= 0) & (column <= width - 1)
    changes = (column[on_centre] * height + row[on_centre]).astype(np.int64)
    inside = np.cumsum(np.bincount(changes, minlength=height * width + 1)[: height * width]) % 2 == 1
    return inside.reshape(width, height).T


@lru_cache(maxsize=2)
def _recent_mask(path: Path, modified: int) -> NDArray[np.uint8]:
    """The objects of a picture share one mask file, which is read once."""
    values = read_index_mask(path)
    values.setflags(write=False)
    return values
