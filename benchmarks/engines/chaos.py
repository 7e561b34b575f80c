"""Engines that are killed on and on: ``python benchmarks/engines/chaos.py [--frames N] [--every N]``.

A pool of two actors draws frames by engines in processes of their own, small ones of a stand-in's. In the midst of
every so many frames one engine is killed (``kill -9``). All frames have to be those of the same function called here,
the memory of all processes must not grow, and none may be left.

Writes ``chaos.json``.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import secrets
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from autosim.rendering.actors.pool import RayPool  # noqa: E402
from autosim.rendering.annotations import ClassMask  # noqa: E402
from autosim.rendering.external.engine import EngineSettings  # noqa: E402
from autosim.rendering.external.renderer import ExternalRenderer  # noqa: E402
from autosim.reports.table import Table  # noqa: E402
from autosim.scenes.graph import Continuous, Node, NodeClass, SceneGraph, Schema  # noqa: E402
from benchmarks.record import made_now  # noqa: E402

EDGE, ACTORS = 32, 2
ENGINE = Path(__file__).with_name("noise_engine.py")
SCHEMA = Schema((NodeClass("thing", (Continuous("brightness", 0.0, 1.0, step=0.01),)),))
MARK = "AUTOSIM_CHAOS"
# Batches after which memory is first looked at.
SETTLED = 10


def marked(mark: str, script: str = "") -> list[Any]:
    """Processes that were started with a mark in their environment, and run a script where that is named."""
    import psutil

    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and script in " ".join(process.cmdline()):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def kill_one(mark: str, after: float, rng: random.Random, killed: list[int]) -> None:
    """Kill one of the engines after so many seconds; their guards are no engines."""
    import psutil

    time.sleep(after)
    engines = [each for each in marked(mark, ENGINE.name) if "guard.py" not in " ".join(each.cmdline())]
    if engines:
        chosen = rng.choice(engines)
        try:
            chosen.kill()
            killed.append(chosen.pid)
        except psutil.NoSuchProcess:
            pass


def held(mark: str) -> float:
    """MiB that this process, its descendants and the engines hold for themselves."""
    import psutil

    total = 0
    for process in {*marked(mark), psutil.Process(), *_actors()}:
        try:
            total += process.memory_full_info().uss
        except psutil.Error:
            continue
    return float(total / 2**20)


def _actors() -> list[Any]:
    import psutil

    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if child.cmdline() and "_RenderActor" in child.cmdline()[0]:
                found.append(child)
        except psutil.Error:
            continue
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, kill, compare and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder to write to")
    parser.add_argument("--frames", type=int, default=20_000, help="frames to draw")
    parser.add_argument("--every", type=int, default=200, help="frames of which one engine is killed")
    parsed = parser.parse_args(arguments)
    spec = importlib.util.spec_from_file_location("noise_engine", ENGINE)
    assert spec is not None and spec.loader is not None
    here: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(here)

    mark, rng = secrets.token_hex(8), random.Random(0)
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    settings = EngineSettings(environment={"PYTHONPATH": path, MARK: mark})
    command = [sys.executable, str(ENGINE), str(EDGE)]
    renderer = ExternalRenderer(SCHEMA, EDGE, EDGE, {"mask": ClassMask(here.CLASSES)}, command, settings)
    killed: list[int] = []
    memory: list[float] = []
    wrong = 0
    began = time.perf_counter()
    with RayPool(renderer, ACTORS) as pool:
        pool.warm_up()
        for number, start in enumerate(range(0, parsed.frames, parsed.every)):
            seeds = list(range(start, min(start + parsed.every, parsed.frames)))
            values = [(seed % 97) / 96 for seed in seeds]
            scenes = [SceneGraph((Node("thing", {"brightness": value}, 0),), (-1,)) for value in values]
            killer = threading.Thread(target=kill_one, args=(mark, rng.uniform(0, 0.05), rng, killed))
            killer.start()
            frames = pool.render(scenes, seeds)
            killer.join()
            for place, (scene, seed) in enumerate(zip(scenes, seeds, strict=True)):
                image, truth = here.draw(scene.to_json(), seed, 1.0, EDGE)
                same = np.array_equal(frames.images[place], image)
                wrong += not (same and np.array_equal(frames.annotations["mask"][place], truth["mask"]))
            if number >= SETTLED:
                memory.append(round(held(mark), 1))
            if number % 10 == 0:
                print(f"{start + len(seeds):,} frames, {len(killed)} killed, {wrong} wrong", flush=True)
        replaced = pool.replaced
    seconds = time.perf_counter() - began
    deadline = time.monotonic() + 10
    while (left := len(marked(mark))) and time.monotonic() < deadline:
        time.sleep(0.1)
    # Actors that are just being replaced come and go: tenths of the trial are compared, not single looks.
    tenth = max(1, len(memory) // 10)
    growth = float(np.median(memory[-tenth:]) - np.median(memory[:tenth])) if memory else 0.0
    found = {
        "frames": parsed.frames,
        "killed": len(killed),
        "replaced": replaced,
        "wrong": wrong,
        "growth": round(growth, 1),
        "left": left,
        "seconds": round(seconds, 1),
        "mebibytes": memory,
    }
    lines = (
        ("frames", f"{parsed.frames:,}"),
        ("engines killed", f"{len(killed)}"),
        ("frames that are not the same", f"{wrong}"),
        ("growth of all processes together", f"{growth:.0f} MiB"),
        ("processes left", f"{left}"),
    )
    record = made_now(
        f"python benchmarks/engines/chaos.py --frames {parsed.frames} --every {parsed.every}",
        Table(("two actors, an engine each", "found"), lines, "lr"),
        [found],
        [0],
        (f"One engine killed (`kill -9`) in the midst of every {parsed.every} frames; {EDGE}×{EDGE}, a stand-in's.",),
    )
    record.write(parsed.out / "chaos.json")
    print(record.markdown())
    return 0 if wrong == left == 0 else 1


if __name__ == "__main__":
    raise SystemExit(main())
