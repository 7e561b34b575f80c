"""An engine whose pictures are noise that follows from scene and seed: ``noise_engine.py EDGE``."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from autosim.serve import ClassMask, serve

CLASSES = ("dark", "light")


def draw(scene: Any, seed: int, effort: float, edge: int) -> Any:
    """Noise around a scene's brightness; its brighter half is the mask."""
    (thing,) = [node["attributes"] for node in scene["nodes"]]
    noise = np.random.default_rng(seed).normal(0, 30, (edge, edge, 3))
    image = np.clip(255 * thing["brightness"] + noise, 0, 255).astype(np.uint8)
    return image, {"mask": (image[..., 0] > 127).astype(np.uint8)}


if __name__ == "__main__":
    EDGE = int(sys.argv[1])
    serve(
        lambda scene, seed, effort: draw(scene, seed, effort, EDGE),
        height=EDGE,
        width=EDGE,
        annotations={"mask": ClassMask(CLASSES)},
        name="noise",
    )
