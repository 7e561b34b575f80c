"""BOP's layout: scenes ``000000/`` with ``rgb/``, ``scene_gt.json``, ``scene_gt_info.json``, ``scene_camera.json``
and, where there are any, ``mask_visib/`` and ``depth/``.

Boxes are those of what is visible, x, y, width, height in pixels from 0 as the files have them. Objects of which less
than a tenth is visible are to be ignored, as BOP's evaluation does; boxes of -1 (objects out of the picture) are left
out. Pictures are taken as stored. Depth is in the unit of the files that it comes from: millimetres in BOP's own data,
the scene's unit in what is written here.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from autosim.files import fault, read_json, shown, write_whole
from autosim.formats.dataset import DataSet, DepthFile, LabelledImage
from autosim.formats.pictures import encode_png, picture_names, picture_size
from autosim.formats.reading import (
    check_boxes,
    exists,
    is_folder,
    is_number,
    json_list,
    json_object,
    list_folder,
    numbers,
)
from autosim.formats.shapes import MaskFile

PICTURES, MASKS, DEPTHS = "rgb", "mask_visib", "depth"
TRUTH, INFO, CAMERA = "scene_gt.json", "scene_gt_info.json", "scene_camera.json"
GREY = "gray"
MIN_VISIBLE = 0.1
# Rotations, millimetres and focal lengths.
LARGEST_FIGURE = 1e9
NO_BOX = [-1, -1, -1, -1]


def scenes(folder: Path, part: str | None = None) -> list[Path]:
    """The folders with ``scene_gt.json``: ``folder`` itself, or one or two levels below it (split, scene)."""
    start = folder / part if part else folder
    found, level = [], [start]
    for _ in range(3):
        found = [place for place in level if exists(place / TRUTH)]
        if found or not all(is_folder(place) for place in level):
            return found
        level = [place / name for place in level for name in list_folder(place) if is_folder(place / name)]
    return found


def read(folder: Path, part: str | None = None, min_visible: float = MIN_VISIBLE) -> DataSet:
    """All pictures of all scenes of a data set, of one split of it (``part``), or of one scene.

    Classes are ``obj_000001`` and so on, as the files of the models are called. ``details`` of each object: visibility
    (visib_fract), rotation (n, 3, 3), translation (n, 3: millimetres), whole_box (n, 4: xyxy, with what is hidden).
    """
    places = scenes(folder, part)
    if not places:
        raise fault(folder / (part or ""), f"holds no scene with {TRUTH}")
    entries = [entry for place in places for entry in _read_scene(place)]
    if not entries:
        raise fault(places[0], f"holds no picture that {TRUTH} names")
    known = sorted({number for entry in entries for number in entry.numbers})
    classes = tuple(f"obj_{number:06d}" for number in known)
    images, left_out = [], Counter[str]()
    for entry in entries:
        image = _labelled(folder, entry, known, min_visible, left_out)
        left_out["hidden"] += int(image.ignored.sum())
        images.append(image)
    notes = [f"{left_out['box']} objects have a box of -1 and are left out"] if left_out["box"] else []
    if left_out["hidden"]:
        notes.append(f"{left_out['hidden']} objects of which less than {min_visible:g} is visible are ignored")
    return DataSet(classes, images, tuple(notes))


def write(data: DataSet, folder: Path, part: str | None = None) -> None:
    """One scene, ``<part>/000000``. Poses, cameras and depth are written where they are known. Classes get the
    numbers that they are called by (``obj_000005``), or their places from 1 where any of them is called otherwise.
    """
    place = folder / (part or "train") / "000000"
    (place / PICTURES).mkdir(parents=True, exist_ok=True)
    truth, info, cameras = dict[str, Any](), dict[str, Any](), dict[str, Any]()
    for number, image in enumerate(data.images):
        write_whole(place / PICTURES / f"{number:06d}.png", image.encoded())
        truth[str(number)], info[str(number)] = image_truth(image, data.classes)
        if image.camera is not None:
            cameras[str(number)] = {
                "cam_K": [float(value) for value in image.camera[:, :3].ravel()],
                "depth_scale": 1.0,
            }
        if (depth := image.encoded_depth()) is not None:
            (place / DEPTHS).mkdir(exist_ok=True)
            write_whole(place / DEPTHS / f"{number:06d}.png", depth[0])
            cameras.setdefault(str(number), {})["depth_scale"] = depth[1]
        for i in range(len(image)):
            pixels = image.shape_mask(i)
            if pixels is not None:
                (place / MASKS).mkdir(exist_ok=True)
                mask = encode_png(pixels.astype(np.uint8) * np.uint8(255))
                write_whole(place / MASKS / f"{number:06d}_{i:06d}.png", mask)
    for name, content in ((TRUTH, truth), (INFO, info), (CAMERA, cameras)):
        if content or name != CAMERA:
            write_whole(place / name, json.dumps(content, allow_nan=False).encode())


def image_truth(image: LabelledImage, classes: tuple[str, ...]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What ``scene_gt.json`` and ``scene_gt_info.json`` say about one picture."""
    numbers_called = [re.fullmatch(r"obj_(\d{6})", name) for name in classes]
    numbered = [int(found[1]) if found else 0 for found in numbers_called]
    if not all(numbers_called):
        numbered = list(range(1, len(classes) + 1))
    truth, info = [], []
    for i in range(len(image)):
        entry: dict[str, Any] = {"obj_id": numbered[image.classes[i]]}
        for field, key in (("rotation", "cam_R_m2c"), ("translation", "cam_t_m2c")):
            if field in image.details:
                entry[key] = [float(value) for value in image.details[field][i].ravel()]
        truth.append(entry)
        box = _length_box(image.boxes[i])
        whole = _length_box(image.details["whole_box"][i]) if "whole_box" in image.details else box
        visible = image.details["visibility"][i] if "visibility" in image.details else float(not image.ignored[i])
        info.append({"bbox_obj": whole, "bbox_visib": box, "visib_fract": float(visible)})
    return truth, info


