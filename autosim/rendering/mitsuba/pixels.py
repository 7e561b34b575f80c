"""From linear radiance to the pixels of an image, and back for derivatives: sRGB and resampling."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from autosim.rendering.windows import Window

Neighbours = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]


def srgb(linear: NDArray[np.float32]) -> NDArray[np.float32]:
    """Linear radiance to sRGB (IEC 61966-2-1), clipped to [0, 1]."""
    linear = np.clip(linear, 0.0, 1.0)
    curve = 1.055 * np.power(np.maximum(linear, 0.0031308), 1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, curve).astype(np.float32)


def srgb_pullback(linear: NDArray[np.float32], cotangent: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Cotangent of linear radiance from that of its sRGB: times the curve's slope, 0 where it is clipped."""
    slope = 1.055 / 2.4 * np.power(np.maximum(linear, 0.0031308), 1 / 2.4 - 1)
    slope = np.where(linear <= 0.0031308, 12.92, slope) * ((linear > 0.0) & (linear < 1.0))
    return (slope * cotangent).astype(np.float32)


def linear_rgb(colour: tuple[int, int, int]) -> tuple[float, ...]:
    """8-bit sRGB to linear radiance in [0, 1] (IEC 61966-2-1)."""
    scaled = [value / 255 for value in colour]
    return tuple(v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in scaled)


def enlarge(image: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Bilinear resampling between pixel centres, edges extended. Both axes are scaled by the ratio of the longer edges
    about the picture's centre, so that an edge that was rounded to whole pixels distorts nothing.
    """
    if image.shape[:2] == (height, width):
        return image
    for axis, (low, high, weight) in enumerate(_both_neighbours(image.shape[:2], (height, width))):
        image = _blend(image, axis, low, high, weight)
    return image


def source_window(film: tuple[int, int], picture: tuple[int, int], window: Window) -> Window:
    """The film's pixels that :func:`enlarge` needs for a window of the picture; shapes are (height, width)."""
    if film == picture:
        return window
    rows, columns = _both_neighbours(film, picture)
    top, bottom = int(rows[0][window.top]), int(rows[1][window.bottom - 1]) + 1
    left, right = int(columns[0][window.left]), int(columns[1][window.right - 1]) + 1
    return Window(top, left, bottom - top, right - left)


def enlarge_window(
    image: NDArray[np.float32], film: tuple[int, int], picture: tuple[int, int], window: Window
) -> NDArray[np.float32]:
    """The window of what :func:`enlarge` gives, from the film's pixels in :func:`source_window` alone."""
    if film == picture:
        return image
    source = source_window(film, picture, window)
    starts, places = (source.top, source.left), window.slices
    for axis, (low, high, weight) in enumerate(_both_neighbours(film, picture)):
        own = places[axis]
        image = _blend(image, axis, low[own] - starts[axis], high[own] - starts[axis], weight[own])
    return image


def enlarge_pullback(cotangent: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Cotangent of an image (height, width) from that of the image that :func:`enlarge` makes from it."""
    picture = cotangent.shape[0], cotangent.shape[1]
    if picture == (height, width):
        return cotangent
    neighbours = _both_neighbours((height, width), picture)
    for axis in (1, 0):
        rows = np.moveaxis(cotangent, axis, 0)
        low, high, weight = neighbours[axis]
        pulled = np.zeros(((height, width)[axis], *rows.shape[1:]), dtype=np.float32)
        share = weight[:, None, None]
        np.add.at(pulled, low, rows * (1 - share))
        np.add.at(pulled, high, rows * share)
        cotangent = np.moveaxis(pulled, 0, axis)
    return np.ascontiguousarray(cotangent)


def _blend(
    image: NDArray[np.float32],
    axis: int,
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    weight: NDArray[np.float32],
) -> NDArray[np.float32]:
    fraction = weight.reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
    blended: NDArray[np.float32] = np.take(image, low, axis) * (1 - fraction) + np.take(image, high, axis) * fraction
    return blended


def _both_neighbours(film: tuple[int, ...], picture: tuple[int, int]) -> list[Neighbours]:
    return [_neighbours(film[axis], picture[axis], max(film), max(picture)) for axis in (0, 1)]


def _neighbours(source: int, target: int, longest: int, longest_target: int) -> Neighbours:
    """For each of ``target`` pixels the two of ``source`` that it lies between, and the share of the second, where
    ``longest`` pixels are as long as ``longest_target``.
    """
    centre = (source - target * longest / longest_target) / 2
    position = np.clip((np.arange(target) + 0.5) * longest / longest_target + centre - 0.5, 0, source - 1)
    low = np.floor(position).astype(np.int64)
    return low, np.minimum(low + 1, source - 1), (position - low).astype(np.float32)
