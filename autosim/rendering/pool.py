"""Render pools: scenes in, frames out, in order, from one process or from many Ray actors.

What a pool answers does not depend on how many workers it has or on how work was cut: a frame is a function of (scene,
seed), and an attribute's gradient one of (scene, seed, cotangent, settings).
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autosim.errors import RendererError
from autosim.parallel import original_error, placement, start_ray
from autosim.rendering.differences import GradientSettings, Stencil, renders_per_scene
from autosim.rendering.frames import Frames
from autosim.rendering.renderer import Renderer
from autosim.rendering.worker import Piece, Worker, layout
from autosim.scenes.graph import SceneGraph, Schema


class RenderPool(ABC):
    """Renders batches of scenes. ``images`` counts all images rendered so far, those for gradients included.

    ``workers`` is the number of processes that render, 0 where it is this one. Usable as a context manager.
    """

    def __init__(self, renderer: Renderer, workers: int) -> None:
        self.schema: Schema = renderer.schema
        self.height, self.width = renderer.height, renderer.width
        self.workers = workers
        self.images = 0

    def render(self, scenes: Sequence[SceneGraph], seeds: Sequence[int]) -> Frames:
        """Frames of the scenes, in order; ``seeds`` (31 bits each) fix the renderer's randomness.

        ``ValueError`` where there are no scenes or numbers differ; ``RendererError`` where the renderer fails.
        """
        seeds = _checked(scenes, seeds)
        if not scenes:
            raise ValueError("no scenes to render")
        parts = self._render(scenes, seeds)
        first = 0
        for part in parts:
            if layout(part) != layout(parts[0]):
                raise RendererError(f"scene {first}: annotations {layout(part)} differ from {layout(parts[0])}")
            first += len(part)
        return Frames.concatenate(parts)

    def vjp(
        self,
        scenes: Sequence[SceneGraph],
        seeds: Sequence[int],
        cotangents: NDArray[np.float32],
        settings: GradientSettings,
    ) -> list[NDArray[np.float64]]:
        """Per scene ``dL/d(normalised value)`` of its mutable continuous attributes, in the order of ``Schema.values``.

        ``cotangents`` (n, H, W, 3) holds ``dL/d(image)`` for images in [0, 1], each scene dotted with its own alone. A
        scene whose cotangent is zero throughout has gradient zero and is not rendered. ``ValueError`` where shapes do
        not fit or a cotangent is not finite; ``RendererError`` where the renderer fails.
        """
        seeds = _checked(scenes, seeds)
        expected = (len(scenes), self.height, self.width, 3)
        if cotangents.shape != expected:
            raise ValueError(f"cotangents have shape {cotangents.shape} instead of {expected}")
        for i, cotangent in enumerate(cotangents):
            if not np.isfinite(cotangent).all():
                raise ValueError(f"cotangent of scene {i} is not finite")
        gradients = [np.zeros(len(self.schema.mutable_continuous(scene))) for scene in scenes]
        active = [i for i, gradient in enumerate(gradients) if len(gradient) and np.any(cotangents[i])]
        pieces = [
            Piece(i, row, scenes[i], seeds[i], 0, renders_per_scene(settings, len(gradients[i])))
            for row, i in enumerate(active)
        ]
        if pieces:
            losses = self._losses(pieces, np.ascontiguousarray(cotangents[active], dtype=np.float32), settings)
            ends = np.cumsum([piece.stop for piece in pieces])[:-1]
            for piece, part in zip(pieces, np.split(losses, ends), strict=True):
                gradients[piece.index] = Stencil(self.schema, piece.scene, piece.seed, settings).gradient(part)
        return gradients

    @abstractmethod
    def warm_up(self) -> None:
        """Build the renderers now, to keep that out of what is timed; ``RendererError`` where one cannot be built."""

    @abstractmethod
    def close(self) -> None:
        """Release the workers; safe to call twice."""

    @abstractmethod
    def _render(self, scenes: Sequence[SceneGraph], seeds: Sequence[int]) -> list[Frames]:
        """Frames of the scenes in parts, in order."""

    @abstractmethod
    def _losses(
        self, pieces: Sequence[Piece], cotangents: NDArray[np.float32], settings: GradientSettings
    ) -> NDArray[np.float64]:
        """Losses of whole stencils, one after another."""

    def __enter__(self) -> RenderPool:
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

    def _render(self, scenes: Sequence[SceneGraph], seeds: Sequence[int]) -> list[Frames]:
        frames, _ = self._worker.render(0, scenes, seeds)
        self.images += len(frames)
        return [frames]

    def _losses(
        self, pieces: Sequence[Piece], cotangents: NDArray[np.float32], settings: GradientSettings
    ) -> NDArray[np.float64]:
        losses, _ = self._worker.losses(pieces, cotangents, settings)
        self.images += len(losses)
        return losses


@dataclass
class _Pace:
    """What an image has cost lately, and so how many to send to an actor at once.

    A chunk should take long beside its transport (half a millisecond to one and a half) and be short beside the whole,
    so that actors end together. Ray answers with results below 100 KiB directly and with larger ones through shared
    memory, which costs about a millisecond more: just above the limit is the worst place to be.
    """

    seconds: float | None = None
    payload: int = 0

    shortest = 0.005
    longest = 0.050
    direct = 96 * 1024
    large = 400 * 1024

    def note(self, count: int, seconds: float, result: Frames | NDArray[np.float64]) -> None:
        """Take in the time that a chunk of ``count`` images took, and the size of its result."""
        latest = seconds / count
        self.seconds = latest if self.seconds is None else 0.7 * self.seconds + 0.3 * latest
        arrays = [result.images, *result.annotations.values()] if isinstance(result, Frames) else [result]
        self.payload = sum(np.asarray(array).nbytes for array in arrays) // count

    def size(self, remaining: int, workers: int) -> int:
        """Images for the next chunk where ``remaining`` are left to send."""
        if self.seconds is None:
            return 1
        seconds = max(self.seconds, 1e-7)
        size = min(math.ceil(remaining / (2 * workers)), math.ceil(self.longest / seconds))
        size = max(size, math.ceil(self.shortest / seconds))
        if self.direct < size * self.payload < self.large:
            size = self.direct // self.payload
        return max(1, min(size, remaining))


class _Actor:
    """A worker in a Ray actor. ``sent`` holds the reference of the renderer, fetched at the actor's first work.

    It comes with every call and not to the constructor, for Ray warns of actors that need an object to start again.
    """

    def __init__(self) -> None:
        self._worker: Worker | None = None

    def build(self, sent: Sequence[Any]) -> None:
        self._ready(sent).build()

    def render(self, sent: Sequence[Any], *work: Any) -> tuple[Frames, float]:
        return self._ready(sent).render(*work)

    def losses(self, sent: Sequence[Any], *work: Any) -> tuple[NDArray[np.float64], float]:
        return self._ready(sent).losses(*work)

    def close(self) -> None:
        if self._worker is not None:
            self._worker.close()

    def _ready(self, sent: Sequence[Any]) -> Worker:
        import ray

        if self._worker is None:
            self._worker = Worker(ray.get(sent[0]))
        return self._worker


class RayPool(RenderPool):
    """Renders in ``workers`` Ray actors (at least 1), starting Ray where it does not run.

    Each actor builds the renderer once and keeps it. Work goes out in chunks, two in flight for each actor, of
    ``chunk`` images or, by default, of a size fitted to how long an image takes. An actor that dies is started again
    and its work repeated, up to three times; then ``RendererError``. For a failing renderer's traceback use a
    :class:`LocalPool`.
    """

    in_flight = 2
    retries = 3

    def __init__(self, renderer: Renderer, workers: int, chunk: int | None = None) -> None:
        if workers < 1:
            raise ValueError(f"workers: {workers} is not at least 1")
        if chunk is not None and chunk < 1:
            raise ValueError(f"chunk: {chunk} is not at least 1")
        super().__init__(renderer, workers)
        start_ray(workers)
        import ray

        self._name = type(renderer).__name__
        self._chunk = chunk
        self._frame_pace, self._loss_pace = _Pace(), _Pace()
        self._sent = [ray.put(renderer)]
        actor: Any = ray.remote(_Actor).options(
            num_cpus=0, max_restarts=-1, max_task_retries=self.retries, **placement()
        )
        self._actors: list[Any] = [actor.remote() for _ in range(workers)]
        self._builds = [worker.build.remote(self._sent) for worker in self._actors]

    def warm_up(self) -> None:
        import ray

        try:
            ray.get(self._builds)
        except ray.exceptions.RayError as error:
            raise self._explained(error, "could not be built") from None

    def close(self) -> None:
        import ray

        actors, self._actors, self._builds = self._actors, [], []
        if not actors or not ray.is_initialized():
            return
        try:
            # A renderer may own a process of its own, which should be told; a busy actor is not waited for.
            closing = [actor.close.options(max_task_retries=0).remote() for actor in actors]
            ray.wait(closing, num_returns=len(closing), timeout=2.0)
        finally:
            for actor in actors:
                ray.kill(actor, no_restart=True)

    def _render(self, scenes: Sequence[SceneGraph], seeds: Sequence[int]) -> list[Frames]:
        def send(actor: Any, start: int, stop: int) -> Any:
            return actor.render.remote(self._sent, start, scenes[start:stop], seeds[start:stop])

        return self._map(len(scenes), send, lambda start, stop: _scenes(start, stop - 1), self._frame_pace)

    def _losses(
        self, pieces: Sequence[Piece], cotangents: NDArray[np.float32], settings: GradientSettings
    ) -> NDArray[np.float64]:
        import ray

        shared = ray.put(cotangents)
        ends = np.cumsum([piece.stop for piece in pieces])

        def send(actor: Any, start: int, stop: int) -> Any:
            return actor.losses.remote(self._sent, _cut(pieces, ends, start, stop), shared, settings)

        def name(start: int, stop: int) -> str:
            cut = _cut(pieces, ends, start, stop)
            return f"gradient of {_scenes(cut[0].index, cut[-1].index)}"

        return np.concatenate(self._map(int(ends[-1]), send, name, self._loss_pace))

    def _map(
        self,
        count: int,
        send: Callable[[Any, int, int], Any],
        name: Callable[[int, int], str],
        pace: _Pace,
    ) -> list[Any]:
        """Results, in order, of ``count`` pieces of work; ``send(actor, start, stop)`` gives some to an actor and
        ``name(start, stop)`` names them.
        """
        import ray

        if not self._actors:
            raise RuntimeError("the pool is closed")
        results: dict[int, Any] = {}
        failures: dict[int, RendererError] = {}
        pending: dict[Any, tuple[Any, int, int]] = {}
        start = 0
        idle = self._actors * self.in_flight
        try:
            while idle or pending:
                while idle and start < count and not failures:
                    actor = idle.pop(0)
                    stop = min(count, start + (self._chunk or pace.size(count - start, self.workers)))
                    pending[send(actor, start, stop)] = (actor, start, stop)
                    start = stop
                if not pending:
                    break
                reference = ray.wait(list(pending), num_returns=1)[0][0]
                actor, first, last = pending.pop(reference)
                idle.append(actor)
                try:
                    result, seconds = ray.get(reference)
                except ray.exceptions.RayError as error:
                    # All that was sent is waited for: the failure reported is the earliest one, whichever came first.
                    failures[first] = self._explained(error, name(first, last))
                    continue
                results[first] = result
                pace.note(last - first, seconds, result)
                self.images += last - first
        except BaseException:
            for reference in pending:
                ray.cancel(reference)
            raise
        if failures:
            raise failures[min(failures)]
        return [results[first] for first in sorted(results)]

    def _explained(self, error: Exception, what: str) -> RendererError:
        cause = original_error(error)
        if isinstance(cause, RendererError):
            return cause
        line = " ".join(str(cause).split())[:300]
        return RendererError(f"{self._name}: {what}: its process failed ({type(cause).__name__}: {line})")


def make_pool(renderer: Renderer, workers: int) -> RenderPool:
    """A pool of ``workers`` Ray actors, or of this process where ``workers`` is 0."""
    if workers < 0:
        raise ValueError(f"workers: {workers} is below 0")
    return RayPool(renderer, workers) if workers else LocalPool(renderer)


def _checked(scenes: Sequence[SceneGraph], seeds: Sequence[int]) -> list[int]:
    if len(scenes) != len(seeds):
        raise ValueError(f"{len(seeds)} seeds for {len(scenes)} scenes")
    numbers = [int(seed) for seed in seeds]
    for i, seed in enumerate(numbers):
        if not 0 <= seed < 2**31:
            raise ValueError(f"seed {seed} of scene {i} is not in [0, 2**31)")
    return numbers


def _scenes(first: int, last: int) -> str:
    return f"scene {first}" if first == last else f"scenes {first} to {last}"


def _cut(pieces: Sequence[Piece], ends: NDArray[np.int64], start: int, stop: int) -> list[Piece]:
    """The perturbed scenes ``start`` to ``stop`` of all, as pieces; ``ends`` counts them up to each scene."""
    cut = []
    for i in range(int(np.searchsorted(ends, start, side="right")), len(pieces)):
        piece = pieces[i]
        first = int(ends[i]) - piece.stop
        if first >= stop:
            break
        low, high = max(start - first, 0), min(stop - first, piece.stop)
        cut.append(Piece(piece.index, piece.row, piece.scene, piece.seed, low, high))
    return cut
