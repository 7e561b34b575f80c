"""Frames of a batch, put together from parts that come in any order."""

from __future__ import annotations

import numpy as np

from autosim.errors import RendererError
from autosim.rendering.frames import Frames
from autosim.rendering.worker import Layout, difference, layout


class FrameCollector:
    """Frames of ``count`` scenes by the renderer called ``name``. Each part is copied to its place when it comes, while
    others are still rendered: at the end that would be time in which nobody works.
    """

    def __init__(self, count: int, name: str) -> None:
        self._count, self._name = count, name
        self._frames: Frames | None = None
        self._layouts: dict[int, Layout] = {}

    def put(self, start: int, part: Frames) -> None:
        """Take in the frames from place ``start`` on."""
        found = self._layouts[start] = layout(part)
        if self._frames is None:
            self._frames = Frames(
                np.empty((self._count, *part.images.shape[1:]), dtype=part.images.dtype),
                {name: np.empty((self._count, *shape), dtype=kind) for name, (kind, shape) in found.items()},
            )
        if found == layout(self._frames):
            places = slice(start, start + len(part))
            self._frames.images[places] = part.images
            for name, values in part.annotations.items():
                self._frames.annotations[name][places] = values

    def whole(self) -> Frames:
        """All frames, once they are there; ``RendererError`` with its place where a part's annotations are not like
        those of the first.
        """
        assert self._frames is not None
        for start in sorted(self._layouts):
            if (found := self._layouts[start]) != self._layouts[0]:
                error = RendererError(f"{self._name}: scene {start}: {difference(found, self._layouts[0])}")
                error.place = start
                raise error
        return self._frames