def _length_box(box: np.ndarray[Any, Any]) -> list[float]:
    x0, y0, x1, y1 = (float(value) for value in box)
    return [int(value) if value == int(value) else value for value in (x0, y0, x1 - x0, y1 - y0)]


class _Entry:
    """One picture of a scene with what its files say about it, as it stands."""

    def __init__(self, place: Path, picture: Path, key: str, truth: object, info: object, camera: object) -> None:
        self.place, self.picture, self.key, self.camera = place, picture, key, camera
        self.truth = json_list(place / TRUTH, truth, f"picture {key}")
        self.info = json_list(place / INFO, info, f"picture {key}")
        if len(self.info) != len(self.truth):
            raise fault(place / INFO, f"picture {key} has {len(self.info)} objects; {TRUTH} has {len(self.truth)}")
        self.numbers = []
        for i, item in enumerate(self.truth):
            number = json_object(place / TRUTH, item, f"object {i} of picture {key}").get("obj_id")
            if type(number) is not int or not 0 <= number < 10**6:
                raise fault(
                    place / TRUTH, f"obj_id of object {i} of picture {key} is {shown(number)}; allowed are numbers"
                )
            self.numbers.append(number)


def _read_scene(place: Path) -> list[_Entry]:
    """Pictures that are there and named; ``scene_gt.json`` may name more, as BOP's shortened test sets do."""
    truth = json_object(place / TRUTH, read_json(place / TRUTH), "the file")
    info = json_object(place / INFO, read_json(place / INFO), "the file")
    cameras = json_object(place / CAMERA, read_json(place / CAMERA), "the file") if exists(place / CAMERA) else {}
    pictures = place / PICTURES if is_folder(place / PICTURES) else place / GREY
    files = {}
    for name in picture_names(pictures):
        stem = Path(name).stem
        if stem.isdecimal():
            files[int(stem)] = pictures / name
    found = []
    for key, value in truth.items():
        if not (key.isascii() and key.isdecimal() and len(key) <= 12):
            raise fault(place / TRUTH, f"names the picture {shown(key)}; allowed are numbers")
        if int(key) in files:
            if key not in info:
                raise fault(place / INFO, f"has nothing about picture {key}, which {TRUTH} names")
            found.append(_Entry(place, files[int(key)], key, value, info[key], cameras.get(key)))
    return found


