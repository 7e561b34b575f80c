"""Handwritten digits as sprites, white on black."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autosim.rendering.annotations import Annotation, ClassMask
from autosim.rendering.sprites import Sprite, SpriteRenderer
from autosim.scenes.graph import SceneGraph, Schema
from envs.digits import LABELS, Source, load_digits

DIGITS = tuple(f"digit {label}" for label in LABELS)
# Of pixels.
CLASSES = ("background", *DIGITS)


class DigitRenderer(SpriteRenderer):
    """Draws nodes of class ``digit``, the first hindmost: ``label`` and ``variant`` say which image, ``x`` and ``y``
    where (shares of the canvas; the middle by default), ``yaw`` (degrees; 0 by default) how it is turned. A digit takes
    a square of ``size`` pixels. The mask holds :data:`CLASSES`. ``build`` reads the files of digits.
    """

    annotations: Mapping[str, Annotation] = {"mask": ClassMask(CLASSES)}

    def __init__(self, schema: Schema, edge: int, size: float, source: Source, folder: Path | None) -> None:
        super().__init__(schema, edge, edge)
        self.size, self.source, self.folder = size, source, folder

    def textures(self) -> Mapping[str, NDArray[np.uint8]]:
        """All images of digits."""
        self._digits = load_digits(self.source, self.folder)
        return {"digit": self._digits.images}

    def mask_class(self, label: int) -> int:
        """The class that a digit has in the mask."""
        return 1 + label

    def sprites(self, scene: SceneGraph) -> Sequence[Sprite]:
        """One for each digit."""
        sprites = []
        for node in scene.find("digit"):
            label, place = int(node["label"]), node.attributes
            sprites.append(
                Sprite(
                    "digit",
                    self._digits.index(label, float(node["variant"])),
                    float(place.get("x", 0.5)) * self.width,
                    float(place.get("y", 0.5)) * self.height,
                    self.size,
                    self.size,
                    math.radians(float(place.get("yaw", 0.0))),
                    mask_class=self.mask_class(label),
                )
            )
        return sprites
