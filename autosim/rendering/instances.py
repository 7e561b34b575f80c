"""Frames that tell objects apart: boxes of what is seen, and renderers with an instance mask beside their own truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from autosim.errors import RendererError
from autosim.rendering.annotations import UNUSED, InstanceMask
from autosim.rendering.frames import Frame
from autosim.rendering.renderer import Renderer
from autosim.rendering.windows import Window
from autosim.scenes.graph import SceneGraph

INSTANCES = "instances"
MOST = 65535


def boxes_of(instances: NDArray[np.uint16], kinds: Sequence[int], most: int) -> NDArray[np.float32]:
    """Upright boxes of the pixels that show each object, as the annotation :class:`Boxes` has them: (most, 5).

    ``instances`` (H, W) holds 1 for the first of ``kinds``, the classes of the objects, 2 for the second, and so on. An
    object of which no pixel is seen has no box. ``ValueError`` where more than ``most`` are seen.
    """
    rows = []
    for number, kind in enumerate(kinds, start=1):
        seen = instances == number
        down, across = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
        if len(down):
            rows.append((across[0], down[0], across[-1] + 1, down[-1] + 1, kind))
    if len(rows) > most:
        raise ValueError(f"boxes: {len(rows)} objects are seen, and at most {most} are declared")
    boxes = np.full((most, 5), UNUSED, dtype=np.float32)
    boxes[: len(rows)] = np.array(rows, dtype=np.float32).reshape(-1, 5)
    return boxes


class InstanceRenderer(Renderer):
    """A renderer whose frames have ``instances``, an :class:`InstanceMask`, made by :meth:`Renderer.instances`.

    Everything else is as the renderer within gives it.
    """

    def __init__(self, inner: Renderer) -> None:
        self.inner = inner
        self.schema, self.height, self.width = inner.schema, inner.height, inner.width
        self.annotations = {**inner.annotations, INSTANCES: InstanceMask(MOST)}
        self.field_of_view = inner.field_of_view

    def build(self) -> None:
        """Build the renderer within."""
        self.inner.build()

    def draw(self, scene: SceneGraph, seed: int, effort: float = 1.0) -> NDArray[np.float32]:
        """Its image."""
        return self.inner.draw(scene, seed, effort)

    def annotate(self, scene: SceneGraph) -> Mapping[str, NDArray[np.generic]]:
        """Its annotations, and the instances."""
        return {**self.inner.annotate(scene), INSTANCES: self._instances(scene)}

    def render(self, scene: SceneGraph, seed: int) -> Frame:
        """Its frame, with the instances."""
        return self.render_many([scene], [seed])[0]

    def render_many(self, scenes: Sequence[SceneGraph], seeds: Sequence[int]) -> list[Frame]:
        """Its frames, each with the instances."""
        frames = self.inner.render_many(scenes, seeds)
        return [
            Frame(frame.image, {**frame.annotations, INSTANCES: self._instances(scene)})
            for scene, frame in zip(scenes, frames, strict=True)
        ]

    def cost(self, scene: SceneGraph, effort: float = 1.0, window: Window | None = None) -> float:
        """Its cost."""
        return self.inner.cost(scene, effort, window)

    def memory_held(self) -> int:
        """What it holds."""
        return self.inner.memory_held()

    def close(self) -> None:
        """Release what it created."""
        self.inner.close()

    def _instances(self, scene: SceneGraph) -> NDArray[np.uint16]:
        found = self.inner.instances(scene)
        if found is None:
            raise RendererError(f"{type(self.inner).__name__}: cannot tell objects apart")
        return found
