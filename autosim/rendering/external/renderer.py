"""Base class of renderers whose engine runs in a process of its own, in whatever language; see docs/protocol.md."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autosim.errors import RendererError
from autosim.rendering.annotations import Annotation, Boxes, ClassLabel, ClassMask, Depth, InstanceMask, Values
from autosim.rendering.external.engine import Engine, EngineSettings
from autosim.rendering.frames import Frame
from autosim.rendering.renderer import Renderer
from autosim.rendering.windows import Window
from autosim.scenes.graph import SceneGraph, Schema

# Scenes that are asked for at once; an answer holds all of their frames.
BATCH = 50


class ExternalRenderer(Renderer):
    """Frames of ``command``, which is started with the renderer and ended with it: by ``close``, and however the
    process that holds it ends.

    ``annotations`` declares what the engine gives; what it says of itself when it starts has to agree. An engine that
    hangs, dies or answers nonsense is ended, with a ``RendererError`` that says so in one line and shows the end of its
    log; the next request starts it again.
    """

    def __init__(
        self,
        schema: Schema,
        height: int,
        width: int,
        annotations: Mapping[str, Annotation],
        command: Sequence[str],
        settings: EngineSettings | None = None,
    ) -> None:
        if not command:
            raise ValueError("command: it is empty")
        self.schema, self.height, self.width = schema, height, width
        self.annotations = dict(annotations)
        self.command = tuple(command)
        self.settings = settings or EngineSettings()
        self._engine: Engine | None = None
        self._spent = 0.0

    @property
    def served(self) -> Mapping[str, Annotation]:
        """What the engine gives beside the image: the annotations, unless a subclass makes these of something else."""
        return self.annotations

    def build(self) -> None:
        """Start the engine and compare what it draws with what is declared."""
        self.close()
        engine = Engine(self.command, self.settings)
        said = {key: engine.hello.get(key) for key in ("height", "width", "annotations")}
        declared = {name: declaration(kind) for name, kind in self.served.items()}
        for key, expected in (("height", self.height), ("width", self.width), ("annotations", declared)):
            if said[key] != expected:
                engine.close()
                raise RendererError(f"the engine's {key} is {str(said[key])[:80]} instead of {str(expected)[:80]}")
        self._engine = engine

    def render(self, scene: SceneGraph, seed: int) -> Frame:
        """See :meth:`Renderer.render`."""
        return self.render_many([scene], [seed])[0]

    def render_many(self, scenes: Sequence[SceneGraph], seeds: Sequence[int]) -> list[Frame]:
        """See :meth:`Renderer.render_many`; :data:`BATCH` scenes are asked for at once."""
        frames: list[Frame] = []
        for start in range(0, len(scenes), BATCH):
            part = slice(start, start + BATCH)
            arrays = self._ask("render", start, scenes[part], seeds[part])
            images = self._images(arrays, (self.height, self.width), (np.dtype(np.uint8),))
            truth = {name: values for name, values in arrays.items() if name != "image"}
            frames += [Frame(image, {name: truth[name][i] for name in truth}) for i, image in enumerate(images)]
        return frames

    def draw(self, scene: SceneGraph, seed: int, effort: float = 1.0) -> NDArray[np.float32]:
        """See :meth:`Renderer.draw`."""
        return self.draw_many([scene], [seed], effort)[0]

    def draw_many(
        self, scenes: Sequence[SceneGraph], seeds: Sequence[int], effort: float = 1.0
    ) -> list[NDArray[np.float32]]:
        """See :meth:`Renderer.draw_many`."""
        images: list[NDArray[np.float32]] = []
        for start in range(0, len(scenes), BATCH):
            part = slice(start, start + BATCH)
            arrays = self._ask("draw", start, scenes[part], seeds[part], effort=effort)
            images += list(self._as_float(arrays, (self.height, self.width)))
        return images

    def draw_window(self, scene: SceneGraph, seed: int, effort: float, window: Window) -> NDArray[np.float32]:
        """See :meth:`Renderer.draw_window`."""
        asked = [window.top, window.left, window.height, window.width]
        arrays = self._ask("draw", 0, [scene], [seed], effort=effort, window=asked)
        return self._as_float(arrays, (window.height, window.width))[0]

    def annotate(self, scene: SceneGraph) -> Mapping[str, NDArray[np.generic]]:
        """The truth of a frame."""
        return self.render(scene, 0).annotations

    @property
    def annotates_by_rendering(self) -> bool:
        """An engine gives image and truth at once."""
        return True

    def core_seconds(self) -> float:
        """CPU seconds of this process and of its engines so far."""
        engine = self._engine
        return time.process_time() + self._spent + (engine.core_seconds() if engine is not None else 0.0)

    def memory_held(self) -> int:
        """Bytes that this process and its engine hold now: an engine that leaks is replaced with its worker."""
        return super().memory_held() + (self._engine.memory_held() if self._engine is not None else 0)

    def close(self) -> None:
        """End the engine."""
        if self._engine is not None:
            self._engine.close()
            self._spent += self._engine.core_seconds()
            self._engine = None

    def __getstate__(self) -> dict[str, Any]:
        """A copy in another process starts an engine of its own."""
        return {**self.__dict__, "_engine": None, "_spent": 0.0}

    def _ask(
        self,
        what: str,
        first: int,
        scenes: Sequence[SceneGraph],
        seeds: Sequence[int],
        effort: float = 1.0,
        **more: Any,
    ) -> dict[str, NDArray[Any]]:
        if self._engine is None:
            self.build()
        assert self._engine is not None
        graphs = [scene.to_json() for scene in scenes]
        try:
            return self._engine.ask(what, graphs, [int(seed) for seed in seeds], effort=effort, **more)
        except RendererError as error:
            if self._engine.ended:
                self.close()
            if error.place is not None:
                error.place += first
            raise

    def _images(
        self, arrays: Mapping[str, NDArray[Any]], shape: tuple[int, int], types: tuple[np.dtype[Any], ...]
    ) -> NDArray[Any]:
        images = arrays.get("image")
        if images is None or images.shape[1:] != (*shape, 3) or images.dtype not in types:
            found = "missing" if images is None else f"{images.dtype} {images.shape[1:]}"
            allowed = " or ".join(str(kind) for kind in types)
            raise RendererError(f"the engine's image is {found} instead of {allowed} {(*shape, 3)}")
        return images

    def _as_float(self, arrays: Mapping[str, NDArray[Any]], shape: tuple[int, int]) -> NDArray[np.float32]:
        images = self._images(arrays, shape, (np.dtype(np.uint8), np.dtype(np.float32)))
        return images.astype(np.float32) / np.float32(255.0) if images.dtype == np.uint8 else images


def declaration(kind: Annotation) -> dict[str, Any]:
    """An annotation as an engine declares it in its first message."""
    if isinstance(kind, (ClassMask, ClassLabel)):
        return {"kind": type(kind).__name__, "classes": list(kind.classes)}
    if isinstance(kind, InstanceMask):
        return {"kind": "InstanceMask", "most": kind.most}
    if isinstance(kind, Boxes):
        return {"kind": "Boxes", "classes": list(kind.classes), "most": kind.most}
    if isinstance(kind, Values):
        return {"kind": "Values", "shape": list(kind.shape), "whole": kind.whole}
    if isinstance(kind, Depth):
        return {"kind": "Depth"}
    raise ValueError(f"annotations: {type(kind).__name__} has no declaration in the protocol")
