"""Frames together with the scenes and seeds from which they can be drawn again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autosim.rendering.frames import Frames
from autosim.scenes.graph import SceneGraph

Redraw = Callable[[Sequence[SceneGraph], Sequence[int]], Frames]
"""Draws scenes, each with its seed, as ``RenderPool.render`` does."""


@dataclass(frozen=True)
class DrawnFrames:
    """``frames`` of ``scenes``, each drawn with its seed. Checkpoints store scenes and seeds only: for 1,000 frames
    some hundred kilobytes instead of some hundred megabytes.
    """

    scenes: tuple[SceneGraph, ...]
    seeds: tuple[int, ...]
    frames: Frames

    def __post_init__(self) -> None:
        if not len(self.scenes) == len(self.seeds) == len(self.frames):
            numbers = f"{len(self.scenes)} scenes, {len(self.seeds)} seeds, {len(self.frames)} frames"
            raise ValueError(f"drawn frames: {numbers}; equal numbers needed")

    def __len__(self) -> int:
        return len(self.scenes)

    def select(self, part: slice) -> DrawnFrames:
        """Those of a part."""
        return DrawnFrames(self.scenes[part], self.seeds[part], self.frames.select(part))

    def to_state(self) -> dict[str, Any]:
        """Scenes and seeds as plain values, for a checkpoint; :meth:`from_state` reads it back."""
        return {"scenes": [scene.to_json() for scene in self.scenes], "seeds": list(self.seeds)}

    @staticmethod
    def from_state(state: Mapping[str, Any], redraw: Redraw) -> DrawnFrames:
        """What :meth:`to_state` wrote, the frames drawn again."""
        scenes = tuple(SceneGraph.from_json(scene) for scene in state["scenes"])
        seeds = tuple(int(seed) for seed in state["seeds"])
        return DrawnFrames(scenes, seeds, redraw(scenes, seeds))