def _labelled(
    folder: Path, entry: _Entry, known: list[int], min_visible: float, left_out: Counter[str]
) -> LabelledImage:
    source = entry.place / INFO
    masks = entry.place / MASKS
    masked = is_folder(masks)
    boxes, whole, classes, visible, shapes, fields = [], [], [], [], [], []
    rotations, translations = [], []
    for i, item in enumerate(entry.info):
        field = f"object {i} of picture {entry.key}"
        item = json_object(source, item, field)
        box = numbers(source, item.get("bbox_visib"), f"bbox_visib of {field}", 4)
        if box == NO_BOX:
            left_out["box"] += 1
            continue
        fraction = item.get("visib_fract", 1.0)
        if not is_number(fraction) or not 0 <= fraction <= 1:
            raise fault(source, f"visib_fract of {field} is {shown(fraction)}; allowed are 0 to 1")
        boxes.append(_corner_box(box))
        whole.append(_corner_box(numbers(source, item.get("bbox_obj", box), f"bbox_obj of {field}", 4)))
        classes.append(known.index(entry.numbers[i]))
        visible.append(float(fraction))
        fields.append(f"bbox_visib of {field}")
        mask = masks / f"{entry.picture.stem}_{i:06d}.png"
        shapes.append(MaskFile(mask) if masked and exists(mask) else None)
        pose, truth = entry.truth[i], entry.place / TRUTH
        if "cam_R_m2c" in pose or "cam_t_m2c" in pose:
            rotations.append(numbers(truth, pose.get("cam_R_m2c"), f"cam_R_m2c of {field}", 9, LARGEST_FIGURE))
            translations.append(numbers(truth, pose.get("cam_t_m2c"), f"cam_t_m2c of {field}", 3, LARGEST_FIGURE))
    corners = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    check_boxes(source, corners, picture_size(entry.picture, upright=False), fields)
    details: dict[str, Any] = {
        "visibility": np.array(visible),
        "whole_box": np.array(whole, dtype=np.float32).reshape(-1, 4),
    }
    if len(rotations) == len(boxes):
        details["rotation"] = np.array(rotations, dtype=np.float64).reshape(-1, 3, 3)
        details["translation"] = np.array(translations, dtype=np.float64).reshape(-1, 3)
    path = entry.place / CAMERA
    stated = {} if entry.camera is None else json_object(path, entry.camera, f"picture {entry.key}")
    camera = None
    if "cam_K" in stated:
        figures = numbers(path, stated["cam_K"], f"cam_K of picture {entry.key}", 9, LARGEST_FIGURE)
        camera = np.array(figures).reshape(3, 3)
    scale = stated.get("depth_scale", 1.0)
    if not is_number(scale) or scale < 0:
        raise fault(path, f"depth_scale of picture {entry.key} is {shown(scale)}; allowed are numbers of 0 and above")
    depth = entry.place / DEPTHS / f"{entry.picture.stem}.png"
    inner = entry.picture.relative_to(folder).parent.parent.as_posix()
    return LabelledImage(
        name=entry.picture.stem if inner == "." else f"{inner}/{entry.picture.stem}",
        picture=entry.picture,
        boxes=corners.astype(np.float32),
        classes=np.array(classes, dtype=np.int64),
        ignore=details["visibility"] < min_visible,
        shapes=tuple(shapes) if any(shape is not None for shape in shapes) else (),
        depth=DepthFile(depth, float(scale)) if exists(depth) else None,
        details=details,
        camera=camera,
        upright=False,
        source=str(source),
    )


def _corner_box(box: list[float]) -> tuple[float, float, float, float]:
    x, y, width, height = box
    return x, y, x + width, y + height
