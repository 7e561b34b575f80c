"""Every format that an export may have: those that are read too, WebDataset's shards, and pictures with metadata."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from autosim.files import write_whole
from autosim.formats import yolo
from autosim.formats.coco import image_annotations
from autosim.formats.dataset import DataSet, LabelledImage, file_stems
from autosim.formats.guess import WRITERS
from autosim.formats.pictures import class_palette, encode_png

# Images in a shard, and bytes beyond which no further image is added.
SHARD_IMAGES, SHARD_BYTES = 1000, 2**28
METADATA, MASKS, DEPTHS = "metadata.jsonl", "masks", "depth"


def write_shards(data: DataSet, folder: Path, part: str | None = None) -> None:
    """WebDataset: ``<part>-000000.tar`` and so on, each image's files under one key: ``png``, ``json`` (classes, boxes,
    run lengths, as :func:`describe` gives them) and, where there are any, ``mask.png``, the class mask, and
    ``depth.npy``, float32 (H, W) in the scene's unit.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stems, masked = file_stems(data, folders=False), has_masks(data)
    start, shard = 0, 0
    while start < len(data):
        path = folder / f"{part or 'data'}-{shard:06d}.tar"
        temporary = path.with_name(f"{path.name}.part")
        with temporary.open("wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
                end = start
                while end < len(data) and end - start < SHARD_IMAGES and (end == start or file.tell() < SHARD_BYTES):
                    for ending, content in _members(data.images[end], data.classes, masked).items():
                        member = tarfile.TarInfo(f"{stems[end]}.{ending}")
                        member.size = len(content)
                        archive.addfile(member, io.BytesIO(content))
                    end += 1
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        start, shard = end, shard + 1


def write_image_folder(data: DataSet, folder: Path, part: str | None = None) -> None:
    """Pictures beside ``metadata.jsonl``, a line for each with its ``file_name`` and what :func:`describe` gives, as
    the image folders of Hugging Face's ``datasets``; class masks lie in ``masks`` within, and depth in ``depth`` as
    grey PNG of 16 bits, whose values times the line's ``depth_scale`` are distances in the scene's unit.
    """
    place = folder / (part or ".")
    place.mkdir(parents=True, exist_ok=True)
    lines, masked = [], has_masks(data)
    for image, stem in zip(data.images, file_stems(data, folders=False), strict=True):
        write_whole(place / f"{stem}.png", image.encoded())
        line: dict[str, Any] = {"file_name": f"{stem}.png"}
        mask = image.read_class_mask() if masked else None
        if mask is not None:
            (place / MASKS).mkdir(exist_ok=True)
            write_whole(place / MASKS / f"{stem}.png", encode_png(mask, class_palette()))
            line["mask_file_name"] = f"{MASKS}/{stem}.png"
        if (depth := image.encoded_depth()) is not None:
            (place / DEPTHS).mkdir(exist_ok=True)
            write_whole(place / DEPTHS / f"{stem}.png", depth[0])
            line |= {"depth_file_name": f"{DEPTHS}/{stem}.png", "depth_scale": depth[1]}
        lines.append(json.dumps(line | describe(image, data.classes), allow_nan=False, ensure_ascii=False))
    write_whole(place / METADATA, "".join(f"{line}\n" for line in lines).encode())


def has_masks(data: DataSet) -> bool:
    """Whether there is more to tell by class masks than that a picture without objects shows background."""
    return bool(data.classes) and any(image.class_mask is not None or image.shapes for image in data.images)


def describe(image: LabelledImage, classes: tuple[str, ...]) -> dict[str, Any]:
    """``width``, ``height`` and ``objects``: ``bbox`` (x, y, width, height in pixels), ``category`` (index),
    ``category_name`` and ``segmentation`` (COCO's run lengths, None for a box alone), a list of each.
    """
    height, width = image.read_size()
    found = image_annotations(image, 1, 1)
    return {
        "width": width,
        "height": height,
        "objects": {
            "bbox": [entry["bbox"] for entry in found],
            "category": [entry["category_id"] - 1 for entry in found],
            "category_name": [classes[entry["category_id"] - 1] for entry in found],
            "segmentation": [entry.get("segmentation") for entry in found],
        },
    }


def _members(image: LabelledImage, classes: tuple[str, ...], masked: bool) -> dict[str, bytes]:
    members = {
        "png": image.encoded(),
        "json": json.dumps(describe(image, classes), allow_nan=False, ensure_ascii=False).encode(),
    }
    mask = image.read_class_mask() if masked else None
    if mask is not None:
        members["mask.png"] = encode_png(mask.astype(np.uint8), class_palette())
    depth = image.read_depth()
    if depth is not None:
        buffer = io.BytesIO()
        np.save(buffer, depth)
        members["depth.npy"] = buffer.getvalue()
    return members


EXPORTERS: dict[str, Callable[[DataSet, Path, str | None], None]] = {
    **WRITERS,
    "imagefolder": write_image_folder,
    "webdataset": write_shards,
    "yolo-seg": yolo.write_outlines,
}
