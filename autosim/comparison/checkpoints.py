"""What a method recommends at shares of its budget: scenes of the generator as it was then, in the run's folder."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autosim.errors import UserError
from autosim.files import read_json, write_whole
from autosim.runs.closing.frames import closing_scenes
from autosim.runs.iterations import Tally
from autosim.scenes.graph import SceneGraph

if TYPE_CHECKING:
    from autosim.scenes.generator import SceneGenerator

FOLDER = "recommended"


@dataclass(frozen=True)
class Checkpoint:
    """A ``share`` of the budget, what had been used by the last iteration that ended within it, features' frames
    included, and ``scenes`` of the generator that the method recommended then.
    """

    share: float
    iterations: int
    core_seconds: float
    images: int
    render_cost: float
    scenes: tuple[SceneGraph, ...]


@dataclass(frozen=True)
class _Seen:
    iterations: int
    core_seconds: float
    images: int
    render_cost: float
    generator: SceneGenerator


class CheckpointRecorder:
    """Observes a run in ``folder`` and writes a :class:`Checkpoint` of ``count`` scenes for each of the ``shares`` of
    ``core_seconds``. An iteration that ends beyond a share came too late for it.
    """

    def __init__(self, folder: Path, core_seconds: float, shares: Sequence[float], count: int) -> None:
        self._folder, self._limit, self._count = folder / FOLDER, core_seconds, count
        self._waiting = list(shares)
        self._last: _Seen | None = None

    def __call__(self, tally: Tally, generator: SceneGenerator) -> None:
        """The run has used what ``tally`` says, and recommends ``generator``."""
        spent = tally.charged_core_seconds
        while self._last is not None and self._waiting and spent > self._waiting[0] * self._limit:
            self._write(self._last)
        self._last = _Seen(
            tally.iterations,
            spent,
            tally.images + tally.feature_images,
            tally.render_cost + tally.feature_cost,
            copy.deepcopy(generator),
        )

    def finish(self) -> None:
        """The run has ended: what it recommends stays what it is."""
        while self._last is not None and self._waiting:
            self._write(self._last)

    def _write(self, seen: _Seen) -> None:
        share = self._waiting.pop(0)
        content = {
            "share": share,
            "iterations": seen.iterations,
            "core_seconds": round(seen.core_seconds, 3),
            "images": seen.images,
            "render_cost": round(seen.render_cost),
            "scenes": [scene.to_json() for scene in closing_scenes(seen.generator, self._count)],
        }
        self._folder.mkdir(exist_ok=True)
        write_whole(self._folder / f"{share:g}.json", json.dumps(content).encode())


def read_checkpoint(folder: Path, share: float) -> Checkpoint:
    """The checkpoint of a run at a share; ``UserError`` where it is not there or not one."""
    path = folder / FOLDER / f"{share:g}.json"
    found = read_json(path)
    try:
        scenes = tuple(SceneGraph.from_json(scene) for scene in found.pop("scenes"))
        return Checkpoint(**found, scenes=scenes)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: holds no checkpoint of a comparison: {error}") from error
