"""Cost and error of the methods of gradients: ``python benchmarks/gradients.py [--out DIR] [--quick]``; it needs LLVM.

CLEVR's scene with 1, 4, 16 and 64 spheres, whose places are its 2, 8, 32 and 128 attributes, at 32×32 pixels with 16
samples and 4 bounces. A gradient is that of a random smooth cotangent times the
image, in one process of one thread. It is compared with a reference: central differences of a quarter of the step with
512 samples, in the mean of a few seeds. Each error is the norm of the difference over that of the reference, both over
all cotangents together:

- *one gradient*: root mean square over seeds;
- *mean*: the same for the mean over the seeds, in which noise is smaller and a bias stays.

Writes ``gradients.json`` and ``gradients.md``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autosim.rendering.differences import GradientMethod, GradientSettings, Stencil, renders_per_scene
from autosim.rendering.losses import dot, scene_vjp
from autosim.rendering.renderer import Renderer
from autosim.scenes.graph import Categorical, Continuous, Node, NodeClass, SceneGraph, Schema
from autosim.seeding import frame_seeds, integer_seed, seed_sequence
from envs.clevr.renderer import ClevrRenderer
from envs.clevr.scene import AWAY, COLOURS, MATERIALS, RIGHT, Profile, clevr_schema

if TYPE_CHECKING:
    from benchmarks.record import Record

SAMPLES, REFERENCE_SAMPLES = 16, 512
METHODS: tuple[GradientMethod, ...] = ("central", "forward", "spsa", "adjoint")
# At half the step differences are still several per cent off the limit, as shadows and outlines bend within it.
REFERENCE = GradientSettings(step=0.25)
PROFILE = Profile(samples=(SAMPLES, REFERENCE_SAMPLES), bounces=(4,), sizes=(32,), edge=32)
# Between the middles of neighbouring spheres, whose diameter is 1.4, and how far each is moved at most.
SPACING, JITTER = 1.6, 0.08
# Intensities of the lights that the scene has throughout.
AMBIENT, BACK = 40.0, 50.0

Row = dict[str, Any]


class WideRenderer(ClevrRenderer):
    """CLEVR with a wider view, for 64 spheres to be in the picture."""

    field_of_view = 60.0


@dataclass(frozen=True)
class Plan:
    """How much is measured: numbers of attributes, cotangents, seeds of each method and of the reference, timings."""

    attributes: tuple[int, ...] = (2, 8, 32, 128)
    cotangents: int = 6
    seeds: int = 3
    reference_seeds: int = 2
    timings: int = 3


QUICK = Plan(attributes=(2, 8), cotangents=2, seeds=2, timings=2)
# A call that takes so many seconds is timed once.
LONG = 3.0


def sphere_schema(slots: int) -> Schema:
    """CLEVR's with so many slots for spheres, whose places alone are to be learned."""
    classes = []
    for node_class in clevr_schema(PROFILE).classes:
        own = tuple(_kept(node_class.name, attribute) for attribute in node_class.attributes)
        classes.append(NodeClass(node_class.name, own, slots if node_class.name == "object" else 1))
    return Schema(tuple(classes))


def _kept(name: str, attribute: Continuous | Categorical) -> Continuous | Categorical:
    if attribute.name == "shape":
        return Categorical("shape", ("sphere",), mutable=False)
    return attribute if name == "object" else replace(attribute, mutable=False)


