"""How rendering scales: ``python benchmarks/scaling.py [--out DIR] [--quick]``; it needs a quiet machine.

CLEVR (64×64 pixels, 16 samples) in a bare loop, in ``multiprocessing.Pool``, in the render pool with 1, 2 and 4
actors, with its scene built anew for each image, and with a fresh process for each data set; the pool's own cost an
image, with a renderer that does nothing; and renderers that sleep for 1 to 100 ms an image, with 1 to 64 actors. All
ratios are of one run. Writes ``scaling.json``, ``scaling.md`` and ``scaling.png``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autosim.rendering.actors.pool import RayPool
from autosim.rendering.annotations import Annotation, ClassMask
from autosim.rendering.mitsuba.renderer import Quality
from autosim.rendering.mitsuba.variant import Variant, llvm_library
from autosim.rendering.renderer import Renderer
from autosim.scenes.graph import Continuous, Node, NodeClass, SceneGraph, Schema
from autosim.seeding import seed_sequence

if TYPE_CHECKING:
    from envs.clevr.renderer import ClevrRenderer

SCHEMA = Schema((NodeClass("thing", (Continuous("seconds", 0.0, 1.0),)),))
DATASET = 25
MILLISECONDS = (1, 10, 50, 100)
ACTORS = (1, 2, 4, 8, 16, 32, 64)
# Frames of one setting at most: all of them are held at once.
MOST_IMAGES = 40_000

Row = dict[str, Any]


class IdleRenderer(Renderer):
    """Sleeps for as many seconds as a scene says, and gives a black frame of 64×64 pixels with a mask."""

    schema, height, width = SCHEMA, 64, 64
    annotations: Mapping[str, Annotation] = {"mask": ClassMask(("nothing",))}

    def __init__(self) -> None:
        self.black = np.zeros((64, 64, 3), dtype=np.float32)
        self.mask = np.zeros((64, 64), dtype=np.uint8)

    def build(self) -> None:
        """There is nothing to build."""

    def draw(self, scene: SceneGraph, seed: int, effort: float = 1.0) -> NDArray[np.float32]:
        """A black image, after a while."""
        if seconds := float(scene.nodes[0]["seconds"]):
            time.sleep(seconds)
        return self.black

    def annotate(self, scene: SceneGraph) -> Mapping[str, NDArray[np.generic]]:
        """An empty mask."""
        return {"mask": self.mask}


def clevr(samples: int = 16, variant: Variant = "scalar_rgb") -> tuple[ClevrRenderer, list[SceneGraph]]:
    """An unbuilt renderer of one quality, and scenes of the first target."""
    from benchmarks.checks import fixed_renderer
    from envs.clevr.env import Clevr, ClevrConfig

    env = Clevr(ClevrConfig())
    target = env.target()
    assert target is not None
    renderer = fixed_renderer(env, samples, variant=variant)
    assert renderer.quality(target.sample(seed_sequence(0, "scaling"))) == Quality(samples, 8, 64)
    return renderer, target.sample_many(200, seed_sequence(0, "scaling"))


def rates(count: int, repeats: int, work: Callable[[], object]) -> list[float]:
    """Images a second of each of some repetitions of work that renders ``count``."""
    found = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        found.append(count / (time.perf_counter() - started))
    return found


_built: Renderer | None = None


def build_once(renderer: Renderer) -> None:
    """What a process of ``multiprocessing.Pool`` does first."""
    global _built
    renderer.build()
    _built = renderer


def render_one(scene: SceneGraph, seed: int) -> object:
    """One frame, with the renderer of this process."""
    assert _built is not None
    return _built.render(scene, seed)


def render_dataset(renderer: Renderer, scenes: Sequence[SceneGraph], answers: Any) -> None:
    """What a process that is started for one data set does."""
    renderer.build()
    answers.put([renderer.render(scene, seed).image for seed, scene in enumerate(scenes)])


def fresh_processes(renderer: Renderer, scenes: Sequence[SceneGraph], at_once: int) -> None:
    """A process for each data set, ``at_once`` of them at a time."""
    context = multiprocessing.get_context("spawn")
    waiting = [scenes[start : start + DATASET] for start in range(0, len(scenes), DATASET)]
    running: list[tuple[Any, Any]] = []
    while waiting or running:
        while waiting and len(running) < at_once:
            answers = context.Queue()
            process = context.Process(target=render_dataset, args=(renderer, waiting.pop(), answers))
            process.start()
            running.append((process, answers))
        process, answers = running.pop(0)
        answers.get()
        process.join()


def measure_clevr(repeats: int) -> list[Row]:
    """Ways to render CLEVR."""
    renderer, scenes = clevr()
    cores = len(os.sched_getaffinity(0))
    found: dict[str, list[float]] = {}
    seeds = list(range(len(scenes)))
    some = scenes[: len(scenes) // 4]

    def loop() -> None:
        for seed, scene in enumerate(some):
            renderer.render(scene, seed)

    def rebuilding() -> None:
        for seed, scene in enumerate(some[:10]):
            renderer.build()
            renderer.render(scene, seed)

    def pooled(renderer: Renderer, actors: int) -> list[float]:
        with RayPool(renderer, actors) as pool:
            pool.warm_up()
            pool.render(some, seeds[: len(some)])
            return rates(len(scenes), repeats, partial(pool.render, scenes, seeds))

    renderer.build()
    loop()
    found["a loop in one process"] = rates(len(some), repeats, loop)
    found["the scene built anew for each image, one process"] = rates(10, repeats, rebuilding)
    unbuilt, _ = clevr()
    with multiprocessing.get_context("spawn").Pool(cores, build_once, (unbuilt,)) as team:
        team.starmap(render_one, list(zip(some, seeds, strict=False)))
        work = list(zip(scenes, seeds, strict=True))
        found[f"multiprocessing.Pool, {cores} processes"] = rates(
            len(scenes), repeats, lambda: team.starmap(render_one, work)
        )
    for actors in sorted({1, 2, 4, cores}):
        found[f"the render pool, {actors} actors"] = pooled(unbuilt, actors)
    if llvm_library() is not None:
        compiled, _ = clevr(variant="llvm_ad_rgb")
        found[f"the render pool, {cores} actors, LLVM"] = pooled(compiled, cores)
    fresh = rates(len(scenes), repeats, lambda: fresh_processes(unbuilt, scenes, cores))
    found[f"a fresh process for each data set of {DATASET}, {cores} at once"] = fresh
    one = statistics.median(found["a loop in one process"])
    return [
        {
            "name": name,
            "images_per_second": round(statistics.median(values), 2),
            "least": round(min(values), 2),
            "largest": round(max(values), 2),
            "times_one_process": round(statistics.median(values) / one, 3),
        }
        for name, values in found.items()
    ]


def measure_overhead(count: int, repeats: int) -> Row:
    """Microseconds an image of two actors whose renderer does nothing."""
    scenes = [SceneGraph((Node("thing", {"seconds": 0.0}),), (-1,))] * count
    seeds = list(range(count))
    with RayPool(IdleRenderer(), 2) as pool:
        pool.warm_up()
        pool.render(scenes[:2000], seeds[:2000])
        found = [1e6 / rate for rate in rates(count, repeats, lambda: pool.render(scenes, seeds))]
    return {
        "images": count,
        "microseconds": round(statistics.median(found), 1),
        "least": round(min(found), 1),
        "largest": round(max(found), 1),
    }


def measure_sleepers(actors: Sequence[int], seconds: float) -> list[Row]:
    """Share of linear scaling that renderers which sleep reach; each setting renders for about ``seconds``."""
    rows = []
    for number in actors:
        with RayPool(IdleRenderer(), number) as pool:
            pool.warm_up()
            for milliseconds in MILLISECONDS:
                count = min(MOST_IMAGES, max(4 * number, int(number * seconds * 1000 / milliseconds)))
                scenes = [SceneGraph((Node("thing", {"seconds": milliseconds / 1000}),), (-1,))] * count
                seeds = list(range(count))
                # What images cost has to be known anew, or chunks would be those of the setting before.
                for _ in range(3):
                    pool.render(scenes[: 4 * number], seeds[: 4 * number])
                (rate,) = rates(count, 1, partial(pool.render, scenes, seeds))
                share = rate / (number * 1000 / milliseconds)
                row = {"actors": number, "milliseconds": milliseconds, "images": count}
                rows.append({**row, "images_per_second": round(rate, 1), "share_of_linear": round(share, 3)})
                print(f"{number} actors, {milliseconds} ms: {share:.2f} of linear", flush=True)
    return rows


def judged(results: Mapping[str, Any]) -> dict[str, Any]:
    """What is held to a figure, as the README's table shows it."""
    cores = results["cores"]
    rows = {row["name"]: row for row in results["clevr"]}
    pool, bare = rows[f"the render pool, {cores} actors"], rows[f"multiprocessing.Pool, {cores} processes"]
    lines = []

    def add(what: str, value: float, bound: float, most: bool = False, digits: int = 2) -> None:
        holds = value <= bound if most else value >= bound
        sign = "≤" if most else "≥"
        lines.append([what, f"{value:.{digits}f}", f"{sign} {bound:g}", "yes" if holds else "**no**"])

    add(f"CLEVR, {cores} actors, images/s", pool["images_per_second"], 45, digits=1)
    if (compiled := rows.get(f"the render pool, {cores} actors, LLVM")) is not None:
        add(f"the same with LLVM, images/s, {cores} actors", compiled["images_per_second"], 100, digits=1)
    share = pool["images_per_second"] / bare["images_per_second"]
    add(f"CLEVR, {cores} actors beside as many bare processes", share, 0.95)
    fresh = rows[f"a fresh process for each data set of {DATASET}, {cores} at once"]
    ratio = pool["images_per_second"] / fresh["images_per_second"]
    lines.append([f"beside a fresh process for each data set of {DATASET}", f"× {ratio:.1f}", "", "–"])
    rebuilt = rows["the scene built anew for each image, one process"]
    ratio = rows["a loop in one process"]["images_per_second"] / rebuilt["images_per_second"]
    lines.append(["one process beside building the scene for each image", f"× {ratio:.1f}", "", "–"])
    own = results["overhead"]
    add(f"the pool's own cost, µs an image of {own['images']:,}", own["microseconds"], 50, most=True, digits=0)
    for row in results["sleepers"]:
        if row["actors"] == max(other["actors"] for other in results["sleepers"]):
            what = f"{row['actors']} actors that sleep {row['milliseconds']} ms an image, share of linear"
            if row["milliseconds"] == 50:
                add(what, row["share_of_linear"], 0.9)
            else:
                lines.append([what, f"{row['share_of_linear']:.2f}", "", "–"])
    return {"heads": ["what", "is", "has to be", "holds"], "lines": lines, "alignment": "lrrl"}


