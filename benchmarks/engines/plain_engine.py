"""An engine whose pictures cost next to nothing: ``plain_engine.py HEIGHT WIDTH [SCENES FRAMES]``.

It answers requests, or with two folders draws what lies in the first into the second and ends.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from autosim.serve import ClassMask, serve

HEIGHT, WIDTH = int(sys.argv[1]), int(sys.argv[2])
IMAGE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
MASK = (IMAGE[..., 0] > 127).astype(np.uint8)
CLASSES = ("dark", "light")


def draw(scene: Any, seed: int, effort: float = 1.0) -> Any:
    """Copies of one picture and one mask."""
    return IMAGE.copy(), {"mask": MASK.copy()}


if __name__ == "__main__" and len(sys.argv) == 5:
    from PIL import Image

    for file in sorted(Path(sys.argv[3]).glob("*.json")):
        request = json.loads(file.read_text())
        image, truth = draw(request["scene"], request["seed"])
        Image.fromarray(image).save(Path(sys.argv[4], f"{file.stem}.png"), compress_level=1)
        np.save(Path(sys.argv[4], f"{file.stem}.mask.npy"), truth["mask"])
elif __name__ == "__main__":
    serve(draw, height=HEIGHT, width=WIDTH, annotations={"mask": ClassMask(CLASSES)}, name="plain")
