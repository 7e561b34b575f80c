"""Checks of the engine that take minutes and a quiet machine: ``python benchmarks/checks.py [--only NAME ...]``.

``gradient``: the derivative of the whole MMD² with respect to the attributes of 16 CLEVR scenes against a reference
with many samples and half the step. ``workers``: the same run with 1, 2 and 4 workers. ``pool``: images a second of a
pool of two actors against two bare processes. ``sprites``: how many the 2-D renderer draws in a second.
``curvature``: cost of influences and curvature products, and how well the variants of AutoSimulate's v are solved for.
``influence``: predicted against actual change of the validation loss.
Writes a JSON file of figures, each with its criterion and command.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autosim.rendering.differences import GradientSettings
from autosim.rendering.mitsuba.renderer import Quality
from autosim.rendering.mitsuba.variant import Variant
from autosim.scenes.graph import SceneGraph
from autosim.scenes.priors import Choice, Normal
from autosim.seeding import frame_seeds, seed_sequence
from envs.clevr.env import Clevr, ClevrConfig
from envs.clevr.renderer import ClevrRenderer

if TYPE_CHECKING:
    from autosim.rendering.pool import RenderPool

REFERENCE_SAMPLES = 256


class FixedQuality(ClevrRenderer):
    """CLEVR at one quality, whatever the scene asks for."""

    fixed: Quality

    def quality(self, scene: SceneGraph) -> Quality:
        """The fixed one."""
        return self.fixed


def fixed_renderer(
    env: Clevr, samples: int, bounces: int = 8, size: int = 64, variant: Variant = "scalar_rgb"
) -> FixedQuality:
    """An unbuilt renderer of one quality."""
    renderer = FixedQuality(env.schema, (size,), (bounces,), size, variant)
    renderer.fixed = Quality(samples, bounces, size)
    return renderer


def cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Cosine of the angle between two gradients."""
    return float((a * b).sum() / (np.linalg.norm(a) * np.linalg.norm(b)))


def shifted_scenes(env: Clevr, count: int) -> list[SceneGraph]:
    """Scenes half way to the target: its quality, objects a unit off along both axes, lights at six tenths."""
    target = env.target()
    assert target is not None
    priors = dict(target.priors)
    for key, prior in priors.items():
        if isinstance(prior, Normal):
            mean = prior.mean - 1.0 if key.startswith("object") else prior.mean * 0.6
            priors[key] = Normal(mean, prior.std)
        elif isinstance(prior, Choice) and key.startswith("scene"):
            priors[key] = Choice([0.0] * (len(prior.probabilities) - 1) + [1.0])
    return target.with_priors(priors).sample_many(count, seed_sequence(5, "gradient check"))


def check_gradient(command: str) -> list[dict[str, Any]]:
    """Cosine with the reference, for three efforts of the perturbed renders."""
    import torch

    from autosim.learning.divergence import DistributionMatcher
    from autosim.rendering.gradient import differentiable_render
    from autosim.rendering.pool import make_pool
    from autosim.session import Session

    torch.set_num_threads(1)
    env = Clevr(ClevrConfig())
    scenes = shifted_scenes(env, 16)
    seeds = frame_seeds(5, "gradient check", 0, len(scenes))
    values = torch.tensor(np.concatenate([env.schema.values(scene) for scene in scenes]), requires_grad=True)
    with make_pool(env.renderer(), 2) as pool:
        session = Session(env, pool, workers=2)
        features = session.features.features
        target = features.of_images(session.target.images.images)
        matcher = DistributionMatcher(target, session.features.reference, features.groups, features.weights)

        def gradient(pool: RenderPool, settings: GradientSettings) -> NDArray[np.float64]:
            images, _ = differentiable_render(pool, scenes, values, seeds, settings)
            (found,) = torch.autograd.grad(matcher(features(images)), values)
            return np.asarray(found.numpy().reshape(len(scenes), -1), dtype=np.float64)

        with make_pool(fixed_renderer(env, REFERENCE_SAMPLES), 2) as exact:
            reference = gradient(exact, GradientSettings(step=0.5))
        rows = []
        for effort, step in ((1.0, 0.5), (1.0, 1.0), (0.25, 1.0), (env.gradient.effort, env.gradient.step)):
            started = time.perf_counter()
            found = gradient(pool, replace(env.gradient, effort=effort, step=step))
            seconds = time.perf_counter() - started
            figure = cosine(found, reference)
            label = " (the default)" if effort == env.gradient.effort else ""
            setting = f"effort {effort:g}, step × {step:g}{label}"
            rows.append(
                {
                    "name": f"gradient of the whole MMD² on 16 CLEVR scenes, {setting}",
                    "criterion": f"cosine ≥ .95 with {REFERENCE_SAMPLES} samples and half the step",
                    "figure": f"{figure:.3f} in {seconds:.1f} s",
                    "value": figure,
                    "holds": figure >= 0.95,
                    "command": command,
                }
            )
    return rows


