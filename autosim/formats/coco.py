"""COCO's JSON: images, annotations with boxes, polygons or run lengths, categories; pictures in a folder beside it.

Boxes are x, y, width, height in pixels from 0. The size that the JSON states decides whether labels belong to a picture
as stored or turned as EXIF says; turned, where both have it. Ids are numbered anew when a data set is written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autosim.files import check_file, fault, read_json, shown, write_whole
from autosim.formats.dataset import DataSet, LabelledImage, check_classes, file_stems
from autosim.formats.pictures import PICTURE_SUFFIXES, picture_size
from autosim.formats.reading import (
    LARGEST,
    check_boxes,
    inner_name,
    is_folder,
    is_number,
    is_size,
    json_list,
    json_object,
    list_folder,
    numbers,
)
from autosim.formats.shapes import Polygons, RunLengths, Shape, bounding_box, encode_text, run_lengths

FILE, PICTURES = "annotations.json", "images"
# Names by which COCO files are known. Anything else is looked into.
NAMES = (FILE, "_annotations.coco.json", "instances_")
LARGEST_AREA = 1e12


def find(folder: Path, part: str | None = None) -> list[Path]:
    """Files of annotations of a data set, or of one part of it: in the folder, in ``annotations`` and in ``part``."""
    found = []
    for place in [folder, folder / "annotations", *([folder / part] if part else [])]:
        if is_folder(place):
            found += [place / name for name in list_folder(place) if name.endswith(".json") and _is_named(name)]
    if part is None:
        return found
    named = [path for path in found if path.stem.endswith(f"_{part}") or path.parent.name == part]
    return named or [path for path in found if part in path.stem.removeprefix("instances_")]


def read(path: Path, part: str | None = None) -> DataSet:
    """A file of annotations, or the one that lies in a folder; ``part`` chooses among several by name.

    ``details`` of each object: area, as the file states it (NaN where it does not). Crowds are objects to be ignored.
    """
    file = _chosen(path, part) if is_folder(path) else path
    content = json_object(file, read_json(file), "the file")
    for field in ("images", "annotations", "categories"):
        json_list(file, content.get(field), field)
    categories = {_identity(file, entry, "categories", i): entry for i, entry in enumerate(content["categories"])}
    _all_different(file, categories, content["categories"], "categories")
    order = sorted(categories)
    classes = check_classes(file, [categories[number].get("name") for number in order])
    records = {_identity(file, entry, "images", i): entry for i, entry in enumerate(content["images"])}
    _all_different(file, records, content["images"], "images")
    if not records:
        raise fault(file, "images is empty")
    objects: dict[int, list[tuple[int, dict[str, Any]]]] = {number: [] for number in records}
    seen: set[int] = set()
    for i, entry in enumerate(content["annotations"]):
        if type(entry) is not dict or type(entry.get("image_id")) is not int or entry["image_id"] not in objects:
            found = entry.get("image_id") if isinstance(entry, dict) else entry
            raise fault(file, f"annotations[{i}].image_id is {shown(found)}, which is the id of no image")
        if "id" in entry:
            if type(entry["id"]) is not int or entry["id"] in seen:
                what = "is there twice" if type(entry["id"]) is int else "is not a whole number"
                raise fault(file, f"annotations[{i}].id {shown(entry['id'])} {what}")
            seen.add(entry["id"])
        objects[entry["image_id"]].append((i, entry))
    numbered = {number: i for i, number in enumerate(order)}
    pictures = _Pictures(file, path if is_folder(path) else file.parent, part)
    images = [_labelled(file, record, objects[number], numbered, pictures) for number, record in records.items()]
    # Several files of annotations may share a folder of pictures.
    left = 0 if part is not None else pictures.left_out({image.picture for image in images})
    notes = [f"{left} pictures beside those that {file.name} names are left out"] if left else []
    return DataSet(classes, images, tuple(notes))


def write(data: DataSet, folder: Path, part: str | None = None) -> None:
    """Pictures as PNG in ``images`` and ``annotations.json`` beside it; for a part of a data set in ``<part>`` and
    ``annotations/instances_<part>.json``. Polygons stay polygons, other shapes become run lengths.
    """
    pictures = folder / (part or PICTURES)
    file = folder / "annotations" / f"instances_{part}.json" if part else folder / FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    records, annotations = [], list[dict[str, Any]]()
    for number, (image, stem) in enumerate(zip(data.images, file_stems(data, folders=True), strict=True), start=1):
        name = f"{stem}.png"
        (pictures / name).parent.mkdir(parents=True, exist_ok=True)
        write_whole(pictures / name, image.encoded())
        height, width = image.read_size()
        records.append({"id": number, "file_name": name, "width": width, "height": height})
        annotations += image_annotations(image, number, first=len(annotations) + 1)
    categories = [{"id": i, "name": name, "supercategory": ""} for i, name in enumerate(data.classes, start=1)]
    content = {"images": records, "annotations": annotations, "categories": categories}
    write_whole(file, json.dumps(content, allow_nan=False).encode())


def image_annotations(image: LabelledImage, image_id: int, first: int) -> list[dict[str, Any]]:
    """The annotations of one picture, numbered from ``first``; categories are numbered from 1 in the classes' order."""
    found = []
    for i in range(len(image)):
        x0, y0, x1, y1 = image.boxes[i]
        box = [_shortest(0.0, x0), _shortest(0.0, y0)]
        box += [_shortest(box[0], x1), _shortest(box[1], y1)]
        entry: dict[str, Any] = {"id": first + i, "image_id": image_id, "category_id": int(image.classes[i]) + 1}
        entry |= {"bbox": box, "iscrowd": int(image.ignored[i])}
        shape = image.shapes[i] if image.shapes else None
        area = float(image.details["area"][i]) if "area" in image.details else float("nan")
        if isinstance(shape, Polygons):
            entry["segmentation"] = [[float(value) for value in ring.ravel()] for ring in shape.rings]
        elif isinstance(shape, RunLengths):
            counts = shape.counts if isinstance(shape.counts, str) else list(shape.counts)
            entry["segmentation"] = {"size": [shape.height, shape.width], "counts": counts}
        elif shape is not None:
            mask = shape.mask(*image.read_size())
            entry["segmentation"] = {"size": list(mask.shape), "counts": encode_text(run_lengths(mask))}
            area = float(mask.sum()) if np.isnan(area) else area
        entry["area"] = round(box[2] * box[3], 3) if np.isnan(area) else area
        found.append(entry)
    return found


