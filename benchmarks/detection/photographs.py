"""A run on labelled images that autosim did not draw: ``python benchmarks/detection/photographs.py RENDERS --out DIR``.

RENDERS is a folder of pictures by the public CLEVR generator (``NAME.png``), each with its scene (``NAME.json``). Boxes
follow from the scene: the projected extent of each solid at the place and depth that the file gives, with CLEVR's lens
and without its camera's jitter, so they are right to a few pixels. They are written as COCO to ``DIR/images``, and

    autosim run --algo METHOD --env clevr --env.task detection --target DIR/images --out DIR/METHOD

is made with them for each method of METHODS. Writes ``detection-photographs.json``.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
# A script's own folder is what Python looks in, not the one above it.
sys.path.insert(0, str(ROOT))

import autosim  # noqa: E402
from autosim.errors import UserError  # noqa: E402
from autosim.files import read_json  # noqa: E402
from autosim.formats import coco  # noqa: E402
from autosim.formats.dataset import DataSet, LabelledImage  # noqa: E402
from autosim.formats.pictures import picture_size  # noqa: E402
from autosim.reports.table import Table  # noqa: E402
from benchmarks.record import made_now  # noqa: E402

SHAPES = ("sphere", "cube", "cylinder")
# CLEVR's lens (degrees across) and how far its camera looks down.
FIELD_OF_VIEW, ELEVATION = 49.13, math.radians(28.5)
SETTINGS = {"closing_networks": 3, "workers": 2}
# What each method is told beyond that.
METHODS: dict[str, dict[str, Any]] = {"leap": {"algo.reads": "labels"}, "influence_replay": {}}


def box(thing: dict[str, Any], height: int, width: int) -> list[float]:
    """The box of a solid in pixels, (x0, y0, x1, y1), within the picture."""
    x, y, depth = thing["pixel_coords"]
    pixels = width / 2 / math.tan(math.radians(FIELD_OF_VIEW / 2)) / depth
    # Solids rest on the ground, so the height of the centre is half of their own.
    radius = thing["3d_coords"][2]
    across = up = radius
    if thing["shape"] == "cylinder":
        up = radius * (math.cos(ELEVATION) + math.sin(ELEVATION))
    elif thing["shape"] == "cube":
        # The camera looks along the ground at 49 degrees to its axes. The file's angle is one in radians, though it is
        # drawn from 0 to 360.
        turned = thing["rotation"] - math.radians(49.0)
        across = radius * (abs(math.cos(turned)) + abs(math.sin(turned)))
        up = radius * math.cos(ELEVATION) + across * math.sin(ELEVATION)
    limits = np.array([width, height, width, height])
    corners = np.array([x - across * pixels, y - up * pixels, x + across * pixels, y + up * pixels])
    return [float(value) for value in np.clip(corners, 0, limits)]


def labelled(renders: Path) -> DataSet:
    """All pictures with a scene; ``UserError`` where there is none."""
    images = []
    for scene in sorted(renders.glob("*.json")):
        picture = scene.with_suffix(".png")
        if not picture.is_file():
            continue
        height, width = picture_size(picture, upright=True)
        # The nearest solid last: it lies on top.
        things = sorted(read_json(scene)["objects"], key=lambda thing: -thing["pixel_coords"][2])
        boxes = np.array([box(thing, height, width) for thing in things], dtype=np.float32).reshape(-1, 4)
        classes = np.array([SHAPES.index(thing["shape"]) for thing in things], dtype=np.int64)
        images.append(LabelledImage(picture.stem, picture, boxes, classes))
    if not images:
        raise UserError(f"{renders}: holds no NAME.png beside a NAME.json")
    return DataSet(SHAPES, images)


def main(arguments: Sequence[str] | None = None) -> int:
    """Label, run and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("renders", type=Path, help="folder of pictures with scenes")
    parser.add_argument("--out", type=Path, required=True, help="new folder for labels and run")
    parser.add_argument("--images", type=int, default=1000, help="images that a method may render")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results", help="folder to write to")
    parsed = parser.parse_args(arguments)
    data = labelled(parsed.renders)
    coco.write(data, parsed.out / "images")
    rows: list[dict[str, Any]] = []
    for method, options in METHODS.items():
        run = autosim.run(
            method,
            "clevr",
            out=parsed.out / method,
            target=str(parsed.out / "images"),
            **{"env.task": "detection", "budget.images": parsed.images, **SETTINGS, **options},
        )
        found = run.summary
        if not rows:
            rows = [{"distribution": "start", "AP50": found["prior_score"]}]
            rows += [{"distribution": "broad randomisation", "AP50": found["broad_score"]}]
        used = found["setup_core_seconds"] + found["core_seconds"]
        rows.append(
            {"distribution": method, "AP50": found["test_score"], "images": found["images"], "core_seconds": used}
        )
    lines = tuple(
        (
            row["distribution"],
            f"{row['AP50']:.3f}",
            f"{row['images']:,}" if "images" in row else "–",
            f"{row['core_seconds']:.0f}" if "images" in row else "–",
        )
        for row in rows
    )
    objects = sum(len(image) for image in data.images)
    record = made_now(
        f"python benchmarks/detection/photographs.py RENDERS --out DIR --images {parsed.images}",
        Table(("trained on", "AP50", "images", "core-s"), lines, "lrrr"),
        rows,
        [0],
        (
            f"{len(data)} pictures of the public CLEVR generator with {objects} objects, half of them for "
            "validation, the rest for the test; influence_replay goes by the validation score, leap reads the "
            f"validation's boxes. Means over {SETTINGS['closing_networks']} networks.",
        ),
    )
    record.write(parsed.results / "detection-photographs.json")
    print(record.markdown())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
