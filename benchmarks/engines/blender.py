"""What Blender costs: ``python benchmarks/engines/blender.py [--rounds N] [--blender NAME]``.

CLEVR's scenes in batches of 50, each frame with its mask: by an engine that is kept, and by a new one for each batch,
which loads Blender and builds the scene anew. These are compared by seconds of a CPU core, which other work on the
machine hardly changes; seconds of the clock are written too. Then by two render actors, each with an engine, and by two
Blenders that draw the same scenes in a loop without autosim, by the clock. Medians over rounds, ways taken in turn.

Writes ``blender.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import autosim  # noqa: E402
from autosim.rendering.actors.pool import RayPool  # noqa: E402
from autosim.rendering.blender.inside import start  # noqa: E402
from autosim.rendering.blender.installed import blender_command, choose_blender  # noqa: E402
from autosim.reports.table import Table  # noqa: E402
from autosim.scenes.graph import Node, SceneGraph  # noqa: E402
from autosim.seeding import seed_sequence  # noqa: E402
from benchmarks.record import made_now  # noqa: E402
from envs.clevr.blender import SCRIPT, ClevrBlender  # noqa: E402
from envs.clevr.scene import PROFILES, clevr_grammar, clevr_schema, target_priors  # noqa: E402

BATCH, EDGE, ACTORS = 50, 64, 2
# Pixels of the film's edge, samples a pixel, bounces.
QUALITIES = ((16, 1, 2), (64, 4, 8), (64, 16, 8))
PROFILE = PROFILES["default"]
SCHEMA = clevr_schema(PROFILE)


def scenes(count: int, size: int, samples: int, bounces: int) -> list[SceneGraph]:
    """Scenes of a target, all of one quality."""
    drawn = clevr_grammar(SCHEMA, target_priors(PROFILE, 0)).sample_many(count, seed_sequence(0, "blender"))
    root = Node("scene", {"size": size, "samples": samples, "bounces": bounces}, 0)
    return [replace(scene, nodes=(root, *scene.nodes[1:])) for scene in drawn]


def persistent(blender: str, quality: tuple[int, int, int], rounds: int) -> dict[str, list[float]]:
    """Seconds of each batch by an engine that is kept, by a new one, and of its start alone: of the clock, and under
    ``core …`` of CPU cores.
    """
    asked, seeds = scenes(BATCH, *quality), list(range(BATCH))
    kept = ClevrBlender(SCHEMA, EDGE, blender)
    kept.build()
    kept.render_many(asked, seeds)
    found: dict[str, list[float]] = {f"{of}{way}": [] for of in ("", "core ") for way in ("kept", "new", "start")}

    def note(way: str, renderer: ClevrBlender, began: tuple[float, float]) -> None:
        found[way].append(time.perf_counter() - began[0])
        found[f"core {way}"].append(renderer.core_seconds() - began[1])

    for _ in range(rounds):
        began = time.perf_counter(), kept.core_seconds()
        kept.render_many(asked, seeds)
        note("kept", kept, began)
        new = ClevrBlender(SCHEMA, EDGE, blender)
        began = time.perf_counter(), new.core_seconds()
        new.build()
        note("start", new, began)
        new.render_many(asked, seeds)
        note("new", new, began)
        new.close()
    kept.close()
    return found


class Bare:
    """A Blender that draws the same scenes whenever it is told to."""

    def __init__(self, blender: str, file: Path, core: int) -> None:
        clevr = ClevrBlender(SCHEMA, EDGE, blender)
        asked = {"script": str(SCRIPT), "scenes": str(file), "core": core, "height": EDGE, "width": EDGE}
        options = json.dumps({**asked, "options": clevr.options})
        script = str(Path(__file__).with_name("bare_blender.py"))
        arguments = [str(start.__file__), str(Path(str(autosim.__file__)).parent), script, options]
        self._process = subprocess.Popen(
            blender_command(blender, arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.wait("ready")

    def begin(self) -> None:
        """Let it draw."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def wait(self, word: str) -> None:
        """Until it has said so."""
        assert self._process.stdout is not None
        while (line := self._process.stdout.readline().strip()) != word:
            if not line and self._process.poll() is not None:
                raise RuntimeError("Blender has ended")

    def close(self) -> None:
        """End it."""
        self._process.communicate()


