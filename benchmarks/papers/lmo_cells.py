"""Draws the 54 cells of the environment ``lmo``, a picture each: ``python benchmarks/papers/lmo_cells.py FILE``."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from autosim.scenes.graph import SceneGraph
from autosim.seeding import seed_sequence
from envs.lmo.cells import CELLS, LOCATIONS
from envs.lmo.env import Lmo, LmoConfig
from envs.lmo.renderer import LmoRenderer

WIDTH, HEADING, MARGIN = 128, 14, 62
INK, PAPER, BOX = (30, 30, 30), (255, 255, 255), (255, 90, 60)


def in_cell(scene: SceneGraph, cell: str) -> SceneGraph:
    """The scene as it is drawn in another cell."""
    root, *others = scene.nodes
    return replace(scene, nodes=(replace(root, attributes={"cell": cell}), *others))


def picture(renderer: LmoRenderer, scene: SceneGraph, seed: int, boxes: bool) -> Image.Image:
    """A frame, with its boxes where they are wanted."""
    frame = renderer.render(scene, seed)
    image = Image.fromarray(frame.image)
    if boxes:
        draw = ImageDraw.Draw(image)
        for x0, y0, x1, y1, kind in np.asarray(frame.annotations["boxes"]).tolist():
            if kind >= 0:
                draw.rectangle([x0, y0, x1 - 1, y1 - 1], outline=BOX)
    return image


def sheet(env: Lmo, boxes: bool = False) -> Image.Image:
    """A row for each scene and quality, a column for each location; a column has one arrangement and camera."""
    renderer = env.renderer()
    assert isinstance(renderer, LmoRenderer)
    renderer.build()
    columns, rows = list(LOCATIONS), list(dict.fromkeys((c.split("/")[0], c.split("/")[2]) for c in CELLS))
    whole = Image.new("RGB", (MARGIN + WIDTH * len(columns), HEADING + env.height * len(rows)), PAPER)
    draw = ImageDraw.Draw(whole)
    scenes = env.prior().sample_many(len(columns), seed_sequence(0, "lmo sheet"))
    for i, (room, quality) in enumerate(rows):
        for line, text in enumerate((room, quality)):
            draw.text((4, HEADING + i * env.height + 30 + 14 * line), text, fill=INK)
        for j, where in enumerate(columns):
            drawn = picture(renderer, in_cell(scenes[j], f"{room}/{where}/{quality}"), i, boxes)
            whole.paste(drawn, (MARGIN + j * WIDTH, HEADING + i * env.height))
    for j, where in enumerate(columns):
        draw.text((MARGIN + j * WIDTH + 40, 1), where, fill=INK)
    return whole


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--meshes", type=Path, help="BOP models in place of the stand-ins")
    parser.add_argument("--boxes", action="store_true", help="draw the boxes of the ground truth")
    chosen = parser.parse_args()
    sheet(Lmo(LmoConfig(width=WIDTH, meshes=chosen.meshes)), chosen.boxes).save(chosen.file, quality=66)


if __name__ == "__main__":
    main()
