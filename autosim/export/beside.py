"""What lies beside exported data: a README, the generator's parameters and a sheet of samples to look at."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autosim.export.settings import ExportSettings
from autosim.files import finite, write_whole
from autosim.formats.dataset import DataSet, LabelledImage
from autosim.formats.pictures import class_palette, encode_png
from autosim.reports.structure import structure_frequencies
from autosim.runs.config import RunConfig, plain
from autosim.scenes.generator import SCENES_READ
from autosim.seeding import seed_sequence

if TYPE_CHECKING:
    from autosim.scenes.generator import SceneGenerator
    from autosim.scenes.grammar import Grammar

README, GENERATOR, SHEET = "README.md", "generator.json", "samples.png"
SHOWN, COLUMNS = 24, 6
# Shorter edge of a picture on the sheet, in pixels, at least.
SHEET_EDGE = 128
LAYOUTS = {
    "bop": "BOP: a scene for each part, with `rgb/`, `mask_visib/`, `scene_gt.json`, `scene_gt_info.json` and, where "
    "the renderer has a perspective camera, its `cam_K` in `scene_camera.json`. There are no poses. Where there is "
    "depth, `depth/` times `depth_scale` of `scene_camera.json` is in the scene's unit, not in millimetres.",
    "coco": "COCO: pictures in a folder for each part, labels in `annotations/instances_<part>.json` "
    "(`images/` and `annotations.json` where there are no parts); boxes and run lengths.",
    "imagefolder": "Pictures beside `metadata.jsonl`, a line for each: `datasets.load_dataset('imagefolder', "
    "data_dir=…)` reads it. Class masks are in `masks/`; where there is depth, `depth/` (16 bits) times the line's "
    "`depth_scale` is in the scene's unit.",
    "kitti": "KITTI's object layout: `image_2/`, `label_2/` and, where the renderer has a perspective camera, `calib/` "
    "for each part; figures that are not known are those of DontCare lines.",
    "masks": "Pictures in `images/`, class masks of the same name in `masks/`, names of the values in `classes.txt`, "
    "the background first.",
    "voc": "PASCAL VOC: `JPEGImages/` (as PNG), `Annotations/`, lists of the parts in `ImageSets/Main/`.",
    "webdataset": "WebDataset shards `<part>-000000.tar`; a key has `png`, `json` and, where there is one, `mask.png`; "
    "where there is depth, `depth.npy` in the scene's unit.",
    "yolo": "YOLO: `images/<part>/`, `labels/<part>/` with boxes, and `data.yaml`.",
    "yolo-seg": "YOLO for segmentation: `images/<part>/`, `labels/<part>/` with outlines along the edges of the pixels "
    "(parts and holes joined by lines there and back), and `data.yaml`.",
}


def write_generator(folder: Path, generator: SceneGenerator, grammar: Grammar) -> None:
    """``generator.json``: mean, spread or probabilities of each attribute that was learned; where the ``grammar`` has
    structure to learn, how often there are 0, 1, … nodes of a class, and the shares of what rules set.
    """
    found = {key: asdict(summary) for key, summary in generator.parameters_by_key().items()}
    if "structure" in grammar.learnable:
        scenes = generator.sample(SCENES_READ, seed_sequence(0, "structure of scenes")).scenes
        found |= {key: asdict(each) for key, each in structure_frequencies(grammar, scenes).items()}
    write_whole(folder / GENERATOR, (json.dumps(finite(plain(found)), indent=1) + "\n").encode())


def write_sheet(folder: Path, images: Sequence[LabelledImage]) -> None:
    """``samples.png``: the first images with their boxes."""
    shown = [_boxed(images[i]) for i in range(min(SHOWN, len(images)))]
    height, width = shown[0].shape[:2]
    rows = -(-len(shown) // COLUMNS)
    sheet = np.full((rows * height, min(COLUMNS, len(shown)) * width, 3), 255, dtype=np.uint8)
    for i, pixels in enumerate(shown):
        row, column = divmod(i, COLUMNS)
        sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = pixels
    write_whole(folder / SHEET, encode_png(sheet))


def write_readme(
    folder: Path,
    config: RunConfig,
    settings: ExportSettings,
    data: Mapping[str | None, DataSet],
    shape: tuple[int, int],
    left_out: Sequence[str],
) -> None:
    """``README.md``: what the data are, how they were made and how they are laid out."""
    classes = next(iter(data.values())).classes
    counts = {part: len(images) for part, images in data.items()}
    parts = ", ".join(f"{count} images" + (f" in {part}" if part else "") for part, count in counts.items())
    quality = f"{settings.samples} samples a pixel" if settings.samples else "the quality that was learned"
    lines = [
        "# Synthetic images",
        "",
        f"{parts}, of {shape[1]}×{shape[0]} pixels, drawn by autosim from the distribution of scenes that "
        f"`{config.algo}` learned on the environment `{config.env}` (run seed {config.settings.seed}). "
        f"Seed {settings.seed}, {quality}.",
        "",
        f"- Classes: {', '.join(classes) or 'none'}",
        f"- Layout: {LAYOUTS[settings.format]}",
        f"- `{GENERATOR}`: mean and spread, or probabilities, of each learned attribute, and of "
        "numbers of things where these are learned",
        "- `scenes.jsonl`: the scene graph of each image, in order",
        "- `run.yaml`: the configuration of the run",
        f"- `{SHEET}`: the first images with their boxes",
    ]
    if left_out:
        lines.append(f"- Annotations that this layout has no place for: {', '.join(left_out)}")
    lines += ["", "Labels are made with the pictures, none are drawn by hand.", ""]
    write_whole(folder / README, "\n".join(lines).encode())


def _boxed(image: LabelledImage) -> np.ndarray[Any, np.dtype[np.uint8]]:
    from PIL import Image, ImageDraw

    pixels = Image.fromarray(image.read())
    factor = max(1, -(-SHEET_EDGE // min(pixels.size)))
    enlarged = pixels.resize((pixels.width * factor, pixels.height * factor), Image.Resampling.NEAREST)
    draw, palette = ImageDraw.Draw(enlarged), class_palette()
    for box, kind in zip(image.boxes, image.classes, strict=True):
        x0, y0, x1, y1 = (float(value) * factor for value in box)
        colour = tuple(int(value) for value in np.maximum(palette[int(kind) % 255 + 1], 96))
        draw.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=colour)
    return np.array(enlarged, dtype=np.uint8)