def sphere_scene(spheres: int, samples: int) -> SceneGraph:
    """A square lattice of spheres on the ground, in random colours and materials, each a little off its place."""
    rng = np.random.default_rng(seed_sequence(9, "gradient spheres"))
    side = round(spheres**0.5)
    nodes = [
        Node("scene", {"samples": samples, "bounces": 4, "size": PROFILE.edge}),
        Node("ambient", {"intensity": AMBIENT}),
        Node("back", {"intensity": BACK}),
    ]
    for slot in range(spheres):
        across, along = slot % side - (side - 1) / 2, slot // side - (side - 1) / 2
        # Many spheres reach further to the back than to the front, where the camera is.
        across, along = across * SPACING, along * SPACING + 0.25 * (side - 1)
        x, y = across * RIGHT + along * AWAY + rng.uniform(-JITTER, JITTER, 2)
        look = {"material": str(rng.choice(MATERIALS)), "shape": "sphere", "colour": str(rng.choice(list(COLOURS)))}
        nodes.append(Node("object", {"x": float(x), "y": float(y), **look}, slot))
    return SceneGraph(tuple(nodes), (-1,) + (0,) * (len(nodes) - 1))


def smooth_cotangents(count: int, edge: int, waves: int = 6) -> NDArray[np.float32]:
    """Sums of plane waves of at most two periods across the picture, (count, edge, edge, 3)."""
    rng = np.random.default_rng(seed_sequence(9, "gradient cotangents"))
    v, u = (np.mgrid[0:edge, 0:edge] + 0.5) / edge
    cotangents = np.zeros((count, edge, edge, 3))
    for cotangent in cotangents:
        for channel in range(3):
            for _ in range(waves):
                (a, b), phase = rng.uniform(-2, 2, 2), rng.uniform(0, 2 * np.pi)
                cotangent[..., channel] += rng.normal() * np.cos(2 * np.pi * (a * u + b * v) + phase)
    return cotangents.astype(np.float32)


def gradients(
    renderer: Renderer, scene: SceneGraph, seed: int, cotangents: NDArray[np.float32], settings: GradientSettings
) -> NDArray[np.float64]:
    """Gradients (cotangents, attributes), each what ``scene_vjp`` gives; differences share the perturbed images."""
    if settings.method == "adjoint":
        return np.stack([scene_vjp(renderer, scene, seed, cotangent, settings) for cotangent in cotangents])
    stencil = Stencil(renderer.schema, scene, seed, settings)
    losses = np.zeros((len(cotangents), len(stencil)))
    for number in range(len(stencil)):
        image = renderer.checked_draw(stencil.scene(number), seed, settings.effort)
        losses[:, number] = [dot(cotangent, image) for cotangent in cotangents]
    return np.stack([stencil.gradient(row) for row in losses])