def document(results: Mapping[str, Any]) -> str:
    """The tables as Markdown."""
    from autosim.reports.table import Table

    first = tuple(
        (
            row["name"],
            f"{row['images_per_second']:.1f}",
            f"{row['least']:.1f} to {row['largest']:.1f}",
            f"{row['times_one_process']:.2f}",
        )
        for row in results["clevr"]
    )
    actors = list(dict.fromkeys(row["actors"] for row in results["sleepers"]))
    shares = {(row["actors"], row["milliseconds"]): row["share_of_linear"] for row in results["sleepers"]}
    second = tuple((f"{ms} ms", *(f"{shares[number, ms]:.2f}" for number in actors)) for ms in MILLISECONDS)
    own = results["overhead"]
    cost = f"{own['microseconds']} µs an image ({own['least']} to {own['largest']})"
    parts = [
        "# Scaling",
        "CLEVR, 64×64 pixels, 16 samples:",
        Table(("", "images/s", "least to largest", "× one process"), first, "lrrr").markdown(),
        f"The pool's own cost, two actors, {own['images']:,} frames of 64×64: {cost}.",
        "Renderers that sleep: share of linear scaling, by milliseconds an image and number of actors:",
        Table(("", *map(str, actors)), second, "l" + "r" * len(actors)).markdown(),
        f"{results['cores']} cores; {results['date']}.",
    ]
    return "\n\n".join(parts) + "\n"


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Share of linear scaling against actors, a line for each renderer."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.4), dpi=110, facecolor="white", layout="constrained")
    axis = figure.subplots()
    for milliseconds in MILLISECONDS:
        own = [row for row in results["sleepers"] if row["milliseconds"] == milliseconds]
        axis.plot(
            [r["actors"] for r in own], [r["share_of_linear"] for r in own], marker="o", label=f"{milliseconds} ms"
        )
    axis.set_xscale("log", base=2)
    axis.set_ylim(0, 1.05)
    axis.set_xlabel("actors")
    axis.set_ylabel("share of linear scaling")
    axis.legend(frameon=False)
    figure.savefig(path)


def main() -> int:
    """Measure everything and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", help="folder to write to")
    parser.add_argument("--quick", action="store_true", help="few images and actors, to see that it works")
    arguments = parser.parse_args()
    # A script's own folder is what Python looks in, not the one above it.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")]
    )
    from autosim.reports.table import Table
    from benchmarks.record import made_now

    quick = arguments.quick
    results: dict[str, Any] = {
        "clevr": measure_clevr(1 if quick else 3),
        "overhead": measure_overhead(2000 if quick else 20_000, 1 if quick else 3),
        "sleepers": measure_sleepers(ACTORS[:2] if quick else ACTORS, 0.3 if quick else 6.0),
        "date": date.today().isoformat(),
        "cores": len(os.sched_getaffinity(0)),
    }
    command = "python benchmarks/scaling.py" + (" --quick" if quick else "")
    details = {name: results[name] for name in ("overhead", "sleepers")}
    record = made_now(command, Table.from_json(judged(results)), results["clevr"], details=details)
    record.write(arguments.out / "scaling.json")
    text = document(results)
    (arguments.out / "scaling.md").write_text(text, encoding="utf-8")
    draw(results, arguments.out / "scaling.png")
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
