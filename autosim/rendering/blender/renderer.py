"""Base class of renderers on Blender's Cycles: the engine draws the image and tells objects apart, the rest is here."""

from __future__ import annotations

import copy
import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autosim.errors import RendererError, UserError
from autosim.rendering.annotations import Annotation, InstanceMask
from autosim.rendering.blender.inside import start
from autosim.rendering.blender.installed import blender_command
from autosim.rendering.external.engine import EngineSettings
from autosim.rendering.external.renderer import ExternalRenderer
from autosim.rendering.frames import Frame
from autosim.rendering.instances import INSTANCES
from autosim.rendering.renderer import Renderer
from autosim.scenes.graph import SceneGraph, Schema

# The largest pass index that an object of Blender's may have.
MOST = 32767


class BlenderRenderer(ExternalRenderer):
    """Draws scenes by ``script``, which runs within Blender and serves pictures with the annotation ``instances``.

    ``blender`` is what :func:`~autosim.rendering.blender.installed.choose_blender` gives. The script gets one argument,
    JSON: ``height``, ``width``, ``samples`` (a pixel for every scene; null for what a scene asks for), ``scale``
    (pixels of a picture's longer edge for each that a scene asks for), ``options`` and ``most``, the largest number of
    an instance. A subclass makes its annotations from the instances (:meth:`truth`).
    """

    def __init__(
        self,
        schema: Schema,
        height: int,
        width: int,
        annotations: Mapping[str, Annotation],
        script: Path,
        options: Mapping[str, Any],
        blender: str = "",
        settings: EngineSettings | None = None,
    ) -> None:
        super().__init__(schema, height, width, annotations, (str(script),), settings)
        self.script, self.options, self.blender = script, dict(options), blender
        self._scale, self._fixed_samples = 1.0, 0

    @abstractmethod
    def truth(self, scene: SceneGraph, instances: NDArray[np.uint16]) -> dict[str, NDArray[np.generic]]:
        """The declared annotations of a scene from the number of the object that each pixel shows, 0 for none."""

    @property
    def served(self) -> Mapping[str, Annotation]:
        """The engine tells objects apart, and nothing else."""
        return {INSTANCES: InstanceMask(MOST)}

    def build(self) -> None:
        """Start Blender; ``RendererError`` where there is none here."""
        asked = {
            "height": self.height,
            "width": self.width,
            "samples": self._fixed_samples or None,
            "scale": self._scale,
            "options": self.options,
            "most": MOST,
        }
        begin = Path(start.__file__)
        arguments = [str(begin), str(begin.parents[3]), str(self.script), json.dumps(asked)]
        try:
            self.command = tuple(blender_command(self.blender, arguments))
        except UserError as error:
            raise RendererError(str(error)) from error
        super().build()

    def render_many(self, scenes: Sequence[SceneGraph], seeds: Sequence[int]) -> list[Frame]:
        """See :meth:`Renderer.render_many`."""
        frames = super().render_many(scenes, seeds)
        return [
            Frame(frame.image, self.truth(scene, _numbers(frame))) for scene, frame in zip(scenes, frames, strict=True)
        ]

    def instances(self, scene: SceneGraph) -> NDArray[np.uint16]:
        """See :meth:`Renderer.instances`."""
        (frame,) = super().render_many([scene], [0])
        return _numbers(frame)

    def resized(self, height: int, width: int, samples: int | None = None) -> Renderer:
        """See :meth:`Renderer.resized`: films grow with the picture; with ``samples`` they have all of its pixels."""
        other = copy.copy(self)
        other._engine, other._spent = None, 0.0
        other.height, other.width = height, width
        other._scale = self._scale * max(height, width) / max(self.height, self.width)
        other._fixed_samples = samples or self._fixed_samples
        return other


def _numbers(frame: Frame) -> NDArray[np.uint16]:
    return np.asarray(frame.annotations[INSTANCES], dtype=np.uint16)
