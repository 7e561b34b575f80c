"""Differences in windows against whole pictures: ``python benchmarks/windows.py [--scenes boxes|clevr] [--seeds N]``.

``boxes``: twelve boxes on a plane under a sky and a sun, 620×188 pixels; place, yaw and size of each are its 48
attributes. A gradient is that of a random smooth cotangent times the image, by central differences, in one process of
one thread with Mitsuba's scalar variant. It is found with whole pictures and in windows, with several seeds. Compared
are the means over seeds; how far the means of two halves of the seeds agree, with whole pictures, says what noise alone
makes of it.

``clevr``: the same for places of objects in eight scenes of the environment's target and eight of its start, as
the environment draws them for gradients; windows hold an object, its three shadows and the ground near it.

Writes ``windows.json`` or ``windows-clevr.json``.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autosim.rendering.differences import GradientSettings
from autosim.rendering.mitsuba.mesh import Mesh
from autosim.rendering.mitsuba.renderer import MitsubaRenderer, Quality
from autosim.rendering.mitsuba.silhouettes import box_corners, ground_shadow
from autosim.rendering.pool import LocalPool
from autosim.rendering.renderer import Renderer
from autosim.rendering.windows import Window
from autosim.reports.table import Table
from autosim.scenes.graph import Continuous, Node, NodeClass, SceneGraph, Schema
from autosim.seeding import frame_seeds, seed_sequence
from envs.clevr.env import Clevr, ClevrConfig

HEIGHT, WIDTH, BOXES = 188, 620, 12
# The direction in which the sun shines.
SUN = (0.5, 0.35, -0.8)
# How far from a box the light that it keeps off or throws back is taken to matter, as a share of its size.
REACH = 0.35


class BoxesRenderer(MitsubaRenderer):
    """Boxes on the ground: place, yaw and half side of each are mutable."""

    field_of_view = 80.0

    def __init__(self, height: int = HEIGHT, width: int = WIDTH, boxes: int = BOXES, samples: int = 1) -> None:
        attributes = (
            Continuous("x", -14.0, 14.0, step=0.15),
            Continuous("y", -4.0, 24.0, step=0.15),
            Continuous("yaw", 0.0, 90.0, "deg", periodic=True, step=4.0),
            Continuous("size", 0.4, 1.4, step=0.05),
        )
        schema = Schema((NodeClass("box", attributes, slots=boxes),))
        super().__init__(schema, (max(height, width),), (2,), height, width)
        self.samples, self._cube = samples, Mesh.cube(1.0)

    def camera(self, mi: Any) -> Any:
        """Some way above the ground, looking along it."""
        return mi.ScalarTransform4f().look_at(origin=[0, -13, 4.5], target=[0, 10, 0], up=[0, 0, 1])

    def scene_dict(self, mi: Any) -> dict[str, Any]:
        """Ground, sky, sun and a cube in each slot."""
        scene: dict[str, Any] = {
            "ground": {
                "type": "rectangle",
                "to_world": mi.ScalarTransform4f().scale([400, 400, 1]),
                "bsdf": {"type": "diffuse", "reflectance": {"type": "rgb", "value": [0.4, 0.4, 0.4]}},
            },
            "sky": {"type": "constant", "radiance": {"type": "rgb", "value": [0.25, 0.3, 0.4]}},
            "sun": {
                "type": "directional",
                "direction": list(SUN),
                "irradiance": {"type": "rgb", "value": [1.5, 1.4, 1.2]},
            },
        }
        for slot in range(self.schema.node_class("box").slots):
            shade = (slot % 4) / 4
            colour = {"type": "rgb", "value": [0.2 + 0.6 * shade, 0.5, 0.8 - 0.6 * shade]}
            material = mi.load_dict({"type": "diffuse", "reflectance": colour})
            scene[f"box_{slot}"] = self._cube.to_mitsuba(mi, f"box_{slot}", material)
        return scene

    def pose(self, mi: Any, scene: SceneGraph) -> dict[str, Any]:
        """Vertices and normals of each cube."""
        values: dict[str, Any] = {}
        for node in scene.find("box"):
            turn, size = np.radians(float(node["yaw"])), float(node["size"])
            spin = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
            place = np.array([float(node["x"]), float(node["y"]), size])
            vertices = self._cube.vertices * size @ spin.T + place
            values[f"box_{node.slot}.vertex_positions"] = vertices.astype(np.float32).ravel()
            values[f"box_{node.slot}.vertex_normals"] = (self._cube.normals @ spin.T).astype(np.float32).ravel()
        return values

    def quality(self, scene: SceneGraph) -> Quality:
        """The same for every scene."""
        return Quality(self.samples, 2, self.sizes[0])

    def mask_classes(self, scene: SceneGraph) -> dict[str, int]:
        """None: there is no ground truth."""
        return {}

    def window(self, scene: SceneGraph, node: int, attribute: str) -> Window | None:
        """A box, its shadow, and the ground near it."""
        box = scene.nodes[node]
        size = float(box["size"])
        centre = (float(box["x"]), float(box["y"]), size)
        corners = box_corners(centre, (size, size, size), np.radians(float(box["yaw"])))
        shadow = ground_shadow(corners, SUN, distant=True)
        near = box_corners((*centre[:2], 0.0), (size * (1 + REACH), size * (1 + REACH), 0.0))
        return None if shadow is None else self.view.window(np.concatenate([corners, shadow, near]))


def clevr(count: int = 8) -> tuple[Renderer, list[SceneGraph], float]:
    """The renderer, ``count`` scenes of the start and as many of the target, and the effort of gradients."""
    env = Clevr(ClevrConfig(variant="scalar_rgb", windows=True))
    scenes = env.prior().sample_many(count, seed_sequence(0, "windows start"))
    scenes = [*scenes, *env.target().sample_many(count, seed_sequence(0, "windows target"))]
    return env.renderer(), scenes, env.gradient.effort


def boxes_scene(boxes: int = BOXES) -> SceneGraph:
    """Boxes in rows, away from each other, each moved, turned and sized at random."""
    rng = np.random.default_rng(seed_sequence(0, "windows scene"))
    nodes = []
    for slot in range(boxes):
        row, column = divmod(slot, 4)
        x, y = (column - 1.5) * (4.5 + 1.5 * row) + rng.uniform(-0.5, 0.5), -1.0 + 6.0 * row + rng.uniform(-0.5, 0.5)
        values = {"x": x, "y": y, "yaw": rng.uniform(0.0, 90.0), "size": rng.uniform(0.7, 1.2)}
        nodes.append(Node("box", values, slot))
    return SceneGraph(tuple(nodes), (-1,) * boxes)


def smooth_cotangent(height: int, width: int) -> NDArray[np.float32]:
    """A random field (1, height, width, 3) that varies over some twenty pixels."""
    from autosim.rendering.mitsuba.pixels import enlarge

    rng = np.random.default_rng(seed_sequence(0, "windows cotangent"))
    coarse = rng.normal(size=(max(2, height // 20), max(2, width // 20), 3)).astype(np.float32)
    return enlarge(coarse, height, width)[None].astype(np.float32)


def cosine(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Cosine of the angle between two gradients."""
    return float(first @ second / (np.linalg.norm(first) * np.linalg.norm(second)))


