"""From linear radiance to the pixels of an image, and the way back for derivatives: sRGB and resampling."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def srgb(linear: NDArray[np.float32]) -> NDArray[np.float32]:
    """Linear radiance to sRGB (IEC 61966-2-1), clipped to [0, 1]."""
    linear = np.clip(linear, 0.0, 1.0)
    curve = 1.055 * np.power(np.maximum(linear, 0.0031308), 1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, curve).astype(np.float32)


def srgb_pullback(linear: NDArray[np.float32], cotangent: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Cotangent of linear radiance from that of its sRGB: times the curve's slope, nothing where it is clipped."""
    slope = 1.055 / 2.4 * np.power(np.maximum(linear, 0.0031308), 1 / 2.4 - 1)
    slope = np.where(linear <= 0.0031308, 12.92, slope) * ((linear > 0.0) & (linear < 1.0))
    return (slope * cotangent).astype(np.float32)


def linear_rgb(colour: tuple[int, int, int]) -> tuple[float, ...]:
    """8-bit sRGB to linear radiance in [0, 1] (IEC 61966-2-1)."""
    scaled = [value / 255 for value in colour]
    return tuple(v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in scaled)


def enlarge(image: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Bilinear resampling between pixel centres, edges extended."""
    if image.shape[:2] == (height, width):
        return image
    for axis, target in ((0, height), (1, width)):
        low, high, weight = _neighbours(image.shape[axis], target)
        shape = (-1, 1, 1) if axis == 0 else (1, -1, 1)
        fraction = weight.reshape(shape)
        image = np.take(image, low, axis) * (1 - fraction) + np.take(image, high, axis) * fraction
    return image


def enlarge_pullback(cotangent: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Cotangent of a square image of an edge from that of the image that :func:`enlarge` makes of it."""
    if cotangent.shape[:2] == (size, size):
        return cotangent
    for axis in (1, 0):
        rows = np.moveaxis(cotangent, axis, 0)
        low, high, weight = _neighbours(size, len(rows))
        pulled = np.zeros((size, *rows.shape[1:]), dtype=np.float32)
        share = weight[:, None, None]
        np.add.at(pulled, low, rows * (1 - share))
        np.add.at(pulled, high, rows * share)
        cotangent = np.moveaxis(pulled, 0, axis)
    return np.ascontiguousarray(cotangent)


def _neighbours(source: int, target: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """For each of ``target`` pixels the two of ``source`` that it lies between, and the share of the second."""
    position = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    low = np.floor(position).astype(np.int64)
    return low, np.minimum(low + 1, source - 1), (position - low).astype(np.float32)
