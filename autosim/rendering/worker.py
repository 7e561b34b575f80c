"""The worker of a render pool: one built renderer, asked for frames or for what gradients are made of.

Runs in the process of a :class:`~autosim.rendering.pool.LocalPool` or inside a Ray actor; imports no torch.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autosim.errors import RendererError
from autosim.rendering.differences import GradientSettings, Stencil, dot
from autosim.rendering.frames import Frame, Frames
from autosim.rendering.renderer import Renderer
from autosim.scenes.graph import SceneGraph

# Types and shapes of annotations by name.
Layout = dict[str, tuple["np.dtype[Any]", tuple[int, ...]]]
# Perturbed scenes of one stencil that are drawn together.
AT_ONCE = 32


@dataclass(frozen=True)
class Piece:
    """Perturbed scenes ``start`` to ``stop`` of one scene's stencil; the scene's adjoint is one piece, from 0 to 1.

    ``index`` is the scene's place in the batch, ``row`` that of its cotangent among those sent.
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
        self._built = False

    def build(self) -> None:
        """Build the renderer unless it is built."""
        if not self._built:
            with _named(self._renderer, "could not be built"):
                self._renderer.build()
            self._built = True

    def render(self, first: int, scenes: Sequence[SceneGraph], seeds: Sequence[int]) -> tuple[Frames, float]:
        """Frames of scenes (``first`` is the place of the first in its batch), and seconds taken."""
        self.build()
        start = time.perf_counter()
        frames = self._frames(first, scenes, seeds)
        if len(frames) != len(scenes):
            name = type(self._renderer).__name__
            raise RendererError(f"{name}: render_many gave {len(frames)} frames of {len(scenes)} scenes")
        expected: Layout | None = None
        for index, frame in enumerate(frames, first):
            with _named(self._renderer, f"scene {index}", index):
                self._check(frame)
                found = layout(frame)
                if expected is None:
                    expected = found
                if found != expected:
                    raise RendererError(difference(found, expected))
        return Frames.stack(frames), time.perf_counter() - start

    def gradient_parts(
        self, pieces: Sequence[Piece], cotangents: NDArray[np.float32], settings: GradientSettings
    ) -> tuple[NDArray[np.float64], float]:
        """Cotangent times image of each perturbed scene, or the whole gradient where it is the renderer's adjoint; one
        piece after another, float64, and seconds taken.
        """
        self.build()
        start = time.perf_counter()
        parts: list[float] = []
        for piece in pieces:
            with _named(self._renderer, f"gradient of scene {piece.index}", piece.index):
                cotangent = cotangents[piece.row]
                if settings.method == "adjoint":
                    adjoint = self._renderer.checked_adjoint(piece.scene, piece.seed, cotangent, settings.effort)
                    parts += adjoint.tolist()
                else:
                    parts += self._losses(piece, cotangent, settings)
        return np.array(parts, dtype=np.float64), time.perf_counter() - start

    def close(self) -> None:
        """Release the renderer's resources."""
        if self._built:
            self._renderer.close()
            self._built = False

    def _losses(self, piece: Piece, cotangent: NDArray[np.float32], settings: GradientSettings) -> list[float]:
        stencil = Stencil(self._renderer.schema, piece.scene, piece.seed, settings)
        losses: list[float] = []
        for start in range(piece.start, piece.stop, AT_ONCE):
            scenes = [stencil.scene(number) for number in range(start, min(start + AT_ONCE, piece.stop))]
            images = self._renderer.checked_draw_many(scenes, [piece.seed] * len(scenes), settings.effort)
            losses += [dot(cotangent, image) for image in images]
        return losses

    def _frames(self, first: int, scenes: Sequence[SceneGraph], seeds: Sequence[int]) -> Sequence[Frame]:
        """Frames of scenes; where they fail together, one after another, so that the one at fault is named."""
        renderer = self._renderer
        try:
            return renderer.render_many(scenes, seeds)
        except Exception as error:
            for index, (scene, seed) in enumerate(zip(scenes, seeds, strict=True), first):
                with _named(renderer, f"scene {index}", index):
                    renderer.render(scene, seed)
            with _named(renderer, f"scenes {first} to {first + len(scenes) - 1}"):
                raise error

    def _check(self, frame: Frame) -> None:
        image, expected = frame.image, (self._renderer.height, self._renderer.width, 3)
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape != expected:
            found = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
            raise RendererError(f"image is {found} instead of uint8 {expected}")
        for name, values in frame.annotations.items():
            array, count = np.asarray(values), self._renderer.classes.get(name)
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise RendererError(f"annotation {name!r} has values that are not finite")
            if count is not None and (array.dtype.kind not in "iub" or not ((array >= 0) & (array < count)).all()):
                found = f"{array.dtype} from {array.min()} to {array.max()}"
                raise RendererError(f"annotation {name!r} is {found} instead of integers from 0 to {count - 1}")
        for name in self._renderer.classes:
            if name not in frame.annotations:
                raise RendererError(f"annotation {name!r} is missing; there are {sorted(frame.annotations)}")


def layout(frames: Frame | Frames) -> Layout:
    """Type and shape of the annotations of a frame, or of each of several, by name."""
    skipped = 1 if isinstance(frames, Frames) else 0
    return {name: (np.asarray(values).dtype, np.shape(values)[skipped:]) for name, values in frames.annotations.items()}


def difference(found: Layout, expected: Layout) -> str:
    """What is wrong, in words, with annotations that are not as expected."""
    ours, theirs = (
        {name: f"{dtype}{list(shape)}" for name, (dtype, shape) in sorted(each.items())} for each in (found, expected)
    )
    return f"annotations {ours} differ from {theirs}"


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