def _shortest(start: float, end: np.float32) -> float:
    """The shortest length that leads from ``start`` to ``end`` when both are added and rounded to float32."""
    length = float(end) - start
    for digits in range(2, 8):
        short = round(length, digits)
        if np.float32(start + short) == end:
            return short
    return length


def _labelled(
    file: Path,
    record: dict[str, Any],
    objects: list[tuple[int, dict[str, Any]]],
    numbered: Mapping[int, int],
    pictures: _Pictures,
) -> LabelledImage:
    name = record.get("file_name")
    if not isinstance(name, str) or not name or "\0" in name:
        raise fault(file, f"file_name of image {record['id']} is {shown(name)} instead of the name of a file")
    picture = pictures.find(name)
    if "height" in record and "width" in record:
        for side in ("height", "width"):
            if not is_size(record[side]):
                raise fault(file, f"{side} of image {record['id']} is {shown(record[side])}; allowed are whole pixels")
        size = (record["height"], record["width"])
    else:
        size = picture_size(picture)
    boxes = np.zeros((len(objects), 4))
    classes = np.zeros(len(objects), dtype=np.int64)
    ignore = np.zeros(len(objects), dtype=bool)
    area = np.full(len(objects), np.nan)
    shapes: list[Shape | None] = []
    for row, (i, entry) in enumerate(objects):
        category = entry.get("category_id")
        if type(category) is not int or category not in numbered:
            raise fault(file, f"annotations[{i}].category_id is {shown(category)}, which is the id of no category")
        classes[row] = numbered[category]
        for flag in ("iscrowd", "ignore"):
            value = entry.get(flag, 0)
            if not isinstance(value, (int, float)) or value not in (0, 1):
                raise fault(file, f"annotations[{i}].{flag} is {shown(value)}; allowed are 0 and 1")
            ignore[row] |= bool(value)
        if entry.get("area") is not None:
            if not is_number(entry["area"], LARGEST_AREA):
                raise fault(file, f"annotations[{i}].area is {shown(entry['area'])} instead of a number of pixels")
            area[row] = entry["area"]
        shape = _shape(file, f"annotations[{i}].segmentation", entry.get("segmentation"))
        shapes.append(shape)
        if entry.get("bbox") is not None:
            x, y, width, height = numbers(file, entry["bbox"], f"annotations[{i}].bbox", 4)
            boxes[row] = (x, y, x + width, y + height)
        elif isinstance(shape, Polygons):
            boxes[row] = shape.box()
        elif shape is not None:
            boxes[row] = bounding_box(shape.mask(*size))
        else:
            raise fault(file, f"annotations[{i}] has neither bbox nor segmentation")
    check_boxes(file, boxes, size, [f"annotations[{i}].bbox" for i, _ in objects])
    return LabelledImage(
        name=inner_name(Path(inner_name(name)).with_suffix("").as_posix()),
        picture=picture,
        boxes=boxes.astype(np.float32),
        classes=classes,
        ignore=ignore,
        shapes=tuple(shapes) if any(shape is not None for shape in shapes) else (),
        details={"area": area},
        size=size,
        source=str(file),
    )


