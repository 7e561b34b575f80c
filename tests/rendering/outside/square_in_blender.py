"""An engine's script as Blender's renderers start it, with numpy in Blender's place: squares of 4×4 pixels."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import numpy as np

from autosim.serve import InstanceMask, serve

ASKED = json.loads(sys.argv[1])
HEIGHT, WIDTH = ASKED["height"], ASKED["width"]


def render(scene: Any, seed: int, effort: float) -> Any:
    if seed == 13:
        added = [path for path in sys.path if not path.startswith((sys.prefix, sys.base_prefix))]
        raise ValueError(f"on {len(os.sched_getaffinity(0))} core, with {added}")
    image = np.full((HEIGHT, WIDTH, 3), ASKED["options"]["ground"], dtype=np.float32)
    numbers = np.zeros((HEIGHT, WIDTH), dtype=np.uint16)
    for number, node in enumerate(scene["nodes"], start=1):
        left, half = int(node["attributes"]["x"] * ASKED["scale"]), int(4 * ASKED["scale"])
        image[:half, left : left + half] = (ASKED["samples"] or 1) / 255
        numbers[:half, left : left + half] = number

    def instances() -> Any:
        if seed == 14:
            raise ValueError("nobody asked for the instances")
        return numbers

    return image, {"instances": instances}


serve(render, HEIGHT, WIDTH, {"instances": InstanceMask(ASKED["most"])}, "square")
