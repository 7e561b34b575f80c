"""An engine in a process of its own: a disc, and a fault of which the first argument tells."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

import numpy as np

from autosim.serve import Boxes, ClassMask, boxes, serve

EDGE = int(os.environ.get("DISC_EDGE", "32"))
FAULT = sys.argv[1] if len(sys.argv) > 1 else ""
ROWS, COLUMNS = np.mgrid[:EDGE, :EDGE] + 0.5
print("an engine's greeting")
os.system("echo printed by a process of the engine")


def render(scene: Any, seed: int, effort: float) -> Any:
    if FAULT == "leak":
        LEAKED.append(np.ones(10 << 20, dtype=np.uint8))
    (disc,) = [node["attributes"] for node in scene["nodes"] if node["class"] == "disc"]
    if seed == 13:
        misbehave()
    distance = np.hypot(COLUMNS - disc["x"], ROWS - EDGE / 2)
    noise = np.random.default_rng(seed).normal(0, 0.02, (EDGE, EDGE, 3))
    soft = 1 / (1 + np.exp(np.minimum(distance - 6, 50.0)))
    image = np.clip(0.1 + disc["brightness"] * soft[..., None] + noise, 0, 1).astype(np.float32)
    left, right = np.clip([disc["x"] - 6, disc["x"] + 6], 0, EDGE)
    row = [left, EDGE / 2 - 6, right, EDGE / 2 + 6, 0]
    return image, {"mask": (distance < 6).astype(np.uint8), "boxes": boxes([row], 2)}


LEAKED: list[Any] = []


def misbehave() -> None:
    if FAULT in ("hang", "child"):
        time.sleep(600)
    if FAULT == "die":
        print("out of licences", file=sys.stderr)
        os._exit(3)
    if FAULT == "raise":
        raise ValueError("no such\nmaterial")
    if FAULT == "print":
        print('{"autosim": 1, "id": 1}\n' * 3)


if FAULT == "child":
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", os.environ["DISC_MARK"]])
if FAULT == "silent":
    time.sleep(600)
serve(
    render,
    height=EDGE,
    width=EDGE,
    annotations={"mask": ClassMask(["ground", "disc"]), "boxes": Boxes(["disc"], 2)},
    name="disc",
)