def _shape(file: Path, field: str, value: object) -> Shape | None:
    """Polygons or run lengths; None for an empty segmentation, which stands for a box alone."""
    if value is None or value == [] or value == {}:
        return None
    if isinstance(value, list):
        rings = []
        for ring in value:
            if not isinstance(ring, list) or len(ring) < 6 or len(ring) % 2:
                raise fault(file, f"{field} holds {shown(ring)}; a polygon has 3 points or more, as x and y in turn")
            rings.append(_points(file, field, ring))
        return Polygons(tuple(rings), f"{file}: {field}")
    runs = json_object(file, value, field)
    size = runs.get("size")
    if not isinstance(size, list) or len(size) != 2 or not all(is_size(side) for side in size):
        raise fault(file, f"{field}.size is {shown(size)} instead of height and width")
    counts = runs.get("counts")
    if isinstance(counts, str):
        return RunLengths(counts, size[0], size[1], f"{file}: {field}")
    if not isinstance(counts, list) or not all(type(count) is int and 0 <= count <= LARGEST_AREA for count in counts):
        raise fault(file, f"{field}.counts is {shown(counts)} instead of the lengths of runs")
    return RunLengths(tuple(counts), size[0], size[1], f"{file}: {field}")


def _points(file: Path, field: str, ring: list[Any]) -> NDArray[np.float64]:
    for value in ring:
        if not is_number(value):
            raise fault(file, f"{field} holds {shown(value)}; allowed are numbers up to {LARGEST:g}")
    return np.array(ring, dtype=np.float64).reshape(-1, 2)


class _Pictures:
    """Where the pictures are that a file of annotations names: each folder is listed once."""

    def __init__(self, file: Path, folder: Path, part: str | None) -> None:
        self.file = file
        self.listed: dict[Path, frozenset[str]] = {}
        own = file.stem.removeprefix("instances_").removeprefix("annotations_")
        inner = (PICTURES, part or own, own, f"{PICTURES}/{part or own}")
        roots = [root / name for root in (folder, file.parent, file.parent.parent) for name in inner]
        self.roots = list(dict.fromkeys([*roots, folder, file.parent]))

    def find(self, name: str) -> Path:
        """The picture of that ``file_name``; ``UserError`` where it is in none of the places."""
        for root in self.roots:
            path = root / name
            if path.parent not in self.listed:
                names = list_folder(path.parent) if is_folder(path.parent) else []
                self.listed[path.parent] = frozenset(names)
            if path.name in self.listed[path.parent]:
                self.roots.remove(root)  # where one picture was, the next is likely to be
                self.roots.insert(0, root)
                return path
        raise fault(self.file, f"file_name {name!r} is missing; looked for below {self.file.parent}")

    def left_out(self, named: Set[object]) -> int:
        """How many more pictures there are in the folders in which those were that are ``named``."""
        folders = {path.parent for path in named if isinstance(path, Path)}
        there = {
            folder / name
            for folder in folders
            for name in self.listed[folder]
            if name.lower().endswith(PICTURE_SUFFIXES)
        }
        return len(there - named)


def _is_named(name: str) -> bool:
    return name in NAMES or name.startswith(NAMES) or "annotations" in name


def _chosen(folder: Path, part: str | None) -> Path:
    found = find(folder, part)
    if not found and part is None:
        found = [folder / name for name in list_folder(folder) if name.endswith(".json")]
    if len(found) != 1:
        names = ", ".join(path.relative_to(folder).as_posix() for path in found[:5])
        what = f"holds {len(found)} files of annotations ({names}…): name one" if found else f"holds no {FILE}"
        raise fault(folder, what)
    check_file(found[0])
    return found[0]


def _identity(file: Path, entry: object, field: str, place: int) -> int:
    number = entry.get("id") if isinstance(entry, dict) else None
    if type(number) is not int:
        raise fault(file, f"{field}[{place}] has the id {shown(number)} instead of a whole number")
    return number


def _all_different(file: Path, found: Mapping[int, object], entries: list[dict[str, Any]], field: str) -> None:
    if len(found) < len(entries):
        numbers_ = [entry["id"] for entry in entries]
        twice = next(number for i, number in enumerate(numbers_) if number in numbers_[:i])
        raise fault(file, f"{field} has the id {twice} twice")