def relative_error(found: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """Norm of the difference from the reference (cotangents, attributes) over the norm of the reference; root mean
    square over further axes of what was found. All cotangents count together: some scenes hardly move some.
    """
    squares = np.square(found - reference).sum(axis=(-2, -1))
    return float(np.sqrt(squares.mean()) / np.linalg.norm(reference))


def processor_seconds(function: Callable[[], Any], repeats: int) -> float:
    """Median processor time of a call: another process does not count. The first call, which may compile, is left out
    unless it is long.
    """
    times: list[float] = []
    while len(times) <= repeats and (not times or times[0] < LONG):
        started = time.process_time()
        function()
        times.append(time.process_time() - started)
    return float(np.median(times[1:] or times))


def measure(attributes: int, plan: Plan) -> Iterator[Row]:
    """A row for each method with so many attributes."""
    spheres = attributes // 2
    renderer = WideRenderer(sphere_schema(spheres), PROFILE.sizes, PROFILE.bounces, PROFILE.edge, "llvm_ad_rgb")
    renderer.build()
    plain, fine = (sphere_scene(spheres, samples) for samples in (SAMPLES, REFERENCE_SAMPLES))
    cotangents = smooth_cotangents(plan.cotangents, PROFILE.edge)

    def several(graph: SceneGraph, purpose: str, count: int, settings: GradientSettings) -> NDArray[np.float64]:
        seeds = frame_seeds(9, purpose, attributes, count)
        return np.stack([gradients(renderer, graph, seed, cotangents, settings) for seed in seeds])

    exact = several(fine, "gradient reference", plan.reference_seeds, REFERENCE)
    reference = exact.mean(axis=0)
    uncertain = relative_error(exact, reference) / np.sqrt(max(plan.reference_seeds - 1, 1))
    image = processor_seconds(lambda: renderer.draw(plain, 1), 4 * plan.timings)
    for method in METHODS:
        settings = GradientSettings(method)
        once = partial(scene_vjp, renderer, plain, integer_seed(9, "gradient timing"), cotangents[0], settings)
        seconds = processor_seconds(once, plan.timings)
        found = several(plain, "gradient check", plan.seeds, settings)
        yield {
            "attributes": attributes,
            "method": method,
            "images": renders_per_scene(settings, attributes),
            "seconds": round(seconds, 4),
            "image_seconds": round(image, 5),
            "times_an_image": round(seconds / image, 1),
            "error": round(relative_error(found, reference), 4),
            "error_of_mean": round(relative_error(found.mean(axis=0), reference), 4),
            "reference_error": round(float(uncertain), 4),
            "seeds": plan.seeds,
        }
    renderer.close()


def table(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What is shown of the rows."""
    lines = [
        [
            str(row["attributes"]),
            row["method"],
            f"{row['seconds']:.2f}",
            f"{row['times_an_image']:.0f}",
            f"{100 * row['error']:.0f} %",
            f"{100 * row['error_of_mean']:.0f} %",
            f"{100 * row['reference_error']:.0f} %",
        ]
        for row in rows
    ]
    heads = [
        "attributes",
        "method",
        "seconds",
        "images' time",
        "error of one gradient",
        "of the mean",
        "reference ±",
    ]
    return {"heads": heads, "lines": lines, "alignment": "rlrrrrr"}


def document(record: Record) -> str:
    """The table as Markdown, with what it is of."""
    seeds = record.rows[0]["seeds"]
    what = (
        f"Spheres on CLEVR's ground, {PROFILE.edge}×{PROFILE.edge} pixels, {SAMPLES} samples, 4 bounces, LLVM, one "
        "process of one thread. Seconds are of the processor, and in multiples of those of an image. Errors are "
        "relative to central differences of a quarter of the step with "
        f"{REFERENCE_SAMPLES} samples, in the mean of a few seeds, whose own standard error is in the last column; "
        f"*of the mean*: of the mean of {seeds} gradients, in which a bias stays. SPSA has "
        f"{GradientSettings().spsa_samples} directions."
    )
    versions = ", ".join(f"{name} {number}" for name, number in (record.versions or {}).items())
    parts = [
        "# Methods of gradients",
        what,
        record.table.markdown(),
        f"`{record.command}`; {record.machine['cores'] if record.machine else '?'} cores; {record.date}; {versions}.",
    ]
    return "\n\n".join(parts) + "\n"


def main() -> int:
    """Measure everything and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", help="folder to write to")
    parser.add_argument("--quick", action="store_true", help="few attributes and seeds, to see that it works")
    arguments = parser.parse_args()
    # A script's own folder is what Python looks in, not the one above it.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from autosim.rendering.mitsuba.variant import llvm_library
    from autosim.reports.table import Table
    from benchmarks.record import made_now

    if llvm_library() is None:
        print("gradients: the adjoint needs LLVM, and there is none here that Mitsuba renders with", file=sys.stderr)
        return 2
    started = time.perf_counter()
    plan = QUICK if arguments.quick else Plan()
    rows: list[Row] = []
    for attributes in plan.attributes:
        for row in measure(attributes, plan):
            rows.append(row)
            print(json.dumps(row), flush=True)
    command = "python benchmarks/gradients.py" + (" --quick" if arguments.quick else "")
    details = {"seconds": round(time.perf_counter() - started)}
    record = made_now(command, Table.from_json(table(rows)), rows, details=details)
    record.write(arguments.out / "gradients.json")
    text = document(record)
    (arguments.out / "gradients.md").write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
