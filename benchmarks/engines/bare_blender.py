"""Frames of CLEVR by Blender without any of autosim's machinery, within Blender: for every line on standard input the
scenes of a file are drawn once, and a line is printed.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any

from autosim.rendering.blender.inside.film import Film, Quality


def main() -> None:
    """Draw when told to."""
    asked: Any = json.loads(sys.argv[1])
    os.sched_setaffinity(0, {asked["core"]})
    scene = runpy.run_path(asked["script"])["Scene"](asked["options"])
    film = Film(asked["height"], asked["width"], asked["options"]["field_of_view"])
    graphs = json.loads(Path(asked["scenes"]).read_text())
    print("ready", flush=True)
    for _ in sys.stdin:
        for seed, graph in enumerate(graphs):
            root = graph["nodes"][0]["attributes"]
            scene.pose(graph)
            _, numbers = film.draw(seed, Quality(root["samples"], root["bounces"], root["size"]))
            numbers()
        print("drawn", flush=True)


if __name__ == "__main__":
    main()
