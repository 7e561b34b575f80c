"""The worker of a render pool: one built renderer that makes frames and the losses of perturbed scenes.

Runs in the process of a :class:`~autosim.rendering.pool.LocalPool` or inside a Ray actor; imports no torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from autosim.errors import RendererError
from autosim.rendering.annotations import check_frame
from autosim.rendering.differences import ADJOINT_IMAGES, GradientSettings, Stencil
from autosim.rendering.frames import Frame, Frames
from autosim.rendering.losses import Cotangents, stencil_losses
from autosim.rendering.renderer import Renderer
from autosim.rendering.usage import Usage
from autosim.scenes.graph import SceneGraph


@dataclass(frozen=True)
class Piece:
    """Perturbed scenes ``start`` to ``stop`` of one scene's stencil; the scene's adjoint is one piece, from 0 to 1.

    ``index`` is the scene's place in the batch, ``row`` that of its cotangents among those sent.
    """

    index: int
    row: int
    scene: SceneGraph
    seed: int
    start: int
    stop: int


class Worker:
    """Holds a renderer and builds it before its first work. Every failure is a :class:`RendererError` of one line."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        # Read before the renderer is built, as in the pool.
        self._declared = dict(renderer.annotations)
        self._built = False

    def build(self) -> None:
        """Build the renderer unless it is built."""
        if not self._built:
            with _named(self._renderer, "could not be built"):
                self._renderer.build()
            self._built = True

    def render(self, first: int, scenes: Sequence[SceneGraph], seeds: Sequence[int]) -> tuple[Frames, float, Usage]:
        """Frames of scenes (``first`` is the place of the first in its batch), seconds taken, and what was used."""
        self.build()
        return self._made(first, scenes, partial(self._frames, first, scenes, seeds), counted=True)

    def annotate(self, first: int, scenes: Sequence[SceneGraph], seeds: Sequence[int]) -> tuple[Frames, float, Usage]:
        """The same with black images, which are not counted, where the renderer finds the truth without one."""
        self.build()
        renderer = self._renderer
        if renderer.annotates_by_rendering:
            return self.render(first, scenes, seeds)
        black = np.zeros((renderer.height, renderer.width, 3), dtype=np.uint8)

        def made() -> Sequence[Frame]:
            frames = []
            for index, scene in enumerate(scenes, first):
                with _named(renderer, f"scene {index}", index):
                    frames.append(Frame(black, renderer.annotate(scene)))
            return frames

        return self._made(first, scenes, made, counted=False)

    def _made(
        self, first: int, scenes: Sequence[SceneGraph], make: Callable[[], Sequence[Frame]], counted: bool
    ) -> tuple[Frames, float, Usage]:
        start, core_start = time.perf_counter(), self._renderer.core_seconds()
        frames = make()
        if len(frames) != len(scenes):
            name = type(self._renderer).__name__
            raise RendererError(f"{name}: render_many gave {len(frames)} frames of {len(scenes)} scenes")
        checked = []
        for index, frame in enumerate(frames, first):
            with _named(self._renderer, f"scene {index}", index):
                checked.append(check_frame(self._declared, frame, self._renderer.height, self._renderer.width))
        stacked = Frames.stack(checked)
        cost = sum(self._renderer.cost(scene) for scene in scenes) if counted else 0.0
        used = Usage(len(stacked) if counted else 0, cost, self._renderer.core_seconds() - core_start)
        return stacked, time.perf_counter() - start, used

    def gradient_parts(
        self, pieces: Sequence[Piece], cotangents: Cotangents, settings: GradientSettings
    ) -> tuple[NDArray[np.float64], float, Usage]:
        """Loss of each perturbed scene, or the whole gradient where it is the renderer's adjoint; one piece after
        another, float64; seconds taken, and what was used.
        """
        self.build()
        start, core_start = time.perf_counter(), self._renderer.core_seconds()
        renderer = self._renderer
        parts: list[float] = []
        used = Usage()
        for piece in pieces:
            with _named(renderer, f"gradient of scene {piece.index}", piece.index):
                cotangent = cotangents.of(piece.row)
                if settings.method == "adjoint":
                    assert cotangent.image is not None
                    adjoint = renderer.checked_adjoint(piece.scene, piece.seed, cotangent.image, settings.effort)
                    parts += adjoint.tolist()
                    used += Usage(ADJOINT_IMAGES, ADJOINT_IMAGES * renderer.cost(piece.scene, settings.effort))
                else:
                    stencil = Stencil(renderer.schema, piece.scene, piece.seed, settings)
                    losses, own = stencil_losses(renderer, stencil, piece.start, piece.stop, cotangent)
                    parts += losses
                    used += own
        used += Usage(core_seconds=self._renderer.core_seconds() - core_start)
        return np.array(parts, dtype=np.float64), time.perf_counter() - start, used

    def memory_held(self) -> int:
        """See :meth:`Renderer.memory_held`."""
        return self._renderer.memory_held()

    def close(self) -> None:
        """Release the renderer's resources."""
        if self._built:
            self._renderer.close()
            self._built = False

    def _frames(self, first: int, scenes: Sequence[SceneGraph], seeds: Sequence[int]) -> Sequence[Frame]:
        """Frames of scenes; where they fail together, they are drawn one by one to name the scene at fault."""
        renderer = self._renderer
        try:
            return renderer.render_many(scenes, seeds)
        except Exception as error:
            for index, (scene, seed) in enumerate(zip(scenes, seeds, strict=True), first):
                with _named(renderer, f"scene {index}", index):
                    renderer.render(scene, seed)
            with _named(renderer, f"scenes {first} to {first + len(scenes) - 1}"):
                raise error


@contextmanager
def _named(renderer: Renderer, what: str, place: int | None = None) -> Iterator[None]:
    name = type(renderer).__name__
    try:
        yield
    except RendererError as error:
        named = RendererError(f"{name}: {what}: {_line(str(error)).removeprefix(f'{name}: ')}")
        named.place = place
        raise named from error
    except Exception as error:
        named = RendererError(f"{name}: {what}: {type(error).__name__}: {_line(str(error))}")
        named.place = place
        raise named from error


def _line(text: str) -> str:
    return " ".join(text.split())
