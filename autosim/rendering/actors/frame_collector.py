"""Frames of a batch, put together from parts that come in any order."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from autosim.rendering.annotations import Annotation
from autosim.rendering.frames import Frames


class FrameCollector:
    """Frames of ``count`` scenes, of (height, width) and with the annotations that the renderer declares. Each part is
    copied when it arrives, while others are still rendered: after the last one the workers would be idle.
    """

    def __init__(self, count: int, height: int, width: int, declared: Mapping[str, Annotation]) -> None:
        self.frames = Frames(
            np.empty((count, height, width, 3), dtype=np.uint8),
            {
                name: np.empty((count, *kind.array_shape(height, width)), dtype=kind.dtype)
                for name, kind in declared.items()
            },
        )

    def put(self, start: int, part: Frames) -> None:
        """Take in the frames from place ``start`` on, which the worker has checked."""
        places = slice(start, start + len(part))
        self.frames.images[places] = part.images
        for name, values in self.frames.annotations.items():
            values[places] = part.annotations[name]
