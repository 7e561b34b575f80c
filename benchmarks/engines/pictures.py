"""Scenes of CLEVR as both engines draw them: ``python benchmarks/engines/pictures.py [--blender NAME]``.

Writes ``docs/images/engines.png``: the upper row by Mitsuba, the lower one by Blender; and prints how far they differ.
Writes ``pictures.json``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from autosim.rendering.blender.installed import choose_blender  # noqa: E402
from autosim.reports.table import Table  # noqa: E402
from autosim.scenes.graph import Node, SceneGraph  # noqa: E402
from autosim.seeding import seed_sequence  # noqa: E402
from benchmarks.record import made_now  # noqa: E402
from envs.clevr.blender import ClevrBlender  # noqa: E402
from envs.clevr.renderer import ClevrRenderer  # noqa: E402
from envs.clevr.scene import PROFILES, clevr_grammar, clevr_schema, target_priors  # noqa: E402

SCENES, EDGE = 5, 160
PROFILE = PROFILES["default"]


def scenes() -> list[SceneGraph]:
    """Scenes of several targets, with as many bounces as there can be."""
    schema = clevr_schema(PROFILE)
    drawn = [
        clevr_grammar(schema, target_priors(PROFILE, seed)).sample_many(1, seed_sequence(seed, "pictures"))[0]
        for seed in range(SCENES)
    ]
    root = Node("scene", {"size": max(PROFILE.sizes), "samples": max(PROFILE.samples), "bounces": 8}, 0)
    return [replace(scene, nodes=(root, *scene.nodes[1:])) for scene in drawn]


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw and write."""
    from PIL import Image

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder to write to")
    parser.add_argument("--picture", type=Path, default=ROOT / "docs" / "images" / "engines.png", help="file to write")
    parser.add_argument("--blender", default="", help="which Blender: a wheel's name or an executable")
    parser.add_argument("--samples", type=int, default=256, help="a pixel")
    parsed = parser.parse_args(arguments)
    blender, schema, asked = choose_blender(parsed.blender), clevr_schema(PROFILE), scenes()
    engines = {
        "Mitsuba": ClevrRenderer(schema, PROFILE.sizes, PROFILE.bounces, 64),
        "Blender": ClevrBlender(schema, 64, blender),
    }
    drawn = {}
    for name, renderer in engines.items():
        larger = renderer.resized(EDGE, EDGE, parsed.samples)
        larger.build()
        drawn[name] = larger.render_many(asked, list(range(SCENES)))
        larger.close()
    rows = []
    for number, (one, other) in enumerate(zip(drawn["Mitsuba"], drawn["Blender"], strict=True)):
        difference = other.image.astype(float) - one.image
        pixels = int((one.annotations["mask"] != other.annotations["mask"]).sum())
        found = {"mean": difference.mean(), "absolute": np.abs(difference).mean()}
        rows.append({"target": number, **{k: round(float(v), 3) for k, v in found.items()}, "pixels_of_masks": pixels})
    picture = np.concatenate([np.concatenate([frame.image for frame in row], axis=1) for row in drawn.values()])
    parsed.picture.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(parsed.picture, optimize=True)
    lines = tuple(
        (str(row["target"]), f"{row['mean']:+.2f}", f"{row['absolute']:.2f}", str(row["pixels_of_masks"]))
        for row in rows
    )
    record = made_now(
        f"python benchmarks/engines/pictures.py --samples {parsed.samples}",
        Table(("scene", "mean difference", "mean absolute difference", "pixels of the mask"), lines, "lrrr"),
        rows,
        list(range(SCENES)),
        (
            f"Mitsuba against {Path(blender).name}, {EDGE}×{EDGE}, {parsed.samples} samples a pixel, in levels of 8 "
            f"bits; pixels of {EDGE * EDGE:,} whose class differs.",
        ),
    )
    record.write(parsed.out / "pictures.json")
    print(record.markdown())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