def two_actors(blender: str, quality: tuple[int, int, int], rounds: int) -> dict[str, list[float]]:
    """Seconds of :data:`ACTORS` batches by as many actors, and by as many Blenders without autosim."""
    asked = scenes(BATCH, *quality)
    both, seeds = asked * ACTORS, list(range(BATCH)) * ACTORS
    cores = sorted(os.sched_getaffinity(0))
    found: dict[str, list[float]] = {"actors": [], "bare": []}
    with tempfile.TemporaryDirectory() as folder, RayPool(ClevrBlender(SCHEMA, EDGE, blender), ACTORS) as pool:
        pool.warm_up()
        file = Path(folder, "scenes.json")
        file.write_text(json.dumps([scene.to_json() for scene in asked]))
        bare = [Bare(blender, file, cores[i % len(cores)]) for i in range(ACTORS)]
        for turn in range(rounds + 1):
            started = time.perf_counter()
            pool.render(both, seeds)
            middle = time.perf_counter()
            for each in bare:
                each.begin()
            for each in bare:
                each.wait("drawn")
            if turn:  # the first round warms both up
                found["actors"].append(middle - started)
                found["bare"].append(time.perf_counter() - middle)
        for each in bare:
            each.close()
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder to write to")
    parser.add_argument("--rounds", type=int, default=5, help="batches of each way")
    parser.add_argument("--blender", default="", help="which Blender: a wheel's name or an executable")
    parsed = parser.parse_args(arguments)
    blender = choose_blender(parsed.blender)
    rows: list[dict[str, Any]] = []
    lines = []
    for quality in QUALITIES:
        found = persistent(blender, quality, parsed.rounds)
        times = {name: statistics.median(taken) for name, taken in found.items()}
        rows.append({"what": "batches", "quality": quality, "seconds": _rounded(found)})
        size, samples, _ = quality
        lines.append(
            (
                f"{size}×{size}, {samples} sample{'s' if samples > 1 else ''}",
                f"{1000 * times['core kept'] / BATCH:.0f}",
                f"{times['core start']:.1f}",
                f"{times['core new'] / times['core kept']:.1f}×",
            )
        )
        print(lines[-1], flush=True)
    quality = QUALITIES[-1]
    found = two_actors(blender, quality, parsed.rounds)
    ratio = statistics.median(bare / own for own, bare in zip(found["actors"], found["bare"], strict=True))
    rows.append({"what": "two actors", "quality": quality, "seconds": _rounded(found)})
    again = f" --rounds {parsed.rounds}" + (f" --blender {parsed.blender}" if parsed.blender else "")
    record = made_now(
        f"python benchmarks/engines/blender.py{again}",
        Table(("frame", "core-ms a frame, engine kept", "core-s to start", "new engine a batch"), tuple(lines), "lrrr"),
        rows,
        [0],
        (
            f"{Path(blender).name}, batches of {BATCH} frames with their masks, medians of {parsed.rounds}; *new "
            "engine a batch*: its core-seconds over those of the engine that is kept.",
            f"Two render actors draw {ratio:.2f} times as many frames of {quality[0]}×{quality[0]}, {quality[1]} "
            "samples, as two Blenders in a loop without autosim.",
        ),
        {"of_bare": round(ratio, 3)},
    )
    record.write(parsed.out / "blender.json")
    print(record.markdown())
    return 0


def _rounded(found: dict[str, list[float]]) -> dict[str, list[float]]:
    return {name: [round(value, 4) for value in taken] for name, taken in found.items()}


if __name__ == "__main__":
    raise SystemExit(main())