def measure(renderer: Renderer, scenes: list[SceneGraph], effort: float, seeds: int) -> list[dict[str, Any]]:
    """Gradients of both ways with each seed: a row for each way. Those of several scenes are one vector."""
    cotangent = smooth_cotangent(renderer.height, renderer.width)
    cotangents = np.repeat(cotangent, len(scenes), axis=0)
    found: dict[str, NDArray[np.float64]] = {}
    rows: list[dict[str, Any]] = []
    for name, windows in (("windows", True), ("whole pictures", False)):
        with LocalPool(renderer) as pool:
            pool.warm_up()
            settings = GradientSettings(windows=windows, effort=effort)
            gradients = []
            for seed in frame_seeds(0, "windows", 0, seeds):
                drawn = pool.vjp(scenes, frame_seeds(seed, "scene", 0, len(scenes)), cotangents, settings)
                gradients.append(np.concatenate(drawn))
                print(f"{name}: {len(gradients)} of {seeds} seeds, {pool.core_seconds:.0f} s", flush=True)
            found[name] = np.stack(gradients)
            rows.append(
                {
                    "differences": name,
                    "attributes": len(gradients[0]),
                    "images": pool.images // seeds,
                    "render_cost": round(pool.cost / seeds),
                    "core_seconds": round(pool.core_seconds / seeds, 2),
                }
            )
    whole, halves = found["whole pictures"], (slice(0, None, 2), slice(1, None, 2))
    rows[0]["cosine"] = round(cosine(found["windows"].mean(axis=0), whole.mean(axis=0)), 5)
    rows[1]["cosine"] = round(cosine(*(whole[half].mean(axis=0) for half in halves)), 5)
    for row, key in zip(rows, ("windows", "whole pictures"), strict=True):
        row["gradients"] = [[float(f"{value:.6g}") for value in gradient] for gradient in found[key]]
    return rows


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", help="folder to write to")
    parser.add_argument("--scenes", choices=("boxes", "clevr"), default="boxes", help="what is drawn")
    parser.add_argument("--seeds", type=int, default=4, help="seeds of each way (at least 2)")
    parser.add_argument("--samples", type=int, default=4, help="samples a pixel of boxes")
    arguments = parser.parse_args()
    # A script's own folder is what Python looks in, not the one above it.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from benchmarks.record import made_now

    started = time.perf_counter()
    if arguments.scenes == "clevr":
        rows = measure(*clevr(), seeds=arguments.seeds)
    else:
        rows = measure(BoxesRenderer(samples=arguments.samples), [boxes_scene()], 1.0, arguments.seeds)
    lines = [
        (
            row["differences"],
            str(row["images"]),
            f"{row['render_cost']:,}",
            f"{rows[1]['render_cost'] / row['render_cost']:.1f}",
            f"{row['core_seconds']:.1f}",
            f"{row['cosine']:.4f}",
        )
        for row in rows
    ]
    heads = ("differences", "images", "render cost", "times less", "core-seconds", "cosine")
    record = made_now(
        f"python benchmarks/windows.py --scenes {arguments.scenes} --seeds {arguments.seeds}",
        Table(heads, tuple(lines), "lrrrrr"),
        rows,
        list(range(arguments.seeds)),
        (
            f"Figures are for gradients of {rows[0]['attributes']} attributes in all. Cosine: of windows, between the "
            "means over seeds in windows and with whole pictures; of whole pictures, between the means of two halves "
            "of the seeds.",
        ),
        {"seconds": round(time.perf_counter() - started)},
    )
    name = "windows" if arguments.scenes == "boxes" else f"windows-{arguments.scenes}"
    record.write(arguments.out / f"{name}.json")
    print(record.markdown())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
