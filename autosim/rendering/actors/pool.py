"""A pool of Ray actors that render."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autosim.errors import RendererError
from autosim.parallel import RaySettings, original_error, placement, start_ray
from autosim.rendering.actors.chunk_size import ChunkSize
from autosim.rendering.actors.frame_collector import FrameCollector
from autosim.rendering.actors.supervisor import Answer, Job, Supervisor, SupervisorSettings, Work
from autosim.rendering.differences import GradientSettings
from autosim.rendering.frames import Frames
from autosim.rendering.losses import Cotangents
from autosim.rendering.pool import RenderPool
from autosim.rendering.renderer import Renderer
from autosim.rendering.worker import Piece, Worker
from autosim.scenes.graph import SceneGraph


class _RenderActor:
    """A worker in a Ray actor. ``sent`` holds the reference of the renderer, which is fetched once.

    It is passed with every call and not to the constructor: Ray warns of actors that need an object to restart.
    """

    def __init__(self) -> None:
        self._worker: Worker | None = None

    def build(self, sent: Sequence[Any]) -> None:
        self._ready(sent).build()

    def render(self, sent: Sequence[Any], *work: Any) -> Answer:
        worker = self._ready(sent)
        return Answer(*worker.render(*work), worker.memory_held())

    def annotate(self, sent: Sequence[Any], *work: Any) -> Answer:
        worker = self._ready(sent)
        return Answer(*worker.annotate(*work), worker.memory_held())

    def gradient_parts(self, sent: Sequence[Any], *work: Any) -> Answer:
        worker = self._ready(sent)
        return Answer(*worker.gradient_parts(*work), worker.memory_held())

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

    Each actor builds the renderer once and keeps it. Work is sent in chunks of ``chunk`` images or, by default, of a
    size that follows from how long an image takes. An actor that dies, fails, hangs or grows is replaced and its work
    repeated; a scene that has lost several actors ends in a ``RendererError``. ``settings`` are the limits, by default
    those of ``ray_settings``. For a failing renderer's traceback use a :class:`LocalPool`.
    """

    def __init__(
        self,
        renderer: Renderer,
        workers: int,
        chunk: int | None = None,
        settings: SupervisorSettings | None = None,
        ray_settings: RaySettings | None = None,
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers: {workers} is not at least 1")
        if chunk is not None and chunk < 1:
            raise ValueError(f"chunk: {chunk} is not at least 1")
        super().__init__(renderer, workers)
        start_ray(workers)
        import ray

        self._chunk = chunk
        self._frame_chunks, self._label_chunks = ChunkSize(), ChunkSize()
        self._loss_chunks, self._adjoint_chunks = ChunkSize(), ChunkSize()
        self._sent = [ray.put(renderer)]
        self._drew_last: Any = None
        self._reserved = own = ray_settings or RaySettings()
        borne = SupervisorSettings(
            patience=own.patience, recycled_after=own.recycle_after, most_growth=own.growth << 20
        )
        self._supervisor = Supervisor(
            self._new_actor,
            workers,
            settings or borne,
            lambda error: self._explained(error, "could not be built"),
        )

    @property
    def replaced(self) -> int:
        """Actors that were replaced so far."""
        return self._supervisor.replaced

    def warm_up(self) -> None:
        self._supervisor.build()

    def close(self) -> None:
        self._supervisor.close()

    def _new_actor(self) -> tuple[Any, Any]:
        import ray

        reserved = {"num_cpus": self._reserved.cpus, "num_gpus": self._reserved.gpus}
        actor: Any = ray.remote(_RenderActor).options(max_restarts=0, **reserved, **placement()).remote()
        return actor, actor.build.remote(self._sent)

    def _render(self, scenes: Sequence[SceneGraph], seeds: Sequence[int], images: bool = True) -> Frames:
        collector = FrameCollector(len(scenes), self.height, self.width, self.annotations)

        def send(actor: Any, start: int, stop: int) -> Any:
            if stop == len(scenes):
                self._drew_last = actor
            make = actor.render if images else actor.annotate
            return make.remote(self._sent, start, scenes[start:stop], seeds[start:stop])

        chunks = self._frame_chunks if images else self._label_chunks
        self._map(len(scenes), send, collector.put, lambda start, stop: (start, stop - 1), "", chunks)
        return collector.frames

    def _render_again(self, scenes: Sequence[SceneGraph], seeds: Sequence[int]) -> Frames:
        self._supervisor.avoided = self._drew_last
        try:
            return self._render(scenes, seeds)
        finally:
            self._supervisor.avoided = None

    def _gradient_parts(
        self, pieces: Sequence[Piece], cotangents: Cotangents, settings: GradientSettings
    ) -> NDArray[np.float64]:
        import ray

        shared = ray.put(cotangents)
        ends = np.cumsum([piece.stop for piece in pieces])

        def send(actor: Any, start: int, stop: int) -> Any:
            return actor.gradient_parts.remote(self._sent, _cut(pieces, ends, start, stop), shared, settings)

        def places(start: int, stop: int) -> tuple[int, int]:
            cut = _cut(pieces, ends, start, stop)
            return cut[0].index, cut[-1].index

        chunks = self._adjoint_chunks if settings.method == "adjoint" else self._loss_chunks
        parts: dict[int, NDArray[np.float64]] = {}
        self._map(int(ends[-1]), send, parts.__setitem__, places, "gradient of ", chunks)
        return np.concatenate([parts[start] for start in sorted(parts)])

    def _map(
        self,
        count: int,
        send: Callable[[Any, int, int], Any],
        put: Callable[[int, Any], None],
        places: Callable[[int, int], tuple[int, int]],
        what: str,
        chunks: ChunkSize,
    ) -> None:
        """Do ``count`` pieces of work. ``send(actor, start, stop)`` sends some to an actor, ``put(start, result)``
        stores their result, ``places(start, stop)`` gives their first and last scene, and errors begin with ``what``.
        """
        if not self._supervisor.actors:
            raise RuntimeError("the pool is closed")

        def take(work: Work, answer: Answer) -> None:
            put(work.start, answer.result)
            chunks.note(work.stop - work.start, answer.seconds, answer.result)
            self.used += answer.used

        self._supervisor.run(
            Job(
                count,
                cut=lambda left: min(left, self._chunk or chunks.size(left, self.workers)),
                send=send,
                take=take,
                explain=lambda error, work: self._failed(error, what, *places(work.start, work.stop)),
                expected=lambda: chunks.seconds,
            )
        )

    def _failed(self, error: BaseException, what: str, first: int, last: int) -> RendererError:
        explained = self._explained(error, what + _scenes(first, last))
        if explained.place is None and first == last:
            explained.place = first
        return explained

    def _explained(self, error: BaseException, what: str) -> RendererError:
        cause = original_error(error)
        if isinstance(cause, RendererError):
            return cause
        line = " ".join(str(cause).split())[:300]
        return RendererError(f"{self.renderer_name}: {what}: its process failed ({type(cause).__name__}: {line})")


def _scenes(first: int, last: int) -> str:
    return f"scene {first}" if first == last else f"scenes {first} to {last}"


def _cut(pieces: Sequence[Piece], ends: NDArray[np.int64], start: int, stop: int) -> list[Piece]:
    """The perturbed scenes ``start`` to ``stop`` of all, as pieces; ``ends`` is their running count, scene by scene."""
    cut = []
    for i in range(int(np.searchsorted(ends, start, side="right")), len(pieces)):
        piece = pieces[i]
        first = int(ends[i]) - piece.stop
        if first >= stop:
            break
        low, high = max(start - first, 0), min(stop - first, piece.stop)
        cut.append(Piece(piece.index, piece.row, piece.scene, piece.seed, low, high))
    return cut