def check_workers(command: str) -> list[dict[str, Any]]:
    """``metrics.jsonl`` of one seed with 1, 2 and 4 workers, times left out."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for workers in (1, 2, 4):
            out = Path(folder) / str(workers)
            arguments = ["--algo", "metasim", "--env", "clevr", "--seed", "3", "--workers", str(workers)]
            run = [sys.executable, str(Path(__file__).with_name("run.py")), *arguments, "--budget.iterations", "5"]
            run += ["--out", str(out), "--env.train-frames", "16"]
            subprocess.run(run, check=True, stdout=subprocess.DEVNULL)
            lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
            found.append([{k: v for k, v in line.items() if not k.endswith("seconds")} for line in lines])
    equal = found[0] == found[1] == found[2]
    return [
        {
            "name": "Meta-Sim on CLEVR, one seed, with 1, 2 and 4 workers",
            "criterion": "identical metrics.jsonl, times apart",
            "figure": f"{len(found[0])} iterations, {'identical' if equal else 'different'}",
            "holds": equal,
            "command": command,
        }
    ]


def render_bare(renderer: ClevrRenderer, scenes: Sequence[SceneGraph], ready: Any, go: Any, done: Any) -> None:
    """What a process of the bare comparison does: build, wait for the start, render its share."""
    renderer.build()
    renderer.render(scenes[0], 0)
    ready.put(True)
    go.wait()
    for seed, scene in enumerate(scenes):
        renderer.render(scene, seed)
    done.put(True)


def bare_seconds(renderer: ClevrRenderer, scenes: Sequence[SceneGraph]) -> float:
    """Seconds that two processes need for half of the scenes each, without any engine around them."""
    context = multiprocessing.get_context("spawn")
    ready, done, go = context.Queue(), context.Queue(), context.Event()
    halves = (scenes[::2], scenes[1::2])
    processes = [context.Process(target=render_bare, args=(renderer, half, ready, go, done)) for half in halves]
    for process in processes:
        process.start()
    for _ in processes:
        ready.get()
    started = time.perf_counter()
    go.set()
    for _ in processes:
        done.get()
    seconds = time.perf_counter() - started
    for process in processes:
        process.join()
    return seconds


def check_pool(command: str) -> list[dict[str, Any]]:
    """Images a second of a pool of two actors over those of two bare processes, CLEVR 64×64, 16 samples, five pairs."""
    from autosim.rendering.actors.pool import RayPool

    env = Clevr(ClevrConfig())
    target = env.target()
    assert target is not None
    scenes = target.sample_many(200, seed_sequence(6, "pool check"))
    renderer = fixed_renderer(env, 16)
    ratios, rates = [], []
    with RayPool(renderer, 2) as pool:
        pool.warm_up()
        for _ in range(5):
            started = time.perf_counter()
            pool.render(scenes, list(range(len(scenes))))
            seconds = time.perf_counter() - started
            bare = bare_seconds(renderer, scenes)
            ratios.append(bare / seconds)
            rates.append(len(scenes) / seconds)
    ratio = float(np.median(ratios))
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    return [
        {
            "name": "pool of two actors over two bare processes, CLEVR 64×64, 16 samples",
            "criterion": "≥ .9 of the images a second",
            "figure": f"{ratio:.2f} (median of five, {spread}); {np.median(rates):.0f} images/s",
            "value": ratio,
            "holds": ratio >= 0.9,
            "command": command,
        }
    ]


def check_curvature(command: str) -> list[dict[str, Any]]:
    """Second-order tools: cost and accuracy."""
    from benchmarks.parts import learning_checks

    return learning_checks.check_curvature(command)


def check_influence(command: str) -> list[dict[str, Any]]:
    """Influences against training again."""
    from benchmarks.parts import learning_checks

    return learning_checks.check_influence(command)


def check_sprites(command: str) -> list[dict[str, Any]]:
    """Sprites a second in this process, aerial scenes and digits at 64×64, the median of five batches."""
    import torch

    from autosim.rendering.pool import LocalPool
    from envs.aerial.env import Aerial, AerialConfig
    from envs.mnist.env import Mnist, MnistConfig

    torch.set_num_threads(1)
    rows = []
    for env in (Aerial(AerialConfig()), Mnist(MnistConfig(case="rotation-translation"))):
        scenes = env.prior().sample_many(1000, seed_sequence(7, "sprite check"))
        sprites = sum(node.node_class != "grass" for scene in scenes for node in scene.nodes)
        rates = []
        with LocalPool(env.renderer()) as pool:
            pool.warm_up()
            for _ in range(5):
                started = time.perf_counter()
                pool.render(scenes, list(range(len(scenes))))
                rates.append(sprites / (time.perf_counter() - started))
        rows.append(
            {
                "name": f"sprites a second, {env.name} 64×64, one process of one thread",
                "criterion": "≥ 10,000",
                "figure": f"{np.median(rates):,.0f} (median of five, {min(rates):,.0f} to {max(rates):,.0f})",
                "holds": bool(np.median(rates) >= 10_000),
                "command": command,
            }
        )
    return rows


CHECKS: dict[str, Callable[[str], list[dict[str, Any]]]] = {
    "gradient": check_gradient,
    "workers": check_workers,
    "pool": check_pool,
    "sprites": check_sprites,
    "curvature": check_curvature,
    "influence": check_influence,
}


def main() -> int:
    """Run the chosen checks and write their figures beside those of the others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(CHECKS), default=list(CHECKS), help="default: all")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "checks.json")
    arguments = parser.parse_args()
    # A script's own folder is what Python looks in, not the one above it.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from benchmarks.record import commit, made_now, read_record
    from benchmarks.tables import checks_table

    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in CHECKS}
    for row in read_record(arguments.out).rows if arguments.out.exists() else ():
        rows[row["check"]].append(dict(row))
    for name in arguments.only:
        command = f"python benchmarks/checks.py --only {name}"
        today = {
            "check": name,
            "date": date.today().isoformat(),
            "cores": len(os.sched_getaffinity(0)),
            "commit": commit(),
        }
        rows[name] = [{**today, **row} for row in CHECKS[name](command)]
        for row in rows[name]:
            print(f"{row['name']}: {row['figure']} ({row['criterion']})", flush=True)
    every = [row for name in CHECKS for row in rows[name]]
    command = f"python benchmarks/checks.py --only {' '.join(arguments.only)}"
    made_now(command, checks_table(every), every).write(arguments.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
