"""YOLO's layout: ``images/``, ``labels/`` beside it, ``data.yaml`` with the names of the classes and the splits.

A line of a label file is a class and either the box's centre and size or the corners of a polygon, each as a share of
the picture's width and height. A picture without a label file has no objects. Pictures are turned upright as EXIF says,
as the trainers do that read this format.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from autosim.files import fault, read_text, read_yaml, shown, write_whole
from autosim.formats.dataset import DataSet, LabelledImage, check_classes, file_stems
from autosim.formats.pictures import PICTURE_SUFFIXES, picture_names, picture_size
from autosim.formats.reading import check_boxes, exists, inner_name, is_folder, list_folder, parse_number
from autosim.formats.shapes import Polygons, Shape, outline

PICTURES, LABELS, SETTINGS, NAMES = "images", "labels", "data.yaml", "classes.txt"
SPLITS = ("train", "val", "test")
# How far beyond the picture a share may reach before it is taken for pixels.
LARGEST_SHARE = 1.01
DECIMALS = (6, 9, 12, 15)


def settings_file(folder: Path) -> Path | None:
    """``data.yaml``, or the only other YAML file of a folder."""
    names = [name for name in list_folder(folder) if name.lower().endswith((".yaml", ".yml"))]
    if SETTINGS in names:
        return folder / SETTINGS
    return folder / names[0] if len(names) == 1 else None


def has_part(folder: Path, part: str) -> bool:
    """Whether ``data.yaml`` names a split, or there is a folder of its pictures where no splits are named."""
    path = settings_file(folder)
    settings = {} if path is None else _read_settings(path)
    if any(settings.get(split) for split in (*SPLITS, "valid")):
        return bool(settings.get(part))
    return is_folder(folder / PICTURES / part) or is_folder(folder / part / PICTURES)


def read(folder: Path, part: str | None = None) -> DataSet:
    """Pictures of a split (``train``, ``val``, ``test``; a folder or list that ``data.yaml`` names), or all that are
    there. Names of classes are those of ``data.yaml`` or of ``classes.txt``.
    """
    path = settings_file(folder)
    settings = {} if path is None else _read_settings(path)
    classes = _class_names(folder, path, settings)
    pictures = _pictures(folder, path, settings, part)
    if not pictures:
        raise fault(folder, f"holds no picture ({', '.join(PICTURE_SUFFIXES)})")
    images, listed, unlabelled = [], dict[Path, frozenset[str]](), 0
    for picture in pictures:
        labels = _label_file(picture)
        if labels.parent not in listed:
            there = is_folder(labels.parent)
            listed[labels.parent] = frozenset(list_folder(labels.parent) if there else ())
        known = labels.name in listed[labels.parent]
        unlabelled += not known
        images.append(_labelled(folder, picture, labels if known else None, classes))
    if unlabelled == len(pictures):
        raise fault(folder, f"holds no label file for any of {len(images)} pictures")
    notes = [f"{unlabelled} pictures have no label file and are taken to show no object"] if unlabelled else []
    return DataSet(classes, images, tuple(notes))


def write(data: DataSet, folder: Path, part: str | None = None) -> None:
    """Pictures as PNG, their labels, and ``data.yaml``; an image's objects are polygons where each of them is one
    polygon, boxes otherwise. The format cannot say that an object is to be ignored: such objects are left out.
    """
    _write(data, folder, part, label_text)


def write_outlines(data: DataSet, folder: Path, part: str | None = None) -> None:
    """As :func:`write`, but masks become polygons, the same to the pixel: what trainers of segmentation read. Objects
    of which no pixel is seen are left out. Boxes are left only to pictures with an object whose pixels are not known.
    """
    _write(data, folder, part, lambda image: label_text(_outlined(image)))


def _write(data: DataSet, folder: Path, part: str | None, text: Callable[[LabelledImage], str]) -> None:
    part = part or "train"
    for image, stem in zip(data.images, file_stems(data, folders=True), strict=True):
        picture = folder / PICTURES / part / f"{stem}.png"
        labels = folder / LABELS / part / f"{stem}.txt"
        for path in (picture, labels):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(picture, image.encoded())
        write_whole(labels, text(image).encode())
    write_whole(folder / SETTINGS, settings_text(data.classes, folder).encode())


def label_text(image: LabelledImage) -> str:
    """The labels of one picture, a line for each object that counts."""
    height, width = image.read_size()
    kept = np.flatnonzero(~image.ignored)
    shapes = [image.shapes[i] if image.shapes else None for i in kept]
    if shapes and all(isinstance(shape, Polygons) and len(shape.rings) == 1 for shape in shapes):
        lines = []
        for i, shape in zip(kept, shapes, strict=True):
            assert isinstance(shape, Polygons)
            lines.append(f"{image.classes[i]} {_ring_text(shape.rings[0], height, width)}")
        return "".join(f"{line}\n" for line in lines)
    return "".join(f"{image.classes[i]} {_box_text(image.boxes[i], height, width)}\n" for i in kept)


def _outlined(image: LabelledImage) -> LabelledImage:
    """The objects that count and are seen, each with one polygon; the image as it is where a shape is not known."""
    if not image.shapes or any(shape is None for shape in image.shapes):
        return image
    kept, shapes = list[int](), list[Shape]()
    for i in np.flatnonzero(~image.ignored):
        shape = image.shapes[i]
        if not isinstance(shape, Polygons) or len(shape.rings) != 1:
            pixels = image.shape_mask(int(i))
            assert pixels is not None
            shape = Polygons((outline(pixels),))
        if len(shape.rings[0]):
            kept.append(int(i))
            shapes.append(shape)
    return LabelledImage(
        image.name, image.picture, image.boxes[kept], image.classes[kept], shapes=tuple(shapes), size=image.read_size()
    )


def settings_text(classes: tuple[str, ...], folder: Path) -> str:
    """``data.yaml`` for the splits that lie in ``folder``; paths are relative to it."""
    settings: dict[str, Any] = {
        split: f"{PICTURES}/{split}" for split in SPLITS if is_folder(folder / PICTURES / split)
    }
    settings |= {"nc": len(classes), "names": dict(enumerate(classes))}
    import yaml

    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)


def _box_text(box: np.ndarray[Any, Any], height: int, width: int) -> str:
    """Centre and size as shares, with as few decimals as bring the same box back."""
    x0, y0, x1, y1 = np.clip(box.astype(np.float64), 0, (width, height, width, height))
    clipped = np.array([x0, y0, x1, y1], dtype=np.float32)
    shares = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height)
    for digits in DECIMALS:
        words = [f"{share:.{digits}f}" for share in shares]
        if (_box([float(word) for word in words], height, width) == clipped).all():
            return " ".join(words)
    return " ".join(repr(float(share)) for share in shares)


def _ring_text(ring: np.ndarray[Any, Any], height: int, width: int) -> str:
    """Points as shares, with as few decimals as bring the same points back (float32)."""
    size = np.array([width, height], dtype=np.float64)
    shares = np.clip(ring / size, 0, 1)
    for digits in DECIMALS:
        words = [f"{share:.{digits}f}" for share in shares.ravel()]
        again = np.array(words, dtype=np.float64).reshape(-1, 2)
        if ((again * size).astype(np.float32) == (shares * size).astype(np.float32)).all():
            return " ".join(words)
    return " ".join(repr(float(share)) for share in shares.ravel())


def _box(shares: list[float], height: int, width: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    x, y, wide, high = shares
    left, top, right, bottom = x - wide / 2, y - high / 2, x + wide / 2, y + high / 2
    return np.array([left * width, top * height, right * width, bottom * height], dtype=np.float32)


def _labelled(folder: Path, picture: Path, labels: Path | None, classes: tuple[str, ...]) -> LabelledImage:
    name = _name(folder, picture)
    if labels is None:
        return LabelledImage(name, picture)
    text = read_text(labels)
    if not text.strip():
        return LabelledImage(name, picture, source=str(labels))
    size = picture_size(picture)
    height, width = size
    boxes, indices, shapes = [], [], list[Shape | None]()
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        if len(words) != 5 and (len(words) < 7 or len(words) % 2 == 0):
            raise fault(
                labels, f"line {number} has {len(words)} fields; allowed are 5, or a class and 3 points or more"
            )
        index = parse_number(labels, words[0], f"class of line {number}")
        if index != int(index) or not 0 <= index < len(classes):
            raise fault(labels, f"class of line {number} is {words[0]}; allowed are 0 to {len(classes) - 1}")
        shares = [parse_number(labels, word, f"line {number}") for word in words[1:]]
        for share in shares:
            if not 1 - LARGEST_SHARE <= share <= LARGEST_SHARE:
                raise fault(labels, f"line {number} holds {share:g}; allowed are shares of the picture, 0 to 1")
        if len(shares) == 4:
            boxes.append(_box(shares, height, width))
            shapes.append(None)
        else:
            polygon = Polygons((np.array(shares).reshape(-1, 2) * (width, height),), f"{labels}: line {number}")
            boxes.append(np.array(polygon.box(), dtype=np.float32))
            shapes.append(polygon)
        indices.append(int(index))
    found = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    check_boxes(labels, found, size, [f"box {i + 1}" for i in range(len(found))])
    return LabelledImage(
        name=name,
        picture=picture,
        boxes=found,
        classes=np.array(indices, dtype=np.int64),
        shapes=tuple(shapes) if any(shape is not None for shape in shapes) else (),
        size=size,
        source=str(labels),
    )


def _read_settings(path: Path) -> dict[str, Any]:
    settings = read_yaml(path)
    if not isinstance(settings, dict):
        raise fault(path, f"is {shown(settings)} instead of settings by name")
    return settings


def _class_names(folder: Path, path: Path | None, settings: dict[str, Any]) -> tuple[str, ...]:
    names = settings.get("names")
    source = folder / NAMES
    if path is not None and names is None and not exists(source):
        raise fault(path, f"has no names of classes, and there is no {NAMES}")
    if path is None or names is None:
        return check_classes(source, [line.strip() for line in read_text(source).splitlines() if line.strip()])
    if isinstance(names, dict):
        if set(names) != set(range(len(names))):
            raise fault(path, f"names has the keys {shown(list(names))}; allowed are 0 to {len(names) - 1}")
        names = [names[i] for i in range(len(names))]
    if not isinstance(names, list) or not names:
        raise fault(path, f"names is {shown(names)} instead of a list of names or names by number")
    count = settings.get("nc", len(names))
    if count != len(names):
        raise fault(path, f"nc is {shown(count)}; names has {len(names)}")
    return check_classes(path, [str(name) if type(name) in (int, float) else name for name in names])


def _pictures(folder: Path, path: Path | None, settings: dict[str, Any], part: str | None) -> list[Path]:
    """The pictures of one split, or of all that are named, each once; without splits all below ``images``."""
    splits = [split for split in (*SPLITS, "valid") if settings.get(split)]
    if part is not None and part not in splits:
        if path is not None and splits:
            raise fault(path, f"names no {part!r}; there are {', '.join(splits)}")
        return _listed(folder, _split_folder(folder, part))
    if path is None or not splits:
        return _listed(folder, folder / PICTURES if is_folder(folder / PICTURES) else folder)
    base = settings.get("path", "")
    if not isinstance(base, str):
        raise fault(path, f"path is {shown(base)} instead of a folder")
    roots = [folder / base, folder]  # written where the data lay then, read where they lie now
    found: dict[Path, None] = {}
    for split in [part] if part else splits:
        entries = settings[split]
        for entry in entries if isinstance(entries, list) else [entries]:
            if not isinstance(entry, str) or "\0" in entry:
                raise fault(path, f"{split} is {shown(entry)} instead of a folder or a list of pictures")
            # Some exports name their folders as seen from another place than their own.
            places = [root / name for root in roots for name in (entry, entry.removeprefix("../"))]
            place = next((place for place in places if exists(place)), None)
            if place is None:
                raise fault(path, f"{split} names {entry!r}, which is missing")
            found.update(dict.fromkeys(_listed(folder, place)))
    return list(found)


def _split_folder(folder: Path, part: str) -> Path:
    for place in (folder / PICTURES / part, folder / part / PICTURES, folder / part):
        if is_folder(place):
            return place
    raise fault(folder, f"holds no part {part!r}")


def _listed(folder: Path, place: Path) -> list[Path]:
    """The pictures below a folder, or those that a text file lists."""
    if is_folder(place):
        found = [place / name for name in picture_names(place)]
        for name in list_folder(place):
            if is_folder(place / name) and name != LABELS:
                found += _listed(folder, place / name)
        return found
    found = []
    for line in read_text(place).splitlines():
        if name := line.strip():
            if "\0" in name:
                raise fault(place, "holds a name that no file can have")
            picture = next((root / name for root in (place.parent, folder) if exists(root / name)), None)
            if picture is None:
                raise fault(place, f"names {name!r}, which is missing")
            found.append(picture)
    return found


def _label_file(picture: Path) -> Path:
    """``labels`` for the last ``images`` of a path; beside the picture where there is none."""
    parts = list(picture.parts)
    for i in reversed(range(len(parts) - 1)):
        if parts[i] == PICTURES:
            parts[i] = LABELS
            break
    return Path(*parts).with_suffix(".txt")


def _name(folder: Path, picture: Path) -> str:
    try:
        name = picture.relative_to(folder).as_posix()
    except ValueError:
        name = picture.name
    for prefix in (PICTURES, *SPLITS, "valid", PICTURES):
        name = name.removeprefix(f"{prefix}/")
    return inner_name(Path(name).with_suffix("").as_posix())
