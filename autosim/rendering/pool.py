"""Render pools: scenes in, frames out, in order, from one process or from many Ray actors.

Results do not depend on the number of workers or on how work is divided among them: a frame is a function of (scene,
seed), and an attribute's gradient of (scene, seed, cotangent, settings).
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from autosim.cache import saved_core_seconds
from autosim.errors import RendererError
from autosim.parallel import RaySettings, core_seconds
from autosim.rendering.actors.frame_collector import FrameCollector
from autosim.rendering.annotations import Annotation, ClassMask
from autosim.rendering.differences import GradientSettings, Stencil, renders_per_scene
from autosim.rendering.frames import Frame, Frames
from autosim.rendering.losses import Cotangents
from autosim.rendering.renderer import Renderer
from autosim.rendering.usage import Usage
from autosim.rendering.worker import Piece, Worker
from autosim.scenes.graph import SceneGraph, Schema

Pool = TypeVar("Pool", bound="RenderPool")
# Scenes that this process renders before it puts their frames with the others.
AT_ONCE = 64
# One image in so many is drawn a second time, to see whether the renderer keeps to scene and seed.
SECOND_LOOK = 100


class RenderPool(ABC):
    """Renders batches of scenes. ``used`` counts all images rendered so far, those for gradients included, their render
    cost and the CPU seconds of the processes that rendered; ``images``, ``cost`` and ``core_seconds`` are its parts.

    ``workers`` is the number of processes that render, 0 for this process alone. ``annotations`` are those that the
    renderer declares. Usable as a context manager.

    One image in a hundred is drawn a second time, where there are several workers by another one, and not counted. What
    comes out otherwise is told in ``notice``, one line that is empty otherwise.
    """

    def __init__(self, renderer: Renderer, workers: int) -> None:
        self.schema: Schema = renderer.schema
        self.renderer_name = type(renderer).__name__
        self.height, self.width = renderer.height, renderer.width
        self.annotations: Mapping[str, Annotation] = dict(renderer.annotations)
        self.annotates_by_rendering = renderer.annotates_by_rendering
        self.workers = workers
        self.used = Usage()
        self.notice = ""
        self._not_looked_at = 0
        self._renderer = renderer

    @property
    def images(self) -> int:
        """Images rendered so far."""
        return self.used.images

    @property
    def cost(self) -> float:
        """Render cost so far (``Renderer.cost``): samples times pixels; an image in a window counts the window's
        pixels.
        """
        return self.used.cost

    @property
    def core_seconds(self) -> float:
        """CPU seconds of rendering so far, of all processes together."""
        return self.used.core_seconds

    def charged_core_seconds(self) -> float:
        """CPU seconds so far of this process, its tasks in other processes and the workers that render, and those that
        the cache has spared it; the difference of two values is what a part of a run is charged.
        """
        return core_seconds() + saved_core_seconds() + (self.core_seconds if self.workers else 0.0)

    def usage_of(self, scenes: Sequence[SceneGraph]) -> Usage:
        """Images and cost of frames of these scenes, without rendering them."""
        return Usage(len(scenes), sum(self._renderer.cost(scene) for scene in scenes))

    def render(self, scenes: Sequence[SceneGraph], seeds: Sequence[int]) -> Frames:
        """Frames of the scenes, in order; ``seeds`` (31 bits each) fix the renderer's randomness.

        ``ValueError`` where there are no scenes or the numbers of scenes and seeds differ; ``RendererError`` where the
        renderer fails.
        """
        frames = self._drawn(scenes, seeds, images=True)
        self._look_again(scenes, seeds, frames)
        return frames

    def annotate(self, scenes: Sequence[SceneGraph], seeds: Sequence[int]) -> Frames:
        """Frames of the scenes with their annotations and black images, which cost nothing and are not counted. Of a
        renderer that finds annotations by rendering (``Renderer.annotates_by_rendering``), what :meth:`render` gives.
        """
        if self.annotates_by_rendering:
            return self.render(scenes, seeds)
        return self._drawn(scenes, seeds, images=False)

    def _drawn(self, scenes: Sequence[SceneGraph], seeds: Sequence[int], images: bool) -> Frames:
        numbers = _checked(scenes, seeds)
        if not scenes:
            raise ValueError("no scenes to render")
        with _with_scene(scenes):
            return self._render(scenes, numbers, images)

    def _look_again(self, scenes: Sequence[SceneGraph], seeds: Sequence[int], frames: Frames) -> None:
        """Draw the last few scenes a second time, one for each hundred since the last time."""
        self._not_looked_at += len(scenes)
        count = min(self._not_looked_at // SECOND_LOOK, len(scenes))
        if not count or self.notice:
            return
        self._not_looked_at %= SECOND_LOOK
        before = self.used
        try:
            again = self._render_again(scenes[-count:], seeds[-count:])
        except RendererError:  # those that count were drawn
            return
        finally:
            self.used = before + Usage(core_seconds=self.used.core_seconds - before.core_seconds)
        for i in range(count):
            place = len(scenes) - count + i
            if (what := _difference(frames.frame(place), again.frame(i))) is not None:
                seed, other = seeds[place], " in another process" if self.workers > 1 else ""
                self.notice = (
                    f"{self.renderer_name}: scene {place} with seed {seed} came out otherwise when it was drawn again"
                    f"{other}: {what}; a renderer that does not keep to scene and seed makes no run repeatable"
                )
                return

    def vjp(
        self,
        scenes: Sequence[SceneGraph],
        seeds: Sequence[int],
        cotangents: NDArray[np.float32] | None,
        settings: GradientSettings,
        labels: Mapping[str, NDArray[np.float32]] | None = None,
    ) -> list[NDArray[np.float64]]:
        """Per scene ``dL/d(normalised value)`` of its mutable continuous attributes, in the order of ``Schema.values``.

        ``cotangents`` (n, H, W, 3) holds ``dL/d(image)`` for images in [0, 1], each used for its own scene alone; with
        None no images are drawn. ``labels`` holds by the name of a class mask ``dL/d(one-hot mask)`` (n, H, W,
        classes): a loss that is linear in the mask is differenced exactly between the masks of perturbed scenes. A
        scene whose cotangents are zero throughout has gradient zero and is not rendered. ``ValueError`` where shapes do
        not fit, a cotangent is not finite, a label is no class mask, or the method is the adjoint and there are labels;
        ``RendererError`` where the renderer fails or has no adjoint of a scene.
        """
        seeds = _checked(scenes, seeds)
        sent = self._checked_cotangents(len(scenes), cotangents, labels or {})
        whole = settings.method == "adjoint"
        if whole and labels:
            raise ValueError("method: the adjoint has none of labels; allowed are central, forward and spsa")
        gradients = [np.zeros(len(self.schema.mutable_continuous(scene))) for scene in scenes]
        arrays = [values for values in (sent.images, *sent.labels.values()) if values is not None]
        active = [i for i, own in enumerate(gradients) if len(own) and any(np.any(values[i]) for values in arrays)]
        pieces = [
            Piece(i, row, scenes[i], seeds[i], 0, 1 if whole else renders_per_scene(settings, len(gradients[i])))
            for row, i in enumerate(active)
        ]
        if pieces:
            with _with_scene(scenes):
                parts = self._gradient_parts(pieces, sent.select(active), settings)
            ends = np.cumsum([len(gradients[piece.index]) if whole else piece.stop for piece in pieces])[:-1]
            for piece, part in zip(pieces, np.split(parts, ends), strict=True):
                stencil = None if whole else Stencil(self.schema, piece.scene, piece.seed, settings)
                gradients[piece.index] = part if stencil is None else stencil.gradient(part)
        return gradients

    def _checked_cotangents(
        self, count: int, images: NDArray[np.float32] | None, labels: Mapping[str, NDArray[np.float32]]
    ) -> Cotangents:
        expected = {"cotangents": 3}
        for name in labels:
            kind = self.annotations.get(name)
            if not isinstance(kind, ClassMask):
                masks = sorted(key for key, each in self.annotations.items() if isinstance(each, ClassMask))
                raise ValueError(f"labels: {name!r} is no class mask; allowed are {masks}")
            expected[f"cotangents of {name!r}"] = len(kind.classes)
        given = [images, *labels.values()]
        for (what, channels), values in zip(expected.items(), given, strict=True):
            if values is None:
                continue
            shape = (count, self.height, self.width, channels)
            if values.shape != shape:
                raise ValueError(f"{what} have shape {values.shape} instead of {shape}")
            for i, cotangent in enumerate(values):
                if not np.isfinite(cotangent).all():
                    raise ValueError(f"{what.replace('cotangents', 'cotangent')} of scene {i} is not finite")
        return Cotangents(images, labels)

    @abstractmethod
    def warm_up(self) -> None:
        """Build the renderers now, so that timings leave it out; ``RendererError`` where one cannot be built."""

    @abstractmethod
    def close(self) -> None:
        """Release the workers; safe to call twice."""

    @abstractmethod
    def _render(self, scenes: Sequence[SceneGraph], seeds: Sequence[int], images: bool = True) -> Frames:
        """Frames of the scenes, in order; without ``images`` black ones."""

    def _render_again(self, scenes: Sequence[SceneGraph], seeds: Sequence[int]) -> Frames:
        """The last scenes of the batch that was drawn last, by another worker where there is one."""
        return self._render(scenes, seeds)

    @abstractmethod
    def _gradient_parts(
        self, pieces: Sequence[Piece], cotangents: Cotangents, settings: GradientSettings
    ) -> NDArray[np.float64]:
        """Losses of whole stencils, or adjoints, one after another."""

    def __enter__(self: Pool) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class LocalPool(RenderPool):
    """Renders in this process, with a copy of ``renderer`` that is built when first needed."""

    def __init__(self, renderer: Renderer) -> None:
        super().__init__(renderer, 0)
        self._worker = Worker(copy.deepcopy(renderer))

    def warm_up(self) -> None:
        self._worker.build()

    def close(self) -> None:
        self._worker.close()

    def _render(self, scenes: Sequence[SceneGraph], seeds: Sequence[int], images: bool = True) -> Frames:
        collector = FrameCollector(len(scenes), self.height, self.width, self.annotations)
        make = self._worker.render if images else self._worker.annotate
        for start in range(0, len(scenes), AT_ONCE):
            places = slice(start, start + AT_ONCE)
            frames, _, used = make(start, scenes[places], seeds[places])
            self.used += used
            collector.put(start, frames)
        return collector.frames

    def _gradient_parts(
        self, pieces: Sequence[Piece], cotangents: Cotangents, settings: GradientSettings
    ) -> NDArray[np.float64]:
        parts, _, used = self._worker.gradient_parts(pieces, cotangents, settings)
        self.used += used
        return parts


def make_pool(renderer: Renderer, workers: int, ray_settings: RaySettings | None = None) -> RenderPool:
    """A pool of ``workers`` Ray actors, or of this process where ``workers`` is 0."""
    if workers < 0:
        raise ValueError(f"workers: {workers} is below 0")
    if not workers:
        return LocalPool(renderer)
    from autosim.rendering.actors.pool import RayPool

    return RayPool(renderer, workers, ray_settings=ray_settings)


def _difference(first: Frame, second: Frame) -> str | None:
    """What differs between two frames of one scene and seed; None where nothing does."""
    apart = np.abs(first.image.astype(int) - second.image.astype(int)).max(axis=-1)
    if apart.any():
        return f"{np.count_nonzero(apart)} pixels differ, by {apart.max()} of 255 at most"
    for name, values in first.annotations.items():
        if not np.array_equal(values, second.annotations[name]):
            return f"annotation {name!r} differs"
    return None


@contextmanager
def _with_scene(scenes: Sequence[SceneGraph]) -> Iterator[None]:
    """Attach to a renderer's error the scene that it is about."""
    try:
        yield
    except RendererError as error:
        if error.place is not None:
            error.scene = scenes[error.place].to_json()
        raise


def _checked(scenes: Sequence[SceneGraph], seeds: Sequence[int]) -> list[int]:
    if len(scenes) != len(seeds):
        raise ValueError(f"{len(seeds)} seeds for {len(scenes)} scenes")
    numbers = [int(seed) for seed in seeds]
    for i, seed in enumerate(numbers):
        if not 0 <= seed < 2**31:
            raise ValueError(f"seed {seed} of scene {i} is not in [0, 2**31)")
    return numbers
