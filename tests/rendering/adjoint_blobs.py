"""Blobs that know their own derivative. Ray workers import this module."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autosim.scenes.graph import SceneGraph
from tests.support.helpers import BlobRenderer


class AdjointBlobRenderer(BlobRenderer):
    """:class:`BlobRenderer` with its adjoint: ``dR = t exp(-power total) (total dpower + power dtotal)``.

    ``fault`` breaks the adjoint: shape, type, finite, raises or trace (later images are darker).
    """

    def __init__(self, fault: str = "") -> None:
        super().__init__()
        self.fault = fault

    def adjoint(
        self, scene: SceneGraph, seed: int, cotangent: NDArray[np.float32], effort: float = 1.0
    ) -> NDArray[np.float64]:
        power = sum(float(node["power"]) for node in scene.find("light")) / 10
        total = np.zeros((self.height, self.width, 3))
        slopes = []
        for node in scene.find("blob"):
            strength, width = 0.5 if node["sign"] == "bright" else 0.2, float(node["width"])
            gaussian = strength * self._gaussian(node)[:, :, None]
            angle = np.deg2rad(float(node["hue"])) + 2 * np.pi * np.arange(3) / 3
            tint = 1.2 + np.cos(angle)
            total += gaussian * tint
            # A unit of x or y is half of the range, a turn of the hue all of it.
            slopes.append(gaussian * tint * (2 * (self._u - float(node["x"])) / width**2)[:, :, None])
            slopes.append(gaussian * tint * (2 * (self._v - float(node["y"])) / width**2)[:, :, None])
            slopes.append(gaussian * (-2 * np.pi * np.sin(angle)))
        outer = cotangent * self.pattern(seed)[:, :, None] * np.exp(-power * total)
        gradient = np.array([(outer * total).sum(), *(power * (outer * slope).sum() for slope in slopes)])
        if self.fault == "raises":
            raise ZeroDivisionError("a lamp of\nno size")
        if self.fault == "finite":
            gradient[1] = np.nan
        if self.fault == "trace":
            self.texture *= 0.5
        if self.fault == "type":
            return gradient.astype(np.float32)
        return gradient[:-1] if self.fault == "shape" else gradient
