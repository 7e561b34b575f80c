"""What an engine in a process of its own costs: ``python benchmarks/engines/cost.py [--rounds N]``.

The same pictures, which cost next to nothing to draw, are made in this process and by an engine over a pipe, over a
socket and through a folder of files (a new process for each batch), in batches of 50 scenes of three nodes; frames of
128×128 and 640×480, each with a mask. Milliseconds a frame are the median over rounds, ways taken in turn.

Writes ``engines.json``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# A script's own folder is what Python looks in, not the one above it.
sys.path.insert(0, str(ROOT))

from autosim.rendering.annotations import ClassMask  # noqa: E402
from autosim.rendering.external.engine import EngineSettings  # noqa: E402
from autosim.rendering.external.folder import FolderRenderer  # noqa: E402
from autosim.rendering.external.renderer import ExternalRenderer  # noqa: E402
from autosim.rendering.frames import Frame  # noqa: E402
from autosim.rendering.renderer import Renderer  # noqa: E402
from autosim.reports.table import Table  # noqa: E402
from autosim.scenes.graph import Continuous, Node, NodeClass, SceneGraph, Schema  # noqa: E402
from benchmarks.record import made_now  # noqa: E402

BATCH = 50
SIZES = ((128, 128), (480, 640))
WAYS = ("in process", "pipe", "socket", "folder, a process a batch")
NODE = NodeClass("thing", tuple(Continuous(name, 0.0, 1.0, step=0.01) for name in ("x", "y", "size", "hue")), slots=3)
SCHEMA = Schema((NODE,))
ANNOTATIONS = {"mask": ClassMask(("dark", "light"))}
ENGINE = Path(__file__).with_name("plain_engine.py")


class Here(Renderer):
    """What the engine draws, drawn in this process."""

    def __init__(self, height: int, width: int) -> None:
        self.schema, self.height, self.width, self.annotations = SCHEMA, height, width, ANNOTATIONS

    def build(self) -> None:
        """Import the engine's script as this size."""
        import importlib.util

        sys.argv = [str(ENGINE), str(self.height), str(self.width)]
        spec = importlib.util.spec_from_file_location("plain_engine", ENGINE)
        assert spec is not None and spec.loader is not None
        self._engine: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self._engine)

    def render(self, scene: SceneGraph, seed: int) -> Frame:
        """The engine's own function."""
        return Frame(*self._engine.draw(scene.to_json(), seed))


def renderer(way: str, height: int, width: int) -> Renderer:
    """One of the ways, unbuilt."""
    if way == "in process":
        return Here(height, width)
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    command = [sys.executable, str(ENGINE), str(height), str(width)]
    if way.startswith("folder"):
        command += ["{scenes}", "{frames}"]
        settings = EngineSettings(environment={"PYTHONPATH": path})
        return FolderRenderer(SCHEMA, height, width, ANNOTATIONS, command, settings)
    settings = EngineSettings(transport="pipe" if way == "pipe" else "socket", environment={"PYTHONPATH": path})
    return ExternalRenderer(SCHEMA, height, width, ANNOTATIONS, command, settings)


def scenes(count: int) -> list[SceneGraph]:
    """Scenes of three nodes."""
    values = {"x": 0.1, "y": 0.2, "size": 0.3, "hue": 0.4}
    return [SceneGraph(tuple(Node("thing", values, slot) for slot in range(3)), (-1, -1, -1)) for _ in range(count)]


def measure(height: int, width: int, rounds: int) -> dict[str, list[float]]:
    """Milliseconds a frame of each round, by way."""
    asked, seeds = scenes(BATCH), list(range(BATCH))
    built = {way: renderer(way, height, width) for way in WAYS}
    for each in built.values():
        each.build()
        each.render_many(asked, seeds)
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, each in built.items():
            started = time.perf_counter()
            frames = each.render_many(asked, seeds)
            found[way].append(1000 * (time.perf_counter() - started) / len(frames))
    for each in built.values():
        each.close()
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder to write to")
    parser.add_argument("--rounds", type=int, default=11, help="batches of each way")
    parsed = parser.parse_args(arguments)
    rows: list[dict[str, Any]] = []
    lines = []
    for height, width in SIZES:
        found = measure(height, width, parsed.rounds)
        base = statistics.median(found["in process"])
        for way, taken in found.items():
            middle = statistics.median(taken)
            rows.append({"size": [width, height], "way": way, "milliseconds": [round(value, 4) for value in taken]})
            added = "–" if way == "in process" else f"{middle - base:.2f}"
            lines.append((f"{width}×{height}", way, f"{middle:.2f}", added))
    record = made_now(
        f"python benchmarks/engines/cost.py --rounds {parsed.rounds}",
        Table(("frame", "engine", "ms a frame", "added"), tuple(lines), "llrr"),
        rows,
        [0],
        (f"Median of {parsed.rounds} batches of {BATCH} frames; *added*: on top of the same drawing in process.",),
    )
    record.write(parsed.out / "engines.json")
    print(record.markdown())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
